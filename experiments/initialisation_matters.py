"""Claim: a careful scale of the initial weights makes very deep networks trainable.

Section:  "Weight Initialization for Deep Networks", "Vanishing / Exploding gradients".
Setting:  networks with 30 hidden layers of 16 units on 32 rows of a real table, ReLU or tanh,
          full-batch gradient descent or Adam, 200 steps. Weights N(0, s²) with s = √(2/n) (He),
          √(1/n) (the notes' Xavier), or 0.01. A problem is a table, its rows, an activation, an
          optimizer and one draw of standard normal weights, which the three scales share. Each
          scale gets the best of the same three learning rates. A network trains if its cost falls
          to half of the best cost of a constant prediction, the entropy of the labels. (The rates
          were chosen after a pilot on other problems.)
Predicts: the statement holds in a problem if the scale that the notes recommend (He for ReLU,
          Xavier for tanh) trains and 0.01 does not. It holds in at least three quarters of the
          problems ("usually", our reading of "significantly reduce"). With ReLU, He trains where
          Xavier does not in at least half of the problems (He et al. 2015 saw Xavier stall at 30
          layers).
Refuted:  if the interval of the share lies below three quarters. Declared moderators:
          activation and optimizer.
Command:  python -m experiments initialisation_matters
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import activations, lab, losses, optim, population
from jaxdl.lab import effects, instances, shares

CLAIM = lab.Claim(
    name="initialisation_matters",
    title="The scale of the first weights decides whether 30 layers train",
    quote="Use careful choices of the random weight initialization to significantly reduce this "
    "problem.",
    section="Vanishing / Exploding gradients",
    quantifier="usually",
    number="41",
    headline=True,
    literature=(
        lab.Source(
            "He et al. 2015, Delving deep into rectifiers",
            "a convolutional network of 30 layers with ReLU trains from standard deviation √(2/n) "
            "and stalls from Xavier's",
            "agrees",
        ),
        lab.Source(
            "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward "
            "neural networks",
            "weights scaled to the width keep activations and gradients alive in tanh networks",
            "agrees",
        ),
    ),
)

SCALES = ("He", "Xavier", "0.01")
RATES = {"gradient descent": (0.01, 0.03, 0.1), "Adam": (0.0005, 0.001, 0.003)}
LAYERS, WIDTH, ROWS, EVERY = 30, 16, 32, 10


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems of each table, activation and optimizer; steps of training."""

    problems: int = 4
    steps: int = 200
    seed: int = 2000


FULL = Config(problems=40)
SMOKE = Config(problems=1, steps=10)


def start(run, key):
    """Weights of the run's scale: standard normal draws that the scales share, times s."""
    hidden, last = jax.random.split(key)
    s = jnp.select(
        [run["scale"] == 0, run["scale"] == 1], [(2 / WIDTH) ** 0.5, (1 / WIDTH) ** 0.5], 0.01
    )
    return {
        "w": s * jax.random.normal(hidden, (LAYERS, WIDTH, WIDTH)),
        "b": jnp.zeros((LAYERS, WIDTH)),
        "last": s * jax.random.normal(last, (WIDTH, 10)),
        "c": jnp.zeros(10),
    }


def network(params, x, relu):
    """Logits; the hidden layers are alike, so one layer is compiled and scanned over."""

    def layer(a, p):
        z = a @ p["w"] + p["b"][None, :]
        return jax.lax.cond(relu, activations.relu, activations.tanh, z), None

    a, _ = jax.lax.scan(layer, x, {"w": params["w"], "b": params["b"]})
    return a @ params["last"] + params["c"][None, :]


