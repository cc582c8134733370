"""Everything that the findings of a run are judged by, measured once."""

from typing import NamedTuple

import numpy as np

from jaxdl.diagnose import checks, labels, tables, watch
from jaxdl.diagnose.bias import BiasVariance, bias_variance
from jaxdl.diagnose.watch import Run

RISE = 2.0
"""An epoch whose mean cost is above twice the first cost has been thrown out of the valley."""

STUCK = 0.5
"""A last cost above half that of the best constant outputs asks for an explanation."""


class Evidence(NamedTuple):
    """What was measured; None where it does not apply (no dev part, diverged, nothing wrong).

    `slower` is `watch.with_smaller_steps`, taken only when the run looks as if it needed it.
    """

    first_loss: checks.FirstLoss
    by_heart: checks.ByHeart | None
    slower: dict[float, float] | None
    scales: tables.Scales
    telling: list[tables.Leak]
    opinion: labels.SecondOpinion
    shift: tables.Shift | None
    bias_variance: BiasVariance | None


def gather(run: Run, optimal_error: float = 0.0, seed: int = 0) -> Evidence:
    """Measure all of it.

    Args:
        run: of `observe`.
        optimal_error: for the avoidable bias, in the units of the errors.
        seed: of the forests and folds that look at the data.
    """
    suspicious = run.diverged_at >= 0 or highest(run) > RISE * worst_start(run)
    suspicious = suspicious or not run.last_cost <= STUCK * run.constant_cost
    return Evidence(
        first_loss=checks.judge_first_loss(run.loss, run.first_cost, run.blind_cost),
        by_heart=_by_heart(run),
        slower=watch.with_smaller_steps(run) if suspicious else None,
        scales=tables.scales(run.train),
        telling=tables.telling_features(run.train, seed=seed),
        opinion=labels.second_opinion(run.train, run.dev, seed=seed),
        shift=None if run.dev is None else tables.shift(run.train, run.dev, seed=seed),
        bias_variance=_gaps(run, optimal_error),
    )


def highest(run: Run) -> float:
    """The highest mean cost of an epoch, infinite if one was no number."""
    cost = np.asarray(run.history["cost"])
    return float(cost.max()) if np.isfinite(cost).all() else float("inf")


def worst_start(run: Run) -> float:
    """The first cost, or that of knowing nothing if it is higher."""
    return max(run.first_cost, run.blind_cost)


def _by_heart(run: Run) -> checks.ByHeart | None:
    """Eight examples, or as many as a linear model with its inputs and biases can hold apart."""
    blocks = run.layers.blocks
    if not blocks:
        return None
    n_in = int(np.prod(run.train.x.shape[1:]))
    n = 8 if len(blocks) > 1 else max(2, min(8, n_in))
    return checks.overfit_one_batch(run.model, run.loss, run.start, run.train.x, run.train.y, n=n)


def _gaps(run: Run, optimal_error: float) -> BiasVariance | None:
    if run.dev is None:
        return None
    pair = [watch.example_errors(run, part) for part in (run.train, run.dev)]
    if not all(np.isfinite(e).all() and len(e) > 1 for e in pair):
        return None
    return bias_variance(*pair, optimal_error=optimal_error)
