"""Claim: with linear activations, any number of layers is one linear function, so depth is useless.

Section:  "Why need a nonlinear activation function?".
Setting:  (a) what can be computed: random networks of 2, 4 and 8 layers with identity activation
          against the one layer W = W₁W₂…W_L, b = Σ bᵢWᵢ₊₁…W_L, in float64. (b) what is learned:
          a 5×5 linear map with singular values drawn log-uniformly in 1 … 4 (at least a factor 2
          between the first and the last), whitened inputs, gradient descent at one small rate
          from small random weights, 1 to 4 layers. Measured: when each singular direction of the
          map is half learned.
Predicts: (a) the two agree to 1e-12 relative in every network. (b) with one layer all directions
          are half learned at the same time; with more layers strong ones come first and the
          weakest takes at least 1.25 times as long, in every problem, so that learning goes in
          steps (Saxe, McClelland and Ganguli 2014).
Refuted:  (a) by one network off by more; (b) if depth leaves the order of learning as it is in a
          share of problems whose interval reaches above one half. Declared moderator: what is
          asked, the function that can be computed or the way it is learned.
Command:  python -m experiments linear_activations
"""

import dataclasses
import sys

import altair as alt
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from jaxdl import lab, layers, models
from jaxdl.lab import shares

CLAIM = lab.Claim(
    name="linear_activations",
    title="Linear layers add no functions, but they change learning",
    quote="if you use a linear activation function [...] then no matter how many layers your "
    "neural network has always doing is just computing a linear activation function so you might "
    "as well not have any hidden layers",
    section="Why need a nonlinear activation function?",
    quantifier="always",
    number="59",
    literature=(
        lab.Source(
            "Saxe, McClelland and Ganguli 2014, Exact solutions to the nonlinear dynamics of "
            "learning in deep linear neural networks",
            "deep linear networks compute linear functions, but learn them in steps: each "
            "singular direction at its own time",
            "partly",
        ),
        lab.Source(
            "Arora, Cohen and Hazan 2018, On the optimization of deep networks: implicit "
            "acceleration by overparameterization",
            "added linear layers can speed up gradient descent, although the functions are the "
            "same",
            "partly",
        ),
    ),
)

TOLERANCE, LATER, SIZE = 1e-12, 1.25, 5
ASKED = ("what can be computed", "how it is learned")


@dataclasses.dataclass(frozen=True)
class Config:
    """Depths and networks of each in (a); problems, steps, rate and size of the weights in (b)."""

    depths: tuple[int, ...] = (2, 4, 8)
    networks: int = 100
    problems: int = 40
    steps: int = 4000
    rate: float = 0.01
    start: float = 0.25
    seed: int = 0


FULL = Config(networks=1000, problems=400)
SMOKE = Config(depths=(4,), networks=2, problems=2, steps=40)
DEPTHS = (1, 2, 3, 4)


def collapse(depth, config):
    """(networks,) relative difference between a deep linear network and its one layer."""
    model = models.mlp((6, *[8] * (depth - 1), 4), "identity", init="he")

    @jax.jit
    @jax.vmap
    def difference(key):
        draw, inputs, biases = jax.random.split(key, 3)
        params = [
            {"w": p["w"], "b": jax.random.normal(jax.random.fold_in(biases, i), p["b"].shape)}
            for i, p in enumerate(model.init(draw))
        ]
        x = jax.random.normal(inputs, (32, 6))
        w, b = params[0]["w"], params[0]["b"]
        for p in params[1:]:
            w, b = w @ p["w"], b @ p["w"] + p["b"]
        deep, flat = layers.apply(model, params, x), x @ w + b[None, :]
        return jnp.abs(deep - flat).max() / jnp.abs(flat).max()

    return np.asarray(difference(jax.random.split(jax.random.key(config.seed), config.networks)))


def targets(config):
    """(problems, SIZE) singular values and the maps that have them."""
    rng = np.random.default_rng(config.seed)
    values = np.exp(np.sort(rng.uniform(0, np.log(4), (config.problems, SIZE)))[:, ::-1])
    values[:, 0] = np.maximum(values[:, 0], 2 * values[:, -1])
    u, _ = np.linalg.qr(rng.normal(size=(config.problems, SIZE, SIZE)))
    v, _ = np.linalg.qr(rng.normal(size=(config.problems, SIZE, SIZE)))
    return values, u, v


def learned(config, values, u, v):
    """(problems, depths, steps, SIZE): the share of each direction that is there after each step.

    One program for all depths: the product runs over four layers, the identity beyond the last.
    """
    shape = (config.problems, max(DEPTHS), SIZE, SIZE)
    start = jax.random.normal(jax.random.key(config.seed), shape) * config.start / SIZE**0.5
    wanted = jnp.asarray((u * values[:, None]) @ v.transpose(0, 2, 1), start.dtype)
    along, across = jnp.asarray(u, start.dtype), jnp.asarray(v / values[:, None], start.dtype)

    def product(weights, depth):
        whole = jnp.eye(SIZE)
        for i in range(max(DEPTHS)):
            whole = whole @ jnp.where(i < depth, weights[i], jnp.eye(SIZE))
        return whole

    def one(weights, wanted, along, across, depth):
        def cost(weights):
            return 0.5 * jnp.square(product(weights, depth) - wanted).sum()

        def step(weights, _):
            weights = weights - config.rate * jax.grad(cost)(weights)
            return weights, jnp.einsum("ik,ij,jk->k", along, product(weights, depth), across)

        return jax.lax.scan(step, weights, length=config.steps)[1]

    over_depths = jax.vmap(one, (None, None, None, None, 0))
    over_problems = jax.jit(jax.vmap(over_depths, (0, 0, 0, 0, None)))
    return np.asarray(over_problems(start, wanted, along, across, jnp.array(DEPTHS)))


