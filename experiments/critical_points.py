"""Claim: most points of zero gradient in a cost function are saddle points.

Section:  "The problem of local optima".
Setting:  (a) a random symmetric matrix (Gaussian orthogonal ensemble) as the Hessian of a point
          with zero gradient: how often are all N eigenvalues positive? (b) tanh networks 4-3-3
          (27 parameters) on 60 rows of four real tables (four components, labels modulo 3),
          cross-entropy and squared error, float64, with a weak L2 on weights and biases, without
          which a shift of all output biases would leave the cost as it is. A problem is a table,
          its rows, a cost and initial weights; Newton searches start after 0, 10, 100 and 2,000
          steps of gradient descent. A point counts if ‖∇J‖ ≤ 1e-10; gradient-flat points, where
          the search ends without a zero of the gradient (Frye et al. 2021), are rejected; equal
          points of one problem count once. The networks are small because searches on larger ones
          end flat: of 11 with 178 parameters, tried beforehand, none found a critical point.
Predicts: (a) ½, 0.1464, 0.0249 for N = 1, 2, 3, so the lecture's argument, a coin flip for each
          dimension and 2⁻ᴺ, is too large already at N = 2; the decline is like 3^(−N²/4) (Dean and
          Majumdar 2006). (b) More than half of the critical points that are found are saddles.
Refuted:  (b) if the interval of the mean share of saddles in a problem lies below one half. If
          fewer than 30 problems have a critical point, the verdict is inconclusive. Declared
          moderators: cost, and how long gradient descent ran before the search.
Command:  python -m experiments critical_points
"""

import dataclasses
import itertools
import sys
from typing import Any

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree

from jaxdl import lab, landscape, losses, models, population
from jaxdl.lab import instances, shares

CLAIM = lab.Claim(
    name="critical_points",
    title="Most points of zero gradient that are found are saddles",
    quote="most points of zero gradient in a cost function are saddle points",
    section="The problem of local optima",
    quantifier="often",
    number="14",
    headline=True,
    literature=(
        lab.Source(
            "Dauphin et al. 2014, Identifying and attacking the saddle point problem in "
            "high-dimensional non-convex optimization",
            "critical points of small networks at higher cost have more negative eigenvalues",
            "agrees",
        ),
        lab.Source(
            "Frye et al. 2021, Critical point-finding methods reveal gradient-flat regions of deep "
            "network losses",
            "such searches often end where the gradient is flat but not zero",
            "partly",
        ),
    ),
)

ALL_POSITIVE = {1: 0.5, 2: (2 - 2**0.5) / 4, 3: (np.pi - 2 * 2**0.5) / (4 * np.pi)}
"""Exact probabilities for the ensemble: 0.5, 0.1464, 0.0249."""

COSTS = ("cross-entropy", "squared error")
SIZES, ROWS, L2, RATE = (4, 3, 3), 60, 0.1, 0.3
GRADIENT, LARGEST = 1e-10, 5


@dataclasses.dataclass(frozen=True)
class Config:
    """Random matrices; problems of each table and cost; where searches start, and their steps."""

    matrices: int = 200_000
    problems: int = 8
    times: tuple[int, ...] = (0, 10, 100, 2000)
    steps: int = 150
    seed: int = 0


FULL = Config(matrices=1_000_000, problems=60)
SMOKE = Config(matrices=1000, problems=1, times=(10,), steps=10)


def all_positive(config):
    """For each N ≤ 5: how many of the matrices have only positive eigenvalues.

    The leading N×N block of a matrix of the ensemble is one of the ensemble of size N, and it is
    positive definite if its leading minors up to N are positive (Sylvester).
    """
    m = np.asarray(landscape.goe(jax.random.key(config.seed), LARGEST, (config.matrices,)), float)
    positive, counts = np.ones(config.matrices, bool), {}
    for n in range(1, LARGEST + 1):
        positive &= np.linalg.det(m[:, :n, :n]) > 0
        counts[n] = int(positive.sum())
    return counts


