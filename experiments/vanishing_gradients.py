"""Claim: in a very deep network gradients get exponentially small or big.

Section:  "Vanishing / Exploding gradients".
Setting:  networks of 1 to 64 hidden layers of 64 units on real digits, tanh or ReLU, weights
          N(0, gain²/64). Measured: log ‖∂J/∂W₁‖, the gradient of the first hidden layer. A problem
          is an activation, a gain and a draw of weights and images; its depths share the weights,
          so depth 8 is the first 8 layers of depth 64. Gains are evenly spaced in the logarithm,
          from half to twice the critical gain that theory gives for wide networks: √2 for ReLU
          (He et al. 2015), 1 for tanh (Glorot and Bengio 2010; Poole et al. 2016).
Predicts: the statement holds in a problem if log ‖∂J/∂W₁‖ is a straight line in depth (R² ≥ 0.9)
          whose slope changes the gradient by a factor of 10 or more in 50 layers. It holds in at
          least half of the problems ("can sometimes"). The slope changes sign within 10 % of the
          critical gain: below it gradients vanish, above it they explode.
Refuted:  if the interval of the share lies below one half. Declared moderator: how far the gain
          is from the critical one (within a tenth in the logarithm to base 2, or further).
Command:  python -m experiments vanishing_gradients
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import activations, data, lab, losses, population, stats
from jaxdl.lab import shares

CLAIM = lab.Claim(
    name="vanishing_gradients",
    title="Gradients of deep networks vanish or explode exponentially",
    quote="your derivatives or your slopes can sometimes get either very very big or very very "
    "small, maybe even exponentially small, and this makes training difficult",
    section="Vanishing / Exploding gradients",
    quantifier="can",
    number="40",
    literature=(
        lab.Source(
            "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward "
            "neural networks",
            "back-propagated gradients shrink from layer to layer unless the variance of the "
            "weights is in balance with the width",
            "agrees",
        ),
        lab.Source(
            "He et al. 2015, Delving deep into rectifiers",
            "for ReLU the signal keeps its size at variance 2/n and changes exponentially with "
            "depth otherwise",
            "agrees",
        ),
    ),
)

CRITICAL = {"relu": 2**0.5, "tanh": 1.0}
DEPTHS = (1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64)
WIDTH, CLASSES = 64, 10
R2, FACTOR, NEAR, OFF = 0.9, np.log(10) / 50, 0.1, 0.1
"""Straightness, slope per layer, "near" in log₂ of the gain, and how far the flip may lie."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Gains relative to the critical one, draws of weights for each, and images in a cost."""

    gains: int = 17
    seeds: int = 10
    examples: int = 16
    seed: int = 0


FULL = Config(gains=33, seeds=40)
SMOKE = Config(gains=3, seeds=2, examples=4)


def relative_gains(config):
    """Gain over critical gain, from ½ to 2."""
    return np.geomspace(0.5, 2, config.gains)


def log_norms(config, x, y, examples):
    """log ‖∂J/∂W₁‖ for every depth: one scan over all layers, the identity after the last one."""
    key, pick, head = jax.random.split(jax.random.key(config["seed"]), 3)
    rows = jax.random.choice(pick, len(x), (examples,), replace=False)
    x, y = x[rows], y[rows]
    scale = config["gain"] / WIDTH**0.5
    weights = scale * jax.random.normal(key, (max(DEPTHS), WIDTH, WIDTH))
    readout = jax.random.normal(head, (WIDTH, CLASSES)) / WIDTH**0.5

    def g(z):
        return jnp.where(config["relu"], activations.relu(z), activations.tanh(z))

    def cost(first, depth):
        def layer(a, w_and_number):
            w, number = w_and_number
            return jnp.where(number < depth, g(a @ w), a), None

        later = (weights[1:], jnp.arange(1, max(DEPTHS)))
        a, _ = jax.lax.scan(layer, g(x @ first), later)
        return losses.softmax_cross_entropy(a @ readout, y).mean()

    grads = jax.vmap(jax.grad(cost), (None, 0))(weights[0], jnp.array(DEPTHS))
    # Scaled first: the squares of float32 numbers near 1e-20 are zeros.
    largest = jnp.abs(grads).max((1, 2))
    return jnp.log(largest) + jnp.log(jnp.linalg.norm(grads / largest[:, None, None], axis=(1, 2)))


