"""Claim: one run of gradient descent passes the small, middle and large weights that L2 would give.

Section:  "Other regularization methods" (early stopping).
Setting:  least squares y = Xβ + noise with 80 rows and 40 features, gradient descent from zero at
          a small rate, against ridge regression, at step × rate = t = 1/λ. Families are four
          designs: independent features, strongly correlated ones, a spectrum that falls as 1/j,
          and the leading components of real digits. β ~ N(0, 1/d), the noise such that the ratio
          of signal to noise is log-uniform in 0.1 … 10. All risks are exact: expected squared
          error of the estimate over the noise, from the eigenvalues.
Predicts: the statement holds in a problem if the norm of the weights grows along the whole path
          and the best risk on the path is at most 1.05 times the best risk of ridge over 400
          values of λ. It holds in at least three quarters of the problems. Along the whole path,
          in every problem, the risk at t is at most 1.69 times that of ridge at λ = 1/t (Ali,
          Kolter and Tibshirani 2019).
Refuted:  if the interval of the share lies below three quarters. The bound is a theorem: if one
          problem exceeds it, the arithmetic here is wrong. Declared moderator: signal to noise.
Command:  python -m experiments early_stopping_and_l2
"""

import dataclasses
import sys

import altair as alt
import numpy as np
import pandas as pd

from jaxdl import data, lab
from jaxdl.lab import shares

CLAIM = lab.Claim(
    name="early_stopping_and_l2",
    title="Early stopping walks along the path of L2",
    quote="running the gradient descent process just once, you get to try out values of small w, "
    "mid-size w, and large w, without needing to try a lot of values of the L2 regularization "
    "hyperparameter lambda",
    section="Other regularization methods",
    quantifier="usually",
    number="35",
    literature=(
        lab.Source(
            "Ali, Kolter and Tibshirani 2019, A continuous-time view of early stopping for least "
            "squares regression",
            "the risk of gradient flow at time t is at most 1.69 times that of ridge at λ = 1/t, "
            "for every t and every design",
            "agrees",
        ),
    ),
)