def search(problem, tables, steps):
    """One search: gradient descent for a time, then damped Newton on ½‖∇J‖²."""
    rows, start, biases = jax.random.split(jax.random.key(problem["seed"]), 3)
    x, y = instances.draw(tables, problem["family"], rows, ROWS)
    y = y % SIZES[-1]
    model = models.mlp(SIZES, "tanh", init="xavier")
    everything = jax.tree.map(lambda _: True, model.init(start))
    one_hot = jax.nn.one_hot(y, SIZES[-1], dtype=x.dtype)
    entropy = losses.objective(model, "softmax_cross_entropy", l2=L2, penalize=everything)
    square = losses.objective(model, "squared_error", l2=L2, penalize=everything)

    def cost(params):
        return jnp.where(problem["square"], square(params, x, one_hot), entropy(params, x, y))

    params = [
        {"w": p["w"], "b": 0.1 * jax.random.normal(jax.random.fold_in(biases, i), p["b"].shape)}
        for i, p in enumerate(model.init(start))
    ]
    theta, unravel = ravel_pytree(params)
    gradient = jax.grad(lambda theta: cost(unravel(theta)))
    theta = jax.lax.fori_loop(0, problem["time"], lambda _, t: t - RATE * gradient(t), theta)
    found = landscape.find_critical_point(
        lambda theta: cost(unravel(theta)), theta, gradient_tol=GRADIENT, max_steps=steps
    )
    zero = 1e-8 * jnp.abs(found.eigenvalues).max()
    return {
        "status": found.status,
        "cost": found.cost,
        "gradient": found.gradient_norm,
        "negative": (found.eigenvalues < -zero).sum(),
        "positive": (found.eigenvalues > zero).sum(),
        "steps": found.steps,
    }


def run(config):
    """Counts of (a); one row for each search of (b)."""
    runs = population.grid(
        family=range(len(instances.TABLES)),
        square=[False, True],
        problem=range(config.problems),
        time=config.times,
    )
    each = len(config.times)
    runs["seed"] = config.seed + np.arange(len(runs["time"])) // each
    with jax.enable_x64(True):
        found = population.run(
            lambda p, t: search(p, t, config.steps), runs, instances.tables(SIZES[0])
        )
    return {"positive": all_positive(config), "search": {**runs, **found.outputs}}


def kinds(rows):
    """ "saddle", "minimum", or "degenerate" where zeros among the eigenvalues leave it open."""
    n = sum((a + 1) * b for a, b in itertools.pairwise(SIZES))
    saddle = (rows["negative"] > 0) & (rows["positive"] > 0)
    return np.where(saddle, "saddle", np.where(rows["positive"] == n, "minimum", "degenerate"))


def distinct(rows):
    """Which rows are critical points, and the first of their kind in their problem."""
    seen, keep = set(), np.zeros(len(rows["cost"]), bool)
    for i in np.flatnonzero(rows["status"] == 0):
        point = (int(rows["seed"][i]), f"{rows['cost'][i]:.9f}", int(rows["negative"][i]))
        keep[i] = point not in seen
        seen.add(point)
    return keep


def judge(config, measured):
    """The mean share of saddles among the distinct critical points of a problem."""
    rows, kind = measured["search"], kinds(measured["search"])
    keep = distinct(rows)
    problems = np.unique(rows["seed"][keep])
    saddles = np.array([(kind[keep & (rows["seed"] == p)] == "saddle").mean() for p in problems])
    first = np.array([np.flatnonzero(rows["seed"] == p)[0] for p in problems], int)
    tables = np.array(instances.TABLES)[rows["family"][first]]
    cost = np.array(COSTS)[rows["square"][first].astype(int)]
    enough = len(problems) >= 30
    if not enough:  # too few for families of their own
        tables = np.full(len(problems), "all")
    found = shares.decide(
        np.r_[saddles, np.zeros(0 if len(saddles) else 1)], CLAIM.gamma,
        {"cost": cost} if enough else None, tables if len(saddles) else None,
    )  # fmt: skip
    status = {name: int((rows["status"] == i).sum()) for i, name in enumerate(landscape.STATUSES)}
    counts = {name: int((kind[keep] == name).sum()) for name in ("saddle", "minimum", "degenerate")}
    p, error = positive_shares(config, measured)
    agrees = all(abs(p[n] - exact) <= 3 * error[n] for n, exact in ALL_POSITIVE.items())
    return lab.Judgement(
        verdict=found.verdict if enough and agrees else "inconclusive",
        sentence=(
            f"Of {len(rows['cost'])} searches {status['converged']} found a point of zero gradient "
            f"({status['gradient-flat']} ended gradient-flat and do not count): {keep.sum()} "
            f"distinct ones in {len(problems)} problems, {counts['saddle']} saddles, "
            f"{counts['minimum']} minima, {counts['degenerate']} degenerate; in a problem "
            f"{shares.percent(found.share)} are saddles. Random symmetric matrices have only "
            f"positive eigenvalues in {', '.join(f'{p[n]:.4f}' for n in ALL_POSITIVE)} of cases "
            f"for N = 1, 2, 3, {'as' if agrees else 'not as'} theory has it: far fewer than the "
            "lecture's coin flips, 0.5, 0.25, 0.125."
        ),
        estimate=lab.Estimate("share of saddles among critical points", *found.share),
        figures={
            "searches that found a critical point": status["converged"] / len(rows["cost"]),
            "searches that ended gradient-flat": status["gradient-flat"] / len(rows["cost"]),
            "correlation of cost rank and number of negative eigenvalues": correlation(rows, keep),
            **{f"all {n} eigenvalues positive": p[n] for n in p},
        },
        n_problems=max(len(problems), 1),
        strata=[
            *found.strata,
            *(
                shares.by_level(
                    kind[keep] == "saddle", {"steps of descent before": rows["time"][keep]}
                )
            ),
        ],
    )


