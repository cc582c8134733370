"""Learning curves: the error on both parts against the amount of data and the size of the model."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import data, errors, population
from jaxdl.types import Array, Key

if TYPE_CHECKING:
    import pandas as pd

Fit = Callable[..., Any]
Error = Callable[..., Any]

HALVINGS = 5
"""By default the sizes are m, m/2, ..., m/2⁵: a factor of 32, long enough to see a bend."""

SMALLEST = 10
"""Fewer examples than this say more about luck than about the model."""


class Curve(NamedTuple):
    """Errors at `sizes` (k,), rows of `train_error` and `dev_error` (k, repeats).

    `what` is "examples" or "size of the model".
    """

    what: str
    sizes: np.ndarray
    train_error: np.ndarray
    dev_error: np.ndarray

    @property
    def table(self) -> "pd.DataFrame":
        """One row a fit: size, repeat, train_error, dev_error."""
        import pandas as pd

        k, repeats = self.dev_error.shape
        return pd.DataFrame(
            {
                "size": np.repeat(self.sizes, repeats),
                "repeat": np.tile(np.arange(repeats), k),
                "train_error": self.train_error.reshape(-1),
                "dev_error": self.dev_error.reshape(-1),
            }
        )


def learning_curve(
    fit: Fit,
    error: Error,
    train: Any,
    dev: Any,
    *,
    sizes: Sequence[int] | None = None,
    repeats: int = 3,
    key: Key,
    compiled: bool = False,
) -> Curve:
    """The error on train and dev part after fitting to growing subsets of the training part.

    The subsets of a repeat are nested, and every class keeps its share in them as well as whole
    examples allow. Each repeat draws its own.

    Args:
        fit: `(x, y, key) -> fitted`, trains on these examples (NumPy arrays, unless compiled);
            `fitted` is anything: parameters, a scikit-learn model.
        error: `(fitted, x, y) -> number`, on any examples.
        train: `(x, y)` or a Dataset, which the subsets are drawn from.
        dev: likewise, to evaluate on.
        sizes: numbers of examples; None is m, m/2, ..., m/32, none below 10.
        repeats: fits at each size.
        key: of the subsets; each repeat's fits get a key of their own.
        compiled: `fit` and `error` are traceable (`train.fit` is): all repeats of a size then run
            as one program, spread over the devices (`population.run`).

    Returns:
        A `Curve`; `power_law` fits it, `more_data` extrapolates it.

    Raises:
        ValueError: for sizes outside [1, m], repeats below 1, or an error that is not finite.

    Source: notes, "Basic Recipe for Machine Learning" (does more data help?).
    """
    x, y = _examples(train)
    chosen = _sizes(_default_sizes(len(y)) if sizes is None else sizes, len(y), "examples")
    runs = _runs(repeats)
    orders = np.stack([_nested_order(y, jax.random.fold_in(key, r)) for r in runs])

    def at(size, repeat, order, x, y, dev_x, dev_y):
        rows = order[repeat][:size]
        x, y = x[rows], y[rows]
        fitted = fit(x, y, jax.random.fold_in(jax.random.fold_in(key, repeat), 1))
        return error(fitted, x, y), error(fitted, dev_x, dev_y)

    return _curve("examples", at, chosen, runs, compiled, orders, x, y, *_examples(dev))


def model_size_curve(
    fit: Fit,
    error: Error,
    train: Any,
    dev: Any,
    *,
    sizes: Sequence[int],
    repeats: int = 3,
    key: Key,
    compiled: bool = False,
) -> Curve:
    """The error on train and dev part after fitting models of growing size to the same data.

    Args:
        fit: `(x, y, key, size) -> fitted`; the size is a Python number, such as a width, so it
            may decide shapes.
        error: `(fitted, x, y) -> number`.
        train: `(x, y)` or a Dataset.
        dev: likewise.
        sizes: of the models, ascending, ≥ 1: units, parameters, depths.
        repeats: fits at each size.
        key: each repeat's fits get a key of their own.
        compiled: as in `learning_curve`.

    Raises:
        ValueError: as `learning_curve`.

    Source: notes, "Basic Recipe for Machine Learning" (does a bigger network help?).
    """

    def at(size, repeat, x, y, dev_x, dev_y):
        fitted = fit(x, y, jax.random.fold_in(key, repeat), size)
        return error(fitted, x, y), error(fitted, dev_x, dev_y)

    chosen, parts = _sizes(sizes, None, "size of the model"), (*_examples(train), *_examples(dev))
    return _curve("size of the model", at, chosen, _runs(repeats), compiled, *parts)


def _curve(what, at, sizes, runs, compiled, *shared) -> Curve:
    pairs = []
    for size in sizes:
        if compiled:
            found = _one_program(at, int(size), runs, shared)
        else:
            found = np.array([at(int(size), r, *shared) for r in runs.tolist()], float).T
        if not np.isfinite(found).all():
            raise ValueError(
                f"The errors must be finite; at {what} {size} they are {found.tolist()} (train, "
                "dev; one per repeat). Has the fit diverged? Try a smaller learning rate."
            )
        pairs.append(found)
    train_error, dev_error = np.stack(pairs, axis=1)
    return Curve(what, sizes, train_error, dev_error)


def _one_program(at, size: int, runs, shared) -> np.ndarray:
    def one(config: dict[str, Array], *shared):
        pair = at(size, config["repeat"], *shared)
        return jnp.stack([jnp.asarray(e, jnp.result_type(float)) for e in pair])

    outputs = population.run(one, {"repeat": runs}, *shared, progress=False).outputs
    return np.asarray(outputs, float).T


def _examples(pair: Any) -> tuple[np.ndarray, np.ndarray]:
    dataset = data.as_dataset(pair)
    x, y = data.check(dataset.x, dataset.y, feature_names=dataset.feature_names)
    return np.asarray(x), np.asarray(y)


def _runs(repeats: int) -> np.ndarray:
    errors.within("repeats", repeats, isinstance(repeats, int) and repeats >= 1, "at least 1")
    return np.arange(repeats)


def _default_sizes(m: int) -> list[int]:
    halves = [m // 2**i for i in range(HALVINGS, -1, -1)]
    return [size for size in halves if size >= SMALLEST] or [m]


def _sizes(sizes: Sequence[int], m: int | None, what: str) -> np.ndarray:
    found = np.asarray(sizes)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
        raise ValueError(f"sizes must be whole numbers in a row ({what}); got {sizes}.")
    valid = bool((np.diff(found) > 0).all() and found[0] >= 1 and (m is None or found[-1] <= m))
    errors.within("sizes", found.tolist(), valid, f"ascending, from 1 to {m or 'any number'}")
    return found


def _nested_order(labels: np.ndarray, key: Key) -> np.ndarray:
    """An order of the examples of which every beginning has the classes in their shares.

    Member i of a class of n gets the place (i + u)/n, u uniform on [0, 1): the classes mesh.
    """
    m = len(labels)
    shuffle, places = jax.random.split(key)
    order = np.asarray(jax.random.permutation(shuffle, m))
    if labels.dtype.kind not in "iub" or labels.ndim != 1:
        return order
    u, place = np.asarray(jax.random.uniform(places, (m,))), np.empty(m)
    for c in np.unique(labels):
        members = np.flatnonzero(labels[order] == c)
        place[members] = (np.arange(len(members)) + u[members]) / len(members)
    return order[np.argsort(place, kind="stable")]
