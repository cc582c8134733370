"""Claim: the notes' five pieces of advice on gradient checking are right.

Section:  "Gradient Checking Implementation Notes".
Setting:  a small regularised network with dropout on the iris data, its hand-derived gradient,
          and for each piece of advice the experiment that would show it wrong:
          1 "Don't use in training": what a check by differences costs in gradients;
          2 "look at components": wrong entries that the norm of the whole hides;
          3 "Remember regularization": the penalty left out of the gradient;
          4 "Doesn't work with dropout": the same masks in every evaluation, against fresh ones;
          5 "Run at random initialization; perhaps again after some training": a bug that no check
          at the start can see.
Predicts: 1, 2, 3 and 5 hold. 4 holds with fresh masks and fails with a fixed key: J(θ, key) is an
          ordinary function.
Refuted:  by any of 1, 2, 3, 5 failing; 4 by a check with a fixed key passing.
Command:  python -m experiments gradcheck_notes
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import backprop, data, gradcheck, lab, losses, models, optim, train, tree
from jaxdl.gradcheck import numerical

CLAIM = lab.Claim(
    name="gradcheck_notes",
    title="The notes' advice on gradient checking, piece by piece",
    quote="Doesn’t work with dropout",
    section="Gradient Checking Implementation Notes",
    quantifier="always",
)

GREAT, SUSPICIOUS = 1e-7, 1e-5
"""The notes' thresholds for the relative difference."""

SIZES, LOSS, L2 = (4, 8, 6, 3), "softmax_cross_entropy", 0.5


@dataclasses.dataclass(frozen=True)
class Config:
    """How long "some training" is, and the dropout of the hidden layers."""

    epochs: int = 200
    keep_prob: float = 0.7
    seed: int = 0


FULL = Config(epochs=2000)
SMOKE = Config(epochs=2)


def difference(cost, grads, params):
    """The notes' relative difference between central differences of the cost and `grads`."""
    return float(gradcheck.relative_difference(numerical.gradient(cost, params), grads))


def run(config):
    """One measurement for each piece of advice; relative differences unless it says otherwise."""
    iris = data.load("iris")
    x = jnp.asarray(data.standardize.apply(data.standardize.fit(iris.x), np.float64(iris.x)))
    y, key = jnp.asarray(iris.y), jax.random.key(config.seed)
    with jax.enable_x64(True):
        x = jnp.asarray(np.float64(x))
        model = models.mlp(SIZES, "tanh")
        params = model.init(key)
        cost = losses.objective(model, LOSS, l2=L2)
        by_hand = backprop.value_and_grad(model, LOSS, l2=L2)
        _, grads = by_hand(params, x, y)

        def penalised_biases(params):
            """The gradient of a cost that shrinks biases too."""
            everything = jax.tree.map(lambda _: True, params)
            f = backprop.value_and_grad(model, LOSS, l2=L2, penalize=everything)
            return f(params, x, y)[1]

        def at(params):
            return lambda p: cost(p, x, y)

        trained = train.fit(
            cost, params, optim.adam(0.01), (x, y), epochs=config.epochs, key=key
        ).params
        return {
            "evaluations": 2 * tree.size(params),
            "correct": difference(at(params), grads, params),
            **_hidden_entry(model, params, x, y),
            "no penalty": difference(
                at(params), backprop.value_and_grad(model, LOSS)(params, x, y)[1], params
            ),
            **_dropout(config, params, x, y, key),
            "bias bug at the start": difference(at(params), penalised_biases(params), params),
            "bias bug after training": difference(at(trained), penalised_biases(trained), trained),
        }


def _hidden_entry(model, params, x, y):
    """A feature in tiny units, the gradient of its weights doubled: in the norm, and by itself."""
    small = x.at[:, 0].multiply(1e-8)
    _, right = backprop.value_and_grad(model, LOSS)(params, small, y)
    doubled = right[0]["w"].at[0].multiply(2)
    wrong = [{**right[0], "w": doubled}, *right[1:]]
    return {
        "wrong entries, in the norm": float(gradcheck.relative_difference(right, wrong)),
        "wrong entries, by themselves": float(
            gradcheck.relative_difference(right[0]["w"][0], doubled[0])
        ),
    }


