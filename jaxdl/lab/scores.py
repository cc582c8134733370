"""Scores: from the curves of all arms on a problem to one number for each run, less being better.

A score takes `{arm: {name: (A, problems, seeds, checkpoints)}}` and the checkpoints, and gives
`{arm: (A, problems, seeds)}`; A runs over what was tried, or over protocols.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

Curves: TypeAlias = Mapping[str, Mapping[str, np.ndarray]]
Score: TypeAlias = Callable[[Curves, np.ndarray], dict[str, np.ndarray]]


def steps_to_target(share: float = 0.02, curve: str = "cost") -> Score:
    """log₂ of the checkpoint at which the cost reaches its target, +inf where it never does.

        target = best + share · (first − best)

    `best` is the least cost that any arm reached on the problem with the same seed, `first` that
    before training. So what a run is asked for does not depend on how many seeds or problems are
    run beside it. Between checkpoints the logarithm is interpolated against the logarithm of the
    distance to `best`, so a difference of 1 between two arms means twice as many steps.

    Args:
        share: of the possible improvement that is left at the target.
        curve: whose value is to sink.
    """

    def score(curves: Curves, checkpoints: np.ndarray) -> dict[str, np.ndarray]:
        values = {arm: _finite(c[curve]) for arm, c in curves.items()}
        best = np.min([v.min(axis=(0, 3)) for v in values.values()], axis=0)[None, ..., None]
        return {arm: _arrival(v - best, share, checkpoints) for arm, v in values.items()}

    return score


def last(curve: str) -> Score:
    """The value at the last checkpoint, +inf where it is not finite."""
    return lambda curves, _: {arm: _finite(c[curve])[..., -1] for arm, c in curves.items()}


def log_last(curve: str) -> Score:
    """log₂ of the value at the last checkpoint, +inf where that is not finite.

    A difference of 1 between two arms means a value half as large.
    """

    def score(curves: Curves, checkpoints: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(divide="ignore"):
            return {arm: np.log2(v) for arm, v in last(curve)(curves, checkpoints).items()}

    return score


def best(curve: str) -> Score:
    """The least value at any checkpoint: what early stopping on that curve would give."""
    return lambda curves, _: {arm: _finite(c[curve]).min(axis=-1) for arm, c in curves.items()}


def _finite(values):
    return np.where(np.isfinite(values), values, np.inf)


def _arrival(above, share, checkpoints):
    """log₂ of where `above`, the distance to the best cost, sinks to a share of its start."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(np.maximum(above / above[..., :1], 1e-300) / share)
    arrived = ratio <= 0
    at = np.argmax(arrived, axis=-1)[..., None]
    before = np.maximum(at - 1, 0)
    high, low = (np.take_along_axis(ratio, i, axis=-1)[..., 0] for i in (before, at))
    place = np.log2(np.maximum(checkpoints, 0.5))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(np.isfinite(high) & (high > low), high / (high - low), 1.0)
    found = place[before[..., 0]] + part * (place[at[..., 0]] - place[before[..., 0]])
    return np.where(arrived.any(axis=-1), found, np.inf)
