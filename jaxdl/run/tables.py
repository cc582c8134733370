"""A user's own table: read as cells, or refused with the row and the column named.

Text, dates and empty cells are for `data.table`, which is fitted on the training part. What no
encoding can mend is refused: numbers too large, targets that are missing, a name that occurs
twice. Rows count from 1 after the header.
"""

import io
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl import data, errors
from jaxdl.data import Dataset, table, targets
from jaxdl.run import csvfile

SUFFIXES = (".csv", ".parquet", ".npz")
NESTED = (list, tuple, dict, set, np.ndarray)

FEWEST_NUMBERED = 10
"""In a table of fewer rows a feature may well count like 1, 2, 3 without numbering them."""


def is_file(name: str) -> bool:
    """Whether `name` means a file of the user's rather than a built-in data set."""
    return pathlib.Path(name).suffix.lower() in SUFFIXES or "/" in name


def stem(name: str) -> str:
    """What to call the data: the file's name without its ending."""
    return pathlib.Path(name).stem


def load(
    name: str,
    target: str | None = None,
    task: str = "auto",
    drop: tuple[str, ...] = (),
    keep_row_numbers: bool = True,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Dataset:
    """The built-in data set, or the table in a file, as a Dataset.

    Its `x` is float64 if the columns are numbers without gaps, else an object array of cells.

    Args:
        name: of a built-in data set, or a path that ends in .csv, .parquet or .npz.
        target: the column to predict; in an .npz the name of its array, "y" by default, beside
            the features "x".
        task: "classification", "regression", or "auto": classes are text, booleans, or at most
            50 different whole numbers that repeat.
        drop: columns to leave out.
        keep_row_numbers: False leaves out columns of a table that number its rows.
        tell: called with a sentence for each of those.

    Raises:
        ValueError: for whatever cannot be learned from, with row and column named.
        FileNotFoundError: if there is no such file.
    """
    if not is_file(name):
        return data.load(name)
    path = existing(name)
    if path.suffix.lower() != ".npz":
        frame = read(path)
        if not keep_row_numbers:
            frame = without_row_numbers(frame, {target, *drop}, tell)
        return from_frame(frame, path, target, task, drop)
    x, y, names = _from_npz(path, target or "y")
    y, classes = targets.targets(y, task, target or "y", f"{path}: ")
    return Dataset(np.ascontiguousarray(x), y, path.stem, names, classes)


def from_frame(
    frame: Any, path: pathlib.Path, target: str | None, task: str, drop: tuple[str, ...]
) -> Dataset:
    """A table that was read, as `load` gives it."""
    column = frame.pop(known(target, list(frame), path))
    _check_cells(column, str(target), path)
    y = column.to_numpy()
    frame = frame.drop(columns=[known(name, list(frame), path) for name in drop])
    x = np.ascontiguousarray(cells(frame, path))
    y, classes = targets.targets(y, task, target or "y", f"{path}: ")
    return Dataset(x, y, path.stem, tuple(frame), classes)


def without_row_numbers(frame: Any, others: set, tell: Callable[[str], None]) -> Any:
    """The table without columns that number its rows, if a feature besides `others` is left.

    They hold 1..n or 0..n−1 in the order of the rows, or come first without a name, as the index
    that pandas writes, or are called "id" or the like and never repeat a whole number: whatever
    they seem to teach is the order of this very file.
    """
    features = [name for name in frame if name not in others]
    numbers = [name for name in features if _numbers_rows(str(name), frame[name])]
    if frame.columns[0] in features and csvfile.is_unnamed(frame.columns[0]):
        numbers = list(dict.fromkeys([frame.columns[0], *numbers]))
    if len(numbers) == len(features):
        return frame
    for name in numbers:
        what = (
            "the first column has no name, so it is taken for the rows' own and left out"
            if csvfile.is_unnamed(name)
            else f"{name!r} numbers the rows, so it is left out"
        )
        tell(f"{what}; --keep-row-numbers makes it a feature")
    return frame.drop(columns=numbers)


def _numbers_rows(name, column):
    values, m = column.to_numpy(), len(column)
    if values.dtype.kind not in "iuf" or m < FEWEST_NUMBERED or not np.isfinite(values).all():
        return False
    in_order = values[0] in (0, 1) and bool((values == values[0] + np.arange(m)).all())
    return in_order or table.counts_rows(name, values)


def existing(name: str) -> pathlib.Path:
    """The path, if there is a file of a known kind.

    Raises:
        FileNotFoundError, ValueError: if there is none, or of another kind.
    """
    path = pathlib.Path(name)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{name} is not a data file that can be read: {', '.join(SUFFIXES)}.")
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {name}.")
    return path


def read(path: pathlib.Path) -> Any:
    """The table as a pandas DataFrame, with every column named once and at least one row."""
    frame = csvfile.read(path) if path.suffix.lower() == ".csv" else _from_parquet(path)
    if frame.empty:
        raise ValueError(f"{path} has a header but no rows.")
    return frame.rename(columns=str)


def cells(frame: Any, path: pathlib.Path) -> np.ndarray:
    """The columns as they are: (m, n) float64 if all are numbers without gaps, else objects.

    Raises:
        ValueError: naming row and column of a number that is too large.
    """
    import pandas as pd

    if frame.shape[1] == 0:
        raise ValueError(f"{path} has no column besides the target: nothing to predict it from.")
    plain = True
    for name, column in frame.items():
        _check_cells(column, name, path)
        values = np.asarray(pd.to_numeric(column, errors="coerce"), float)
        _check_size(values, name, path)
        plain &= pd.api.types.is_numeric_dtype(column) and not np.isnan(values).any()
    return frame.to_numpy(float) if plain else frame.to_numpy(object)


def columns(path: pathlib.Path, names: tuple[str, ...]) -> np.ndarray:
    """The features called `names` from a table that may hold others too, in that order."""
    if path.suffix.lower() == ".npz":
        x = _array(path, _open_npz(path), "x")
        return _finite(x, path)
    frame = read(path)
    for name in names:
        known(name, list(frame), path)
    return cells(frame[list(names)], path)


def _check_cells(column, name, path):
    """Refuses cells that would pass for text without being it."""
    csvfile.check_commas(column, name, path)
    nested = np.array([isinstance(v, NESTED) for v in np.asarray(column, object)], bool)
    if nested.any():
        kind = type(column.iloc[int(nested.argmax())]).__name__
        raise ValueError(
            f"{path}: {_place(nested, name)} holds several values at once ({kind}): a cell must be "
            "a number, text, a date or empty."
        )


def _check_size(values, name, path):
    large = np.abs(values) > table.LARGEST
    if large.any():
        raise ValueError(
            f"{path}: {_place(large, name)} holds {values[int(large.argmax())]:g}, too large to "
            f"compute with (at most {table.LARGEST:g}): rescale it or correct the cell."
        )


def _from_parquet(path):
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as parquet: {_line(error)}.") from None


def _from_npz(path, target):
    archive = _open_npz(path)
    x, y = _array(path, archive, "x"), _array(path, archive, target)
    column = y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1)
    if x.ndim < 2 or not column or len(x) != len(y) or x.size == 0:
        raise ValueError(
            f"{path}: x must be (m, n) and {target} (m,) or (m, 1), got {x.shape} and {y.shape}."
        )
    return _finite(x, path), y.reshape(-1), ()