def run(config):
    """Differences of (a); in (b) the step at which each direction is half learned, inf if never."""
    with jax.enable_x64(True):
        differences = {depth: collapse(depth, config) for depth in config.depths}
    values, u, v = targets(config)
    there = learned(config, values, u, v)
    half = np.where((there >= 0.5).any(2), (there >= 0.5).argmax(2) + 1.0, np.inf)
    spread = np.ptp(np.log(values), axis=1)
    shown = int(np.argsort(spread)[len(spread) // 2])
    at = np.unique(np.geomspace(8, config.steps, 60).astype(int)) - 1
    return {
        "difference": differences,
        "values": values,
        "half": half,
        "shown": {"steps": at + 1, "values": values[shown], "learned": there[shown][:, at]},
    }


def judge(config, measured):
    """The function: exact. Learning: the same only if the directions come in at one time."""
    worst = max(float(d.max()) for d in measured["difference"].values())
    same_function = np.concatenate([d <= TOLERANCE for d in measured["difference"].values()])
    half = measured["half"]
    reached = np.isfinite(half[:, :, 0])
    # A direction that never comes is later than the last step.
    ratio = np.minimum(half[:, :, -1], config.steps) / np.minimum(half[:, :, 0], config.steps)
    relative = ratio[:, 1:] / ratio[:, :1]
    same_learning = (relative < LATER).all(1)
    asked = np.repeat(ASKED, [len(same_function), len(same_learning)])
    found = shares.decide(
        np.concatenate([same_function, same_learning]), CLAIM.gamma, {"asked": asked}, asked
    )
    medians = np.median(ratio, axis=0)
    return lab.Judgement(
        verdict=found.verdict if reached.all() else "inconclusive",
        sentence=(
            f"{len(same_function)} linear networks of {config.depths} layers equal one layer to "
            f"{worst:.0e}: the functions are the same. Learning is not, in "
            f"{(~same_learning).sum()} of {len(same_learning)} problems: the weakest direction is "
            f"half learned {medians[0]:.2f} times as late as the strongest with one layer, "
            + ", ".join(f"{r:.1f} with {d}" for d, r in zip(DEPTHS[1:], medians[1:], strict=True))
            + " (medians)."
        ),
        estimate=lab.Estimate("share in which depth makes no difference", *found.share),
        figures={
            "largest relative difference to one layer": worst,
            **{
                f"half-time of the weakest / of the strongest direction, {d} layers": float(r)
                for d, r in zip(DEPTHS, medians, strict=True)
            },
            "correlation of log half-time and log singular value, 2 layers": correlation(measured),
        },
        n_problems=len(same_function) + len(same_learning),
        strata=found.strata,
    )


def correlation(measured):
    """Over directions that were learned; theory for two layers: the time goes as 1/value."""
    half = measured["half"][:, 1]
    learned = np.isfinite(half)
    if learned.sum() < 3:
        return float("nan")
    return float(np.corrcoef(np.log(half[learned]), np.log(measured["values"][learned]))[0, 1])


def chart(config, measured):
    """How much of each singular direction is there, for the number of layers of the slider."""
    shown = measured["shown"]
    rows = pd.DataFrame(
        [
            {
                "layers": depth,
                "step": int(step),
                "direction": f"{value:.2f}",
                "learned": round(float(shown["learned"][i, j, k]), 3),
            }
            for i, depth in enumerate(DEPTHS)
            for j, step in enumerate(shown["steps"])
            for k, value in enumerate(shown["values"])
        ]
    )
    slider = alt.param(
        "layers", value=3, bind=alt.binding_range(min=1, max=max(DEPTHS), step=1, name="Layers ")
    )
    order = [f"{value:.2f}" for value in shown["values"]]
    lines = (
        alt.Chart(rows)
        .transform_filter("datum.layers == layers")
        .mark_line(strokeWidth=2.5)
        .encode(
            x=alt.X("step:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="~s")),
            y=alt.Y("learned:Q", title="share learned", scale=alt.Scale(domain=[-0.1, 1.1])),
            color=alt.Color(
                "direction:N",
                title="singular value",
                sort=order,
                scale=alt.Scale(
                    domain=order, range=["#08306b", "#2171b5", "#4ba3c7", "#e08214", "#b35806"]
                ),
            ),
            tooltip=["layers", "step", "direction", "learned"],
        )
    )
    label = (
        alt.Chart(rows)
        .transform_filter("datum.layers == layers")
        .transform_aggregate(layers="min(layers)")
        .transform_calculate(text="datum.layers + (datum.layers == 1 ? ' layer' : ' layers')")
        .mark_text(align="left", x=12, y=18, fontSize=15, fontWeight="bold")
        .encode(text="text:N")
    )
    return (lines + label).add_params(slider).properties(width=560, height=320)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
