"""Claim: vectorised code is much faster than an explicit for-loop.

Section:  "Vectorization", "More Examples of Vectorization".
Setting:  three tasks of the notes, n numbers each: z = wᵀx + b; u = exp(v); the gradient X(a − y)/m
          of logistic regression with 10 features. A problem is a task and an n, log-uniform in
          10 … 100,000; the notes' loop over NumPy arrays and their NumPy form are timed in turn,
          in interleaved rounds. For the first two tasks, on a grid of n, also: a loop over Python
          lists, jnp, vmap, and the loop compiled (`lax.fori_loop`).
Predicts: NumPy is at least 10 times faster in more than half of the problems ("often"), for n
          above 1,000 in all of them, and below 100 in few: there a call costs more than the loop.
          The compiled loop is within 10 times of jnp: it is Python that is slow, not the loop.
Refuted:  if the interval of the share lies below one half. A problem counts fully where the
          interval of the median of its ratios lies above 10, half where 10 is inside it. Declared
          moderators: n and task. Times differ from machine to machine and from run to run.
Command:  python -m experiments vectorisation
"""

import dataclasses
import math
import sys
import time

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab
from jaxdl.lab import shares

CLAIM = lab.Claim(
    name="vectorisation",
    title="Avoiding for-loops: how much, and when",
    quote="whenever possible, avoid using explicit four loops [...] you’ll often go faster than if "
    "you have an explicit for-loop",
    section="More Examples of Vectorization",
    quantifier="often",
    number="62",
    headline=True,
)

FASTER, FEATURES = 10.0, 10
TASKS = ("wᵀx + b", "exp", "gradient")
SIZES = ("n below 100", "n 100 to 1,000", "n above 1,000")


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems drawn, rounds for each, and the grid on which the other ways are timed too."""

    problems: int = 45
    rounds: int = 15
    most: int = 100_000
    grid: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000)
    seed: int = 0


FULL = Config(problems=240, rounds=31, grid=(10, 100, 1_000, 10_000, 100_000, 1_000_000))
SMOKE = Config(problems=3, rounds=3, most=100, grid=(10,))


def dot_loop(w, x):
    """The notes' loop: z = Σ w[i] x[i] + b."""
    z = 0.0
    for i in range(len(w)):
        z += w[i] * x[i]
    return z + 0.5


def exp_loop(v):
    """The lecture's loop: u[i] = exp(v[i])."""
    u = [0.0] * len(v)
    for i in range(len(v)):
        u[i] = math.exp(v[i])
    return u


def gradient_loop(x, y, w):
    """The notes' loop over examples and features: dw of logistic regression."""
    m, n = x.shape
    dw = [0.0] * n
    for i in range(m):
        z = 0.0
        for j in range(n):
            z += w[j] * x[i, j]
        dz = 1 / (1 + math.exp(-z)) - y[i]
        for j in range(n):
            dw[j] += x[i, j] * dz
    return np.array(dw) / m


def gradient_numpy(x, y, w):
    """The vectorised form: dw = Xᵀ(σ(Xw) − y)/m."""
    return x.T @ (1 / (1 + np.exp(-(x @ w))) - y) / len(x)


