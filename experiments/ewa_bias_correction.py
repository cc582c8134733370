"""Claim: bias correction makes an exponentially weighted average right from the first value on.

Section:  "Bias Correction in Exponentially Weighted Averages".
Setting:  a daily temperature with a yearly wave and independent noise, drawn anew for every seed;
          its average with β = 0.98, with and without correction. Error: root mean square
          distance to the wave, relative to the mean of the wave.
Predicts: without correction the average of a constant is short of it by βᵗ, so it starts at
          1 − β = 2 %; with correction it is the constant, to rounding. Over the first window,
          1/(1 − β) = 50 days, correction lowers the error in at least 99 % of series;
          after five windows the two averages differ by less than 1 %.
Refuted:  if the paired interval of the improvement over the first window holds zero.
Command:  python -m experiments ewa_bias_correction
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import averages, lab

GAMMA = 0.99
"""The share of series that "almost always" stands for."""

CLAIM = lab.Claim(
    name="ewa_bias_correction",
    title="Bias correction repairs the start of an average",
    quote="Bias Correction that can make you computation of these averages more accurately.",
    section="Bias correction in exponentially weighted averages",
    quantifier="almost always",
    gamma=GAMMA,
)

BETAS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)


@dataclasses.dataclass(frozen=True)
class Config:
    """β of the verdict, the days, how many independent series, and the noise in degrees."""

    beta: float = 0.98
    days: int = 365
    series: int = 1000
    noise: float = 4.0
    seed: int = 0


FULL = Config(series=10_000)
SMOKE = Config(series=20)


def wave(days):
    """The truth: 12 °C in the mean, 8 °C up and down once a year, starting in spring."""
    return 12 + 8 * jnp.sin(2 * jnp.pi * jnp.arange(float(days)) / 365)


def temperatures(config):
    """Truth plus noise, one column for each series."""
    noise = jax.random.normal(jax.random.key(config.seed), (config.days, config.series))
    return wave(config.days)[:, None] + config.noise * noise


def error(average, truth, days):
    """Root mean square error over the first days, relative to the mean of the truth, by series."""
    gap = (average - truth[:, None])[:days]
    return np.sqrt(np.mean(np.square(gap), axis=0)) / float(np.mean(truth))


def run(config):
    """Averages with and without correction for every series; one series for every β to look at."""
    with jax.enable_x64(True):
        truth, series = np.asarray(wave(config.days)), temperatures(config)
        window = round(averages.effective_window(config.beta))
        found = {}
        for name, debias in (("as printed", False), ("corrected", True)):
            average = np.asarray(averages.ewa(series, config.beta, debias))
            found[name] = {
                "error": error(average, truth, window),
                "late": average[min(5 * window, config.days - 1)],
            }
        ones = jnp.ones(config.days)
        short = 1 - averages.ewa(ones, config.beta, debias=False)
        powers = config.beta ** jnp.arange(1.0, config.days + 1)
        shown = {
            str(beta): {
                name: np.asarray(averages.ewa(series[:, 0], beta, debias))
                for name, debias in (("as printed", False), ("corrected", True))
            }
            for beta in BETAS
        }
        return {
            "errors": {name: values["error"] for name, values in found.items()},
            "late": float(
                np.max(np.abs(found["as printed"]["late"] / found["corrected"]["late"] - 1))
            ),
            "constant": float(jnp.max(jnp.abs(averages.ewa(ones, config.beta) - 1))),
            "shortfall": float(jnp.max(jnp.abs(short - powers))),
            "truth": truth,
            "series": np.asarray(series[:, 0]),
            "shown": shown,
        }


def judge(config, measured):
    """Supported if almost every series gains over the first window, with an interval above zero."""
    gain = measured["errors"]["as printed"] - measured["errors"]["corrected"]
    share = float(np.mean(gain > 0))
    half = 1.96 * float(np.std(gain, ddof=1)) / np.sqrt(len(gain))
    low, high = float(np.mean(gain)) - half, float(np.mean(gain)) + half
    exact = max(measured["constant"], measured["shortfall"]) < 1e-12
    if low > 0 and share >= GAMMA and exact and measured["late"] < 0.01:
        verdict = "supported"
    else:
        verdict = "inconclusive" if low <= 0 <= high else "contradicted" if high < 0 else "depends"
    errors = {name: float(np.mean(e)) for name, e in measured["errors"].items()}
    window = round(averages.effective_window(config.beta))
    return lab.Judgement(
        verdict=verdict,
        sentence=(
            f"Over the first {window} days the corrected average is off by "
            f"{errors['corrected']:.0%} of the mean temperature, the one without correction by "
            f"{errors['as printed']:.0%}; correction helps {share:.1%} of {len(gain):,} series. "
            f"After {5 * window} days the two differ by {measured['late']:.1%} at most."
        ),
        estimate=lab.Estimate(
            "error without correction − error with it", float(np.mean(gain)), low, high
        ),
        figures={
            "share of series that gain": share,
            "largest difference of the shortfall on a constant to βᵗ": measured["shortfall"],
            "largest relative error on a constant, corrected": measured["constant"],
            "largest relative difference after five windows": measured["late"],
        },
        n_seeds=len(gain),
    )


def chart(config, measured):
    """One series and its averages, with a slider for β; in grey: the days."""
    days = np.arange(1, config.days + 1)
    names = {"as printed": "v, as printed", "corrected": "v / (1 − βᵗ), corrected"}
    rows = pd.concat(
        pd.DataFrame(
            {"day": days, "temperature": values.round(3), "line": names[name], "β": float(beta)}
        )
        for beta, both in measured["shown"].items()
        for name, values in both.items()
    )
    points = pd.DataFrame({"day": days, "temperature": measured["series"].round(2)})
    choose = alt.param(
        name="choice",
        value=BETAS.index(config.beta),
        bind=alt.binding_range(min=0, max=len(BETAS) - 1, step=1, name="β: 0.5, 0.8, …, 0.99  "),
    )
    at = f"abs(datum['β'] - {list(BETAS)}[choice]) < 1e-9"
    x = alt.X("day:Q", title="day")
    y = alt.Y("temperature:Q", title="temperature (°C)")
    dots = alt.Chart(points).mark_circle(size=14, opacity=0.35, color="#6b7280").encode(x=x, y=y)
    color = alt.Color(
        "line:N",
        title=None,
        sort=list(names.values()),
        scale=alt.Scale(domain=list(names.values()), range=["#d97706", "#2f7fc1"]),
        legend=alt.Legend(orient="top", labelLimit=300),
    )
    tooltip = ["line", "day", "temperature", "β"]
    lines = (
        alt.Chart(rows)
        .transform_filter(at)
        .mark_line(strokeWidth=2.5)
        .encode(x=x, y=y, color=color, tooltip=tooltip)
    )
    label = (
        alt.Chart(rows)
        .transform_filter(at)
        .transform_filter("datum.day == 1")
        .transform_calculate(
            text="'β = ' + datum['β'] + ', about ' + round(1 / (1 - datum['β'])) + ' days'"
        )
        .mark_text(align="left", x=440, y=14, fontSize=13)
        .encode(text="text:N")
    )
    return (dots + lines + label).add_params(choose).properties(width=620, height=340)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
