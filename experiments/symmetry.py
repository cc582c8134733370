"""Claim: weights must start random, for equal hidden units stay equal for ever.

Section:  "Random Initialization".
Setting:  a tanh network with one hidden layer on the moons, full-batch gradient descent, started
          from zeros, from one constant, and from small random numbers.
Predicts: from zeros W₁ keeps rank 0, from a constant rank 1, in every step and to the last bit;
          from random numbers rank 2, the number of inputs.
Refuted:  if two hidden units that start equal ever differ.
Command:  python -m experiments symmetry
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import backprop, data, lab, models, optim

CLAIM = lab.Claim(
    name="symmetry",
    title="Equal hidden units stay equal for ever",
    quote="It is important to initialize the weights randomly.",
    section="Random Initialization",
    quantifier="always",
)

RANKS = {"zeros": 0, "constant 0.5": 1, "random × 0.01": 2}
"""The rank of W₁ that each start is predicted to keep."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One hidden layer, plain gradient descent."""

    n_hidden: int = 8
    learning_rate: float = 1.0
    steps: int = 3000
    seed: int = 0


FULL = Config(steps=20_000)
SMOKE = Config(steps=20)


def starts(config, model):
    """Parameters of the three starts."""
    drawn = model.init(jax.random.key(config.seed))
    fill = {
        "zeros": lambda p: jnp.zeros_like(p),
        "constant 0.5": lambda p: jnp.full_like(p, 0.5),
        "random × 0.01": lambda p: p,
    }
    return {
        name: [{"w": f(layer["w"]), "b": jnp.zeros_like(layer["b"])} for layer in drawn]
        for name, f in fill.items()
    }


def run(config):
    """Gradient descent from each start; equal units are compared after every step."""
    moons = data.moons()
    with jax.enable_x64(True):
        x, y = jnp.asarray(moons.x), jnp.asarray(data.column(moons.y), float)
        model = models.mlp((2, config.n_hidden, 1), "tanh", init="normal")
        value_and_grad = backprop.value_and_grad(model, "binary_cross_entropy")
        optimizer = optim.gradient_descent(config.learning_rate)

        def step(carry, _):
            params, state = carry
            cost, grads = value_and_grad(params, x, y)
            updates, state = optimizer.update(grads, state, params)
            params = optim.apply_updates(params, updates)
            return (params, state), (cost, params[0]["w"])

        @jax.jit
        def descend(params):
            return jax.lax.scan(step, (params, optimizer.init(params)), length=config.steps)[1]

        measured = {}
        for name, params in starts(config, model).items():
            cost, w1 = jax.tree.map(np.asarray, descend(params))
            measured[name] = {
                "cost": cost[shown(config)],
                "rank": np.array([np.linalg.matrix_rank(w) for w in w1[shown(config)]]),
                "spread": float(np.ptp(w1, axis=2).max()),
            }
    return measured


def shown(config):
    """The steps that the chart shows, denser at the start."""
    return np.unique(np.geomspace(1, config.steps, 60).astype(int)) - 1


def judge(config, measured):
    """Exact if the ranks are those predicted and equal units never differ in a single bit."""
    worst = max(measured[name]["spread"] for name in ("zeros", "constant 0.5"))
    ranks = {name: sorted(set(m["rank"].tolist())) for name, m in measured.items()}
    holds = worst == 0 and all(ranks[name] == [rank] for name, rank in RANKS.items())
    return lab.Judgement(
        verdict="exact" if holds else "contradicted",
        sentence=(
            f"In {config.steps:,} steps hidden units that start equal differ by {worst:g}. The "
            f"rank of W₁ stays {ranks['zeros'][-1]} from zeros, {ranks['constant 0.5'][-1]} from a "
            f"constant and {ranks['random × 0.01'][-1]} from random numbers; the costs end at "
            + ", ".join(f"{m['cost'][-1]:.3f}" for m in measured.values())
            + "."
        ),
        estimate=lab.Estimate.exact("largest difference between equal units", worst),
        figures={
            f"{what}, {name}": value
            for name, m in measured.items()
            for what, value in (
                ("final cost", float(m["cost"][-1])),
                ("rank of W₁", " ".join(map(str, ranks[name]))),
            )
        },
    )


def chart(config, measured):
    """Rank of W₁ and cost against the step, for the three starts."""
    steps = shown(config)
    rows = pd.concat(
        pd.DataFrame(
            {
                "step": steps + 1,
                "rank of W₁": m["rank"],
                "cost J": m["cost"],
                "start": name,
            }
        )
        for name, m in measured.items()
    )
    color = alt.Color(
        "start:N",
        sort=list(RANKS),
        scale=alt.Scale(domain=list(RANKS), range=["#8a8f98", "#d97706", "#2f7fc1"]),
    )
    x = alt.X("step:Q", scale=alt.Scale(type="log"), title="step")
    base = alt.Chart(rows).encode(
        x=x, color=color, tooltip=["start", "step", "rank of W₁", "cost J"]
    )
    rank = base.mark_line(point=True).encode(
        y=alt.Y("rank of W₁:Q", axis=alt.Axis(values=[0, 1, 2], format="d"))
    )
    cost = base.mark_line().encode(y=alt.Y("cost J:Q", scale=alt.Scale(zero=True)))
    return alt.vconcat(
        rank.properties(width=620, height=160), cost.properties(width=620, height=220)
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
