"""Claim: bias correction can give a better estimate early on.

Section:  "Bias Correction in Exponentially Weighted Averages".
Setting:  five families of series, drawn anew; the average is to follow the level under the noise.
          A constant level of either sign with independent noise of deviation 1, its size |μ| drawn
          from 0.03 to 10; the same with noise that lasts (AR(1), φ from 0.5 to 0.95); a level that
          rises or falls; a level of exactly zero; and a year's temperature (12 ± 8 °C). β is drawn
          from 0.5 to 0.99. A problem is one such level, φ and β; its mean squared error over the
          first 3/(1 − β) values, averaged over many series, is compared with and without
          correction.
Predicts: depends. Without correction the average of a constant is short of it by βᵗ; that is wrong
          where there is a level, and right where the level is zero: there the correction only
          amplifies noise, and the average without it has the smaller error in all problems.
Refuted:  supported ("can": one half) if the interval of the share of problems that gain lies above
          one half, whatever the strata say; they are declared: family, |μ| against the noise, β.
          Two identities must hold to 1e-12: the correction makes the average of a constant that
          constant, and the shortfall without it is βᵗ.
Command:  python -m experiments ewa_bias_correction
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import averages, lab, stats
from jaxdl.lab import shares

CLAIM = lab.Claim(
    name="ewa_bias_correction",
    number="8",
    title="Bias correction at the start of an average",
    quote=(
        "If you are concerned about the bias during this initial phase, while your exponentially "
        "weighted moving average is still warming up. Then bias correction can help you get a "
        "better estimate early on."
    ),
    section="Bias correction in exponentially weighted averages",
    quantifier="can",
    headline=True,
    literature=(
        lab.Source(
            "Kingma and Ba 2015, Adam: a method for stochastic optimization, section 6.4",
            "Without the correction, averages with β₂ near 1 start too small and training can "
            "become unstable.",
            "agrees",
        ),
    ),
)

BETAS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
FAMILIES = ("constant", "lasting noise", "trend", "level zero", "temperature")


@dataclasses.dataclass(frozen=True)
class Config:
    """Problems of each family, series of each problem; β and days of the picture."""

    problems: int = 120
    series: int = 200
    beta: float = 0.98
    days: int = 365
    noise: float = 4.0
    seed: int = 0


FULL = Config(problems=600)
SMOKE = Config(problems=6, series=20)


def wave(days):
    """The truth: 12 °C in the mean, 8 °C up and down once a year, starting in spring."""
    return 12 + 8 * jnp.sin(2 * jnp.pi * jnp.arange(float(days)) / 365)


def level(family, problem, days):
    """What the average is to follow, (days,), in deviations of the noise."""
    if family == "temperature":
        start = 365 * problem["u"]
        return (12 + 8 * np.sin(2 * np.pi * (np.arange(days) + start) / 365)) / 4
    if family == "level zero":
        return np.zeros(days)
    slope = problem["slope"] if family == "trend" else 0.0
    return problem["mu"] * (1 + slope * np.arange(days) / days)


def draw(config, family):
    """The problems of a family: level, lasting part of the noise, slope, β."""
    problems = []
    for i in range(config.problems):
        rng = np.random.default_rng([config.seed, FAMILIES.index(family), i])
        problems.append(
            {
                "mu": float(rng.choice([-1, 1]) * np.exp(rng.uniform(np.log(0.03), np.log(10)))),
                "phi": float(rng.uniform(0.5, 0.95)) if family == "lasting noise" else 0.0,
                "slope": float(rng.uniform(-2, 2)),
                "u": float(rng.uniform()),
                "beta": float(rng.choice(BETAS)),
                "key": int(rng.integers(2**31)),
            }
        )
    return problems


def lasting(white, phi):
    """AR(1) noise of deviation 1 from white noise of deviation 1, time on axis 0."""
    noise = np.empty_like(white)
    noise[0] = white[0]
    for t in range(1, len(white)):
        noise[t] = phi * noise[t - 1] + np.sqrt(1 - phi**2) * white[t]
    return noise


def errors(config, family, problem):
    """Mean squared error with and without correction over the first 3/(1 − β) values."""
    days = round(3 * float(averages.effective_window(problem["beta"])))
    truth = level(family, problem, days)[:, None]
    white = np.random.default_rng(problem["key"]).standard_normal((days, config.series))
    noisy = truth + lasting(white, problem["phi"])
    plain = np.asarray(averages.ewa(jnp.asarray(noisy), problem["beta"], debias=False))
    weight = 1 - problem["beta"] ** np.arange(1, days + 1)[:, None]
    found = {"as printed": plain, "corrected": plain / weight}
    return {name: float(np.mean(np.square(a - truth))) for name, a in found.items()}


def run(config):
    """Both errors of every problem; the identities; one year of temperatures to look at."""
    with jax.enable_x64(True):
        problems = {family: draw(config, family) for family in FAMILIES}
        return {
            "problems": problems,
            "errors": {
                family: [errors(config, family, p) for p in drawn]
                for family, drawn in problems.items()
            },
            **identities(config),
            **picture(config),
        }


def identities(config):
    """How far the average of a constant is from what algebra says."""
    ones = jnp.ones(config.days)
    short = 1 - averages.ewa(ones, config.beta, debias=False)
    powers = config.beta ** jnp.arange(1.0, config.days + 1)
    return {
        "constant": float(jnp.max(jnp.abs(averages.ewa(ones, config.beta) - 1))),
        "shortfall": float(jnp.max(jnp.abs(short - powers))),
    }


def picture(config):
    """One series and its averages for every β."""
    noise = jax.random.normal(jax.random.key(config.seed), (config.days,))
    series = wave(config.days) + config.noise * noise
    return {
        "series": np.asarray(series),
        "shown": {
            str(beta): {
                name: np.asarray(averages.ewa(series, beta, debias))
                for name, debias in (("as printed", False), ("corrected", True))
            }
            for beta in BETAS
        },
    }


def size(family, problem):
    """|μ| of a problem against the noise; a temperature's level is far above it."""
    if family == "level zero":
        return "0"
    if family == "temperature":
        return "1 and above"
    mu = abs(problem["mu"])
    return "0.03 to 0.3" if mu < 0.3 else "0.3 to 1" if mu < 1 else "1 and above"


