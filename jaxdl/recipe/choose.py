"""Which of everything tried becomes the model: the best few together, if they beat a line."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxdl.recipe import training
from jaxdl.recipe.model import Network
from jaxdl.recipe.problem import Problem
from jaxdl.recipe.training import Trial

SIZES = (1, 2, 3, 5, 8)
"""So many of the best configurations are averaged, whichever number does best."""

BEYOND_NOISE = 1.0
"""A network must beat the linear model by so many standard errors of the paired difference."""


class Choice(NamedTuple):
    """The trials that are averaged, their errors on judged rows, and why them."""

    trials: tuple[Trial, ...]
    loss: np.ndarray
    error: np.ndarray
    why: str


def choose(problem: Problem, trials: Sequence[Trial]) -> Choice:
    """The linear model, unless the average of the best few beats it beyond noise.

    Compared are losses on the same rows, each by networks that were not trained on it: the mean
    difference must be above its standard error, and the error must not be higher beyond noise.
    """
    linear = [t for t in trials if not t.family.hidden]
    simple = min(linear, key=lambda t: t.score)
    best = _average(problem, trials)
    if best.trials[0] is simple and len(best.trials) == 1:
        tried = any(t.family.hidden for t in trials)
        why = "nothing beat" if tried else "there was no time to try anything but"
        return best._replace(why=f"{why} the linear model")
    gain, noise = paired(simple.loss, best.loss)
    difference = f"{gain:.4f} ± {noise:.4f}"
    if gain <= BEYOND_NOISE * noise:
        why = (
            f"nothing beats the linear model beyond noise: the best average of {len(best.trials)} "
            f"lowers its loss of {simple.score:.4f} by {difference}"
        )
        return Choice((simple,), simple.loss, simple.error, why)
    more_errors, chance = paired(best.error, simple.error)
    if more_errors > BEYOND_NOISE * chance:
        why = (
            f"the best average of {len(best.trials)} lowers the linear model's loss by "
            f"{difference} but errs more, {best.error.mean():.2%} against {simple.error.mean():.2%}"
        )
        return Choice((simple,), simple.loss, simple.error, why)
    return best._replace(
        why=f"loss {best.loss.mean():.4f} against {simple.score:.4f} of the linear model, "
        f"lower by {gain:.4f} ± {noise:.4f} on the same rows"
    )


def paired(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """(mean of a − b, its standard error)."""
    d = np.asarray(a) - np.asarray(b)
    if not np.isfinite(d).all():
        return float(np.nan_to_num(d.mean(), nan=0.0)), float("inf")
    return float(d.mean()), float(d.std(ddof=1) / np.sqrt(len(d)))


def networks(problem: Problem, trials: Sequence[Trial]) -> tuple[Network, ...]:
    """The members of the trials, those of one shape stacked together.

    Linear models alone are averaged into one, which gives the same outputs.
    """
    by_shape: dict[tuple[int, ...], list] = {}
    for trial in trials:
        by_shape.setdefault(training.sizes(problem, trial.family), []).append(trial.params)
    found = {
        shape: jax.tree.map(lambda *leaves: np.concatenate(leaves), *params)
        for shape, params in by_shape.items()
    }
    if len(found) == 1 and not trials[0].family.hidden:
        found = {k: jax.tree.map(lambda a: a.mean(axis=0)[None], v) for k, v in found.items()}
    return tuple(Network(shape, params) for shape, params in found.items())


def _average(problem: Problem, trials: Sequence[Trial]) -> Choice:
    """The best number of best configurations, by the loss of their averaged outputs."""
    ranked = sorted(trials, key=lambda t: t.score)
    ranked = [t for t in ranked if np.isfinite(t.score)] or ranked[:1]
    judged = problem.rows.judged
    choices = []
    for size in SIZES:
        chosen = tuple(ranked[:size])
        outputs = np.mean([t.dev for t in chosen], axis=0)
        loss = training.row_losses(problem, outputs, judged)
        error = training.row_errors(problem, outputs, judged)
        choices.append(Choice(chosen, loss, error, ""))
        if size >= len(ranked):
            break
    return min(choices, key=lambda c: float(c.loss.mean()))
