"""Claim: what a deep network computes may need exponentially more units in a shallow one.

Section:  "Why deep representations?".
Setting:  built by hand in float64, where all numbers are exact: the triangle wave of 2ᵏ pieces
          (Telgarsky 2016) by k hidden layers of two ReLUs, and by one hidden layer; the parity of N
          bits, the lecture's example, by one layer of N threshold units. Trained: the wave of 2ᵏ
          pieces, k = 1 … 4, by a ReLU network of four hidden layers of 8 units and by one hidden
          layer with as many parameters (80 units), Adam, the best of three rates each, the same
          grid of 129 points.
Predicts: the deep network is the wave exactly, and crosses ½ 2ᵏ times. One hidden layer of n ReLUs
          has at most n + 1 pieces, so it needs at least 2ᵏ − 1 units, and 2ᵏ suffice exactly: the
          units double with every layer. Parity is computed exactly by N units, so there the
          statement fails. Trained, the deep network fits better than the shallow one in more than
          half of the runs at k ≥ 3, but neither fits the wave of 16 pieces reliably (R² ≥ 0.95).
Refuted:  by a built network that is off, or by a count that does not double. The statement says
          "might", so one family of functions supports it; where it fails is reported beside it.
Command:  python -m experiments depth_and_width
"""

import dataclasses
import itertools
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, layers, losses, models, optim, population, stats, train
from jaxdl.lab import shares

CLAIM = lab.Claim(
    name="depth_and_width",
    title="A wave that depth draws with few units",
    quote="If you try to compute the same function with a shallow network so we aren’t allowed "
    "enough hidden layers then you might require exponentially more hidden units to compute",
    section="Why deep representations?",
    quantifier="can",
    number="51",
    literature=(
        lab.Source(
            "Telgarsky 2016, Benefits of depth in neural networks",
            "k layers of two ReLUs draw a triangle wave of 2ᵏ pieces; networks of far fewer "
            "layers need exponentially many units to come near it",
            "agrees",
        ),
    ),
)

ARMS = {"deep": (1, 8, 8, 8, 8, 1), "shallow": (1, 80, 1)}
"""241 parameters each."""
FITS = 0.95


@dataclasses.dataclass(frozen=True)
class Config:
    """Layers and bits of the built networks; waves, seeds, rates and steps of the trained ones."""

    layers: int = 12
    bits: int = 12
    waves: tuple[int, ...] = (1, 2, 3, 4)
    seeds: int = 10
    rates: tuple[float, ...] = (0.003, 0.01, 0.03)
    steps: int = 2000
    seed: int = 0


FULL = Config(layers=14, bits=14, seeds=40)
SMOKE = Config(layers=3, bits=3, waves=(1, 3), seeds=2, rates=(0.01,), steps=5)


def wave(x, k):
    """The triangle wave of 2ᵏ pieces on [0, 1], from 0 up to 1 and down again 2ᵏ⁻¹ times."""
    phase = x * 2.0**k % 2
    return 1 - abs(1 - phase)


def deep(k):
    """Parameters of k hidden layers of two ReLUs: y ↦ 2 relu(y) − 4 relu(y − ½), k times."""
    fold = np.array([[2.0], [-4.0]])
    inside = {"w": np.hstack([fold, fold]), "b": np.array([0.0, -0.5])}
    first = {"w": np.ones((1, 2)), "b": inside["b"]}
    return [first, *[inside] * (k - 1), {"w": fold, "b": np.zeros(1)}]


def shallow(k):
    """Parameters of one hidden layer of 2ᵏ ReLUs: one for each change of slope."""
    kinks = np.arange(2**k) / 2**k
    slopes = 2.0**k * np.where(np.arange(2**k) % 2, -2, 2)
    slopes[0] /= 2
    return [{"w": np.ones((1, 2**k)), "b": -kinks}, {"w": slopes[:, None], "b": np.zeros(1)}]