def judge(config, measured):
    """The share of problems in which correction lowers the error; where it does not."""
    gains, families, sizes, betas = [], [], [], []
    for family, drawn in measured["problems"].items():
        for problem, e in zip(drawn, measured["errors"][family], strict=True):
            gains.append(e["as printed"] - e["corrected"])
            families.append(family)
            sizes.append(size(family, problem))
            betas.append(f"{problem['beta']:g}")
    gains = np.array(gains)
    strata = {"family": families, "|μ| in deviations of the noise": sizes, "β": betas}
    found = shares.decide((np.sign(gains) + 1) / 2, CLAIM.gamma, strata, families)
    exact = max(measured["constant"], measured["shortfall"]) < 1e-12
    share = {next(iter(s["by"].items())): s["value"] for s in found.strata}
    zero = share["family", "level zero"]
    small = share["|μ| in deviations of the noise", "0.03 to 0.3"]
    crossed = shares.crossed(
        (np.sign(gains) + 1) / 2, ("|μ| in deviations of the noise", sizes), ("β", betas)
    )
    return lab.Judgement(
        verdict=found.verdict if exact else "contradicted",
        sentence=(
            "Over the first 3/(1 − β) values bias correction lowers the error in "
            f"{shares.percent(found.share)} of problems; “can” asks for 50 %. It takes a level: "
            f"where that is zero the correction helps in {100 * zero:.0f} %, since it only "
            f"amplifies noise, and where it is below 0.3 deviations of the noise in "
            f"{100 * small:.0f} %. On a constant it is exact to "
            f"{max(measured['constant'], measured['shortfall']):.0e}."
        ),
        estimate=lab.Estimate("share of problems in which correction lowers the error",
                              *found.share),
        figures={
            "largest difference of the shortfall on a constant to βᵗ": measured["shortfall"],
            "largest relative error on a constant, corrected": measured["constant"],
            **{
                f"median of error as printed / error corrected, {family}": round(float(np.median(
                    [e["as printed"] / e["corrected"] for e in measured["errors"][family]])), 3)
                for family in FAMILIES
            },
        },
        n_problems=len(gains),
        n_seeds=config.series,
        strata=found.strata + crossed,
        effects=[effect(gains, families, found)],
        arms=[{"name": "corrected", "role": "better"}, {"name": "as printed", "role": "than"}],
    )  # fmt: skip


