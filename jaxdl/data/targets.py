"""What a column of targets is: classes by number with their names, or real numbers."""

import decimal
import numbers
from typing import Any

import numpy as np

from jaxdl import errors
from jaxdl.data.table import LARGEST

MOST_CLASSES = 50
TASKS = ("auto", "classification", "regression")


def targets(
    y: Any, task: str = "auto", name: str = "target", where: str = ""
) -> tuple[np.ndarray, tuple[str, ...]]:
    """(targets, class names): int64 classes, or float32 numbers and no names.

    Args:
        y: (m,) text, booleans or numbers.
        task: "classification", "regression", or "auto": classes are text, booleans, or at most
            50 different whole numbers that repeat.
        name: of the target, for messages.
        where: put before messages, such as the path of a file.

    Raises:
        ValueError: for gaps, one class only, nearly as many classes as rows, text as numbers,
            numbers too large.
    """
    import pandas as pd

    if task not in TASKS:
        raise errors.unknown_name("task", task, TASKS)
    y = np.asarray(y)
    missing = np.asarray(pd.isna(y))
    if missing.any():
        raise ValueError(
            f"{where}{_place(missing, name)}, the target, is empty (or a word that says so, such "
            "as NA): leave the row out."
        )
    if y.dtype.kind == "O" and all(map(_is_number, y)):
        y = y.astype(float)
    text = y.dtype.kind not in "fiub"
    whole = not text and bool(np.all(y.astype(float) == np.trunc(y.astype(float))))
    kinds = np.unique(y.astype(str) if text else y)
    few = len(kinds) <= MOST_CLASSES and len(kinds) <= max(2, len(y) // 2)
    if task == "regression" or (task == "auto" and not text and not (whole and few)):
        return _amounts(y, text, name, where), ()
    if len(kinds) == 1:
        raise ValueError(
            f"{where}the target {name!r} is {plain(kinds[0])!r} in every row: one class "
            "has nothing to be told apart from."
        )
    if len(kinds) > max(2, len(y) // 2):
        what = _first_word(y, name) or "Is it an identifier? For numbers, --task regression."
        raise ValueError(
            f"{where}the target {name!r} has {len(kinds)} classes in {len(y)} rows: too many to "
            f"learn from. {what}"
        )
    return np.searchsorted(kinds, y.astype(str) if text else y), tuple(map(plain, kinds))


def _amounts(y: np.ndarray, text: bool, name: str, where: str) -> np.ndarray:
    if text:
        what = _first_word(y, name) or f"{name!r} holds text such as {str(y[0])!r}: no regression."
        raise ValueError(f"{where}{what}")
    large = ~(np.abs(y.astype(float)) <= LARGEST)
    if large.any():
        value = y[int(large.argmax())]
        raise ValueError(
            f"{where}{_place(large, name)}, the target, is {value:g}, too large to compute with "
            f"(at most {LARGEST:g})."
        )
    amounts = y.astype(np.float32)
    if np.ptp(amounts) == 0:
        differ = " to the seven digits of float32: subtract a constant" if np.ptp(y) else ""
        raise ValueError(
            f"{where}the target {name!r} is {amounts[0]:g} in every row{differ}: there is nothing "
            "to predict."
        )
    return amounts


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real | decimal.Decimal) and not isinstance(
        value, bool | np.bool_
    )


def _first_word(y: np.ndarray, name: str) -> str:
    """Where the text is, if most cells are numbers."""
    import pandas as pd

    words = np.asarray(pd.isna(pd.to_numeric(pd.Series(y, dtype=object), errors="coerce")))
    if words.mean() > 0.5 or not words.any():
        return ""
    i = int(words.argmax())
    return f"{_place(words, name)} holds {str(y[i])!r}, most others numbers: correct it."


def plain(value) -> str:
    """A class as a person writes it: 3.0 of a float column is 3."""
    return str(int(value)) if np.asarray(value).dtype.kind in "fiu" else str(value)


def _place(where: np.ndarray, name: str) -> str:
    return f"row {int(where.argmax()) + 1}, column {str(name)!r}"
