"""Claim: the diagnosis chooses the remedy; with high bias, more training data does not help.

Section:  "Basic Recipe for Machine Learning", "Bias / Variance".
Setting:  real digits (16 components, 597 for the dev error), a tanh network of one hidden layer,
          500 Adam steps on batches of 64. A problem is a number of training examples and of hidden
          units, both log-uniform (64 … 299, 1 … 6), its examples and weights. It is diagnosed by
          `diagnose.bias_variance`, then trained again, same weights and batches' key, with four
          times the data, with four times the units, and with L2 (λ = 2). A remedy helps if it
          lowers the dev error by at least a point. (The ranges of both sizes were chosen after a
          pilot on other problems.)
Predicts: where bias dominates, more data does not help in at least three quarters of the problems
          ("usually"), and more units do; where variance dominates, more data helps in at least
          three quarters.
Refuted:  if, where bias dominates, the interval of the share in which more data does not help
          lies below three quarters; inconclusive with fewer than 12 such problems. Declared
          moderator: whether the network with high bias has variance too (above a point).
Command:  python -m experiments bias_variance_digits
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import diagnose, lab, losses, optim, population
from jaxdl.lab import effects, instances, shares

CLAIM = lab.Claim(
    name="bias_variance_digits",
    title="High bias: does more data help?",
    quote="If you actually have a high bias problem, getting more training data is actually not "
    "going to help.",
    section="Basic Recipe for Machine Learning",
    quantifier="usually",
    number="22",
)

ARMS = {"as it is": (1, 1, 0.0), "4 × data": (4, 1, 0.0), "4 × units": (1, 4, 0.0),
        "L2": (1, 1, 2.0)}  # fmt: skip
"""Factors of data and units, and λ."""
FEATURES, MOST_UNITS, POOL, BATCH, POINT = 16, 24, 1200, 64, 0.01
DIAGNOSES = ("bias", "variance", "both", "neither", "unclear")


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems and steps of training."""

    problems: int = 90
    steps: int = 500
    rate: float = 0.01
    seed: int = 5000


FULL = Config(problems=400)
SMOKE = Config(problems=2, steps=5)


def train(config, run, tables):
    """Train and dev error of one network; units and examples beyond its own are masked."""
    rows, start, batches = jax.random.split(jax.random.key(run["seed"]), 3)
    x, y = instances.draw(tables, 0, rows, POOL + 597)
    there = jnp.arange(MOST_UNITS, dtype=jnp.float32) < run["units"]
    normal = jax.random.normal(start, (FEATURES + 10, MOST_UNITS))
    params = {
        "hidden": {"w": normal[:FEATURES] / FEATURES**0.5, "b": jnp.zeros(MOST_UNITS)},
        "last": {"w": normal[FEATURES:].T / jnp.sqrt(run["units"]), "b": jnp.zeros(10)},
    }

    def network(params, x, key=None):
        a = jnp.tanh(x @ params["hidden"]["w"] + params["hidden"]["b"][None, :])
        return (
            jnp.where(there[None, :], a, 0.0) @ params["last"]["w"] + params["last"]["b"][None, :]
        )

    # λ/2m with the m of all training examples, not of the batch.
    l2 = run["l2"] * BATCH / run["n"]
    cost = losses.objective(network, "softmax_cross_entropy", l2=l2)
    optimizer = optim.adam(config.rate)

    def step(carry, t):
        params, state = carry
        uniform = jax.random.uniform(jax.random.fold_in(batches, t), (BATCH,))
        i = (uniform * run["n"]).astype(jnp.int32)
        updates, state = optimizer.update(jax.grad(cost)(params, x[i], y[i]), state, params)
        return (optim.apply_updates(params, updates), state), None

    (params, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(config.steps))
    wrong = (network(params, x).argmax(-1).astype(y.dtype) != y).astype(jnp.float32)
    mine = jnp.arange(len(y), dtype=jnp.float32) < run["n"]
    return {"train": jnp.where(mine, wrong, 0).sum() / run["n"], "dev": wrong[POOL:].mean()}


def run(config):
    """(problems, arms): train and dev error, one program."""
    rng = np.random.default_rng(config.seed)
    n = np.exp(rng.uniform(np.log(64), np.log(299), config.problems)).round()
    units = np.exp(rng.uniform(0, np.log(6), config.problems)).round()
    more, wider, l2 = np.array(list(ARMS.values())).T
    runs = {
        "n": np.outer(n, more).ravel(),
        "units": np.outer(units, wider).ravel(),
        "l2": np.tile(l2, config.problems),
        "seed": np.repeat(config.seed + np.arange(config.problems), len(ARMS)),
    }
    tables = instances.tables(FEATURES, 1797, ("digits",))
    found = population.run(lambda r, t: train(config, r, t), runs, tables).outputs
    shape = (config.problems, len(ARMS))
    errors = {name: np.asarray(v, float).reshape(shape) for name, v in found.items()}
    diagnoses = [
        diagnose.bias_variance(t, d, n_train=int(m), n_dev=597).dominates
        for t, d, m in zip(errors["train"][:, 0], errors["dev"][:, 0], n, strict=True)
    ]
    return {"n": n, "units": units, "diagnosis": diagnoses, **errors}