def ways(task, n, rng):
    """(loop, NumPy) on n random numbers, as functions without arguments."""
    v, w = rng.normal(size=n), rng.normal(size=n)
    if task == "wᵀx + b":
        return lambda: dot_loop(w, v), lambda: np.dot(w, v) + 0.5
    if task == "exp":
        return lambda: exp_loop(v), lambda: np.exp(v)
    x = rng.normal(size=(max(n // FEATURES, 1), FEATURES))
    y, w = (rng.random(len(x)) < 0.5).astype(float), rng.normal(size=FEATURES)
    return lambda: gradient_loop(x, y, w), lambda: gradient_numpy(x, y, w)


JITTED = {
    "wᵀx + b": {
        "jnp": jax.jit(lambda w, x: jnp.dot(w, x) + 0.5),
        "vmap": jax.jit(lambda w, x: jax.vmap(lambda s, t: s * t)(w, x).sum() + 0.5),
        "compiled loop": jax.jit(
            lambda w, x: jax.lax.fori_loop(
                0, len(w), lambda i, z: z + w[i] * x[i], jnp.float32(0.5)
            )
        ),
    },
    "exp": {
        "jnp": jax.jit(lambda v: jnp.exp(v)),
        "vmap": jax.jit(lambda v: jax.vmap(jnp.exp)(v)),
        "compiled loop": jax.jit(
            lambda v: jax.lax.fori_loop(
                0, len(v), lambda i, u: u.at[i].set(jnp.exp(v[i])), jnp.zeros_like(v)
            )
        ),
    },
}
"""Ways that are compiled; float32 arrays go in as arguments, or they would be constants."""


def further(task, n, rng):
    """The further ways of a task of the grid: a loop over lists, and what JAX compiles."""
    given = [rng.normal(size=n) for _ in range(2 if task == TASKS[0] else 1)]
    lists, arrays = [v.tolist() for v in given], [jnp.asarray(v, jnp.float32) for v in given]
    loop = dot_loop if task == TASKS[0] else exp_loop

    def called(f):
        return lambda: f(*arrays).block_until_ready()

    return {
        "loop over lists": lambda: loop(*lists),
        **{name: called(f) for name, f in JITTED[task].items()},
    }


def rounds_of(functions, rounds):
    """(rounds, functions) seconds a call, every function timed once in each round."""
    first = [(f(), timed(f, 1))[1] for f in functions]
    repeats = [max(1, int(2e-4 / seconds)) for seconds in first]
    return np.array(
        [[timed(f, r) for f, r in zip(functions, repeats, strict=True)] for _ in range(rounds)]
    )


def timed(f, repeats):
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - start) / repeats


def run(config):
    """Ratios of the problems, and seconds of every way on the grid, medians over the rounds."""
    rng = np.random.default_rng(config.seed)
    problems = []
    for i in range(config.problems):
        task, n = TASKS[i % 3], int(np.exp(rng.uniform(np.log(10), np.log(config.most))))
        seconds = rounds_of(ways(task, n, rng), config.rounds)
        problems.append({"task": task, "n": n, "ratio": seconds[:, 0] / seconds[:, 1]})
    grid = []
    for task in JITTED:
        for n in config.grid:
            named = dict(zip(("loop", "NumPy"), ways(task, n, rng), strict=True))
            named |= further(task, n, rng)
            seconds = rounds_of(list(named.values()), config.rounds)
            quartiles = np.quantile(seconds, (0.25, 0.5, 0.75), axis=0).T
            grid += [
                {"task": task, "n": n, "way": way, "low": low, "seconds": middle, "high": high}
                for way, (low, middle, high) in zip(named, quartiles, strict=True)
            ]
    return {"problems": problems, "grid": grid}


def median_interval(ratios):
    """The 95 % interval of a median from order statistics: binomial, no assumption on the shape."""
    from scipy.stats import binom

    ordered, n = np.sort(ratios), len(ratios)
    rank = max(int(binom.ppf(0.025, n, 0.5)) - 1, 0)
    return ordered[rank], ordered[n - 1 - rank]


def judge(config, measured):
    """The share of problems in which NumPy is ten times faster than the loop."""
    problems = measured["problems"]
    limits = np.array([median_interval(p["ratio"]) for p in problems])
    holds = ((limits[:, 0] >= FASTER) * 1.0 + (limits[:, 1] >= FASTER)) / 2
    sizes = np.array(SIZES)[np.digitize([p["n"] for p in problems], (100, 1000))]
    tasks = np.array([p["task"] for p in problems])
    found = shares.decide(holds, CLAIM.gamma, {"n": sizes, "task": tasks})
    medians = np.array([np.median(p["ratio"]) for p in problems])
    by_size = {size: float(np.median(medians[sizes == size])) for size in SIZES if size in sizes}
    seconds = {(g["task"], g["n"], g["way"]): g["seconds"] for g in measured["grid"]}
    most = max(config.grid)
    slower = {
        f"{way} / NumPy, {task}, n = {most:,}": seconds[task, most, way]
        / seconds[task, most, "NumPy"]
        for task in JITTED
        for way in ("loop", "loop over lists", "compiled loop", "jnp", "vmap")
    }
    compiled = [seconds[t, most, "compiled loop"] / seconds[t, most, "jnp"] for t in JITTED]
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"NumPy is at least {FASTER:.0f} times faster than the notes' loop in "
            f"{shares.percent(found.share)} of {len(problems)} problems; the median ratio is "
            + ", ".join(f"{ratio:,.0f} for {size}" for size, ratio in by_size.items())
            + f". A compiled loop over {most:,} numbers takes "
            + " and ".join(f"{ratio:,.1f}" for ratio in compiled)
            + " times as long as jnp: most of the cost is Python, not the loop."
            if max(compiled) <= FASTER
            else f". A compiled loop over {most:,} numbers takes "
            + " and ".join(f"{ratio:,.1f}" for ratio in compiled)
            + " times as long as jnp."
        ),
        estimate=lab.Estimate("share of problems where NumPy is ten times faster", *found.share),
        figures={
            **{f"median ratio, {size}": ratio for size, ratio in by_size.items()},
            "smallest ratio": float(medians.min()),
            "largest ratio": float(medians.max()),
            **slower,
        },
        n_problems=len(problems),
        n_seeds=config.rounds,
        arms=[{"name": "NumPy", "role": "better"}, {"name": "loop", "role": "than"}],
        strata=found.strata,
    )


