"""What a column of targets is: classes by number with their names, or real numbers."""

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
        raise ValueError(f"{where}{_place(missing, name)}, the target, is empty: leave it out.")
    text = y.dtype.kind not in "fiub"
    whole = not text and bool(np.all(np.mod(y.astype(float), 1) == 0))
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
        raise ValueError(
            f"{where}the target {name!r} has {len(kinds)} classes in {len(y)} rows: too many to "
            "learn from. Is it an identifier? For numbers, --task regression."
        )
    return np.searchsorted(kinds, y.astype(str) if text else y), tuple(map(plain, kinds))


def _amounts(y: np.ndarray, text: bool, name: str, where: str) -> np.ndarray:
    if text:
        raise ValueError(f"{where}{name!r} holds text such as {y[0]!r}: no regression.")
    large = np.abs(y.astype(float)) > LARGEST
    if not np.isfinite(y.astype(float)).all() or large.any():
        raise ValueError(f"{where}{_place(large, name)}, the target, is too large.")
    return y.astype(np.float32)


def plain(value) -> str:
    """A class as a person writes it: 3.0 of a float column is 3."""
    return str(int(value)) if np.asarray(value).dtype.kind in "fiu" else str(value)


def _place(where: np.ndarray, name: str) -> str:
    return f"row {int(where.argmax()) + 1}, column {str(name)!r}"