def _dropout(config, params, x, y, key):
    """The check under dropout: one key for every evaluation, and a fresh key for each."""
    model = models.mlp(SIZES, "tanh", keep_prob=config.keep_prob)
    cost = losses.objective(model, LOSS, l2=L2)
    _, grads = backprop.value_and_grad(model, LOSS, l2=L2)(params, x, y, key)
    fixed = difference(lambda p: cost(p, x, y, key), grads, params)
    step = 1e-5
    leaf = params[0]["w"]
    value = jax.jit(cost)
    slopes = []
    for i in range(leaf.size):
        up, down = jax.random.split(jax.random.fold_in(key, i))
        moved = [
            [{**params[0], "w": leaf.at[np.unravel_index(i, leaf.shape)].add(h)}, *params[1:]]
            for h in (step, -step)
        ]
        slopes.append((value(moved[0], x, y, up) - value(moved[1], x, y, down)) / (2 * step))
    fresh = gradcheck.relative_difference(jnp.stack(slopes).reshape(leaf.shape), grads[0]["w"])
    return {"dropout, fixed key": fixed, "dropout, fresh keys": float(fresh)}


def holds(measured):
    """Which pieces of advice the measurements bear out."""
    return {
        "1 not in training": measured["evaluations"] >= 100,
        "2 look at components": measured["wrong entries, in the norm"] < GREAT
        and measured["wrong entries, by themselves"] > 0.1,
        "3 remember regularization": measured["correct"] < GREAT
        and measured["no penalty"] > SUSPICIOUS,
        "4 not with dropout, fresh masks": measured["dropout, fresh keys"] > SUSPICIOUS,
        "4 not with dropout, fixed key": measured["dropout, fixed key"] > SUSPICIOUS,
        "5 again after some training": measured["bias bug at the start"] < GREAT
        and measured["bias bug after training"] > SUSPICIOUS,
    }


def judge(config, measured):
    """Depends: advice 4 turns on whether the key is fixed."""
    true = holds(measured)
    fixed = true.pop("4 not with dropout, fixed key")
    verdict = "contradicted" if not all(true.values()) else "supported" if fixed else "depends"
    return lab.Judgement(
        verdict=verdict,
        sentence=(
            f"{sum(true.values())} of {len(true)} hold (dropout counted with fresh masks). With a "
            "fixed key the check works under dropout as without: "
            f"{measured['dropout, fixed key']:.0e} against {measured['dropout, fresh keys']:.1f} "
            "with fresh masks. A penalty on biases "
            f"shows {measured['bias bug at the start']:.0e} at the start, where biases are 0, and "
            f"{measured['bias bug after training']:.0e} after training."
        ),
        estimate=lab.Estimate.exact(
            "relative difference under dropout with a fixed key", measured["dropout, fixed key"]
        ),
        figures={
            "evaluations of J for one check by differences": measured["evaluations"],
            **{k: v for k, v in measured.items() if k != "evaluations"},
        },
        n_problems=len(true),
    )


def chart(config, measured):
    """Every relative difference on one axis, with the notes' thresholds."""
    names = [k for k in measured if k != "evaluations"]
    rows = pd.DataFrame(
        {
            "check": names,
            "difference": [max(measured[k], 1e-16) for k in names],
            "reads": [reading(measured[k]) for k in names],
        }
    )
    domain = ["great", "between", "maybe a bug"]
    dots = (
        alt.Chart(rows)
        .mark_circle(size=140, opacity=1)
        .encode(
            x=alt.X(
                "difference:Q",
                title="relative difference",
                scale=alt.Scale(type="log", domain=[1e-16, 2]),
                axis=alt.Axis(format=".0e", tickCount=8),
            ),
            y=alt.Y("check:N", sort=names, title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color(
                "reads:N",
                title="the notes read it as",
                sort=domain,
                scale=alt.Scale(domain=domain, range=["#2f7fc1", "#8a8f98", "#d97706"]),
            ),
            tooltip=["check", alt.Tooltip("difference", format=".1e"), "reads"],
        )
    )
    rules = (
        alt.Chart(pd.DataFrame({"x": [GREAT, SUSPICIOUS]}))
        .mark_rule(strokeDash=[3, 3])
        .encode(x="x:Q")
    )
    return (rules + dots).properties(width=430, height=alt.Step(30))


def reading(value):
    """What the notes' thresholds say of a relative difference."""
    if value < GREAT:
        return "great"
    return "maybe a bug" if value > SUSPICIOUS else "between"


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