def _open_npz(path):
    try:
        return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)
    except Exception as error:
        raise ValueError(f"{path} cannot be read as .npz: {_line(error)}.") from None


def _array(path, archive, name):
    if name not in archive.files:
        raise ValueError(
            f"{path} holds no array {name!r}, only {', '.join(archive.files) or 'nothing'}: the "
            "features are called x, the target is named by --target."
        )
    try:
        return archive[name]
    except Exception as error:
        raise ValueError(f"{path}: the array {name!r} cannot be read: {_line(error)}.") from None


def _finite(x, path):
    if x.dtype.kind not in "fiub":
        raise ValueError(f"{path}: x must hold numbers, got {x.dtype}.")
    x = x.reshape(len(x), -1)
    for i, column in enumerate(x.T, 1):
        if np.isnan(column).any():
            raise ValueError(f"{path}: x is NaN in {_place(np.isnan(column), i)}: fill it first.")
        _check_size(column.astype(float), i, path)
    return x.astype(float) if x.dtype.kind != "f" else x


def known(name: str | None, names: list[str], path: pathlib.Path) -> str:
    """The name, if the table has such a column.

    Raises:
        ValueError: with the nearest name, or with all of them if none is given.
    """
    if name is None:
        raise ValueError(
            f"Which column of {path} is to be predicted? Name it with --target: {', '.join(names)}."
        )
    if name not in names:
        raise errors.unknown_name(f"column of {path}", name, names)
    return name


def _place(where, name):
    column = name if isinstance(name, int) else repr(str(name))
    return f"row {int(np.asarray(where).argmax()) + 1}, column {column}"


def _line(error):
    return " ".join(str(error).split()).rstrip(".")[:200]
