"""Claim: backpropagation as derived in the notes trains exactly as automatic differentiation does.

Section:  "Forward and backward propagation".
Setting:  real handwritten digits, an MLP, Adam; trained twice from the same weights, on the same
          batches, once with `jax.grad` and once with the hand-derived backward pass.
Predicts: the two cost curves differ by less than 1 % of the cost (they part by float32 rounding,
          which training amplifies), and both nets read at least 97 % of the test digits.
Refuted:  if the curves part by more than 1 % of the cost, or fewer digits are read.
Command:  python -m experiments digits_mlp
"""

import dataclasses
import sys

import altair as alt
import jax
import numpy as np
import pandas as pd

from jaxdl import backprop, data, lab, layers, losses, metrics, models, optim, train

CLAIM = lab.Claim(
    name="digits_mlp",
    title="Backprop by hand trains as jax.grad does",
    quote="dZ = dA ∗ g′(Z), dW = (1/m) dZ Aᵀ, db = (1/m) Σ dZ, dA = Wᵀ dZ",
    section="Forward and backward propagation",
)

TOLERANCE = 0.01
"""Largest relative difference between the cost curves that still counts as coinciding."""

ACCURACY = 0.97
"""Share of test digits that a network of this size is expected to read."""


@dataclasses.dataclass(frozen=True)
class Config:
    """An MLP on the digits, dropout included so that masks are shared too."""

    hidden: tuple[int, ...] = (128, 64)
    learning_rate: float = 1e-3
    batch_size: int = 64
    epochs: int = 60
    l2: float = 0.1
    keep_prob: float = 0.9
    seed: int = 0


FULL = Config(hidden=(256, 128), epochs=120)
SMOKE = Config(hidden=(16,), epochs=2)


def run(config):
    """Train twice, by hand and by autodiff, from the same weights on the same batches."""
    parts = data.split(data.load("digits"), (0.7, 0.15, 0.15), seed=config.seed)
    scaler = data.standardize.fit(parts.train.x)
    train_set, dev_set, test_set = (
        (data.standardize.apply(scaler, part.x), part.y)
        for part in (parts.train, parts.dev, parts.test)
    )
    model = models.mlp((64, *config.hidden, 10), keep_prob=config.keep_prob)
    cost = losses.objective(model, "softmax_cross_entropy", l2=config.l2)
    key = jax.random.key(config.seed)
    measured = {}
    for arm, value_and_grad in {
        "jax.grad": jax.value_and_grad(cost),
        "by hand": backprop.value_and_grad(model, "softmax_cross_entropy", l2=config.l2),
    }.items():
        result = train.fit(
            cost,
            model.init(jax.random.fold_in(key, 0)),
            optim.adam(config.learning_rate),
            train_set,
            epochs=config.epochs,
            batch_size=config.batch_size,
            key=jax.random.fold_in(key, 1),
            value_and_grad=value_and_grad,
            dev=dev_set,
        )
        logits = layers.apply(model, result.params, test_set[0])
        measured[arm] = {
            "cost": np.asarray(result.history["cost"]),
            "dev_cost": np.asarray(result.history["dev_cost"]),
            "test_accuracy": float(metrics.accuracy(logits, test_set[1])),
        }
    return measured


def judge(config, measured):
    """Exact if the curves coincide and the digits are read."""
    auto, hand = measured["jax.grad"], measured["by hand"]
    gap = float(np.max(np.abs(hand["cost"] - auto["cost"]) / auto["cost"]))
    accuracy = min(auto["test_accuracy"], hand["test_accuracy"])
    holds = gap <= TOLERANCE and accuracy >= ACCURACY
    return lab.Judgement(
        verdict="exact" if holds else "contradicted",
        sentence=(
            f"Over {config.epochs} epochs the two cost curves differ by at most {gap:.1e} of the "
            f"cost; by hand {100 * hand['test_accuracy']:.1f} % of the test digits are read, with "
            f"jax.grad {100 * auto['test_accuracy']:.1f} %."
        ),
        estimate=lab.Estimate.exact("largest relative difference of the cost curves", gap),
        figures={
            "test accuracy, by hand": hand["test_accuracy"],
            "test accuracy, jax.grad": auto["test_accuracy"],
            "final training cost": float(hand["cost"][-1]),
            "final dev cost": float(hand["dev_cost"][-1]),
        },
    )


def chart(config, measured):
    """Cost against epoch, the two gradients on top of each other, and their difference below."""
    rows = pd.concat(
        pd.DataFrame(
            {
                "epoch": np.arange(1, config.epochs + 1),
                "cost": arm[part],
                "gradient": name,
                "data": label,
            }
        )
        for name, arm in measured.items()
        for part, label in (("cost", "training, dropout on"), ("dev_cost", "dev, dropout off"))
    )
    gap = np.abs(measured["by hand"]["cost"] - measured["jax.grad"]["cost"])
    gaps = pd.DataFrame(
        {
            "epoch": np.arange(1, config.epochs + 1),
            "difference": np.where(gap > 0, gap / measured["jax.grad"]["cost"], np.nan),
        }
    )
    hover = alt.selection_point(fields=["epoch"], nearest=True, on="pointerover", empty=False)
    base = alt.Chart(rows).encode(
        x=alt.X("epoch:Q", title="epoch"),
        y=alt.Y("cost:Q", title="cost J with penalty", scale=alt.Scale(type="log")),
    )
    arms = ["jax.grad", "by hand"]

    def by_arm(channel, *range):
        return channel("gradient:N", sort=arms, scale=alt.Scale(domain=arms, range=range))

    lines = base.mark_line().encode(
        color=alt.Color("data:N", scale=alt.Scale(range=["#d97706", "#2f7fc1"])),
        strokeWidth=by_arm(alt.StrokeWidth, 7, 1.6),
        strokeDash=by_arm(alt.StrokeDash, [1, 0], [5, 3]),
        opacity=by_arm(alt.Opacity, 0.35, 1),
    )
    points = base.mark_circle(size=60).encode(
        color="data:N",
        opacity=alt.condition(hover, alt.value(1), alt.value(0)),
        tooltip=["epoch", "data", "gradient", alt.Tooltip("cost", format=".5f")],
    )
    curves = (lines + points.add_params(hover)).properties(width=620, height=300)
    below = (
        alt.Chart(gaps)
        .mark_line(
            color="#8a8f98",
            point=alt.OverlayMarkDef(color="#8a8f98", size=18),
            invalid="break-paths-show-domains",
        )
        .encode(
            x=alt.X("epoch:Q", title="epoch"),
            y=alt.Y(
                "difference:Q",
                title="relative difference",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format=".0e", tickCount=4),
            ),
            tooltip=["epoch", alt.Tooltip("difference", format=".2e")],
        )
        .properties(
            width=620,
            height=110,
            title="How far the two training curves are apart (a gap: not at all)",
        )
    )
    return alt.vconcat(curves, below)


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
