"""Claim: our network, loss and backprop reproduce the course's initialization assignment.

Section:  "Weight Initialization for Deep Networks"; course 2, week 1, assignment "Initialization".
Setting:  300 points on two noisy circles, a 2-10-5-1 ReLU network, 15,000 steps of full-batch
          gradient descent in float64 from zeros, from normals × 10 and from He's scale.
Predicts: every published cost of the He run to 1e-9 relative, zeros stay at ln 2, and all six
          published accuracies exactly. (The published × 10 costs come from a loss that
          overflows, so a stable loss differs from them in the fourth digit.)
Refuted:  by a cost further off or another accuracy.
Command:  python -m experiments course_initialization
"""

import dataclasses
import itertools
import sys

import altair as alt
import jax
import numpy as np
import pandas as pd

from jaxdl import backprop, data, lab, layers, losses, metrics, models, optim, train

CLAIM = lab.Claim(
    name="course_initialization",
    title="The course's initialization assignment, digit by digit",
    quote="More careful choice of the random initialization for your neural network.",
    section="Weight Initialization for Deep Networks",
)

SIZES = (2, 10, 5, 1)
EVERY = 1000
TOLERANCE = 1e-9

PUBLISHED_HE = (
    0.8830537463419761, 0.6879825919728063, 0.6751286264523371, 0.6526117768893807,
    0.6082958970572938, 0.5304944491717495, 0.4138645817071794, 0.3117803464844441,
    0.23696215330322562, 0.18597287209206836, 0.1501555628037182, 0.12325079292273548,
    0.09917746546525937, 0.0845705595402428, 0.07357895962677366,
)  # fmt: skip
"""Costs at iterations 0, 1000, ..., 14000, as printed in public copies of the assignment."""

PUBLISHED_ACCURACY = {"zeros": (0.5, 0.5), "× 10": (0.83, 0.86), "He": (298 / 300, 0.96)}
"""Shares of training and test points that end up on the right side."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The assignment has no random choices left; only its length can be cut."""

    iterations: int = 15_000
    learning_rate: float = 0.01


FULL = Config()
SMOKE = Config(iterations=1001)


def initial(start):
    """The assignment's weights: NumPy's legacy stream of seed 3, transposed to our rows."""
    rng = np.random.RandomState(3)
    scale = {"zeros": lambda n: 0.0, "× 10": lambda n: 10.0, "He": lambda n: np.sqrt(2.0 / n)}[
        start
    ]
    return [
        {"w": (rng.randn(n_out, n_in) * scale(n_in)).T, "b": np.zeros(n_out)}
        for n_in, n_out in itertools.pairwise(SIZES)
    ]


def run(config):
    """Train from the three starts; all costs, and both accuracies at the end."""
    parts = {"train": data.circles(300, 0.05, seed=1), "test": data.circles(100, 0.05, seed=2)}
    model = models.mlp(SIZES, "relu")
    measured = {}
    with jax.enable_x64(True):
        cost = losses.objective(model, "binary_cross_entropy")
        optimizer = optim.gradient_descent(config.learning_rate)
        by_hand = backprop.value_and_grad(model, "binary_cross_entropy")
        for start in PUBLISHED_ACCURACY:
            result = train.fit(
                cost,
                initial(start),
                optimizer,
                (parts["train"].x, data.column(parts["train"].y).astype(float)),
                epochs=config.iterations,
                key=jax.random.key(0),
                value_and_grad=by_hand,
            )
            measured[start] = {
                "cost": np.asarray(result.history["cost"])[::EVERY],
                "accuracy": [
                    float(
                        metrics.accuracy(layers.apply(model, result.params, p.x), data.column(p.y))
                    )
                    for p in parts.values()
                ],
            }
    return measured


def judge(config, measured):
    """Exact if every cost is within the tolerance and every accuracy is the published one."""
    he = measured["He"]["cost"]
    published = np.array(PUBLISHED_HE[: len(he)])
    gap = float(np.max(np.abs(he - published) / published))
    zeros = float(np.max(np.abs(measured["zeros"]["cost"] - np.log(2))))
    same = {
        start: np.allclose(measured[start]["accuracy"], expected, rtol=0, atol=1e-6)
        for start, expected in PUBLISHED_ACCURACY.items()
    }
    holds = gap <= TOLERANCE and zeros <= 1e-14 and all(same.values())
    return lab.Judgement(
        verdict="exact" if holds else "contradicted",
        sentence=(
            f"All {len(he)} published costs of the He run are met to {gap:.1e} relative, zeros "
            f"stay at ln 2 to {zeros:.0e}, and {sum(same.values())} of 3 pairs of accuracies are "
            "the published ones."
        ),
        estimate=lab.Estimate.exact("largest relative difference to a published cost", gap),
        figures={
            f"accuracy on training / test points, {start}": " / ".join(
                f"{a:.2%}" for a in m["accuracy"]
            )
            for start, m in measured.items()
        },
    )


def chart(config, measured):
    """Our costs as lines, the published ones as rings around them."""
    starts = list(PUBLISHED_ACCURACY)
    rows = pd.concat(
        pd.DataFrame(
            {
                "iteration": EVERY * np.arange(len(m["cost"])),
                "cost": m["cost"],
                "start": start,
            }
        )
        for start, m in measured.items()
    )
    n = len(measured["He"]["cost"])
    published = pd.DataFrame(
        {
            "iteration": EVERY * np.arange(n),
            "cost": PUBLISHED_HE[:n],
            "start": "He",
        }
    )
    color = alt.Color(
        "start:N",
        sort=starts,
        title="start",
        scale=alt.Scale(domain=starts, range=["#8a8f98", "#d97706", "#2f7fc1"]),
    )
    x = alt.X("iteration:Q", title="iteration")
    # From normals × 10 the first cost is off the chart; the tooltip and the file have it.
    y = alt.Y("cost:Q", title="cost J", scale=alt.Scale(type="log", domain=[0.05, 2], clamp=False))
    tooltip = ["start", "iteration", alt.Tooltip("cost", format=".15g")]
    lines = (
        alt.Chart(rows)
        .mark_line(point=True, clip=True)
        .encode(x=x, y=y, color=color, tooltip=tooltip)
    )
    rings = (
        alt.Chart(published)
        .mark_point(size=170, strokeWidth=1.5)
        .encode(x=x, y=y, color=color, tooltip=tooltip)
    )
    return (lines + rings).properties(
        width=620, height=340, title="Lines and dots: measured here. Rings: published."
    )


if __name__ == "__main__":
    sys.exit(lab.main(__name__))
