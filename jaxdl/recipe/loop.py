"""`run`: fit, diagnose, remedy, again, until both gaps are low or the time is up."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl import data, diagnose, errors
from jaxdl.recipe import choose, curve, estimate, plan, training
from jaxdl.recipe import problem as problems
from jaxdl.recipe.budget import Clock, Programs
from jaxdl.recipe.folds import SHARES
from jaxdl.recipe.model import Model, mean_outputs
from jaxdl.recipe.plan import Move, Round
from jaxdl.recipe.problem import Problem
from jaxdl.recipe.training import Trial

FEWEST, FIRST = 3, 8
"""Configurations of a round at least, and of the first round if there is time."""

STEP_SECONDS, FLOPS = 4e-5, 8e9
"""A step's fixed cost and the rate of its arithmetic, before any was measured."""

TIME_UP = "The time is up; more of it would allow further rounds."
AS_MANY = "These were the rounds asked for."

LOW_ERROR, LOW_SHARE_OF_VARIANCE = 0.01, 0.02


class Result(NamedTuple):
    """What the recipe ends with.

    `model.predict(x)` answers for new rows. `test` is the held-out estimate, None without a test
    part. `rounds` says what was tried and why, `ended` why no more, `why` why this model;
    `more_data` what more rows would bring, "" if variance is not what is left. `held` are the rows
    of the test part, `trials` the configurations that the model averages. `counts` are the
    configurations of each round: `run` with the same seed and `rounds=counts` repeats the run,
    whatever the clock says.
    """

    model: Model
    test: estimate.Test | None
    rounds: tuple[Round, ...]
    ended: str
    why: str
    more_data: str
    seed: int
    notes: tuple[str, ...]
    held: np.ndarray
    trials: tuple[Trial, ...]

    @property
    def counts(self) -> tuple[int, ...]:
        """Configurations of each round."""
        return tuple(r.count for r in self.rounds)


def run(
    x: Any,
    y: Any = None,
    *,
    test: Any = 0.2,
    task: str = "auto",
    seconds: float = 100.0,
    seed: int = 0,
    rounds: Sequence[int] | None = None,
    image_shape: tuple[int, ...] | None = None,
    optimal_error: float = 0.0,
    keep_row_numbers: bool = False,
    watch: Callable[[Any], None] | None = None,
) -> Result:
    """The basic recipe on anyone's data: from a table to a model and an honest estimate of it.

        linear model → network → while a gap is high:
            high bias      →  bigger network, longer training
            high variance  →  L2 and dropout, augmentation of images, more data

    Every round trains a population of configurations on every fold as one program. Judged is by
    cross-validation (five folds, twice five below 300 rows, one dev part of 15 % from 5,000
    rows on), never by the test part, which is looked at once, when the model is chosen. The model
    is the average of the best few configurations' networks, or the linear model if they do
    not beat it beyond noise.

    Args:
        x: (m, n) numbers, text, gaps: an array, a list of rows, a pandas DataFrame or a Dataset.
        y: (m,) classes (whole numbers, text, booleans) or real numbers; not with a Dataset.
        test: the fraction to hold out, or a pair (x, y) of its own, or None for no test.
        task: "classification", "regression" or "auto": classes are text, booleans, or at most 50
            different whole numbers that repeat.
        seconds: the time to stay within, compiling included: rounds end early for it. A fit that
            has begun, and the first configuration of all, are finished.
        seed: of every random choice.
        rounds: how many configurations each round tries, as in `Result.counts`, instead of a time.
        image_shape: (h, w) or (h, w, c) if rows are flattened images, which may then be distorted.
        optimal_error: the error that no model can beat, for the diagnosis; shares of wrong answers,
            or of the variance for a regression.
        keep_row_numbers: columns that by their name number the rows ("id") are features, too.
        watch: called with the `Problem`, then with the `Move` before and the `Round` after every
            round.

    Returns:
        A `Result`.

    Raises:
        ValueError: for data that cannot be learned from, or numbers out of range, before any
            training.

    Source: notes, "Basic Recipe for Machine Learning".
    """
    started = time.monotonic()
    errors.within("seconds", seconds, seconds > 0, "positive")
    errors.within("seed", seed, isinstance(seed, int) and 0 <= seed < 2**32, "in [0, 2³²)")
    given = problems.cells(x, y, image_shape, keep_row_numbers)
    problem = problems.build(given, test, task, seed)
    errors.within("optimal_error", optimal_error, 0 <= optimal_error < 1, "a share in [0, 1)")
    watch = watch or (lambda event: None)
    watch(problem)
    clock = Clock(0.93 * seconds if rounds is None else np.inf, started)
    made, trials, programs, ended = _rounds(problem, clock, rounds, seed, optimal_error, watch)
    chosen = choose.choose(problem, trials)
    more = _more_data(problem, chosen.trials[0], programs, clock, seed, optimal_error)
    programs.close()
    model = Model(choose.networks(problem, chosen.trials), problem.preparation)
    return Result(
        model, _test(problem, model, seed), made, ended, chosen.why, more, seed, problem.notes,
        problem.held, chosen.trials,
    )  # fmt: skip


