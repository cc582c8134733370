"""Checks at the door: one clear sentence about the data before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxdl.data.batches import check_batch_size


def check(
    x,
    y,
    *,
    outputs_shape: tuple[int, ...] | None = None,
    n_classes: int | None = None,
    batch_size: int | None = None,
    feature_names: tuple[str, ...] = (),
    name: str = "the data",
) -> tuple[Any, Any]:
    """x and y ready for training, or one sentence that says what is wrong with them.

    Integer and boolean features become float32, class indices (m,) int32, integer columns
    (m, k) float32; lists become arrays; everything else is returned as it came. Shapes are
    always checked, values only of concrete arrays: traced ones pass.

    Args:
        x: (m, ...) features.
        y: (m,) class indices, or (m, k) float targets.
        outputs_shape: of the model's outputs for x, to check y's shape against: (m, K) with
            K > 1 and (m,) integers, or the shape of float y.
        n_classes: K, the labels then being in [0, K); the last axis of outputs_shape if given.
        batch_size: to check against m.
        feature_names: names of the columns, for the message.
        name: what to call the data in the message.

    Raises:
        ValueError: for empty data, lengths or shapes that differ, NaN or infinity (row and
            column named), labels outside [0, K), a batch size above m.
        TypeError: for features or targets that are not numbers.
    """
    x, y = _numbers(x, "features", name), _numbers(y, "targets", name)
    _check_lengths(x, y, name)
    if y.ndim == 1 and y.dtype.kind in "iu":
        _check_fits_int32(y, name)
    y = y.astype(np.int32 if y.ndim == 1 else np.float32) if y.dtype.kind in "iub" else y
    x = x.astype(np.float32) if x.dtype.kind in "iub" else x
    check_batch_size(len(x), batch_size)
    if outputs_shape is not None:
        _check_targets_fit(y, tuple(outputs_shape))
        n_classes = outputs_shape[-1] if y.dtype.kind == "i" else n_classes
    check_finite(x, feature_names, f"the features of {name}")
    check_finite(y, (), f"the targets of {name}")
    if n_classes is not None and y.dtype.kind == "i":
        check_labels(y, n_classes)
    return x, y


def check_finite(x, feature_names: tuple[str, ...] = (), what: str = "the features") -> None:
    """Refuse NaN and infinity in a concrete array.

    Raises:
        ValueError: with the row and the column of the first one, and how many there are.
    """
    if isinstance(x, Tracer) or np.dtype(x.dtype).kind not in "fcV":
        return
    bad = ~np.isfinite(np.asarray(x))
    if not bad.any():
        return
    row, *rest = (int(i) for i in np.argwhere(bad)[0])
    where = f"row {row}"
    if rest:
        where += f", column {rest[0]}" if len(rest) == 1 else f", position {tuple(rest)}"
        where += f" ({feature_names[rest[0]]})" if len(rest) == 1 and feature_names else ""
    raise ValueError(
        f"Expected finite numbers in {what}, got {np.asarray(x)[(row, *rest)]} in {where} "
        f"({bad.sum()} such values in all). Remove or impute them first."
    )


def check_labels(y, n_classes: int) -> None:
    """Refuse class indices outside [0, K) in a concrete array.

    Raises:
        ValueError: with the first such row and label.
    """
    if isinstance(y, Tracer):
        return
    y = np.asarray(y)
    outside = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(outside):
        raise ValueError(
            f"Expected labels in [0, {n_classes}) for {n_classes} classes, got {y[outside[0]]} in "
            f"row {outside[0]} (labels range from {y.min()} to {y.max()}). Number the classes "
            f"from 0, or give the model {max(int(y.max()) + 1, 2)} outputs."
        )


def _check_fits_int32(y, name: str) -> None:
    """Labels that int32 would wrap into other classes."""
    if isinstance(y, Tracer):
        return
    limits, labels = np.iinfo(np.int32), np.asarray(y)
    if limits.min <= labels.min() and labels.max() <= limits.max:
        return
    raise ValueError(
        f"Expected class indices in the targets of {name}, got values from {labels.min()} to "
        f"{labels.max()}. Number the classes from 0; for regression use data.column(y)."
    )


def _numbers(a, role: str, name: str):
    a = a if isinstance(a, jax.Array) else np.asarray(a)
    real = jnp.issubdtype(a.dtype, np.integer) or jnp.issubdtype(a.dtype, np.floating)
    if not real and a.dtype.kind != "b":
        raise TypeError(
            f"Expected real numbers as {role} in {name}, got dtype {a.dtype}. Encode text and "
            "dates as numbers first."
        )
    return a


def _check_lengths(x, y, name: str) -> None:
    shapes = f"x of shape {tuple(x.shape)} and y of shape {tuple(y.shape)}"
    if x.ndim < 2 or y.ndim < 1:
        raise ValueError(
            f"Expected features (m, n) with one example a row in {name}, got {shapes}. "
            "A single feature is x.reshape(-1, 1), a single example x.reshape(1, -1)."
        )
    if len(x) != len(y):
        raise ValueError(f"Expected one target per example in {name}, got {shapes}.")
    if x.size == 0 or y.size == 0:
        raise ValueError(f"Expected at least one example and one feature in {name}, got {shapes}.")


def _check_targets_fit(y, outputs_shape: tuple[int, ...]) -> None:
    classes = y.dtype.kind == "i"
    if classes and outputs_shape[:-1] == tuple(y.shape) and outputs_shape[-1] > 1:
        return
    if not classes and tuple(y.shape) == outputs_shape:
        return
    column = f"floats of shape {outputs_shape}"
    one = outputs_shape[-1] == 1
    raise ValueError(
        f"Expected targets that match outputs of shape {outputs_shape}: "
        + (column if one else f"integers of shape {outputs_shape[:-1]} for classes, or {column}")
        + f"; got {y.dtype} of shape {tuple(y.shape)}. "
        + ("data.column(y) makes that column." if one else "Each class needs an output of its own.")
    )