def run(config):
    """One program for all gains, draws, depths and both activations."""
    digits = data.load("digits")
    x = data.standardize.apply(data.standardize.fit(digits.x), digits.x)
    measured = {}
    runs = population.grid(
        relative=relative_gains(config),
        seed=range(config.seeds),
        relu=[False, True],
    )
    runs["seed"] = config.seed + np.arange(len(runs["seed"]))  # no two networks share a weight
    runs["gain"] = runs["relative"] * np.where(runs["relu"], CRITICAL["relu"], CRITICAL["tanh"])

    def norms(problem, x, y):
        return log_norms(problem, x, y, config.examples)

    found = population.run(norms, runs, x, digits.y).outputs
    for name in CRITICAL:
        chosen = found[runs["relu"] == (name == "relu")]
        measured[name] = chosen.reshape(config.gains, config.seeds, len(DEPTHS)).astype(float)
    return measured


def lines(log_norm):
    """Slope per layer and R² of the straight line through log norm against depth, last axis."""
    depth = np.array(DEPTHS, float) - np.mean(DEPTHS)
    centred = log_norm - log_norm.mean(-1, keepdims=True)
    slope = (centred * depth).sum(-1) / (depth**2).sum()
    left = centred - slope[..., None] * depth
    return slope, 1 - (left**2).sum(-1) / (centred**2).sum(-1)


def flips(config, slope):
    """For one network of each gain: the relative gain at which the slope changes sign (log₂)."""
    gains = np.log2(relative_gains(config))
    return 2 ** np.array([np.interp(0, s, gains) for s in np.maximum.accumulate(slope.T, axis=1)])