def output(params, x, most=1024):
    """The plain forward pass in NumPy, ReLU after every layer but the last; `most` rows at once.

    All rows at once would fill gigabytes with the units of a wide layer.
    """
    found = []
    for a in np.array_split(x[:, None], -(-len(x) // most)):
        for p in params[:-1]:
            a = np.maximum(a @ p["w"] + p["b"], 0)
        found.append(a @ params[-1]["w"] + params[-1]["b"])
    return np.concatenate(found)[:, 0]


def built(k):
    """Errors of both built networks on 8 points a piece, and the pieces counted on them."""
    x = np.arange(2 ** (k + 3) + 1) / 2 ** (k + 3)
    y = {name: output(make(k), x) for name, make in (("deep", deep), ("shallow", shallow))}
    slopes = np.diff(y["deep"])
    return {
        "error": max(float(np.abs(v - wave(x, k)).max()) for v in y.values()),
        "pieces": 1 + int((np.diff(slopes) != 0).sum()),
        "crossings": int((np.diff(y["deep"] > 0.5) != 0).sum()),
    }


def parity_errors(bits):
    """How many of all 2ᴺ inputs one layer of N threshold units gets wrong.

    Unit j fires if at least j bits are set; the output adds them up with alternating signs.
    """
    x = np.array(list(itertools.product((0, 1), repeat=bits)))
    fires = (x @ np.ones((bits, bits)) - np.arange(1, bits + 1) >= 0).astype(int)
    return int((fires @ (-1) ** np.arange(bits) != x.sum(1) % 2).sum())


def trained(arm, config):
    """R² of every run on the wave: (waves, seeds, rates)."""
    model = models.mlp(ARMS[arm])
    objective = losses.objective(model, "squared_error")
    x = jnp.linspace(0, 1, 129)[:, None]

    def fit(run):
        y = wave(x, run["wave"])
        start, order = jax.random.split(jax.random.key(run["seed"]))
        result = train.fit(
            objective, model.init(start), optim.adam(run["rate"]), (2 * x - 1, y),
            epochs=config.steps, key=order, train_metrics=False,
        )  # fmt: skip
        left = jnp.mean((layers.apply(model, result.params, 2 * x - 1) - y) ** 2)
        return 1 - left / jnp.var(y)

    seeds = config.seed + np.arange(config.seeds)
    runs = population.grid(wave=np.array(config.waves, float), seed=seeds, rate=config.rates)
    found = population.run(fit, runs).outputs
    shape = (len(config.waves), config.seeds, len(config.rates))
    return np.nan_to_num(found.reshape(shape), nan=-np.inf)


def run(config):
    """Built networks, counted; trained networks, R² at the best rate."""
    return {
        "built": {k: built(k) for k in range(1, config.layers + 1)},
        "parity": {n: parity_errors(n) for n in range(2, config.bits + 1)},
        "trained": {arm: trained(arm, config).max(-1) for arm in ARMS},
    }


def judge(config, measured):
    """Supported if the built waves are exact and their pieces double with every layer."""
    exact = {
        k: b["error"] == 0 and b["pieces"] == b["crossings"] == 2**k
        for k, b in measured["built"].items()
    }
    parity = all(errors == 0 for errors in measured["parity"].values())
    r2 = measured["trained"]
    waves = np.repeat(config.waves, config.seeds)
    fits = {arm: (r2[arm] >= FITS).mean(1) for arm in ARMS}
    comparison = stats.compare(
        r2["deep"].ravel(), r2["shallow"].ravel(), waves, key=jax.random.key(config.seed)
    )
    deeper = (np.sign(r2["deep"] - r2["shallow"]).ravel() + 1) / 2
    growth = np.polyfit(list(exact), [np.log2(b["pieces"]) for b in measured["built"].values()], 1)
    k, n = max(exact), max(measured["parity"])
    return lab.Judgement(
        verdict="supported" if all(exact.values()) else "contradicted",
        sentence=(
            f"{k} hidden layers of two ReLUs are a wave of {measured['built'][k]['pieces']:,} "
            f"pieces, without any error; one hidden layer needs at least {2**k - 1:,} units. Not "
            f"so for the lecture's example: {n} threshold units in one layer compute the parity "
            f"of {n} bits {'without' if parity else 'with'} an error. And built is not trained: of "
            f"the waves of {', '.join(str(2**w) for w in config.waves)} pieces the deep network "
            f"fits {', '.join(f'{shares.percent(s)}' for s in fits['deep'])} of its runs, one "
            "hidden layer "
            "with as many parameters "
            f"{', '.join(f'{shares.percent(s)}' for s in fits['shallow'])}; the deep "
            f"one is the better in {shares.percent(comparison.problem)}."
        ),
        estimate=lab.Estimate.exact("growth of log₂ (units of one layer) per layer", growth[0]),
        figures={
            "largest error of the built waves": max(b["error"] for b in measured["built"].values()),
            "wrong answers of the parity networks": sum(measured["parity"].values()),
            "median R², deep": ", ".join(f"{v:.2f}" for v in np.median(r2["deep"], axis=1)),
            "median R², one hidden layer": ", ".join(
                f"{v:.2f}" for v in np.median(r2["shallow"], axis=1)
            ),
        },
        n_problems=len(exact) + len(measured["parity"]),
        n_seeds=config.seeds,
        arms=[{"name": "deep", "role": "better"}, {"name": "shallow", "role": "than"}],
        strata=[
            *shares.by_level(
                [*exact.values(), *[not parity] * len(measured["parity"])],
                {"function": ["triangle wave"] * len(exact) + ["parity"] * len(measured["parity"])},
            ),
            *shares.by_level(deeper, {"trained, pieces": 2**waves}),
        ],
    )


NETWORKS = ("deep", "one hidden layer (built: at least)", "thresholds, parity of k bits")


def chart(config, measured):
    """Units against pieces for both networks, and R² of the trained ones."""
    units = pd.DataFrame(
        [
            {"network": name, "hidden layers": k, "units": count, "pieces": 2**k}
            for k in measured["built"]
            for name, count in zip(NETWORKS, (2 * k, 2**k - 1), strict=False)
        ]
        + [{"network": NETWORKS[2], "hidden layers": n, "units": n} for n in measured["parity"]]
    )
    color = alt.Color(
        "network:N",
        title=None,
        legend=alt.Legend(orient="top", labelLimit=300),
        scale=alt.Scale(domain=list(NETWORKS), range=["#2f7fc1", "#d97706", "#8a8f98"]),
    )
    counts = (
        alt.Chart(units)
        .mark_line(point=True)
        .encode(
            x=alt.X("hidden layers:Q", title="k layers, or k bits"),
            y=alt.Y("units:Q", scale=alt.Scale(type="log"), title="hidden units"),
            color=color,
            tooltip=["network", "hidden layers", "units", "pieces"],
        )
        .properties(width=280, height=260, title="Built: the wave of 2ᵏ pieces")
    )
    return counts | dots(config, measured, color)


def dots(config, measured, color):
    """A dot for each seed."""
    rows = pd.DataFrame(
        [
            {"pieces": 2**w, "network": name, "R²": round(max(float(value), -0.2), 3), "seed": s}
            for name, r2 in zip(NETWORKS, measured["trained"].values(), strict=False)
            for w, values in zip(config.waves, r2, strict=True)
            for s, value in enumerate(values)
        ]
    )
    return (
        alt.Chart(rows)
        .mark_circle(size=45, opacity=0.55)
        .encode(
            x=alt.X("pieces:O", axis=alt.Axis(labelAngle=0)),
            xOffset="network:N",
            y=alt.Y("R²:Q"),
            color=color,
            tooltip=["network", "pieces", "seed", "R²"],
        )
        .properties(
            width=280, height=260, title="Trained: R² at the best rate, a dot for each seed"
        )
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
