"""Configurations of many runs: a column of numbers under each name."""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.devices import is_key


def grid(**axes: Any) -> dict[str, np.ndarray]:
    """Every combination of the values given, the last axis varying fastest.

        grid(lr=[0.1, 0.01], seed=range(3)) → {"lr": (6,), "seed": (6,)}

    Args:
        axes: numbers: a scalar, a sequence or a one-dimensional array under each name.

    Returns:
        A dict of arrays of one length, in the order of the arguments: what `run` takes.

    Raises:
        ValueError: for an axis without values or with more than one dimension.
        TypeError: for an axis that does not hold numbers.
    """
    columns = {name: _axis(name, values) for name, values in axes.items()}
    rows = list(itertools.product(*(range(len(c)) for c in columns.values())))
    places = np.array(rows, dtype=int).reshape(len(rows), len(columns)).T
    return {name: c[i] for (name, c), i in zip(columns.items(), places, strict=True)}


def checked(configs: Any) -> dict[str, np.ndarray]:
    """Columns of numbers of one length, or a sentence on what they are instead."""
    if not isinstance(configs, Mapping) or not configs:
        raise ValueError("configs must be a dict of arrays, as population.grid(lr=...) makes it.")
    arrays = {name: _column(name, values) for name, values in configs.items()}
    lengths = {name: len(a) if a.ndim else 0 for name, a in arrays.items()}
    if len(set(lengths.values())) > 1 or not all(lengths.values()):
        raise ValueError(f"configs must hold one entry per run under every name, got {lengths}.")
    return arrays


def _axis(name, values):
    array = np.atleast_1d(np.asarray(list(values) if isinstance(values, range) else values))
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"axis {name!r} must be a sequence of numbers, got an array of shape {array.shape}."
        )
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"axis {name!r} must hold numbers, got {array.dtype}: what changes the program, such "
            "as an optimizer's name, needs one population each."
        )
    return array


def _column(name, values):
    """The values as an array of numbers that JAX can hold without changing them into others."""
    if is_key(values) or (array := np.asarray(values)).dtype.kind not in "fiubcV":
        raise TypeError(
            f"configs[{name!r}] must hold numbers, got {getattr(values, 'dtype', type(values))}: "
            "keys are made from seeds inside fn, and what changes the program, such as an "
            "optimizer's name, needs one population each."
        )
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if array.dtype == np.int64 and low >= 0 and 2**31 <= high < 2**32:
        array = array.astype(np.uint32)  # a seed of 32 bits
    with np.errstate(over="ignore"):
        held = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    if array.dtype.kind == "f":
        lost = np.isnan(array) | (np.isinf(held) & ~np.isinf(array))
        lost |= (array != 0) & (np.abs(held) < jnp.finfo(held.dtype).tiny)
    else:
        lost = held != array
    if lost.any():
        raise ValueError(
            f"configs[{name!r}] holds {array[lost].flat[0]}, which {held.dtype} cannot: rescale "
            "it, or run under jax.enable_x64(True)."
        )
    return array
