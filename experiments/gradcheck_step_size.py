"""Claim: two-sided differences beat one-sided ones, and the best step depends on the precision.

Section:  "Numerical approximation of gradients", "Gradient checking".
Setting:  logistic regression on the breast-cancer data; the slope of the cost along random
          directions, by one-sided and two-sided differences with steps from 1 down to 1e-15, in
          float32 and float64, against the exact slope.
Predicts: right of the V the error falls with the first power of a one-sided step and with the
          second power of a two-sided one; left of it rounding takes over, so that the best step
          is near ε^(1/2) and ε^(1/3), and in float32 no step reaches the notes' 1e-7.
Refuted:  if a fitted power is off by more than 0.1, or float32 reaches 1e-7.
Command:  python -m experiments gradcheck_step_size
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import data, lab, losses, models, tree

CLAIM = lab.Claim(
    name="gradcheck_step_size",
    title="The step of a gradient check, and what precision allows",
    quote="f′(θ) = (f(θ + ε) – f(θ – ε)) / 2ε … < 10⁻⁷, that’s great; > 10⁻⁵, maybe have a bug",
    section="Gradient checking",
)

POWERS = {"one-sided": 1.0, "two-sided": 2.0}
TOLERANCE = 0.1
GREAT = 1e-7


@dataclasses.dataclass(frozen=True)
class Config:
    """How many directions, and how finely the step is varied."""

    directions: int = 20
    per_decade: int = 3
    seed: int = 0


FULL = Config(directions=200, per_decade=8)
SMOKE = Config(directions=2, per_decade=1)


def errors_of(dtype, steps, config):
    """Relative errors, (directions, steps), of both differences in one precision."""
    cancer = data.load("breast_cancer")
    x = data.standardize.apply(data.standardize.fit(cancer.x), np.float64(cancer.x))
    x, y = jnp.asarray(x, dtype), jnp.asarray(data.column(cancer.y), dtype)
    cost = losses.objective(models.logistic_regression(x.shape[1]), "binary_cross_entropy")
    key = jax.random.key(config.seed)
    start = [{"w": 0.3 * jax.random.normal(key, (x.shape[1], 1), dtype), "b": jnp.zeros(1, dtype)}]

    def along(direction_key, step):
        w, b = jax.random.split(direction_key)
        u = [
            {
                "w": jax.random.normal(w, (x.shape[1], 1), dtype),
                "b": jax.random.normal(b, (1,), dtype),
            }
        ]
        u = tree.scale(1 / tree.norm(u), u)

        def f(t):
            return cost(tree.add(start, tree.scale(t, u)), x, y)

        exact = jax.grad(f)(jnp.zeros((), dtype))
        one_sided = (f(step) - f(0 * step)) / step
        two_sided = (f(step) - f(-step)) / (2 * step)
        return {
            name: jnp.abs(value - exact) / (jnp.abs(value) + jnp.abs(exact))
            for name, value in (("one-sided", one_sided), ("two-sided", two_sided))
        }

    keys = jax.random.split(jax.random.fold_in(key, 1), config.directions)
    each = jax.vmap(jax.vmap(along, (None, 0)), (0, None))
    return jax.tree.map(np.asarray, jax.jit(each)(keys, jnp.asarray(steps, dtype)))


def run(config):
    """Median errors over the directions, for every step, precision and difference."""
    steps = np.logspace(0, -15, 15 * config.per_decade + 1)
    with jax.enable_x64(True):
        found = {dtype: errors_of(dtype, steps, config) for dtype in ("float32", "float64")}
    return {
        "steps": steps,
        "median": {
            dtype: {name: np.median(e, axis=0) for name, e in arms.items()}
            for dtype, arms in found.items()
        },
    }


def power(steps, error):
    """Slope of log error against log step where the step, not rounding, decides: 1e-1 to 1e-3."""
    smooth = (steps <= 0.1 + 1e-12) & (steps >= 1e-3 - 1e-12)
    return float(np.polyfit(np.log(steps[smooth]), np.log(error[smooth]), 1)[0])


def judge(config, measured):
    """Exact if the powers are 1 and 2 and float32 stays above the notes' 1e-7."""
    steps, float64 = measured["steps"], measured["median"]["float64"]
    powers = {name: power(steps, float64[name]) for name in POWERS}
    best = {
        (dtype, name): (float(steps[np.nanargmin(e)]), float(np.nanmin(e)))
        for dtype, arms in measured["median"].items()
        for name, e in arms.items()
    }
    reached = best["float32", "two-sided"][1]
    step, error = best["float64", "two-sided"]
    holds = all(abs(powers[n] - p) <= TOLERANCE for n, p in POWERS.items()) and reached > GREAT
    return lab.Judgement(
        verdict="exact" if holds else "contradicted",
        sentence=(
            f"The error falls with the power {powers['one-sided']:.2f} of a one-sided step and "
            f"{powers['two-sided']:.2f} of a two-sided one. In float64 the two-sided error reaches "
            f"{error:.0e} at ε = {step:.0e}; in float32 {reached:.0e} at best, so a correct "
            "gradient cannot meet the notes' 1e-7 there."
        ),
        estimate=lab.Estimate.exact("power of a two-sided step", powers["two-sided"]),
        figures={
            f"best step and its error, {name}, {dtype}": f"{step:.1e}, {error:.1e}"
            for (dtype, name), (step, error) in best.items()
        },
        n_problems=config.directions,
    )


def chart(config, measured):
    """The V-curves, with the notes' two thresholds."""
    rows = pd.concat(
        pd.DataFrame(
            {
                "step": measured["steps"],
                "error": np.where(error > 0, error, np.nan),
                "difference": name,
                "precision": dtype,
            }
        )
        for dtype, arms in measured["median"].items()
        for name, error in arms.items()
    ).dropna()
    log = alt.Scale(type="log")
    lines = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=alt.X("step:Q", title="step ε", scale=log, axis=alt.Axis(format=".0e", tickCount=8)),
            y=alt.Y(
                "error:Q", title="relative difference to the exact slope", scale=log,
                axis=alt.Axis(format=".0e", tickCount=8),
            ),
            color=alt.Color("precision:N", scale=alt.Scale(range=["#d97706", "#2f7fc1"])),
            strokeDash=alt.StrokeDash("difference:N", sort=["two-sided", "one-sided"]),
            tooltip=[
                "difference", "precision", alt.Tooltip("step", format=".1e"),
                alt.Tooltip("error", format=".1e"),
            ],
        )
    )  # fmt: skip
    limits = pd.DataFrame({"error": [1e-7, 1e-5], "says": ["great", "maybe a bug"]})
    rules = alt.Chart(limits).mark_rule(strokeDash=[2, 3]).encode(y="error:Q")
    names = (
        alt.Chart(limits)
        .mark_text(align="right", dy=-6, dx=-4, fontSize=11, color="#8a8f98")
        .encode(y="error:Q", x=alt.value(620), text="says")
    )
    return (rules + names + lines).properties(width=620, height=380)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
