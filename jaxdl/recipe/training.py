"""A round: many configurations on every fold, as one compiled program."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import layers, losses, models, optim, population, train
from jaxdl.data import augment
from jaxdl.recipe.folds import Rows
from jaxdl.recipe.problem import Problem
from jaxdl.types import Params

STEPS = 2000
"""Steps of the longest fit, unless a pass over the data is longer than a sixth of that."""

FEWEST_EPOCHS = 6

BROKEN = 1e6
"""The squared error of a fit that diverged."""

NAMES = ("lr", "decay", "keep_prob", "span", "seed")
"""Learning rate, L2 strength for each example, keep probability, share of the epochs over which the
learning rate falls to zero, seed."""


class Family(NamedTuple):
    """What is compiled: hidden layers, epochs, batch size, whether images are distorted.

    Everything else about a configuration is a number that the program takes.
    """

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    augment: bool = False


class Trial(NamedTuple):
    """A configuration, trained on every fold.

    `dev` (j, K) are the outputs for the rows that are judged, by networks not trained on them,
    `loss` (j,) and `error` (j,) what follows; `train_error` (t,) is that of rows trained on.
    `params` hold one member a fold, `epochs` is the median of the epochs kept.
    """

    family: Family
    config: dict[str, float]
    round: int
    dev: np.ndarray
    loss: np.ndarray
    error: np.ndarray
    train_error: np.ndarray
    params: Params
    epochs: float

    @property
    def score(self) -> float:
        """Mean loss on rows it was not trained on; infinite if it diverged."""
        mean = float(self.loss.mean())
        return mean if np.isfinite(mean) else np.inf


class Program(NamedTuple):
    """A compiled round: give it configurations, it returns what each fit returned."""

    go: Callable[..., population.Population]
    family: Family


def family(problem: Problem, hidden: tuple[int, ...], **options: Any) -> Family:
    """A family with batch size and epochs for this many rows."""
    m = problem.rows.train.shape[1]
    batch = next(b for most, b in ((1000, 32), (5000, 64), (20_000, 128), (1e12, 256)) if m <= most)
    batch = min(batch, m)
    epochs = max(FEWEST_EPOCHS, STEPS // -(-m // batch))
    return Family(hidden, epochs, batch, **options)


def sizes(problem: Problem, family: Family) -> tuple[int, ...]:
    """Units of every layer, features and outputs included."""
    return (problem.x.shape[1], *family.hidden, problem.n_out)


def compile_program(problem: Problem, family: Family) -> Program:
    """The program of a family, for any number of configurations."""
    rows = problem.rows
    shared = (problem.x, problem.y, rows.train, rows.dev)
    example = expand({name: np.ones(4, np.float32) for name in NAMES}, np.arange(rows.folds))
    fit = partial(_fit, problem, family)
    go = population.prepare(fit, example, *shared, keep_params=True, progress=False)
    return Program(go, family)


def run(
    problem: Problem,
    program: Program,
    configs: Mapping[str, np.ndarray],
    number: int,
    over: Callable[[], bool],
) -> list[Trial]:
    """Every configuration on every fold; configurations that diverged score infinity.

    Once `over` says so, no further fit begins: what comes back are the first configurations, those
    that every fold was done of, and one at least in the first round.
    """
    k = problem.rows.folds
    least = k if number == 1 else 0
    found = program.go(expand(configs, np.arange(k)), lambda done: done >= least and over())
    out, count = found.outputs, len(found.configs["lr"]) // k
    parts = [jax.tree.map(lambda a, i=i: a[i * k : (i + 1) * k], out) for i in range(count)]
    return [_trial(problem, program, configs, i, part, number) for i, part in enumerate(parts)]


def _trial(problem, program, configs, i, part, number) -> Trial:
    dev, fitted = _by_row(part["outputs"], problem.rows)
    judged, seen = problem.rows.judged, ~np.isnan(fitted).all(axis=1)
    return Trial(
        family=program.family,
        config={name: float(configs[name][i]) for name in NAMES},
        round=number,
        dev=dev[judged],
        loss=row_losses(problem, dev[judged], judged),
        error=row_errors(problem, dev[judged], judged),
        train_error=row_errors(problem, fitted[seen], np.flatnonzero(seen)),
        params=part["params"],
        epochs=float(np.median(part["epoch"] + 1)),
    )


def expand(configs: Mapping[str, np.ndarray], lines: np.ndarray) -> dict[str, np.ndarray]:
    """Each configuration with each of the lines of the folds' table, lines varying fastest."""
    count = len(configs["lr"])
    table = {name: np.repeat(values, len(lines)) for name, values in configs.items()}
    return table | {"line": np.tile(lines, count).astype(np.int32)}


