"""Claim: with a small training set, maybe 2,000 examples, just use batch gradient descent.

Section:  "Understanding mini-batch gradient descent" (its guidelines).
Setting:  about 2,000 training examples, drawn anew: digits (1,437 of the 1,797 that there are) with
          logistic regression and with a network of 16 hidden units, and 2,000 points on two moons
          with such a network. All examples at once against mini-batches of 64, and of 16; gradient
          descent with the best of eight rates for each arm and problem, 30 epochs. Measured: how
          soon, in epochs, 98 % of the possible improvement of the training cost is made. An epoch
          of few large steps takes less time than one of many small ones, so the time of an epoch
          is measured too, and the comparison made in seconds of this machine as well.
Predicts: contradicted: in one epoch of 2,000 examples mini-batches of 64 take 31 steps and the
          full batch one, and one full step is not worth 31.
Refuted:  the claim is contradicted if the interval of the share of problems in which the full batch
          is sooner there lies below 0.75 ("just use": a default). If it is ahead in seconds and
          behind in epochs, each interval wholly on its side of one half, it depends.
Command:  python -m experiments batch_size
"""

import dataclasses
import functools
import sys
import time

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, losses, models, optim, stats
from jaxdl.lab import problems, scores, shares

CLAIM = lab.Claim(
    name="batch_size",
    number="2",
    title="Full batch or mini-batches for 2,000 examples",
    quote="If you have a small training set (maybe 2000), just use batch gradient descent.",
    section="Understanding mini-batch gradient descent",
    quantifier="default",
    literature=(
        lab.Source(
            "Masters and Luschi 2018, Revisiting small batch training for deep neural networks",
            "The best results came from batches of 2 to 32, on sets larger than these.",
            "disagrees",
        ),
    ),
)

FULL_BATCH, MIDDLE, SMALL = "full batch", "batches of 64", "batches of 16"
BATCHES = {FULL_BATCH: None, MIDDLE: 64, SMALL: 16}
RATES = [{"lr": 10.0**power} for power in (-1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2)]


def family(name, source, examples, hidden):
    """Four fifths of the examples are for training."""
    made = problems.networks(source, hidden, 30, examples, train_share=0.8)
    return dataclasses.replace(made, name=name)


STUDY = lab.Study(
    families=(
        family("digits, logistic regression", "digits", 1797, ()),
        family("digits, network", "digits", 1797, (16,)),
        family("moons, network", "moons", 2500, (16,)),
    ),
    arms=[
        lab.Arm(name, lambda s, size=size: {"optimizer": optim.sgd(s["lr"]), "batch": size}, RATES)
        for name, size in BATCHES.items()
    ],
    better=FULL_BATCH,
    than=MIDDLE,
    score=scores.steps_to_target(0.02),
    unit="log₂ of the epochs to the target",
)


@dataclasses.dataclass(frozen=True)
class Config(lab.Sizes):
    """Few problems, since each step sees up to 2,000 examples; and repeats of the timing."""

    problems: int = 10
    seeds: int = 1
    repeats: int = 7


FULL = Config(problems=64, repeats=25)
SMOKE = Config(problems=2, families=1, repeats=1)


def run(config):
    """The study, and the seconds of an epoch for every batch size."""
    return {"runs": lab.run(STUDY, config), "seconds": seconds_per_epoch(config.repeats)}


