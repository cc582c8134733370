"""Claim: L2 regularisation is weight decay.

Section:  "Regularization".
Setting:  small ReLU networks on four real tables, mini-batches, float64. Each problem is trained
          twice from the same weights on the same batches: with the gradient of the cost that
          contains λ/2m ‖W‖² (L2), and with the gradient of the cost alone, the weights being
          shrunk by αλ/m in the same step (weight decay). Eight optimizers; rate and λ drawn anew.
          Measured: the largest distance of the two paths over the length of the first.
Predicts: with plain descent, with a constant rate or a falling one, the paths are the same to
          rounding (1e-9). With momentum L2 enters the average and decay does not, with adaptive
          optimizers L2 is divided by the root of squares and decay is not (Loshchilov and Hutter
          2019): the paths part, and no other coefficient of decay brings them together.
Refuted:  if a path of plain descent parts from its twin, or those of Adam do not.
          Declared moderator: the optimizer.
Command:  python -m experiments l2_is_weight_decay
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, losses, models, optim, population
from jaxdl.lab import instances, problems, shares

CLAIM = lab.Claim(
    name="l2_is_weight_decay",
    title="Is L2 regularisation weight decay?",
    quote="L2 regularization is sometimes also called weight decay.",
    section="Regularization",
    quantifier="always",
    number="26",
    literature=(
        lab.Source(
            "Loshchilov and Hutter 2019, Decoupled weight decay regularization",
            "L2 and weight decay are the same for plain stochastic gradient descent and differ "
            "for Adam, where decay generalises better",
            "partly",
        ),
    ),
)

SAME = 1e-9
FACTORS = tuple(2.0 ** np.arange(-4, 5))
"""Other coefficients of decay that are tried, relative to that of L2."""
ROWS, FEATURES, BATCH = 100, 16, 25

# Name, direction of the step, and the middle of the rates that are drawn.
OPTIMIZERS = (
    ("plain descent", optim.identity(), 0.1),
    ("plain descent, falling rate", optim.identity(), 0.3),
    ("heavy ball", optim.trace(0.9), 0.02),
    ("momentum as printed", optim.ema(0.9, debias=False), 0.1),
    ("RMSprop", optim.scale_by_rms(), 0.01),
    ("Adagrad", optim.scale_by_adagrad(), 0.05),
    ("Adam", optim.scale_by_adam(), 0.01),
    ("Lion", optim.scale_by_lion(), 0.003),
)
NAMES = tuple(name for name, _, _ in OPTIMIZERS)


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems of each table and optimizer; steps of training; steps and λs in the picture."""

    problems: int = 6
    steps: int = 100
    shown: int = 60
    penalties: tuple[float, ...] = (0.03, 0.1, 0.3)
    seed: int = 0


FULL = Config(problems=75)
SMOKE = Config(problems=1, steps=4, shown=4, penalties=(0.1,))


def stepper(which, rate, decay, mask=None):
    """The optimizer of that number, with `decay` of the weights beside its direction."""
    direction = problems.one_of(which, *(one for _, one, _ in OPTIMIZERS))
    decayed = optim.add_decayed_weights(decay, mask)

    def falling(count):
        return rate / jnp.where(which == 1, 1 + 0.05 * count.astype(float), 1.0)

    return optim.chain(direction, decayed, optim.scale_by_learning_rate(falling))


def path(config, x, y, l2, decay, steps):
    """All weights (steps + 1, P) of one run; `l2` is λ of the cost, `decay` λ/m of the step."""
    model = models.mlp((FEATURES, 6, 10))
    cost = losses.objective(model, "softmax_cross_entropy", l2=l2 * BATCH / ROWS)
    start, order = jax.random.split(jax.random.key(config["seed"]))
    weights = [{"w": True, "b": False}, {"w": True, "b": False}]
    optimizer = stepper(config["which"], config["rate"], decay, weights)

    def step(carry, i):
        params, state = carry
        rows = jax.random.permutation(jax.random.fold_in(order, i), ROWS)[:BATCH]
        updates, state = optimizer.update(jax.grad(cost)(params, x[rows], y[rows]), state, params)
        params = optim.apply_updates(params, updates)
        return (params, state), jax.flatten_util.ravel_pytree(params)[0]

    params = model.init(start)
    _, after = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(steps))
    return jnp.concatenate([jax.flatten_util.ravel_pytree(params)[0][None], after])