def train(run, tables, steps):
    """The cost, every tenth step, as a share of the entropy of the labels."""
    rows, key = jax.random.split(jax.random.key(run["seed"]))
    x, y = instances.draw(tables, run["family"], rows, ROWS)
    entropy = instances.entropy(y, 10)

    def cost(params):
        return losses.softmax_cross_entropy(network(params, x, run["relu"]), y).mean() / entropy

    params = start(run, key)
    rate = run["rate"]
    descent, adam = optim.gradient_descent(rate), optim.adam(rate)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(cost)(params)
        plain, _ = descent.update(grads, descent.init(params), params)
        adapted, state = adam.update(grads, state, params)
        updates = jax.tree.map(lambda p, a: jnp.where(run["adam"], a, p), plain, adapted)
        return (optim.apply_updates(params, updates), state), value

    (params, _), costs = jax.lax.scan(step, (params, adam.init(params)), length=steps)
    return jnp.append(costs[::EVERY], cost(params))


def run(config):
    """(tables, problems, activations, optimizers, scales, steps): the cost at the best rate."""
    axes = {
        "family": range(len(instances.TABLES)),
        "problem": range(config.problems),
        "relu": [True, False],
        "adam": [False, True],
        "scale": range(len(SCALES)),
        "which": range(3),
    }
    runs = population.grid(**axes)
    # Rows and weights of its own for every problem; what is compared in one shares them.
    runs["seed"] = config.seed + np.arange(len(runs.pop("problem"))) // (len(SCALES) * 3)
    runs["rate"] = np.array(list(RATES.values()))[runs["adam"].astype(int), runs.pop("which")]
    found = population.run(
        lambda r, t: train(r, t, config.steps), runs, instances.tables(WIDTH)
    ).outputs
    shape = tuple(len(list(v)) for v in axes.values())
    costs = np.nan_to_num(found, nan=np.inf).reshape(*shape, -1)
    best = costs[..., -1].argmin(-1)[..., None, None]
    return {"cost": np.take_along_axis(costs, best, axis=-2)[..., 0, :]}


def judge(config, measured):
    """The share of problems where the recommended scale trains and 0.01 does not."""
    trains = measured["cost"][..., -1] <= 0.5
    he, xavier, small = np.moveaxis(trains, -1, 0)
    shape = he.shape
    relu = np.arange(2)[None, None, :, None] == 0
    careful = np.where(relu, he, xavier)
    families, _, relus, adams = (np.broadcast_to(i, shape).ravel() for i in np.indices(shape))
    moderators = {
        "activation": np.where(relus == 0, "relu", "tanh"),
        "optimizer": np.array(list(RATES))[adams],
    }
    end = measured["cost"][..., -1]
    careful_cost = np.where(relu, end[..., 0], end[..., 1])
    holds = (careful & ~small).ravel()
    found = shares.decide(holds, CLAIM.gamma, moderators, families)
    stalls = shares.decide((he & ~xavier)[:, :, 0].ravel(), 0.5)
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"With 30 layers the recommended scale trains and 0.01 does not in "
            f"{shares.percent(found.share)} of {len(holds)} problems; it trains in "
            f"{shares.percent(careful.mean())}, 0.01 in {shares.percent(small.mean())}. With "
            "ReLU, He trains in "
            f"{shares.percent(he[:, :, 0].mean())} and Xavier in "
            f"{shares.percent(xavier[:, :, 0].mean())}: He where Xavier "
            f"does not in {shares.percent(stalls.share)}. With tanh, He trains in "
            f"{shares.percent(he[:, :, 1].mean())}, Xavier in "
            f"{shares.percent(xavier[:, :, 1].mean())}."
        ),
        estimate=lab.Estimate(
            "share of problems that the recommended scale makes trainable", *found.share
        ),
        figures={
            f"trains: {s}, {a}, {o}": float(trains[:, :, i, j, k].mean())
            for i, a in enumerate(("relu", "tanh"))
            for j, o in enumerate(RATES)
            for k, s in enumerate(SCALES)
        },
        n_problems=len(holds),
        arms=[
            {"name": "recommended", "role": "better"},
            {"name": "0.01", "role": "than"},
        ],
        effects=[
            effects.effect(
                "recommended",
                "0.01",
                careful_cost.ravel(),
                end[..., 2].ravel(),
                table_names(families),
                name="cost / entropy, saved",
                protocol="best of three rates",
                larger_is_better=False,
            )
        ],
        strata=[*found.strata, *shares.by_level(holds, {"family": table_names(families)})],
        curves=curves(config, measured),
    )


