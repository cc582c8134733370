"""Claim: gradient descent with momentum almost always works faster than plain gradient descent.

Section:  "Gradient descent with Momentum".
Setting:  quadratics (condition number κ from 1 to 10⁴, gradients with and without noise) and small
          networks on moons and digits, drawn anew. Plain descent, heavy ball (v = βv + g) and
          momentum as the notes print it (v = βv + (1 − β)g), β = 0.9. A heavy ball's steps add up
          to α/(1 − β), so plain descent at ten times the rate is the control: does momentum gain,
          or the bigger step? Measured: how soon 98 % of the possible improvement is made; on
          quadratics without noise also 99.99 %: valleys are narrow far down.
          Each arm with the best of ten rates per problem; all at the rate best for plain descent;
          all at 0.01, with which many libraries start.
Predicts: depends. At 0.01 the heavy ball gains what the control gains and the printed form gains
          nothing; tuned, momentum gains on ill-conditioned quadratics without noise, about √κ far
          down, and little where noise rules; at plain descent's best rate the heavy ball is too
          fast.
Refuted:  contradicted if the interval of the share of problems in which the tuned heavy ball is
          faster lies below 0.90.
Command:  python -m experiments momentum
"""

import dataclasses
import sys

from jaxdl import lab, optim
from jaxdl.lab import problems, scores

CLAIM = lab.Claim(
    name="momentum",
    number="9",
    title="Momentum against plain gradient descent",
    quote=(
        "Momentum, or gradient descent with momentum that almost always works faster than the "
        "standard gradient descent algorithm."
    ),
    section="Gradient descent with Momentum",
    quantifier="almost always",
    headline=True,
    literature=(
        lab.Source(
            "Kidambi et al. 2018, On the insufficiency of existing momentum schemes for stochastic "
            "optimization",
            "There are stochastic problems on which heavy ball and Nesterov's method do no better "
            "than plain stochastic gradient descent, whatever their parameters.",
            "disagrees",
        ),
        lab.Source(
            "Wang et al. 2024, The marginal value of momentum for small learning rate SGD",
            "With small rates, where gradient noise limits training, momentum gains little.",
            "disagrees",
        ),
        lab.Source(
            "Polyak 1964, Some methods of speeding up the convergence of iteration methods",
            "On quadratics without noise the heavy ball needs of the order of √κ steps, descent κ.",
            "partly",
        ),
    ),
)

RATES = [{"lr": 10.0**power} for power in (-2.5, -2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.5, 1)]
BETA = 0.9


def optimizer(s):
    """The arm's own; a switch, so that the gradient is compiled once for all arms."""
    steps = (
        optim.sgd(s["lr"]),
        optim.momentum(s["lr"], BETA, form="heavy_ball"),
        optim.momentum(s["lr"], BETA, form="ema"),
        optim.sgd(s["lr"] / (1 - BETA)),
    )
    return {"optimizer": problems.one_of(s["which"], *steps)}


NAMES = ("plain descent", "heavy ball", "momentum as printed", "plain descent at α / (1 − β)")
BOWL = problems.quadratics()
FAR = dataclasses.replace(
    problems.quadratics(noise=problems.choice(0.0)),
    name="quadratic, to 99.99 %",
    score=scores.steps_to_target(1e-4),
)


def condition(problem):
    """The decade of κ."""
    return next(
        f"{low:,} to {10 * low:,}" for low in (1, 10, 100, 1000) if problem["kappa"] <= 10 * low
    )


STUDY = lab.Study(
    families=(BOWL, FAR, problems.networks("moons"), problems.networks("digits")),
    arms=[
        lab.Arm(name, optimizer, RATES, {"lr": 0.01}, {"which": i}) for i, name in enumerate(NAMES)
    ],
    better="heavy ball",
    than="plain descent",
    score=scores.steps_to_target(0.02),
    protocols=("tuned", "same", "default"),
    moderators={
        "κ": condition,
        "gradient noise": lambda p: f"{p['noise']:g}" if p["family"] == BOWL.name else None,
        "batch": lambda p: f"{p['batch']:.0f}",
    },
    crossed=(("κ", "family"), ("κ", "gradient noise")),
)


Config = lab.Sizes
FULL = Config(problems=128)
SMOKE = Config(problems=2, seeds=1, families=1)

run, plain_judge, chart = lab.experiment(CLAIM, STUDY)


def judge(config, measured):
    """The study's judgement, and what the control says at the default rate."""
    found = plain_judge(config, measured)
    control = next(
        e["problem_poi"]
        for e in found.effects
        if e["protocol"] == "default" and e["better"] == NAMES[-1]
    )
    return dataclasses.replace(
        found,
        sentence=f"{found.sentence} At the default rate, plain descent with the bigger step "
        f"α / (1 − β) beats it in {100 * control['value']:.0f} % too.",
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
