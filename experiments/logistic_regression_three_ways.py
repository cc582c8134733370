"""Claim: vectorised code computes the same gradients as the loop over examples, far faster.

Section:  "Vectorization", "Gradient Descent on m Examples", "Vectorizing Logistic Regression's
          Gradient" (the loop and the vectorised formulas are transcribed from there).
Setting:  logistic regression on the breast-cancer data (569 examples, 30 features): the notes'
          loop over examples and features, their vectorised NumPy form, and jitted JAX.
Predicts: the same cost and gradients to rounding; NumPy at least 10 times faster than the loop.
Refuted:  if gradients differ by more than 1e-12, or NumPy is less than 10 times faster.
Command:  python -m experiments logistic_regression_three_ways
"""

import dataclasses
import sys
import time

import altair as alt
import jax
import numpy as np
import pandas as pd

from jaxdl import backprop, data, lab, models

CLAIM = lab.Claim(
    name="logistic_regression_three_ways",
    title="One gradient three ways: loop, NumPy, JAX",
    quote="whenever possible, avoid using explicit for loops",
    section="Vectorization",
)

TOLERANCE = 1e-12
SPEED_UP = 10.0


@dataclasses.dataclass(frozen=True)
class Config:
    """How often each way is timed."""

    repeats: int = 15
    seed: int = 0


FULL = Config(repeats=60)
SMOKE = Config(repeats=2)


def by_loop(w, b, x, y):
    """The notes' loop: J, dw and db accumulated example by example, feature by feature."""
    m, n = x.shape
    cost, dw, db = 0.0, [0.0] * n, 0.0
    for i in range(m):
        z = b
        for j in range(n):
            z += w[j] * x[i, j]
        a = 1 / (1 + np.exp(-z))
        cost += -(y[i] * np.log(a) + (1 - y[i]) * np.log(1 - a))
        dz = a - y[i]
        for j in range(n):
            dw[j] += x[i, j] * dz
        db += dz
    return cost / m, np.array(dw) / m, db / m


def by_numpy(w, b, x, y):
    """The notes' vectorised form, with examples in rows: dw = Xᵀ dz / m."""
    m = len(x)
    a = 1 / (1 + np.exp(-(x @ w + b)))
    cost = -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))
    dz = a - y
    return cost, x.T @ dz / m, np.sum(dz) / m


def by_jax(w, b, x, y):
    """The library's hand-derived gradient, compiled; the data are moved to the device once."""
    compiled = jax.jit(
        backprop.value_and_grad(models.logistic_regression(30), "binary_cross_entropy")
    )

    params, x, y = jax.device_put(([{"w": w[:, None], "b": np.array([b])}], x, y[:, None]))

    def gradients():
        return jax.block_until_ready(compiled(params, x, y))

    return gradients


def run(config):
    """Time the three ways in turn, interleaved, and compare what they return."""
    cancer = data.load("breast_cancer")
    x = data.standardize.apply(data.standardize.fit(cancer.x), cancer.x).astype(np.float64)
    y = cancer.y.astype(np.float64)
    rng = np.random.default_rng(config.seed)
    w, b = 0.1 * rng.normal(size=30), 0.1
    with jax.enable_x64(True):
        ways = {
            "loop": lambda: by_loop(w, b, x, y),
            "NumPy": lambda: by_numpy(w, b, x, y),
            "JAX": by_jax(w, b, x, y),
        }
        results = {name: way() for name, way in ways.items()}
        cost, [grads] = results["JAX"]
        results["JAX"] = (cost, grads["w"][:, 0], grads["b"][0])
        seconds = {name: [] for name in ways}
        for _ in range(config.repeats):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
    gap = max(
        float(np.max(np.abs(np.asarray(ours) - np.asarray(loop))))
        for name in ("NumPy", "JAX")
        for ours, loop in zip(results[name], results["loop"], strict=True)
    )
    return {"gap": gap, "seconds": seconds}


def judge(config, measured):
    """Supported if the numbers agree and NumPy is at least ten times faster."""
    times = {name: np.array(s) for name, s in measured["seconds"].items()}
    ratios = times["loop"] / times["NumPy"]
    low, median, high = np.percentile(ratios, [2.5, 50, 97.5])
    jax_ratio = float(np.median(times["loop"] / times["JAX"]))
    if measured["gap"] > TOLERANCE or high < SPEED_UP:
        verdict = "contradicted"
    else:
        verdict = "supported" if low >= SPEED_UP else "inconclusive"
    return lab.Judgement(
        verdict=verdict,
        sentence=(
            f"The gradients agree to {measured['gap']:.0e}. NumPy is {median:,.0f} times faster "
            f"than the loop (95 % of the timings between {low:,.0f} and {high:,.0f}); compiled "
            f"JAX {jax_ratio:,.0f} times, its call overhead included."
        ),
        estimate=lab.Estimate("loop time / NumPy time", float(median), float(low), float(high)),
        figures={
            "largest difference between gradients": measured["gap"],
            **{f"median time, {n} (µs)": float(np.median(t) * 1e6) for n, t in times.items()},
            "loop time / JAX time": jax_ratio,
        },
    )


def chart(config, measured):
    """Each timing a dot, the medians labelled, on a logarithmic axis."""
    ways = list(measured["seconds"])
    rows = pd.DataFrame(
        [
            {"way": name, "microseconds": 1e6 * s}
            for name, seconds in measured["seconds"].items()
            for s in seconds
        ]
    )
    medians = rows.groupby("way", sort=False, as_index=False).median()
    medians["label"] = [f"{t:,.0f} µs" for t in medians.microseconds]
    low, high = rows.microseconds.min() / 2, rows.microseconds.max() * 2
    x = alt.X(
        "microseconds:Q",
        title="time for one cost and gradient, µs",
        scale=alt.Scale(type="log", domain=[low, high]),
    )
    y = alt.Y("way:N", sort=ways, title=None)
    color = alt.Color(
        "way:N", legend=None, scale=alt.Scale(range=["#c4598f", "#d97706", "#2f7fc1"])
    )
    dots = (
        alt.Chart(rows)
        .mark_circle(size=70, opacity=0.35)
        .encode(x=x, y=y, color=color, tooltip=["way", alt.Tooltip("microseconds", format=",.1f")])
    )
    ticks = alt.Chart(medians).mark_tick(thickness=3, size=34).encode(x=x, y=y, color=color)
    labels = (
        alt.Chart(medians)
        .mark_text(dy=-26, fontSize=13)
        .encode(x=x, y=y, text="label", color=color)
    )
    return (dots + ticks + labels).properties(width=620, height=alt.Step(80))


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
