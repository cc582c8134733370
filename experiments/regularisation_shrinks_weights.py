"""Claim: dropout shrinks the weights, as L2 does, and a large L2 all but removes hidden units.

Section:  "Understanding Dropout", "Why regularization reduces overfitting?".
Setting:  (a) networks 16-16-16-10 on 60 rows of four real tables, ReLU or tanh, 1,200 steps of
          full-batch gradient descent with nothing, L2 (λ = 1), a large L2 (λ = 20), L1 (λ = 0.2)
          or dropout with keep_prob ~ U(0.5, 0.9); same rows, weights and steps. A problem is a
          table, its rows, an activation and initial weights.
          Measured: the norm of all weight matrices at the end, after a third of the steps, and
          where the cost without dropout first reaches half the entropy of the labels; and the
          norms of the first layer's units. (b) least squares with inputs dropped: the cost
          averaged over all 2ᵈ masks against ridge with the penalty (1 − p)/p Σⱼ ‖xⱼ‖² wⱼ². (A pilot
          on other problems had shorter runs and fewer problems.)
Predicts: (a) with dropout the final norm is smaller than with nothing in at least three quarters of
          the problems ("usually"); L2 and L1 shrink it in all. At λ = 20 at least half of the
          units of a ReLU layer have less than a hundredth of the norm they have with nothing;
          with tanh fewer. (b) Equal to 1e-12, so for least squares dropout is L2 exactly
          (Srivastava et al. 2014; Wager, Wang and Liang 2013).
Refuted:  (a) if the interval of the share for dropout lies below three quarters. Declared
          moderators: activation and table. (b) by one problem off by more.
Command:  python -m experiments regularisation_shrinks_weights
"""

import dataclasses
import itertools
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import activations, backprop, lab, losses, models, optim, population, stats
from jaxdl.lab import effects, instances, shares

CLAIM = lab.Claim(
    name="regularisation_shrinks_weights",
    title="Does dropout shrink the weights as L2 does?",
    quote="Similar to what we saw with L2 regularization, the effect of implementing dropout is "
    "that it shrinks the weights",
    section="Understanding Dropout",
    quantifier="usually",
    number="27/30",
    literature=(
        lab.Source(
            "Wager, Wang and Liang 2013, Dropout training as adaptive regularization",
            "for generalised linear models dropout is, to first order, an L2 penalty scaled by "
            "the features",
            "agrees",
        ),
        lab.Source(
            "Helmbold and Long 2017, Surprising properties of dropout in deep networks",
            "in deep networks dropout's penalty behaves unlike that of L2",
            "disagrees",
        ),
    ),
)