def judge(config, measured):
    """The share of problems with an exponential gradient; where the slope changes its sign."""
    holds, activation, gap, signs, flip = [], [], [], [], {}
    away = np.abs(np.log2(relative_gains(config)))[:, None].repeat(config.seeds, 1)
    for name, log_norm in measured.items():
        slope, straight = lines(log_norm)
        holds.append((straight >= R2) & (np.abs(slope) >= FACTOR))
        signs.append(np.sign(slope) == np.sign(np.log2(relative_gains(config)))[:, None])
        gap.append(away)
        activation += [name] * slope.size
        key = jax.random.key(config.seed)
        flip[name] = stats.stratified_bootstrap(flips(config, slope), key=key)
    holds, gap = np.ravel(holds), np.ravel(gap)
    place = np.where(gap <= NEAR, "near the critical one", "further away")
    found = shares.decide(holds, CLAIM.gamma, {"activation": activation, "gain": place})
    placed = all(abs(e.low - 1) <= OFF and abs(e.high - 1) <= OFF for e in flip.values())
    far = gap > NEAR
    return lab.Judgement(
        verdict=found.verdict,
        sentence=(
            f"In {shares.percent(found.share)} of {len(holds):,} networks the logarithm of the "
            f"gradient is a straight line in depth (R² ≥ {R2:g}), steep enough for a factor of ten "
            f"or more in 50 layers: in {shares.percent(holds[far].mean())} where the gain is "
            f"further than {shares.percent(2**NEAR - 1)} from the critical one, in "
            f"{shares.percent(holds[~far].mean())} where it is nearer. Vanishing turns into "
            "exploding "
            + " and ".join(
                f"at {e.value:.2f} [{e.low:.2f}, {e.high:.2f}] times the critical gain for {name}"
                for name, e in flip.items()
            )
            + f"; within {shares.percent(OFF)} of it was predicted, which "
            + ("holds." if placed else "does not hold for both.")
        ),
        estimate=lab.Estimate("share of networks with an exponential gradient", *found.share),
        figures={
            "sign of the slope as predicted, away from the critical gain": float(
                np.ravel(signs)[far].mean()
            ),
            **{
                f"slope per layer at {relative:.2g} × critical, {name}": float(
                    np.median(lines(measured[name])[0][i])
                )
                for name in measured
                for i, relative in ((0, 0.5), (config.gains // 2, 1), (-1, 2))
            },
        },
        n_problems=len(holds),
        strata=found.strata,
        curves=curves(config, measured),
    )


def curves(config, measured):
    """log₁₀ ‖∂J/∂W₁‖ against depth at half, once and twice the critical gain."""
    return [
        {
            "protocol": f"{relative_gains(config)[i]:.2g} × critical gain",
            "family": name,
            "arm": name,
            "x": list(DEPTHS),
            **{
                line: np.quantile(log_norm[i] / np.log(10), q, axis=0).round(3).tolist()
                for line, q in (("low", 0.1), ("median", 0.5), ("high", 0.9))
            },
            "x_name": "hidden layers",
            "y_name": "log₁₀ ‖∂J/∂W₁‖",
        }
        for name, log_norm in measured.items()
        for i in (0, config.gains // 2, -1)
    ]


def chart(config, measured):
    """The map gain × depth, and the gradient against depth at the gain of the slider."""
    gains = relative_gains(config)
    quantiles = {
        name: np.quantile(v / np.log(10), (0.1, 0.5, 0.9), 1) for name, v in measured.items()
    }
    rows = pd.DataFrame(
        [
            {
                "activation": name,
                "step": i,
                "gain": round(gain * CRITICAL[name], 3),
                "relative": round(gain, 3),
                "depth": depth,
                "low": round(low[i, j], 2),
                "log": round(middle[i, j], 2),
                "high": round(high[i, j], 2),
            }
            for name, (low, middle, high) in quantiles.items()
            for i, gain in enumerate(gains)
            for j, depth in enumerate(DEPTHS)
        ]
    )
    which = alt.param(
        "activation",
        value="relu",
        bind=alt.binding_radio(options=list(measured), name="Activation "),
    )
    slider = alt.param(
        "at",
        value=config.gains // 4,
        bind=alt.binding_range(min=0, max=config.gains - 1, step=1, name="Gain, ½ … 2 × critical "),
    )
    base = alt.Chart(rows).transform_filter("datum.activation == activation")
    return alt.vconcat(heatmap(base), profile(base)).add_params(which, slider)


def heatmap(base):
    """Median log₁₀ norm by gain and depth, the slider's row framed."""
    x = alt.X("depth:O", title="hidden layers", axis=alt.Axis(labelAngle=0))
    y = alt.Y("relative:O", sort="descending", title="gain / critical gain")
    squares = base.mark_rect().encode(
        x=x,
        y=y,
        color=alt.Color(
            "log:Q",
            title=["log₁₀", "‖∂J/∂W₁‖"],
            scale=alt.Scale(scheme="blueorange", domain=[-12, 12], domainMid=0, clamp=True),
        ),
        tooltip=["activation", "gain", "relative", "depth", "low", "log", "high"],
    )
    frame = (
        base.transform_filter("datum.step == at")
        .mark_rect(filled=False, stroke="#1b1f24", strokeWidth=1.5)
        .encode(x=x, y=y)
    )
    return (squares + frame).properties(width=560, height=300)


def profile(base):
    """The median of the draws with the band that holds 80 % of them."""
    chosen = base.transform_filter("datum.step == at")
    x = alt.X("depth:Q", title="hidden layers")
    y = alt.Y("low:Q", title="log₁₀ ‖∂J/∂W₁‖", scale=alt.Scale(zero=False))
    band = chosen.mark_area(opacity=0.25, color="#2f7fc1").encode(x=x, y=y, y2="high:Q")
    line = chosen.mark_line(point=True, color="#2f7fc1").encode(
        x=x, y="log:Q", tooltip=["gain", "depth", "low", "log", "high"]
    )
    label = (
        chosen.transform_filter("datum.depth == 1")
        .transform_calculate(
            text="datum.activation + ', gain ' + datum.gain + ' = ' + datum.relative + "
            "' × critical; median and 80 % of the draws'"
        )
        .mark_text(align="left", x=8, y=-8, fontSize=12)
        .encode(text="text:N")
    )
    return (band + line + label).properties(width=560, height=190)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