def compare(config, tables, steps):
    """Distances of the two paths at every step, and how near other coefficients come at the end."""
    x, y = instances.draw(tables, config["table"], jax.random.key(config["seed"] + 5000), ROWS)
    strength = config["l2"]
    pairs = jnp.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), *((0.0, f) for f in FACTORS)])
    ends = jax.lax.map(
        lambda pair: path(config, x, y, pair[0] * strength, pair[1] * strength / ROWS, steps), pairs
    )
    plain, l2, decay = ends[:3]
    gaps = jnp.linalg.norm(decay - l2, axis=1)
    lengths = jnp.linalg.norm(jnp.diff(l2, axis=0), axis=1).sum()
    effect = jnp.linalg.norm(plain[-1] - l2[-1])
    nearest = jnp.linalg.norm(ends[3:, -1] - l2[None, -1], axis=1)
    return {"gaps": gaps / lengths, "effect": effect / lengths, "nearest": nearest / lengths}


def run(config):
    """All problems as one program in float64, and the paths in a valley that the chart shows."""
    axes = {"which": range(len(NAMES)), "table": range(4), "number": range(config.problems)}
    configs = population.grid(**axes)
    rng = np.random.default_rng(config.seed)
    count = len(configs["which"])
    middle = np.array([rate for _, _, rate in OPTIMIZERS])[configs["which"]]
    configs["rate"] = middle * np.exp(rng.uniform(-1, 1, count) * np.log(3))
    configs["l2"] = np.exp(rng.uniform(np.log(0.3), np.log(10), count))
    configs["seed"] = config.seed * 1000 + configs.pop("number")
    with jax.enable_x64(True):
        tables = instances.tables(FEATURES, 150)
        found = population.run(lambda c, t: compare(c, t, config.steps), configs, tables)
        valley = population.run(
            lambda c: valley_path(c, config.shown),
            population.grid(
                which=range(len(NAMES)), penalty=config.penalties, coupled=[False, True]
            ),
        )
    shape = (len(NAMES), len(config.penalties), 2, config.shown + 1, 2)
    measured = {n: v.reshape(len(NAMES), -1, *v.shape[1:]) for n, v in found.outputs.items()}
    return measured | {"valley": valley.outputs.reshape(shape)}


def valley_path(config, steps):
    """Descent into a slanted valley ½ (w − w*)ᵀH(w − w*) with L2, in the gradient or the step."""
    turned = jnp.array([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5
    curvature = turned @ jnp.diag(jnp.array([1.0, 0.05])) @ turned.T
    inside = jnp.where(config["coupled"], config["penalty"], 0.0)
    rates = jnp.array([0.3, 0.6, 0.05, 0.3, 0.08, 0.3, 0.08, 0.05])
    optimizer = stepper(config["which"], rates[config["which"]], config["penalty"] - inside)

    def step(carry, _):
        w, state = carry
        gradient = curvature @ (w - jnp.array([1.5, 0.5])) + inside * w
        updates, state = optimizer.update(gradient, state, w)
        return (w + updates, state), w + updates

    w = jnp.array([-1.0, 2.0])
    return jnp.concatenate([w[None], jax.lax.scan(step, (w, optimizer.init(w)), length=steps)[1]])


def judge(config, measured):
    """The share of problems in which both paths are the same to rounding."""
    worst = measured["gaps"].max(axis=-1)
    holds = worst <= SAME
    names = np.repeat(NAMES, worst.shape[1])
    found = shares.decide(holds.ravel(), CLAIM.gamma, {"optimizer": names}, names)
    share = dict(zip(NAMES, holds.mean(axis=1), strict=True))
    parted = [name for name, value in share.items() if value == 0]
    apart = measured["gaps"][..., -1] / measured["effect"]
    nearest = measured["nearest"].min(axis=-1) / measured["effect"]
    adam = NAMES.index("Adam")
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"With plain descent, at a constant rate or a falling one, the two paths are the same "
            f"in {shares.percent(holds[:2].mean())} of problems, {exactly(worst[:2].max())}; with "
            f"{listed(parted)} they part in every problem. With Adam they end "
            f"{np.median(apart[adam]):.2f} times as far from each other as L2 ends from no "
            f"penalty at all (median), and the best of {len(FACTORS)} other coefficients still "
            f"leaves {np.median(nearest[adam]):.2f}."
        ),
        estimate=lab.Estimate("share of problems in which the paths are the same", *found.share),
        figures={
            f"{name}: {what}": float(f"{value:.3g}")
            for i, name in enumerate(NAMES)
            for what, value in (
                ("largest distance / length of the path", worst[i].max()),
                ("final distance / effect of L2, median", np.median(apart[i])),
                ("the same with the best other coefficient", np.median(nearest[i])),
            )
        },
        n_problems=holds.size,
        arms=[{"name": "L2", "role": "better"}, {"name": "weight decay", "role": "than"}],
        strata=found.strata,
        curves=[
            {
                "protocol": "same coefficient",
                "family": name,
                "arm": name,
                "x": list(range(0, config.steps + 1, 2)),
                **{
                    line: [float(f"{v:.3g}") for v in np.quantile(logs, q, axis=0)[::2]]
                    for line, q in (("low", 0.1), ("median", 0.5), ("high", 0.9))
                },
                "x_name": "steps",
                "y_name": "log₁₀ distance / length of the path",
            }
            for name, gaps in zip(NAMES, measured["gaps"], strict=True)
            for logs in (np.log10(np.maximum(gaps, 1e-17)),)
        ],
    )