def helps(measured):
    """(problems, arms): whether the remedy lowers the dev error by at least a point."""
    return measured["dev"][:, :1] - measured["dev"] >= POINT - 1e-9


def judge(config, measured):
    """Where bias dominates: the share of problems in which more data does not help."""
    diagnosis, help_ = np.array(measured["diagnosis"]), helps(measured)
    biased, varied = diagnosis == "bias", diagnosis == "variance"
    gap = (measured["dev"] - measured["train"])[:, 0]
    also = np.where(gap > POINT, "variance too", "bias alone")
    holds = ~help_[biased, 1] if biased.any() else np.zeros(1)
    found = shares.decide(holds, CLAIM.gamma, {"high bias": also[biased]} if biased.any() else None)
    table = {
        d: {arm: float(help_[diagnosis == d, j].mean()) for j, arm in enumerate(ARMS) if j}
        for d in DIAGNOSES
        if (diagnosis == d).any()
    }
    change = 100 * (measured["dev"] - measured["dev"][:, :1])
    return lab.Judgement(
        verdict=found.verdict if biased.sum() >= 12 else "inconclusive",
        sentence=(
            f"Where bias dominates ({biased.sum()} of {len(diagnosis)} networks), four times the "
            f"data does not help in {shares.percent(found.share)}; {(gap[biased] > POINT).sum()} "
            "of them have variance too"
            + described(help_[biased], change[biased], (1, 2))
            + f". Where variance dominates ({varied.sum()})"
            + described(help_[varied], change[varied], (1, 2))
            + "."
        ),
        estimate=lab.Estimate("share with high bias where more data does not help", *found.share),
        figures={
            f"{arm} helps, diagnosis {d}": share
            for d, row in table.items()
            for arm, share in row.items()
        },
        n_problems=max(int(biased.sum()), 1),
        arms=[
            {"name": "4 × units", "role": "better"},
            {"name": "4 × data", "role": "than"},
            {"name": "as it is", "role": "control"},
        ],
        effects=[
            effects.effect(
                arm, "as it is", measured["dev"][:, j], measured["dev"][:, 0], diagnosis,
                name="dev error, less", primary=j == 1, larger_is_better=False,
            )
            for j, arm in enumerate(ARMS)
            if j
        ],
        strata=[
            *found.strata,
            *shares.by_level(help_[:, 1], {"more data helps, diagnosis": diagnosis}),
            *shares.by_level(help_[:, 2], {"more units help, diagnosis": diagnosis}),
        ],
    )  # fmt: skip


def described(helped, change, arms):
    """What the remedies do, in words: how often they help and the median change in points."""
    if not len(helped):
        return ""
    words = (
        f"{arm} helps in {shares.percent(helped[:, j].mean())} ({np.median(change[:, j]):+.1f} "
        "points)"
        for j, arm in enumerate(ARMS)
        if j in arms
    )
    return ": " + ", ".join(words)


def chart(config, measured):
    """Train and dev error of every network by its diagnosis; what each remedy changes."""
    change = 100 * (measured["dev"] - measured["dev"][:, :1])
    base = {"examples": measured["n"].astype(int), "units": measured["units"].astype(int),
            "diagnosis": measured["diagnosis"],
            "train error": (100 * measured["train"][:, 0]).round(1),
            "dev error": (100 * measured["dev"][:, 0]).round(1)}  # fmt: skip
    rows = pd.concat(
        pd.DataFrame({**base, "remedy": arm, "change": change[:, j].round(1)})
        for j, arm in enumerate(ARMS)
        if j
    )
    pick = alt.selection_point(fields=["diagnosis"], bind="legend")
    color = alt.Color(
        "diagnosis:N",
        sort=list(DIAGNOSES),
        scale=alt.Scale(
            domain=list(DIAGNOSES), range=["#d97706", "#2f7fc1", "#7b5aa6", "#3b7d5b", "#8a8f98"]
        ),
        legend=alt.Legend(orient="top"),
    )
    opacity = alt.condition(pick, alt.value(0.8), alt.value(0.07))
    tooltip = list(rows.columns)
    points = (
        alt.Chart(pd.DataFrame(base))
        .mark_point(filled=True, size=55)
        .encode(
            x=alt.X("train error:Q", title="train error (%)"),
            y=alt.Y("dev error:Q", title="dev error (%)", scale=alt.Scale(zero=False)),
            color=color, opacity=opacity, tooltip=list(base),
        )
        .add_params(pick)
        .properties(width=270, height=270, title="As it is: choose a diagnosis in the legend")
    )  # fmt: skip
    remedies = (
        alt.Chart(rows)
        .transform_calculate(jitter="random()")
        .mark_point(filled=True, size=45)
        .encode(
            y=alt.Y("remedy:N", sort=list(ARMS), title=None),
            yOffset="jitter:Q",
            x=alt.X("change:Q", title="change of the dev error (points)"),
            color=color, opacity=opacity, tooltip=tooltip,
        )
        .properties(width=270, height=270, title="After a remedy: left of 0 it helped")
    )  # fmt: skip
    zero = alt.Chart(pd.DataFrame({"x": [0]})).mark_rule(strokeDash=[4, 4]).encode(x="x:Q")
    return points | (remedies + zero)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
