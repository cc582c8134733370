"""From a user's table to what is trained on: test part aside, features and targets as numbers."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdl import data, errors
from jaxdl.data import table, targets
from jaxdl.recipe import folds
from jaxdl.recipe.model import Preparation


class Problem(NamedTuple):
    """Everything that is decided before the first round.

    `x` (m, n) float32 and `y`, (m,) int32 classes or (m, 1) float32 in units of its standard
    deviation, are the training part, from which alone `preparation` was fitted. `test` is the
    same of the part that is held out, or None, and `held` its rows of the table that came. `notes`
    are sentences for the reader.
    """

    x: np.ndarray
    y: np.ndarray
    test: tuple[np.ndarray, np.ndarray] | None
    rows: folds.Rows
    preparation: Preparation
    loss: str
    n_out: int
    image_shape: tuple[int, ...] | None
    held: np.ndarray
    notes: tuple[str, ...]

    @property
    def classes(self) -> bool:
        """Whether classes are told apart; else one number is predicted."""
        return self.loss == "softmax_cross_entropy"


class Cells(NamedTuple):
    """A table as it came: cells (m, c), the columns' names, the targets, the image's shape.

    `row_numbers` says whether columns that by their name number the rows are features.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    target_names: tuple[str, ...]
    image_shape: tuple[int, ...] | None
    row_numbers: bool


def cells(
    x: Any, y: Any = None, image_shape: tuple[int, ...] | None = None, row_numbers: bool = False
) -> Cells:
    """Arrays, lists, a pandas DataFrame or a Dataset as cells.

    Raises:
        ValueError: for shapes that are no table, lengths that differ, or a shape of images that
            does not hold a row.
    """
    names: Sequence[str] = ()
    target_names: tuple[str, ...] = ()
    if isinstance(x, data.Dataset) and y is None:
        names, target_names = x.feature_names, x.target_names
        x, y, image_shape = x.x, x.y, image_shape or x.image_shape
    if y is None:
        raise ValueError("Expected targets y beside x, or a Dataset, got neither.")
    if hasattr(x, "columns"):
        frame: Any = x
        names, x = tuple(map(str, frame.columns)), frame.to_numpy()
    x, y = np.asarray(x), np.asarray(y)
    x = x.reshape(len(x), -1) if x.ndim > 2 else x
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y) or x.size == 0:
        raise ValueError(
            f"Expected x of shape (m, n) and y of shape (m,), m, n ≥ 1, got {x.shape} and "
            f"{y.shape}."
        )
    if image_shape is not None and int(np.prod(image_shape)) != x.shape[1]:
        raise ValueError(
            f"image_shape {tuple(image_shape)} holds {int(np.prod(image_shape))} numbers, a row "
            f"of x has {x.shape[1]}: give (h, w) or (h, w, channels) of the flattened images."
        )
    return Cells(x, y, tuple(names), target_names, image_shape, row_numbers)


def build(given: Cells, test: Any, task: str, seed: int) -> Problem:
    """Set the test part aside, then fit the preparation and the folds to the rest.

    Args:
        given: the table.
        test: a fraction of the rows, a pair (x, y) of rows of their own, or None for no test.
        task: "auto", "classification" or "regression".
        seed: of the splits.

    Raises:
        ValueError: for too few rows, or targets that cannot be learned.
    """
    y, classes = _targets(given, task)
    if len(y) < 6:
        raise ValueError(f"Expected at least 6 rows to learn from and to test on, got {len(y)}.")
    groups, notes = _copies(given.x, y)
    inside, outside = _hold_out(given, y, classes, test, seed, groups)
    x, y, groups = given.x[inside], y[inside], groups[inside]
    if not len(classes) and np.ptp(y) == 0:
        raise ValueError(f"The target is {y[0]:g} in every row of the training part.")
    encoder, scaler, said = _fit_features(given, x)
    target_scaler = None if classes else data.standardize.fit(data.column(y))
    ready = Preparation(encoder, scaler, target_scaler, classes)
    labels = y if classes else np.zeros(len(y), int)
    return Problem(
        x=ready.features(x),
        y=ready.scaled_targets(y),
        test=None if outside is None else (ready.features(outside[0]), outside[1]),
        rows=folds.deal(labels, groups, seed),
        preparation=ready,
        loss="softmax_cross_entropy" if classes else "squared_error",
        n_out=len(classes) or 1,
        image_shape=given.image_shape,
        held=np.setdiff1d(np.arange(len(given.y)), inside),
        notes=(*said, *notes),
    )


def _targets(given: Cells, task: str):
    if given.target_names and task != "regression":
        return given.y, given.target_names
    return targets.targets(given.y, task)


def _hold_out(given: Cells, y, classes, test, seed: int, groups):
    """(rows to learn from, (x, y) of the test part or None)."""
    m = len(y)
    if test is None:
        return np.arange(m), None
    if isinstance(test, tuple | list):
        other = cells(*test)
        if other.x.shape[1] != given.x.shape[1]:
            raise ValueError(
                f"The test part must have the {given.x.shape[1]} columns of x, it has "
                f"{other.x.shape[1]}."
            )
        return np.arange(m), (other.x, _like(other.y, given, classes))
    valid = isinstance(test, int | float) and 0 < test < 1
    errors.within("test", test, valid, "a fraction in (0, 1), a pair (x, y) or None")
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    ratios = (1 - test, 0.0, test)
    labels = y[first] if classes else y[first].astype(np.float32)
    split = data.split((first[:, None], labels), ratios, seed=seed)
    held = np.isin(group, split.indices["test"])
    return np.flatnonzero(~held), (given.x[held], y[held])


def _like(y: np.ndarray, given: Cells, classes: tuple[str, ...]) -> np.ndarray:
    """The test part's targets, in the classes of the training part."""
    if not classes:
        return y.astype(np.float32)
    if given.target_names:
        return y.astype(np.int64)
    place = {name: i for i, name in enumerate(classes)}
    texts = [targets.plain(value) for value in y]
    unknown = sorted(set(texts) - set(place))
    if unknown:
        raise ValueError(
            f"The test part has the class {unknown[0]!r}, the training part has only "
            f"{', '.join(classes[:10])}."
        )
    return np.array([place[text] for text in texts])


def _fit_features(given: Cells, x: np.ndarray):
    """(encoder or None, scaler, notes). Images share one scale: shifting them must not mix any."""
    if given.image_shape is not None and table.is_plain(x):
        low, spread = float(x.min()), float(x.std()) or 1.0
        shape = x.shape[1:]
        return None, data.AffineState(np.full(shape, low), np.full(shape, spread)), ()
    encoder = table.fit(x, given.names, given.row_numbers)
    notes = tuple(c.note for c in encoder if c.note)
    return encoder, table.scaler(encoder, table.apply(encoder, x)), notes


def _copies(x: np.ndarray, y: np.ndarray):
    """A number for each row, the same for copies, and what to say about them.

    Where most rows are copies (a few categories), that is how the data are, and each row counts.
    """
    import pandas as pd
    from pandas import util

    row_hash: Any = util.hash_pandas_object
    texts = [pd.Series(c).astype(str) if x.dtype == object else pd.Series(c) for c in (*x.T, y)]
    frame = pd.concat(texts, axis=1)
    _, number = np.unique(row_hash(frame, index=False), return_inverse=True)
    distinct, m = int(number.max()) + 1, len(y)
    if distinct == m or distinct < m / 2:
        return np.arange(m), ()
    more = m - distinct
    note = f"{more:,} row{'s are copies' if more > 1 else ' is a copy'} of others: kept together"
    return number, (note + " in every split",)
