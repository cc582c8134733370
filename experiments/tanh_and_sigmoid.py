"""Claim: in hidden layers tanh almost always works better than the sigmoid function.

Section:  "Activation functions".
Setting:  networks with two hidden layers of 16 units on digits and moons, and with four layers
          on moons, drawn anew; gradient descent in mini-batches, the best of ten rates for each
          arm and problem. tanh against σ from the same weights; and, since
          tanh(z) = 2σ(2z) − 1, a σ network whose weights are chosen so that it starts as the very
          same function (the matched arm). Measured: how soon 98 % of the possible improvement of
          the training cost is made.
Predicts: supported from the same weights. Hypothesis: the gap is mostly one of scale and offset at
          the start, so that the matched σ makes up at least half of the problems that σ loses.
Refuted:  contradicted if the interval of the share of problems in which tanh is faster than σ
          lies below 0.90; the hypothesis if matched σ beats plain σ in less than half of the
          problems, or tanh still beats it in 0.90 or more.
Command:  python -m experiments tanh_and_sigmoid
"""

import dataclasses
import sys

import jax
import jax.numpy as jnp

from jaxdl import lab, optim, stats
from jaxdl.lab import problems, scores, shares

CLAIM = lab.Claim(
    name="tanh_and_sigmoid",
    number="54",
    title="tanh against the sigmoid in hidden layers",
    quote="tanh (almost always works better than the sigmoid function)",
    section="Activation functions",
    quantifier="almost always",
    headline=True,
    literature=(
        lab.Source(
            "LeCun, Bottou, Orr and Müller 1998, Efficient backprop",
            "Recommends sigmoids that are symmetric about the origin, such as tanh, because their "
            "outputs are on average closer to zero, which makes learning faster.",
            "agrees",
        ),
        lab.Source(
            "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward "
            "neural networks",
            "From the usual random weights the logistic sigmoid is unsuited for deep networks: its "
            "mean value drives the top hidden layer into saturation.",
            "agrees",
        ),
    ),
)

RATES = [{"lr": 10.0**power} for power in (-2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.5, 1, 1.5)]


def matched(params):
    """Weights with which a σ network is the function that a tanh network is with `params`.

    tanh(z) = 2σ(2z) − 1: a hidden unit's z is doubled, and whatever reads the units reads
    2a − 1 instead of a.
    """
    made, last = [], len(params) - 1
    for i, layer in enumerate(params):
        w, b = layer["w"], layer["b"]
        if i > 0:
            w, b = 2 * w, b - w.sum(axis=0)
        made.append({"w": w, "b": b} if i == last else {"w": 2 * w, "b": 2 * b})
    return made


def network(s):
    """g(z) = c σ(c z) + 1 − c is tanh for c = 2 and σ for c = 1: one program for all arms."""
    c = s["steepness"]

    def value(z):
        return c * jax.nn.sigmoid(c * z) + 1 - c

    def prime(z):
        a = jax.nn.sigmoid(c * z)
        return c * c * a * (1 - a)

    def start(params):
        same = matched(params)
        return jax.tree.map(lambda a, b: jnp.where(s["matched"] > 0, a, b), same, params)

    return {
        "optimizer": optim.sgd(s["lr"]),
        "activation": (value, prime),
        "init": "glorot",
        "start": start,
    }


ARMS = {
    "tanh": {"steepness": 2.0, "matched": 0.0},
    "σ": {"steepness": 1.0, "matched": 0.0},
    "σ, matched": {"steepness": 1.0, "matched": 1.0},
}
DEEP = dataclasses.replace(problems.networks("moons", (12,) * 4), name="moons, four layers")

STUDY = lab.Study(
    families=(
        problems.networks("digits"),
        problems.networks("moons"),
        DEEP,
    ),
    arms=[lab.Arm(name, network, RATES, fixed=fixed) for name, fixed in ARMS.items()],
    better="tanh",
    than="σ",
    score=scores.steps_to_target(0.02),
    unit="log₂ of the epochs to the target",
    protocols=("tuned", "same"),
    moderators={"batch": lambda p: f"{p['batch']:.0f}"},
    crossed=(("family", "batch"),),
)

Config = lab.Sizes
FULL = Config(problems=128)
SMOKE = Config(problems=2, seeds=1, families=1)

run, plain_judge, chart = lab.experiment(CLAIM, STUDY)
AGAINST = dataclasses.replace(STUDY, than="σ, matched", crossed=())


def judge(config, measured):
    """The study's judgement, then tanh against the σ that starts as the same function."""
    found = plain_judge(config, measured)
    against = lab.judge(CLAIM, AGAINST, measured)
    made_up = next(e["problem_poi"] for e in found.effects if e["better"] == "σ, matched")
    rest = against.estimate
    return dataclasses.replace(
        found,
        sentence=(
            f"{found.sentence} A σ network that starts as the same function beats plain σ in "
            f"{100 * made_up['value']:.0f} %; against it tanh is faster in "
            f"{shares.percent(stats.Estimate(rest.value, rest.low, rest.high))}."
        ),
        effects=[*found.effects, *(e | {"primary": False} for e in against.effects)],
        figures=found.figures
        | {f"against σ, matched: {k}": v for k, v in against.figures.items() if k[:6] == "median"},
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
