"""Claim: Adam works well across a wide range of deep learning architectures.

Section:  "Adam optimization algorithm".
Setting:  five families drawn anew: quadratics (κ from 1 to 10⁴, axes rotated or not, with and
          without noise), logistic regression on wine, one wide layer on digits, two layers on
          moons, five narrow layers on spirals. Gradient descent, momentum (heavy ball), RMSprop
          and Adam, each with the best of eight rates per problem; and each at the rate with which
          libraries start (0.01, 0.01, 0.001, 0.001). Measured: how soon 98 % of the possible
          improvement of the training cost is made. Adam works well in a problem if it needs at
          most twice the steps of the best of the other three, tuned. (A pilot on other problems
          led to wider rates, and to counting a tie as a half.)
Predicts: supported when tuned; at its default rate, against the others tuned, not.
Refuted:  contradicted if the interval of the share of problems in which tuned Adam works well lies
          below 0.75 ("a wide range": usually). Declared strata: family, rotation, and what is
          tuned. Beside it, as a bound to any such claim, the online problem of Reddi, Kale and
          Kumar, whose optimum is −1: Adam is expected to go to +1 and AMSGrad to −1.
Command:  python -m experiments adam
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, optim
from jaxdl.lab import problems, scores, shares

CLAIM = lab.Claim(
    name="adam",
    number="11",
    title="Adam across problems and architectures",
    quote=(
        "RMSprop and the Adam optimization algorithm, which we’ll talk about in this video, is one "
        "of those rare algorithms that has really stood up, and has been shown to work well across "
        "a wide range of deep learning architectures."
    ),
    section="Adam optimization algorithm",
    quantifier="usually",
    literature=(
        lab.Source(
            "Schmidt, Schneider and Hennig 2021, Descending through a crowded valley: benchmarking "
            "deep learning optimizers",
            "Of more than a dozen optimizers none clearly dominates over all tasks; how well each "
            "does varies greatly between them.",
            "agrees",
        ),
        lab.Source(
            "Choi et al. 2019, On empirical comparisons of optimizers for deep learning",
            "The search space of the tuning may be the main cause of published rankings; with "
            "enough tuning, general optimizers are never worse than those they contain.",
            "agrees",
        ),
        lab.Source(
            "Wilson et al. 2017, The marginal value of adaptive gradient methods in machine "
            "learning",
            "Adaptive methods often find solutions that generalise worse than those of gradient "
            "descent.",
            "disagrees",
        ),
        lab.Source(
            "Reddi, Kale and Kumar 2018, On the convergence of Adam and beyond",
            "There are convex online problems on which Adam goes to the worst point; a denominator "
            "that never shrinks repairs it.",
            "partly",
        ),
    ),
)

TWICE = 1.0
"""log₂ of the steps that Adam may need for each step of the best other."""

NAMES = ("gradient descent", "momentum", "RMSprop", "Adam")
SLOW = [{"lr": 10.0**power} for power in (-2, -1.5, -1, -0.5, 0, 0.5, 1, 1.5)]
ADAPTIVE = [{"lr": 10.0**power} for power in (-3, -2.5, -2, -1.5, -1, -0.5, 0, 0.5)]


def optimizer(s):
    """The optimizer of that number; a switch, so that the gradient is compiled once."""
    rate = s["lr"]
    kinds = (
        optim.sgd(rate),
        optim.momentum(rate, form="heavy_ball"),
        optim.rmsprop(rate),
        optim.adam(rate),
    )
    return {"optimizer": problems.one_of(s["which"], *kinds)}


def renamed(name, source, hidden):
    """A family of networks by what is special about it."""
    return dataclasses.replace(problems.networks(source, hidden), name=name)


STUDY = lab.Study(
    families=(
        problems.quadratics(rotated=problems.choice(0.0, 1.0)),
        renamed("wine, logistic regression", "wine", ()),
        renamed("digits, one wide layer", "digits", (64,)),
        renamed("moons, two layers", "moons", (16, 16)),
        renamed("spirals, five narrow layers", "spirals", (8,) * 5),
    ),
    arms=[
        lab.Arm(name, optimizer, ADAPTIVE if i > 1 else SLOW, {"lr": rate}, {"which": i})
        for i, (name, rate) in enumerate(zip(NAMES, (0.01, 0.01, 0.001, 0.001), strict=True))
    ],
    better="Adam",
    than="gradient descent",
    score=scores.steps_to_target(0.02),
    protocols=("tuned", "default"),
    moderators={
        "axes": lambda p: ("rotated" if p["rotated"] else "along θ") if "rotated" in p else None,
    },
)


@dataclasses.dataclass(frozen=True)
class Config(lab.Sizes):
    """Sizes of the study, and the steps of Reddi's problem."""

    problems: int = 20
    seeds: int = 1
    seed: int = 1
    online_steps: int = 1_000_000