ROWS, FEATURES, EXCESS, BOUND = 80, 40, 1.05, 1.69
NAMES = ("gradient descent", "ridge")
FAMILIES = ("independent", "correlated", "falling spectrum", "digits")


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems of each design, times on the path, and the rate times the largest curvature."""

    problems: int = 60
    times: int = 400
    rate: float = 0.05
    seed: int = 0


FULL = Config(problems=500)
SMOKE = Config(problems=2, times=40)


def design(family, images, rng):
    """A matrix (ROWS, FEATURES) of mean square 1."""
    if family == "digits":
        x = images[rng.choice(len(images), ROWS, replace=False)].astype(float)
        u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
        x = (u * s)[:, :FEATURES]
    else:
        x = rng.normal(size=(ROWS, FEATURES))
    if family == "correlated":
        distance = np.abs(np.subtract.outer(np.arange(FEATURES), np.arange(FEATURES)))
        x = x @ np.linalg.cholesky(0.9**distance).T
    if family == "falling spectrum":
        x = x / np.arange(1, FEATURES + 1) ** 0.5
    return x / np.sqrt((x**2).mean())


def problem(x, config, rng):
    """Weights and risks along both paths: arrays over the times t, in the eigenbasis."""
    beta = rng.normal(size=FEATURES) / FEATURES**0.5
    ratio = np.exp(rng.uniform(np.log(0.1), np.log(10)))
    noise = np.sqrt(np.mean((x @ beta) ** 2) / ratio)
    y = x @ beta + noise * rng.normal(size=ROWS)
    s, v = np.linalg.eigh(x.T @ x / ROWS)
    s = np.maximum(s, 1e-12)
    along, seen = v.T @ beta, v.T @ (x.T @ y) / ROWS
    rate = config.rate / s.max()
    # Whole steps: t = steps × rate, from a tenth of the fastest time scale to past the slowest.
    steps = np.geomspace(2, 1e7, config.times).round()
    t = steps * rate
    # What is left of each error after t: (1 − αs)ᵏ by descent, λ/(s + λ) by ridge at λ = 1/t.
    left = {
        "gradient descent": np.exp(steps[:, None] * np.log1p(-rate * s)),
        "ridge": 1 / (1 + s * t[:, None]),
    }
    found = {"t": t, "ratio": ratio}
    for name, kept in left.items():
        found[name] = {
            "risk": (kept * along) ** 2 @ np.ones(FEATURES)
            + noise**2 / ROWS * ((1 - kept) ** 2 / s).sum(1),
            "weights": ((1 - kept) / s * seen) @ v.T,
        }
    found["by steps"] = loop_difference(x, y, rate, steps, found["gradient descent"]["weights"])
    return found


def loop_difference(x, y, rate, steps, weights):
    """The largest difference between the closed form and a loop of gradient descent."""
    w, worst, wanted = np.zeros(x.shape[1]), 0.0, dict(zip(steps, weights, strict=True))
    for step in range(1, 61):
        w = w - rate * x.T @ (x @ w - y) / len(x)
        if step in wanted:
            worst = max(worst, float(np.abs(wanted[step] - w).max()))
    return worst


def run(config):
    """Both paths of every problem, summarised; the first problem of each design in full."""
    rng, images = np.random.default_rng(config.seed), data.load("digits").x
    rows, shown = [], {}
    for family in FAMILIES:
        for _ in range(config.problems):
            found = problem(design(family, images, rng), config, rng)
            descent, ridge = found["gradient descent"], found["ridge"]
            norms = np.linalg.norm(descent["weights"], axis=1)
            gap = np.linalg.norm(descent["weights"] - ridge["weights"], axis=1)
            rows.append(
                {
                    "family": family,
                    "signal to noise": found["ratio"],
                    "norm grows": bool((np.diff(norms) >= -1e-12 * norms[-1]).all()),
                    "excess": descent["risk"].min() / ridge["risk"].min(),
                    "worst ratio": (descent["risk"] / ridge["risk"]).max(),
                    "distance of the paths": (gap / norms[-1]).max(),
                    "error of the closed form": found["by steps"],
                }
            )
            if family not in shown:
                shown[family] = thinned(found)
    return {"problems": {k: np.array([r[k] for r in rows]) for k in rows[0]}, "shown": shown}


def thinned(found):
    """At most 41 points of both paths, and of the weights the two that move most."""
    t = found["t"]
    keep = np.linspace(0, len(t) - 1, min(len(t), 41)).round().astype(int)
    most = np.argsort(np.ptp(found["ridge"]["weights"], axis=0))[-2:]
    paths = {
        arm: {"risk": found[arm]["risk"][keep], "weights": found[arm]["weights"][keep][:, most]}
        for arm in NAMES
    }
    return {"t": t[keep], **paths}


def judge(config, measured):
    """The share of problems in which nothing is lost by walking instead of tuning λ."""
    p = measured["problems"]
    holds = p["norm grows"] & (p["excess"] <= EXCESS)
    noisy = np.where(p["signal to noise"] < 1, "below 1", "above 1")
    found = shares.decide(
        holds, CLAIM.gamma, {"signal to noise": noisy, "family": p["family"]}, p["family"]
    )
    bounded = p["worst ratio"].max() <= BOUND and p["error of the closed form"].max() < 1e-9
    return lab.Judgement(
        verdict=found.verdict if bounded else "inconclusive",
        sentence=(
            f"In {shares.percent(found.share)} of {len(holds)} least-squares problems the weights "
            f"grow along the whole path of gradient descent and its best point is within "
            f"{shares.percent(EXCESS - 1)} of the best ridge (median risk "
            f"{np.median(p['excess']):.3f} times, "
            f"worst {p['excess'].max():.3f} times). At t = 1/λ the risk is at most "
            f"{p['worst ratio'].max():.2f} times that of ridge, "
            f"{'within' if bounded else 'beyond'} the theorem's {BOUND}; the paths part by "
            f"{shares.percent(np.median(p['distance of the paths']))} of the final norm in the "
            "median."
        ),
        estimate=lab.Estimate("share of problems where stopping is as good as L2", *found.share),
        figures={
            "largest risk ratio at t = 1/λ": float(p["worst ratio"].max()),
            "best risk on the path / best risk of ridge, median": float(np.median(p["excess"])),
            "… and worst": float(p["excess"].max()),
            "share of problems where the path's best is better than ridge's": float(
                (p["excess"] < 1).mean()
            ),
            "largest error of the closed form against a loop": float(
                p["error of the closed form"].max()
            ),
        },
        n_problems=len(holds),
        arms=[
            {"name": "gradient descent", "role": "better"}, {"name": "ridge", "role": "than"},
        ],
        strata=found.strata,
    )  # fmt: skip


COLOR = alt.Color(
    "arm:N",
    title=None,
    scale=alt.Scale(domain=list(NAMES), range=["#2f7fc1", "#d97706"]),
    legend=alt.Legend(orient="top"),
)


def chart(config, measured):
    """Twin paths of two weights with a slider for t, and the risks along them."""
    rows = [
        {"design": family, "arm": arm, "i": i, "t": float(f"{t:.3g}"), "w₁": round(w[0], 3),
         "w₂": round(w[1], 3), "risk": float(f"{risk:.3g}")}
        for family, found in measured["shown"].items()
        for arm in NAMES
        for i, (t, w, risk) in enumerate(
            zip(found["t"], found[arm]["weights"], found[arm]["risk"], strict=True)
        )
    ]  # fmt: skip
    last = rows[-1]["i"]
    menu = alt.param(
        "design",
        value="correlated",
        bind=alt.binding_select(options=list(FAMILIES), name="Design "),
    )
    slider = alt.param(
        "at",
        value=last // 2,
        bind=alt.binding_range(min=0, max=last, step=1, name="t = 1/λ, small … large "),
    )
    base = alt.Chart(pd.DataFrame(rows)).transform_filter("datum.design == design")
    tooltip = ["arm", "t", "risk", "w₁", "w₂"]

    def panel(x, y, title):
        lines = base.mark_line(strokeWidth=2).encode(
            x=x, y=y, color=COLOR, order="i:Q", tooltip=tooltip
        )
        dots = (
            base.transform_filter("datum.i == at")
            .mark_point(size=120, filled=True)
            .encode(x=x, y=y, color=COLOR, tooltip=tooltip)
        )
        return (lines + dots).properties(width=270, height=270, title=title)

    free, plain = alt.Scale(zero=False), alt.Axis(grid=False, format="~g")
    return (
        panel(
            alt.X("w₁:Q", scale=free), alt.Y("w₂:Q", scale=free), "The two weights that move most"
        )
        | panel(
            alt.X("t:Q", scale=alt.Scale(type="log"), title="t = 1/λ", axis=plain),
            alt.Y("risk:Q", scale=alt.Scale(type="log", nice=False), axis=plain),
            "Risk along the paths",
        )
    ).add_params(menu, slider)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