def effect(gains, families, found):
    """The one comparison, as the result file holds it."""
    typical = stats.hodges_lehmann(gains)
    return {
        "protocol": "paired series",
        "better": "corrected",
        "than": "as printed",
        "primary": True,
        "problem_poi": found.share._asdict(),
        "run_poi": found.share._asdict(),
        "effect": {"name": "mean squared error, in squares of the noise", **typical._asdict()},
        "differences": [round(float(g), 5) for g in gains],
        "families": list(families),
    }


def chart(config, measured):
    """The shares; below, one series and its averages, with a slider for β."""
    found = judge(config, measured)
    return alt.vconcat(lab.chart(found, CLAIM.gamma), year(config, measured)).resolve_scale(
        color="independent"
    )


def year(config, measured):
    """One series and its averages, with a slider for β; in grey: the days."""
    days = np.arange(1, config.days + 1)
    kept = (days <= 30) | (days % 4 == 0)
    names = {"v": "v, as printed", "c": "v / (1 − βᵗ), corrected"}
    rows = pd.concat(
        pd.DataFrame(
            {
                "day": days[kept],
                "v": both["as printed"][kept].round(2),
                "c": both["corrected"][kept].round(2),
                "β": float(beta),
            }
        )
        for beta, both in measured["shown"].items()
    )
    points = pd.DataFrame({"day": days, "temperature": measured["series"].round(1)})
    choose = alt.param(
        name="choice",
        value=BETAS.index(config.beta),
        bind=alt.binding_range(min=0, max=len(BETAS) - 1, step=1, name="β: 0.5, 0.8, …, 0.99  "),
    )
    x = alt.X("day:Q", title="day")
    y = alt.Y("temperature:Q", title="temperature (°C)")
    dots = alt.Chart(points).mark_circle(size=14, opacity=0.35, color="#6b7280").encode(x=x, y=y)
    shown = alt.Chart(rows).transform_filter(f"abs(datum['β'] - {list(BETAS)}[choice]) < 1e-9")
    color = alt.Color(
        "line:N",
        title=None,
        scale=alt.Scale(domain=list(names.values()), range=["#d97706", "#2f7fc1"]),
        legend=alt.Legend(orient="top", labelLimit=300),
    )
    lines = (
        shown.transform_fold(list(names), as_=["which", "temperature"])
        .transform_calculate(
            line=f"datum.which == 'v' ? '{names['v']}' : '{names['c']}'",
        )
        .mark_line(strokeWidth=2.5)
        .encode(x=x, y=y, color=color, tooltip=["line:N", "day:Q", "temperature:Q", "β:Q"])
    )
    label = (
        shown.transform_filter("datum.day == 1")
        .transform_calculate(
            text="'β = ' + datum['β'] + ', about ' + round(1 / (1 - datum['β'])) + ' days'"
        )
        .mark_text(align="left", x=340, y=14, fontSize=13)
        .encode(text="text:N")
    )
    return (dots + lines + label).add_params(choose).properties(width=520, height=300)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