FULL = Config(problems=96, online_steps=5_000_000)
SMOKE = Config(problems=2, families=1, online_steps=2000)


def run(config):
    """The study, and the paths of Adam and AMSGrad on Reddi's problem."""
    return {"runs": lab.run(STUDY, config), "online": online(config.online_steps)}


def online(steps):
    """x after 0, 1, ... steps of f_t(x) = 1010 x if t mod 101 = 1, else −10 x, −1 ≤ x ≤ 1.

    The sum over 101 steps is 10 x, so the optimum is x = −1. α_t = 1/(2√t), β₁ = 0.9, β₂ = 0.99.
    """
    at = problems.checkpoints(steps, 60)
    rate = optim.inverse_sqrt_decay(0.5)

    def path(kind):
        def step(i, carry):
            x, state = carry
            slope = jnp.where((i + 1) % 101 == 1, 1010.0, -10.0)
            update, state = kind.update(slope, state)
            return jnp.clip(x + update, -1.0, 1.0), state

        start = (jnp.float32(0.0), kind.init(jnp.float32(0.0)))
        return np.asarray(
            jax.jit(lambda: problems.record(at, step, start, lambda c: {"x": c[0]}))()["x"]
        )

    kinds = {"Adam": optim.adam, "AMSGrad": optim.amsgrad}
    return {"steps": at} | {name: path(make(rate, b2=0.99)) for name, make in kinds.items()}


def behind(runs, mine="tuned", theirs="tuned"):
    """log₂ of Adam's steps over those of the best other, by run; NaN: neither arrives."""
    parts = []
    for r in runs.values():
        others = np.min([s for arm, s in r.scores[theirs].items() if arm != "Adam"], axis=0)
        with np.errstate(invalid="ignore"):
            parts.append(r.scores[mine]["Adam"] - others)
    return np.concatenate(parts)


def at_most(distance, limit):
    """1 where the distance is within the limit, ½ where neither arrives; median over seeds."""
    return np.median(np.where(np.isnan(distance), 0.5, distance <= limit), axis=1)


PROTOCOLS = {
    "all tuned": ("tuned", "tuned"),
    "Adam at 0.001, others tuned": ("default", "tuned"),
    "all at defaults": ("default", "default"),
}