def table_names(families):
    """Names for numbers."""
    return np.array(instances.TABLES)[families]


def curves(config, measured):
    """Cost against steps: median and middle half over tables and problems."""
    at = [*range(0, config.steps, EVERY), config.steps]
    return [
        {
            "protocol": "best of three rates",
            "family": f"{a}, {o}",
            "arm": s,
            "x": at,
            **{
                line: np.minimum(
                    np.quantile(measured["cost"][:, :, i, j, k], q, axis=(0, 1)), 3
                ).round(3).tolist()
                for line, q in (("low", 0.25), ("median", 0.5), ("high", 0.75))
            },
            "x_name": "step",
            "y_name": "cost / entropy of the labels",
        }
        for i, a in enumerate(("relu", "tanh"))
        for j, o in enumerate(RATES)
        for k, s in enumerate(SCALES)
    ]  # fmt: skip


COLOR = alt.Color(
    "scale:N",
    sort=list(SCALES),
    title=None,
    scale=alt.Scale(domain=list(SCALES), range=["#2f7fc1", "#3b7d5b", "#d97706"]),
    legend=alt.Legend(orient="top"),
)


def chart(config, measured):
    """How many networks train; below, the cost along training for the menus' choice."""
    lines = pd.DataFrame(
        [
            {"activation": c["family"].split(", ")[0], "optimizer": c["family"].split(", ")[1],
             "scale": c["arm"], "step": x, "low": low, "cost": middle, "high": high}
            for c in curves(config, measured)
            for x, low, middle, high in zip(c["x"], c["low"], c["median"], c["high"], strict=True)
        ]
    )  # fmt: skip
    activation = alt.param(
        "activation", value="relu", bind=alt.binding_radio(options=["relu", "tanh"])
    )
    optimizer = alt.param(
        "optimizer", value=next(iter(RATES)), bind=alt.binding_radio(options=list(RATES))
    )
    base = (
        alt.Chart(lines)
        .transform_filter("datum.activation == activation && datum.optimizer == optimizer")
        .encode(x="step:Q", color=COLOR)
    )
    scale = alt.Scale(domain=[0, 2], clamp=True)
    y = alt.Y("cost:Q", title="cost / entropy of the labels", scale=scale)
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line(strokeWidth=2.5).encode(
        y=y, tooltip=["activation", "optimizer", "scale", "step", "low", "cost", "high"]
    )
    rule = alt.Chart(pd.DataFrame({"cost": [0.5]})).mark_rule(strokeDash=[4, 4]).encode(y="cost:Q")
    below = (band + line + rule).add_params(activation, optimizer)
    title = "Median and middle half of the problems; below the dashes a network counts as trained"
    return alt.vconcat(success(measured), below.properties(width=560, height=240, title=title))


def success(measured):
    """Share of networks that train, by scale, activation and optimizer."""
    share = (measured["cost"][..., -1] <= 0.5).mean((0, 1))
    rows = pd.DataFrame(
        [
            {"scale": s, "setting": f"{a}, {o}", "share": round(float(share[i, j, k]), 3)}
            for i, a in enumerate(("relu", "tanh"))
            for j, o in enumerate(RATES)
            for k, s in enumerate(SCALES)
        ]
    )
    base = alt.Chart(rows).encode(
        x=alt.X("setting:N", title=None, axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("scale:N", sort=list(SCALES)),
        y=alt.Y("share:Q", title="networks that train", axis=alt.Axis(format="%"),
                scale=alt.Scale(domain=[0, 1])),
        tooltip=["scale", "setting", alt.Tooltip("share", format=".0%")],
    )  # fmt: skip
    text = base.mark_text(dy=-7).encode(text=alt.Text("share:Q", format=".0%"))
    return (base.mark_bar().encode(color=COLOR) + text).properties(width=560, height=190)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