def row_losses(problem: Problem, outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The loss of each of the rows; infinite where the outputs are no numbers."""
    z, y = outputs.astype(np.float64), problem.y[rows]
    if not problem.classes:
        values = 0.5 * ((z - y) ** 2).sum(axis=1)
    else:
        top = z.max(axis=1, keepdims=True)
        log_sum = top[:, 0] + np.log(np.exp(z - top).sum(axis=1))
        values = log_sum - z[np.arange(len(y)), y]
    return np.where(np.isfinite(values), values, np.inf)


def row_errors(problem: Problem, outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What a reader counts: 1 for wrong and 0 for right, or the squared error over the variance."""
    if problem.classes:
        return (outputs.argmax(axis=1) != problem.y[rows]).astype(float)
    squared = ((outputs.astype(np.float64) - problem.y[rows]) ** 2).mean(axis=1)
    return np.nan_to_num(squared, nan=BROKEN, posinf=BROKEN)


def _fit(problem, family, config, x, y, train_rows, dev_rows):
    """One fit of one configuration on one line of the folds' table; traced."""
    network = sizes(problem, family)
    init = "he" if family.hidden else "zeros"
    model = models.mlp(network, init=init, keep_prob=config["keep_prob"])
    cost = losses.objective(model, problem.loss, l2=config["decay"] * family.batch_size)
    if family.augment:
        cost = augment.augmented(cost, _distort(problem.image_shape), problem.image_shape)
    rows, judges = train_rows[config["line"]], dev_rows[config["line"]]
    key = jax.random.fold_in(jax.random.key(config["seed"].astype(jnp.uint32)), config["line"])
    steps = family.epochs * -(-len(rows) // family.batch_size)
    result = train.fit(
        cost,
        model.init(key),
        optim.adam(_falling(config["lr"], jnp.maximum(1.0, steps * config["span"]))),
        (x[rows], y[rows]),
        epochs=family.epochs,
        batch_size=family.batch_size,
        key=key,
        dev=(x[judges], y[judges]),
        dev_objective=losses.objective(model, problem.loss),
        patience=max(family.epochs // 6, 5),
    )
    best: Any = result.best
    return {
        "params": best.params,
        "epoch": best.epoch,
        "outputs": layers.apply(model, best.params, x),
    }


def _falling(start, steps):
    """Half a cosine from `start` to 0 in `steps`, which may be traced, as `start` may."""

    def at(count):
        done = jnp.minimum(count.astype(steps.dtype) / steps, 1.0)
        return start * 0.5 * (1.0 + jnp.cos(jnp.pi * done))

    return at


def _distort(image_shape):
    """Every other example turned by up to ten degrees, and shifted where a pixel is little.

    In images of less than 16 pixels a shift by one is a large change, and did harm.
    """
    parts = [partial(augment.rotate, degrees=10.0)]
    if min(image_shape[:2]) >= 16:
        parts.append(partial(augment.shift, pixels=image_shape[0] // 14))
    distort = augment.compose(*parts)

    def half(x, *, key):
        chosen, here = jax.random.split(key)
        some = jax.random.bernoulli(chosen, 0.5, (len(x),) + (1,) * (x.ndim - 1))
        return jnp.where(some, distort(x, key=here), x)

    return half


def _by_row(outputs: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """(folds, m, K) to the means over fits that did not see the row, and over those that did.

    In a single split each row has only one of them; the other is NaN.
    """
    held = np.zeros(outputs.shape[:2], bool)
    for f in range(rows.folds):
        held[f, rows.dev[f]] = True
    return _mean_where(outputs, held), _mean_where(outputs, ~held)


def _mean_where(outputs: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    count = chosen.sum(axis=0)[:, None]
    total = np.where(chosen[:, :, None], outputs, 0).sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