def seconds_per_epoch(repeats, rows=1437):
    """Seconds of an epoch on digits with the network, (repeats,) for each arm, interleaved."""
    model = models.mlp((64, 16, 10), "relu")
    cost = losses.objective(model, "softmax_cross_entropy")
    x, y = jax.random.normal(jax.random.key(0), (rows, 64)), jnp.arange(rows) % 10
    params = model.init(jax.random.key(1))

    @functools.partial(jax.jit, static_argnums=1)
    def epoch(params, size):
        def step(i, params):
            part = [
                jax.lax.dynamic_slice_in_dim(a, i * size, size) for a in (x, jax.numpy.array(y))
            ]
            return jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(cost)(params, *part))

        return jax.lax.fori_loop(0, rows // size, step, params)

    sizes = {name: size or rows for name, size in BATCHES.items()}
    for size in sizes.values():
        jax.block_until_ready(epoch(params, size))
    found = {name: [] for name in sizes}
    for _ in range(repeats):
        for name, size in sizes.items():
            start = time.perf_counter()
            for _ in range(5):
                jax.block_until_ready(epoch(params, size))
            found[name].append((time.perf_counter() - start) / 5)
    return found


def in_seconds(measured):
    """The same runs with their scores in log₂ seconds."""
    typical = {name: np.median(values) for name, values in measured["seconds"].items()}
    return {
        name: r._replace(
            scores={
                p: {arm: score + np.log2(typical[arm]) for arm, score in by_arm.items()}
                for p, by_arm in r.scores.items()
            }
        )
        for name, r in measured["runs"].items()
    }


def judge(config, measured):
    """The study's judgement in epochs and in seconds, which are strata of one moderator."""
    runs = {"epochs": measured["runs"], "seconds": in_seconds(measured)}
    found = {unit: lab.judge(CLAIM, STUDY, r) for unit, r in runs.items()}
    epochs, seconds = found["epochs"], found["seconds"].estimate
    in_time = stats.Estimate(seconds.value, seconds.low, seconds.high)
    sides = [e.estimate.low > 0.5 or e.estimate.high < 0.5 for e in found.values()]
    ahead = [e.estimate.value > 0.5 for e in found.values()]
    split = all(sides) and ahead[0] != ahead[1]
    ratio = {
        name: float(np.median(values) / np.median(measured["seconds"][FULL_BATCH]))
        for name, values in measured["seconds"].items()
    }
    small = next(e["problem_poi"]["value"] for e in epochs.effects if e["better"] == SMALL)
    verdict = "depends" if split and epochs.verdict != "supported" else epochs.verdict
    return dataclasses.replace(
        epochs,
        verdict=verdict,
        sentence=(
            f"{epochs.sentence} Batches of 16 beat batches of 64 in {100 * small:.0f} %. In "
            f"seconds, where an epoch in batches of 64 takes {ratio[MIDDLE]:.1f} times as long as "
            f"a full one and in batches of 16 {ratio[SMALL]:.1f} times, the full batch is "
            f"sooner in {shares.percent(in_time)}."
        ),
        figures=epochs.figures
        | {f"seconds of an epoch, {name}, over the full batch's": r for name, r in ratio.items()},
        strata=[
            *epochs.strata,
            *(
                {"by": {"measured in": unit}, "n": e.n_problems, "value": e.estimate.value,
                 "low": e.estimate.low, "high": e.estimate.high}
                for unit, e in found.items()
            ),
        ],
    )  # fmt: skip


def chart(config, measured):
    """Shares by family and unit; below, the cost of every arm, epoch by epoch."""
    found = judge(config, measured)
    rows = pd.concat(
        pd.DataFrame({k: c[k] for k in ("x", "median", "family", "arm")}) for c in found.curves
    ).query("x > 0")
    names = list(BATCHES)
    color = alt.Color(
        "arm:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=["#6b7280", "#2f7fc1", "#d97706"]),
    )
    curves = (
        alt.Chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("x:Q", title="epoch", scale=alt.Scale(type="log")),
            y=alt.Y("median:Q", title="cost / first cost", scale=alt.Scale(type="log")),
            color=color,
            tooltip=["family", "arm", alt.Tooltip("x", title="epoch"), "median"],
        )
        .properties(width=200, height=180)
        .facet(column=alt.Column("family:N", title=None, sort=None))
    )
    return alt.vconcat(lab.chart(found, CLAIM.gamma), curves).resolve_scale(color="independent")


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
