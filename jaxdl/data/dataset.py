"""A data set is a pair of arrays with names: plain NumPy, examples on axis 0."""

from typing import NamedTuple, TypeAlias

import numpy as np


class Dataset(NamedTuple):
    """Examples and targets, unscaled and unsplit.

    `x` is `(m, n)` float; `y` is `(m,)`, integers for classes and floats for regression.
    `feature_names` and `target_names` may be empty; `target_names[c]` is the name of class c.
    `image_shape` is None or the `(h, w)` / `(h, w, c)` that a row of `x` reshapes to.
    """

    x: np.ndarray
    y: np.ndarray
    name: str = ""
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    image_shape: tuple[int, ...] | None = None


Data: TypeAlias = Dataset | tuple
"""A Dataset, or a plain pair (x, y)."""


def as_dataset(data: Data) -> Dataset:
    """`data` itself if it is a Dataset, else a Dataset of the pair (x, y).

    Raises:
        ValueError: if `data` is neither, or x and y differ in length.
    """
    if not isinstance(data, Dataset):
        if not isinstance(data, tuple | list) or len(data) != 2:
            raise ValueError(f"Expected a Dataset or a pair (x, y), got {_describe(data)}.")
        data = Dataset(np.asarray(data[0]), np.asarray(data[1]))
    if data.x.ndim == 0 or data.y.ndim == 0 or len(data.x) != len(data.y):
        raise ValueError(
            f"Expected one target per example, got x of shape {data.x.shape} and y of shape "
            f"{data.y.shape}. Examples lie on axis 0 of both."
        )
    return data


def _describe(value) -> str:
    size = f" of length {len(value)}" if hasattr(value, "__len__") else ""
    return type(value).__name__ + size


def take(data: Data, indices: np.ndarray) -> Dataset:
    """The examples at `indices`, in that order, with the names kept."""
    data = as_dataset(data)
    return data._replace(x=data.x[indices], y=data.y[indices])


def column(y) -> np.ndarray:
    """Targets (m,) as the (m, 1) float column that outputs of shape (m, 1) are compared with.

    Floats keep their dtype; integers and booleans become float32; an (m, 1) array stays so.

    Raises:
        ValueError: if y is neither (m,) nor (m, 1).
        TypeError: if y is not numeric.
    """
    y = np.asarray(y)
    if y.ndim != 1 and (y.ndim != 2 or y.shape[1] != 1):
        raise ValueError(f"Expected targets of shape (m,) or (m, 1), got {y.shape}.")
    if y.dtype.kind not in "fiub":
        raise TypeError(f"Expected numeric targets, got dtype {y.dtype}: encode the classes first.")
    return y.reshape(-1, 1).astype(y.dtype if y.dtype.kind == "f" else np.float32)


def is_classes(y) -> bool:
    """Whether y holds class indices: integers or booleans of shape (m,)."""
    return np.ndim(y) == 1 and np.dtype(y.dtype).kind in "iub"
