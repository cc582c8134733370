"""Would more rows help, and how many? A learning curve of the best configuration."""

from collections.abc import Callable

import jax
import numpy as np

from jaxdl import diagnose
from jaxdl.diagnose import BiasVariance
from jaxdl.recipe import training
from jaxdl.recipe.folds import SHARES
from jaxdl.recipe.problem import Problem
from jaxdl.recipe.training import Program, Trial

NO_TIME = "Variance is what is left; there was no time to measure what more rows would bring."


def advice(
    problem: Problem,
    program: Program,
    trial: Trial,
    found: BiasVariance,
    seed: int,
    over: Callable[[], bool],
) -> str:
    """A sentence: how many rows halve the variance, by the fitted curve, or why it cannot say.

    The trial's configuration is trained on an eighth, a quarter, half and all of the rows of each
    fold; a power law through the errors is followed to the error that has half the variance.
    """
    measured = measure(problem, program, trial, over)
    if measured is None:
        return NO_TIME
    sizes, errors_at = measured
    law = diagnose.power_law(sizes, errors_at, key=jax.random.key(seed))
    target = float(errors_at[-1].mean() - max(found.variance.value, 0.0) / 2)
    answer = diagnose.more_data(law, max(target, 0.0))
    if answer.status == "reached":
        return "The learning curve is flat already: more rows of this kind would hardly help."
    return f"To halve the variance: {str(answer)[:1].lower()}{str(answer)[1:]}"


def measure(
    problem: Problem, program: Program, trial: Trial, over: Callable[[], bool]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Sizes (4,), ascending, and the errors there (4, folds) on rows not trained on.

    None if `over` said so before all were measured.
    """
    rows = problem.rows
    shares = [rows.at_share(i) for i in range(len(SHARES))]
    lines = np.concatenate([*shares, np.arange(rows.curve)])
    configs = {name: np.array([value], np.float32) for name, value in trial.config.items()}
    outputs = program.go(training.expand(configs, lines), lambda done: over()).outputs["outputs"]
    if len(outputs) < len(lines):
        return None
    found = [
        training.row_errors(problem, out[rows.dev[line]], rows.dev[line]).mean()
        for line, out in zip(lines, outputs, strict=True)
    ]
    sizes = [len(np.unique(rows.train[line])) for line in lines[:: rows.curve]]
    return np.array(sizes), np.array(found).reshape(-1, rows.curve)