ARMS = {
    "nothing": (0.0, 0.0, False),
    "L2": (1.0, 0.0, False),
    "large L2": (20.0, 0.0, False),
    "L1": (0.0, 0.2, False),
    "dropout": (0.0, 0.0, True),
}
"""λ of L2, λ of L1, whether units are dropped."""
SIZES, ROWS, EVERY, GONE = (16, 16, 16, 10), 60, 10, 0.01


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems of each table and activation, draws of weights, steps and rate."""

    problems: int = 8
    draws: int = 1
    steps: int = 1200
    rate: float = 0.1
    seed: int = 5000


FULL = Config(problems=40)
SMOKE = Config(problems=1, draws=1, steps=20)


def train(config, run, tables):
    """Norm of the weights and cost without dropout, every tenth step; norms of the first units."""
    rows, kept = jax.random.split(jax.random.key(run["problem"]))
    start, masks = jax.random.split(jax.random.fold_in(kept, run["draw"]))
    x, y = instances.draw(tables, run["family"], rows, ROWS)
    keep_prob = jnp.where(run["drop"], jax.random.uniform(kept, minval=0.5, maxval=0.9), 1.0)
    g = activations.Activation(
        lambda z: jnp.where(run["relu"], activations.relu(z), activations.tanh(z)),
        lambda z: jnp.where(run["relu"], activations.relu_prime(z), activations.tanh_prime(z)),
    )
    model = models.mlp(SIZES, g, keep_prob=keep_prob)
    plain = losses.objective(model, "softmax_cross_entropy")
    gradient = backprop.value_and_grad(model, "softmax_cross_entropy", l2=run["l2"], l1=run["l1"])
    optimizer = optim.gradient_descent(config.rate)

    def step(carry, t):
        params, state = carry
        _, grads = gradient(params, x, y, jax.random.fold_in(masks, t))
        updates, state = optimizer.update(grads, state, params)
        return (optim.apply_updates(params, updates), state), None

    def block(carry, i):
        carry, _ = jax.lax.scan(step, carry, i * EVERY + jnp.arange(EVERY))
        size = jnp.sqrt(sum(jnp.square(p["w"]).sum() for p in carry[0]))
        return carry, (size, plain(carry[0], x, y))

    params = model.init(start)
    blocks = jnp.arange(config.steps // EVERY)
    (params, _), (size, cost) = jax.lax.scan(block, (params, optimizer.init(params)), blocks)
    units = jnp.linalg.norm(params[0]["w"], axis=0)
    return {"norm": size, "cost": cost / instances.entropy(y, 10), "units": jnp.sort(units)[::-1]}


def run(config):
    """(tables, activations, problems, draws, arms) of everything, one program; and the identity."""
    axes = {
        "family": range(len(instances.TABLES)),
        "relu": [True, False],
        "problem": config.seed + np.arange(config.problems),
        "draw": range(config.draws),
        "arm": range(len(ARMS)),
    }
    runs = population.grid(**axes)
    l2, l1, drop = np.array(list(ARMS.values()), float)[runs.pop("arm")].T
    runs |= {"l2": l2, "l1": l1, "drop": drop > 0}
    tables = instances.tables(SIZES[0])
    found = population.run(lambda r, t: train(config, r, t), runs, tables).outputs
    shape = tuple(len(list(v)) for v in axes.values())
    found = {k: np.asarray(v, float).reshape(*shape, -1) for k, v in found.items()}
    relative = found["norm"] / found["norm"][..., :1, :]
    return {
        "identity": [identity(seed) for seed in range(config.problems)],
        "final": found["norm"][..., -1],
        "third": found["norm"][..., found["norm"].shape[-1] // 3],
        "early": at_target(found["norm"], found["cost"]),
        "gone": (found["units"][..., 2, :] < GONE * found["units"][..., 0, :]).mean((0, 2, 3, 4)),
        "relative": np.quantile(relative, (0.25, 0.5, 0.75), (0, 2, 3))[..., ::4].round(3),
        "units": np.median(found["units"], axis=(0, 2, 3)),
    }


def identity(seed):
    """Relative difference of the cost averaged over all masks to the cost of ridge."""
    rng = np.random.default_rng(seed)
    x, w, y, p = rng.normal(size=(20, 8)), rng.normal(size=8), rng.normal(size=20), 0.7
    average = 0.0
    for mask in itertools.product((0, 1), repeat=8):
        kept = sum(mask)
        chance = p**kept * (1 - p) ** (8 - kept)
        average += chance * np.sum((y - (x * mask / p) @ w) ** 2)
    ridge = np.sum((y - x @ w) ** 2) + (1 - p) / p * np.sum((x**2).sum(0) * w**2)
    return float(abs(average - ridge) / ridge)


def at_target(norm, cost):
    """The norm where the cost first reaches half the entropy; inf where it never does."""
    reached = cost <= 0.5
    first = np.take_along_axis(norm, reached.argmax(-1)[..., None], axis=-1)[..., 0]
    return np.where(reached.any(-1), first, np.inf)


def shrinks(norms, arm):
    """(n,) whether the median draw of a problem has a smaller norm in this arm; ½ for a tie."""
    nothing, other = norms[..., 0], norms[..., list(ARMS).index(arm)]
    difference = stats.differences(nothing, other)
    return ((np.sign(np.median(difference, axis=-1)) + 1) / 2).ravel()


def judge(config, measured):
    """The share of problems in which dropout ends with smaller weights than nothing."""
    final, gone = measured["final"], measured["gone"]
    shape = final.shape[:3]
    families, relus, _ = (i.ravel() for i in np.indices(shape))
    names = np.array(instances.TABLES)[families]
    activation = np.where(relus == 0, "relu", "tanh")
    found = shares.decide(
        shrinks(final, "dropout"), CLAIM.gamma, {"activation": activation, "family": names}, names
    )
    share = {arm: float(shrinks(final, arm).mean()) for arm in list(ARMS)[1:]}
    equal = shares.decide(shrinks(measured["early"], "dropout"), CLAIM.gamma, None, names).share
    third = shares.decide(shrinks(measured["third"], "dropout"), CLAIM.gamma, None, names).share
    ratio = np.median(final / final[..., :1], axis=(0, 2, 3))
    by_g = {a: shrinks(final, "dropout")[activation == a].mean() for a in ("relu", "tanh")}
    exact = max(measured["identity"])
    return lab.Judgement(
        verdict=found.verdict if exact < 1e-12 else "inconclusive",
        sentence=(
            f"Dropout ends with smaller weights than no regularisation in "
            f"{shares.percent(found.share)} of {len(families)} problems, in "
            f"{shares.percent(by_g['relu'])} "
            f"with ReLU and {shares.percent(by_g['tanh'])} with tanh (median norm "
            f"{ratio[0, -1]:.2f} and "
            f"{ratio[1, -1]:.2f} times that with nothing; with L2 {ratio[0, 1]:.2f} and "
            f"{ratio[1, 1]:.2f}). After a third of the steps it did in {shares.percent(third)}, at "
            f"equal cost in {shares.percent(equal)}; L2 and L1 do in "
            f"{shares.percent(share['L2'])} and "
            f"{shares.percent(share['L1'])}. At λ = 20 a unit has less than a hundredth of its "
            "norm in "
            f"{shares.percent(gone[0])} of cases with ReLU and {shares.percent(gone[1])} with "
            "tanh (predicted: half, and "
            f"fewer). For least squares dropout is L2 exactly (to {exact:.0e})."
        ),
        estimate=lab.Estimate("share of problems where dropout shrinks the weights", *found.share),
        figures={
            **{
                f"median norm / norm with nothing, {arm}, {a}": float(ratio[i, j])
                for j, arm in enumerate(ARMS)
                for i, a in enumerate(("relu", "tanh"))
                if j
            },
            **{f"share of problems with smaller weights, {k}": v for k, v in share.items()},
            "units gone at λ = 20, relu": float(gone[0]),
            "units gone at λ = 20, tanh": float(gone[1]),
        },
        n_problems=len(families),
        n_seeds=config.draws,
        arms=[
            {"name": "dropout", "role": "better"},
            {"name": "nothing", "role": "than"},
            {"name": "L2", "role": "control"},
        ],
        effects=[
            effects.effect(
                arm,
                "nothing",
                np.log(final[..., j].reshape(len(names), -1)),
                np.log(final[..., 0].reshape(len(names), -1)),
                names,
                name="log of the norm, less",
                primary=arm == "dropout",
                larger_is_better=False,
            )
            for j, arm in enumerate(ARMS)
            if j
        ],
        strata=found.strata,
    )


def chart(config, measured):
    """The norm along training relative to nothing, and the first layer's units by rank."""
    colors = ["#8a8f98", "#2f7fc1", "#08306b", "#3b7d5b", "#d97706"]
    color = alt.Color(
        "arm:N",
        title=None,
        sort=list(ARMS),
        scale=alt.Scale(domain=list(ARMS), range=colors),
        legend=alt.Legend(orient="top"),
    )
    which = alt.param("activation", value="relu", bind=alt.binding_radio(options=["relu", "tanh"]))
    rows, spectra = [], []
    for i, a in enumerate(("relu", "tanh")):
        for j, arm in enumerate(ARMS):
            low, middle, high = measured["relative"][:, i, j]
            rows += [
                {"activation": a, "arm": arm, "step": (4 * k + 1) * EVERY, "low": low[k],
                 "ratio": middle[k], "high": high[k]}
                for k in range(len(middle))
            ]  # fmt: skip
            spectra += [
                {"activation": a, "arm": arm, "rank": k + 1, "norm": float(f"{max(v, 1e-6):.3g}")}
                for k, v in enumerate(measured["units"][i, j])
            ]
    chosen = "datum.activation == activation"
    base = alt.Chart(pd.DataFrame(rows)).transform_filter(chosen).encode(x="step:Q", color=color)
    scale = alt.Scale(zero=False)
    title = "norm of the weights / with nothing"
    lines = base.mark_area(opacity=0.2).encode(
        y=alt.Y("low:Q", scale=scale, title=title), y2="high:Q"
    ) + base.mark_line(strokeWidth=2).encode(
        y=alt.Y("ratio:Q", scale=scale, title=title),
        tooltip=["arm", "step", "low", "ratio", "high"],
    )
    bars = (
        alt.Chart(pd.DataFrame(spectra))
        .transform_filter(chosen)
        .mark_line(point=True)
        .encode(
            x=alt.X("rank:Q", title="units of the first layer by norm"),
            y=alt.Y("norm:Q", scale=alt.Scale(type="log"), axis=alt.Axis(format="~g", grid=False)),
            color=color,
            tooltip=["arm", "rank", "norm"],
        )
    )
    return (
        lines.properties(width=300, height=280) | bars.properties(width=240, height=280)
    ).add_params(which)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