def positive_shares(config, measured):
    """Shares of positive definite matrices by N, and their standard errors."""
    p = {n: count / config.matrices for n, count in measured["positive"].items()}
    return p, {n: (v * (1 - v) / config.matrices) ** 0.5 for n, v in p.items()}


def correlation(rows, keep):
    """Spearman's, over the distinct critical points; NaN for fewer than three."""
    from scipy.stats import spearmanr

    if keep.sum() < 3 or np.ptp(rows["negative"][keep]) == 0:
        return float("nan")
    found: Any = spearmanr(rows["cost"][keep], rows["negative"][keep])
    return float(found.statistic)


NAMES = ("saddle", "minimum", "degenerate", "gradient-flat, rejected")


def chart(config, measured):
    """Cost against the number of negative eigenvalues; probabilities of positive matrices."""
    rows, kind = measured["search"], kinds(measured["search"])
    shown = rows["status"] < 2
    table = pd.DataFrame(
        {
            "negative": rows["negative"][shown],
            "cost": rows["cost"][shown].round(4),
            "point": np.where(rows["status"] == 0, kind, NAMES[-1])[shown],
            "J": np.array(COSTS)[rows["square"].astype(int)][shown],
            "table": np.array(instances.TABLES)[rows["family"]][shown],
            "steps before": rows["time"][shown],
            "gradient": [float(f"{g:.1e}") for g in rows["gradient"][shown]],
        }
    )
    menu = alt.param("J", value=COSTS[0], bind=alt.binding_radio(options=list(COSTS), name="J "))
    order = alt.Scale(domain=list(NAMES), range=["#d97706", "#2f7fc1", "#7b5aa6", "#c4c9cf"])
    shape = alt.Scale(domain=list(NAMES), range=["circle", "square", "diamond", "cross"])
    top = alt.Legend(orient="top", columns=2, labelLimit=200)
    scatter = (
        alt.Chart(table)
        .transform_filter("datum.J == J")
        .transform_calculate(at="datum.negative + 0.5 * (random() - 0.5)")
        .mark_point(filled=True, size=50, opacity=0.75)
        .encode(
            x=alt.X("at:Q", title="negative eigenvalues of 27 (jittered)"),
            y=alt.Y("cost:Q", title="cost J", scale=alt.Scale(zero=False)),
            color=alt.Color("point:N", title=None, scale=order, legend=top),
            shape=alt.Shape("point:N", title=None, scale=shape, legend=top),
            tooltip=["point", "table", "cost", "negative", "steps before", "gradient"],
        )
        .properties(width=310, height=290)
        .add_params(menu)
    )
    return alt.hconcat(scatter, probabilities(config, measured)).resolve_scale(
        color="independent", shape="independent"
    )


def probabilities(config, measured):
    """Measured shares of positive definite matrices beside the coin flips and the asymptote."""
    p, error = positive_shares(config, measured)
    rows = [{"N": n, "p": v, "what": "measured", "error": error[n]} for n, v in p.items() if v]
    rows += [{"N": n, "p": 0.5**n, "what": "coin flips 2⁻ᴺ"} for n in p]
    rows += [{"N": n, "p": 3 ** (-(n**2) / 4), "what": "3^(−N²/4)"} for n in p]
    names = ["measured", "coin flips 2⁻ᴺ", "3^(−N²/4)"]
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("N:O", axis=alt.Axis(labelAngle=0), title="size N of a random matrix"),
            y=alt.Y(
                "p:Q",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g", grid=False),
                title="all eigenvalues positive",
            ),
            color=alt.Color(
                "what:N",
                title=None,
                sort=names,
                scale=alt.Scale(domain=names, range=["#2f7fc1", "#d97706", "#8a8f98"]),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=["what", "N", alt.Tooltip("p", format=".4f")],
        )
        .properties(width=230, height=290)
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
