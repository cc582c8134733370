"""Claim: slowly reducing the learning rate might speed learning up.

Section:  "Learning rate decay".
Setting:  quadratics (κ from 1 to 10⁴, gradients with and without noise), networks on digits and
          on moons whose classes overlap (batches of 16, or all examples), drawn anew, in a short
          budget (a fifth of the epochs) or the whole one. A constant rate and the notes'
          three formulas: α₀ / (1 + r · epoch), α₀ / √epoch, α₀ / √t; α₀ tuned for each, ten
          settings an arm, the first formula's being five rates and two values of r (0.1 and 1).
          An epoch of a quadratic is ten steps. Measured: the training cost when the budget is
          spent; the lower one has learned faster. (Their number was raised after a pilot on
          other problems.)
Predicts: depends. Where gradients are noisy, decay ends lower; a full-batch run on a convex cost
          has no noise to damp and decay only slows it.
Refuted:  contradicted if the interval of the share of problems in which the first formula ends
          lower than a constant rate lies below one half ("might": one half).
Command:  python -m experiments learning_rate_decay
"""

import dataclasses
import sys

from jaxdl import lab, optim
from jaxdl.lab import problems, scores

CLAIM = lab.Claim(
    name="learning_rate_decay",
    number="13",
    title="Learning rate decay against a constant rate",
    quote=(
        "One of the things that might help speed up your learning algorithm, is to slowly reduce "
        "your learning rate over time."
    ),
    section="Learning rate decay",
    quantifier="can",
    literature=(
        lab.Source(
            "Robbins and Monro 1951, A stochastic approximation method",
            "With noisy observations the iterates converge if the steps shrink so that their sum "
            "is infinite and that of their squares finite.",
            "agrees",
        ),
    ),
)

POWERS = (-2, -1.5, -1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 1)
RATES = [{"lr": 10.0**power, "r": 1.0} for power in POWERS]
DECAYS = [
    {"lr": 10.0**power, "r": r} for r in (0.1, 1.0) for power in (-1.5, -0.75, -0.25, 0.25, 0.75)
]


def decayed(s):
    """The rate of the arm's own formula, by its number."""

    def optimizer(steps_per_epoch):
        schedules = (
            optim.constant_schedule(s["lr"]),
            optim.inverse_time_decay(s["lr"], s["r"], steps_per_epoch),
            optim.inverse_sqrt_decay(s["lr"], 1.0, steps_per_epoch),
            optim.inverse_sqrt_decay(s["lr"], 1.0, 1),
        )
        return problems.one_of(s["which"], *map(optim.sgd, schedules))

    return {"optimizer": optimizer}


ARMS = {
    "constant rate": RATES,
    "decay by 1 / (1 + r · epoch)": DECAYS,
    "decay by 1 / √epoch": RATES,
    "decay by 1 / √t": RATES,
}
BUDGET = problems.choice(0.2, 1.0)


def noisy(problem):
    """Whether gradients are noisy: by their noise, or by the batch."""
    if "kappa" in problem:
        return "without noise" if problem["noise"] == 0 else "noisy"
    return "without noise" if problem["batch"] == 128 else "noisy"


STUDY = lab.Study(
    families=(
        problems.quadratics(budget=BUDGET),
        problems.networks("digits", most_batch=128, batch=problems.choice(16, 128), budget=BUDGET),
        problems.networks(
            "moons", most_batch=128, batch=problems.choice(16, 128),
            noise=problems.uniform(0.3, 0.8), budget=BUDGET,
        ),
    ),
    arms=[
        lab.Arm(name, decayed, settings, fixed={"which": i})
        for i, (name, settings) in enumerate(ARMS.items())
    ],
    better="decay by 1 / (1 + r · epoch)",
    than="constant rate",
    score=scores.log_last("cost"),
    unit="log₂ of the cost when the budget is spent",
    moderators={
        "gradients": noisy,
        "budget": lambda p: "short" if p["budget"] < 1 else "whole",
    },
    crossed=(("gradients", "family"), ("gradients", "budget")),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config(lab.Sizes):
    """More problems than others have, for strata of both moderators."""

    problems: int = 48
    seed: int = 1


FULL = Config(problems=128)
SMOKE = Config(problems=2, seeds=1, families=1)

run, judge, chart = lab.experiment(CLAIM, STUDY)

if __name__ == "__main__":
    sys.exit(lab.main(__name__))