def exactly(distance):
    """How near two paths come that are called the same."""
    return "to the last bit" if distance == 0 else f"to {distance:.0e} of their length"


def listed(names):
    """ "a, b and c"."""
    return " and ".join(", ".join(names).rsplit(", ", 1)) or "none"


def chart(config, measured):
    """Two paths in a valley, by optimizer and λ; and how far they part in the networks."""
    rows = [
        {"optimizer": name, "step": t, "k": k, "ax": a[0], "ay": a[1], "bx": b[0], "by": b[1]}
        for i, name in enumerate(NAMES)
        for k in range(len(config.penalties))
        for t, (b, a) in enumerate(zip(*measured["valley"][i, k].round(3).tolist(), strict=True))
    ]
    menu = alt.param(
        "optimizer", value="Adam", bind=alt.binding_select(options=list(NAMES), name="Optimizer ")
    )
    slider = alt.param(
        "k",
        value=len(config.penalties) - 1,
        bind=alt.binding_range(
            min=0, max=len(config.penalties) - 1, step=1, name="λ/m, small … large "
        ),
    )
    base = alt.Chart(pd.DataFrame(rows)).transform_filter(
        "datum.optimizer == optimizer && datum.k == k"
    )
    scale = alt.Scale(domain=["L2", "weight decay"], range=["#2f7fc1", "#d97706"])
    color = alt.Color("arm:N", title=None, scale=scale, legend=alt.Legend(orient="top"))

    def line(arm, x, y, dash):
        return (
            base.transform_calculate(arm=f"'{arm}'")
            .mark_line(point={"size": 18}, strokeDash=dash, strokeWidth=2)
            .encode(
                x=alt.X(f"{x}:Q", title="w₁", scale=alt.Scale(domain=[-1.5, 2])),
                y=alt.Y(f"{y}:Q", title="w₂", scale=alt.Scale(domain=[-1, 2.5])),
                order="step:Q",
                color=color,
                tooltip=["optimizer", "step", alt.Tooltip(f"{x}:Q"), alt.Tooltip(f"{y}:Q")],
            )
        )

    paths = line("L2", "ax", "ay", [1, 0]) + line("weight decay", "bx", "by", [5, 3])
    return (
        alt.hconcat(
            paths.properties(width=300, height=300, title="Two paths in a valley"),
            parting(measured),
        )
        .resolve_scale(color="independent")
        .add_params(menu, slider)
    )


def parting(measured):
    """The median distance of the paths over the steps, one line for each optimizer."""
    rows = [
        {"optimizer": name, "step": t, "distance": float(f"{max(d, 1e-17):.2g}")}
        for name, gaps in zip(NAMES, measured["gaps"], strict=True)
        for t, d in enumerate(np.median(gaps, axis=0))
        if t % 4 == 1
    ]
    scheme = alt.Scale(scheme="dark2")
    pick = alt.condition("datum.optimizer == optimizer", alt.value(3.5), alt.value(1.5))
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_line()
        .encode(
            x=alt.X("step:Q", title="steps"),
            y=alt.Y(
                "distance:Q",
                title="distance / length of the path",
                scale=alt.Scale(type="log", domain=[1e-17, 1]),
                axis=alt.Axis(format=".0e", tickCount=6),
            ),
            color=alt.Color("optimizer:N", sort=list(NAMES), scale=scheme, title=None),
            strokeWidth=pick,
            tooltip=["optimizer", "step", "distance"],
        )
        .properties(width=300, height=300, title="How far the paths of networks part")
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