def judge(config, measured):
    """The share of problems in which Adam needs at most twice the steps of the best other."""
    base = lab.judge(CLAIM, STUDY, measured["runs"])
    distances = {words: behind(measured["runs"], *pair) for words, pair in PROTOCOLS.items()}
    holds = {words: at_most(distance, TWICE) for words, distance in distances.items()}
    runs = measured["runs"]
    families = np.repeat(list(runs), [len(r.problems["instance"]) for r in runs.values()])
    axes = np.concatenate([
        np.where(r.problems["rotated"], "rotated", "along θ") if "rotated" in r.problems
        else np.full(len(r.problems["instance"]), "") for r in runs.values()
    ])  # fmt: skip
    tuned = holds["all tuned"]
    found = shares.decide(tuned, CLAIM.gamma, {"family": families, "axes": axes}, families, holds)
    best = float(at_most(distances["all tuned"], 0.0).mean())
    by = {s["by"]["protocol"]: s["value"] for s in found.strata if "protocol" in s["by"]}
    ends = {name: float(measured["online"][name][-1]) for name in ("Adam", "AMSGrad")}
    weakest = min((s for s in found.strata if "family" in s["by"]), key=lambda s: s["value"])
    return dataclasses.replace(
        base,
        verdict=found.verdict,
        sentence=(
            "Tuned Adam needs at most twice the steps of the best of three tuned others in "
            f"{shares.percent(found.share)} of problems (“usually” asks for 75 %), in "
            f"{100 * weakest['value']:.0f} % on {weakest['by']['family']}, the lowest; it is the "
            f"fastest in {100 * best:.0f} %. Left at its default rate against tuned others it does "
            f"so in {100 * by['Adam at 0.001, others tuned']:.0f} %; with all at their defaults, "
            f"in {100 * by['all at defaults']:.0f} %. On Reddi's problem, whose optimum is −1, "
            f"Adam ends at {ends['Adam']:+.2f} and AMSGrad at {ends['AMSGrad']:+.2f}."
        ),
        estimate=lab.Estimate(
            "share of problems in which Adam needs at most twice the steps of the best other",
            *found.share,
        ),
        figures=base.figures
        | {"share of problems in which tuned Adam is the fastest": round(best, 3)}
        | {f"Reddi's problem, optimum −1: {name} ends at": round(x, 3) for name, x in ends.items()},
        strata=found.strata,
    )


def chart(config, measured):
    """Shares by stratum; the profile of every optimizer; the paths on Reddi's problem."""
    strata = lab.chart(judge(config, measured), CLAIM.gamma)
    return alt.vconcat(strata, profile(measured["runs"]), paths(measured["online"])).resolve_scale(
        color="independent"
    )


def profile(runs):
    """In which share of problems an optimizer needs at most so many times the steps of the best."""
    typical = {
        name: np.concatenate([np.median(r.scores["tuned"][name], axis=1) for r in runs.values()])
        for name in NAMES
    }
    best = np.min(list(typical.values()), axis=0)
    gaps = {name: s - best for name, s in typical.items()}
    grid = np.round(np.linspace(0, 5, 41), 3)
    rows = pd.DataFrame(
        {
            "optimizer": name,
            "times": round(2.0**r, 3),
            "share": round(float((gap <= r).mean()), 3),
        }
        for name, gap in gaps.items()
        for r in grid
    )
    return (
        alt.Chart(rows)
        .mark_line(interpolate="step-after", strokeWidth=2.5)
        .encode(
            x=alt.X("times:Q", title="steps, times those of the best optimizer of the problem",
                    scale=alt.Scale(type="log", base=2)),
            y=alt.Y("share:Q", title="share of problems", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("optimizer:N", sort=list(NAMES), scale=alt.Scale(
                domain=list(NAMES), range=["#6b7280", "#d97706", "#15803d", "#2f7fc1"])),
            tooltip=["optimizer", "times", "share"],
        )
        .properties(width=440, height=220, title="Each tuned: how far behind the best")
    )  # fmt: skip


def paths(found):
    """x against the step, of Adam and AMSGrad; the optimum dashed."""
    rows = pd.concat(
        pd.DataFrame({"step": found["steps"][1:], "x": found[name][1:].round(4), "optimizer": name})
        for name in ("Adam", "AMSGrad")
    )
    lines = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("step:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format="~s")),
            y=alt.Y("x:Q", scale=alt.Scale(domain=[-1.05, 1.05])),
            color=alt.Color("optimizer:N", title="optimizer", scale=alt.Scale(
                domain=["Adam", "AMSGrad"], range=["#2f7fc1", "#a855f7"])),
            tooltip=["optimizer", "step", "x"],
        )
    )  # fmt: skip
    optimum = alt.Chart(rows).mark_rule(strokeDash=[4, 4]).encode(y=alt.datum(-1.0))
    title = "Reddi's problem: the optimum is −1 (dashed)"
    return (lines + optimum).properties(width=440, height=180, title=title)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