def _rounds(problem, clock, counts, seed, optimal_error, watch):
    """All rounds until the plan ends, the clock runs out or the counts are used up; and which."""
    made: tuple[Round, ...] = ()
    trials: list[Trial] = []
    ended = ""
    programs = Programs(problem)
    while (move := plan.next_move(problem, made, trials)) is not None:
        count = _count(problem, move, clock, counts, len(made), not programs.ready(move.family))
        if count is None:
            ended = TIME_UP if counts is None else AS_MANY
            break
        watch(move)
        start = time.monotonic()
        number = len(made) + 1
        configs = plan.configurations(move, count, trials, seed, number)
        if not made and (counts is None or len(counts) > 1):
            programs.start(training.family(problem, plan.FIRST_HIDDEN))
        program = programs.get_within(move.family, clock.left() if made else np.inf)
        compiling = time.monotonic() - start
        new = program and training.run(problem, program, configs, number, clock.over)
        if not new:
            ended = TIME_UP
            break
        took = time.monotonic() - start
        clock.learn(len(new) * _work(problem, move.family), took - compiling, compiling)
        made += (_record(problem, move, number, took, new, trials, optimal_error),)
        trials += new
        watch(made[-1])
    return made, trials, programs, ended or plan.finished(made)


def _count(problem, move, clock, counts, done, new) -> int | None:
    """How many configurations the next round tries; None for no further round."""
    if counts is not None:
        return int(counts[done]) if done < len(counts) else None
    affordable = clock.affordable(_work(problem, move.family), new)
    if done == 0:
        return max(FEWEST, min(affordable, FIRST))
    if move.name == "network" and affordable >= 1:
        return max(affordable, 2)  # without it there is nothing to improve
    return affordable if affordable >= FEWEST else None


def _work(problem: Problem, family: training.Family) -> float:
    """Nominal seconds of one configuration on every fold, spread over the devices."""
    sizes = training.sizes(problem, family)
    products = sum(a * b for a, b in itertools.pairwise(sizes))
    step = STEP_SECONDS + 6 * products * family.batch_size / FLOPS
    step *= (1.5 if family.hidden else 1.0) * (3.0 if family.augment else 1.0)
    steps = 0.5 * family.epochs * -(-problem.rows.train.shape[1] // family.batch_size)
    return steps * step * problem.rows.folds / jax.device_count()


def _record(problem, move: Move, number, took, new, before, optimal_error) -> Round:
    best = min(new, key=lambda t: t.score)
    gain, noise = 0.0, 0.0
    if before:
        gain, noise = choose.paired(min(before, key=lambda t: t.score).loss, best.loss)
    everything = [*before, *new]
    worked_on = [t for t in everything if t.family.hidden] or everything
    found = _diagnosis(problem, min(worked_on, key=lambda t: t.score), optimal_error)
    return Round(number, move, len(new), took, best, gain, noise, found)


def _diagnosis(problem, trial: Trial, optimal_error: float) -> diagnose.BiasVariance:
    """Bias and variance of a trial.

    Low is a gap of one point of error, or a quarter of what always guessing the commonest class
    gets wrong if that is less; for a regression, two hundredths of the variance.
    """
    low = LOW_SHARE_OF_VARIANCE
    if problem.classes:
        baseline = 1 - np.bincount(problem.y).max() / len(problem.y)
        low = min(LOW_ERROR, baseline / 4)
    return diagnose.bias_variance(
        trial.train_error, trial.error, optimal_error=optimal_error, tolerance=low
    )


def _more_data(problem, best, programs, clock, seed, optimal_error) -> str:
    """What more rows would bring, if variance is what is left and there is time to find out."""
    found = _diagnosis(problem, best, optimal_error)
    fits = (len(SHARES) + 1) * problem.rows.curve / problem.rows.folds
    if not found.high_variance:
        return ""
    if clock.affordable(fits * _work(problem, best.family), False) < 1:
        return curve.NO_TIME
    return curve.advice(problem, programs.get(best.family), best, found, seed, clock.over)


def _test(problem: Problem, model: Model, seed: int):
    if problem.test is None:
        return None
    x, y = problem.test
    outputs = mean_outputs(model.networks, x)
    if problem.classes:
        return estimate.classification(outputs, y, int(np.bincount(problem.y).argmax()), seed)
    scaler: Any = model.preparation.target_scaler
    numbers = data.standardize.invert(scaler, outputs)
    return estimate.regression(numbers, y, float(scaler.shift[0]), seed)