def chart(config, measured):
    """Nanoseconds a number for every way, for the task and the n of the controls; all ratios."""
    names = ["loop", "loop over lists", "compiled loop", "NumPy", "jnp", "vmap"]
    bars = pd.DataFrame(
        [
            {"task": g["task"], "size": config.grid.index(g["n"]), "n": g["n"], "way": g["way"],
             **{k: float(f"{1e9 * g[k] / g['n']:.3g}") for k in ("low", "seconds", "high")}}
            for g in measured["grid"]
        ]
    )  # fmt: skip
    task = alt.param(
        "task", value=TASKS[0], bind=alt.binding_radio(options=list(JITTED), name="Task ")
    )
    size = alt.param(
        "size",
        value=len(config.grid) - 1,
        bind=alt.binding_range(min=0, max=len(config.grid) - 1, step=1, name="n = 10 × 10 to the "),
    )
    base = (
        alt.Chart(bars)
        .transform_filter("datum.task == task && datum.size == size")
        .encode(y=alt.Y("way:N", sort=names, title=None))
    )
    x = alt.X(
        "seconds:Q",
        scale=alt.Scale(
            type="log", domain=[0.01, max(float(np.max(bars["high"])), 1000.0)], clamp=True
        ),
        axis=alt.Axis(format="~g", grid=False),
        title="nanoseconds for each of the n numbers: median, and the middle half of the rounds",
    )
    python = alt.condition(
        "indexof(['loop', 'loop over lists'], datum.way) >= 0",
        alt.value("#d97706"),
        alt.value("#2f7fc1"),
    )
    marks = base.mark_bar(height=16).encode(
        x=x,
        x2=alt.datum(0.01),
        color=python,
        tooltip=["task", "n", "way", "low", "seconds", "high"],
    )
    spread = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    return alt.vconcat(
        (marks + spread).add_params(task, size).properties(width=520, height=170), ratios(measured)
    )


def ratios(measured):
    """A dot for each problem: how many times faster NumPy is than the loop."""
    rows = pd.DataFrame(
        [
            {"task": p["task"], "n": p["n"], "ratio": float(f"{np.median(p['ratio']):.3g}")}
            for p in measured["problems"]
        ]
    )
    plain = alt.Axis(grid=False, format="~s")
    dots = (
        alt.Chart(rows)
        .mark_point(filled=True, size=55, opacity=0.8)
        .encode(
            x=alt.X("n:Q", scale=alt.Scale(type="log"), axis=plain),
            y=alt.Y(
                "ratio:Q", scale=alt.Scale(type="log"), axis=plain, title="loop time / NumPy time"
            ),
            color=alt.Color(
                "task:N",
                sort=list(TASKS),
                scale=alt.Scale(domain=list(TASKS), range=["#2f7fc1", "#d97706", "#3b7d5b"]),
            ),
            shape=alt.Shape("task:N", sort=list(TASKS), scale=alt.Scale(domain=list(TASKS))),
            tooltip=["task", "n", "ratio"],
        )
    )
    rule = alt.Chart(pd.DataFrame({"ratio": [FASTER]})).mark_rule(strokeDash=[4, 4])
    return (dots + rule.encode(y="ratio:Q")).properties(width=520, height=230)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
