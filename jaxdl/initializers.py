"""Random weights: (key, shape) → array, with `shape` = (n_in, n_out).

The notes ("Weight Initialization for Deep Networks") introduce √(2/n) and its kin as "the
variance" of the weights. They are standard deviations: the variance is 2/n. n_in counts the
inputs of one unit, the product of all axes but the last.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxdl import errors
from jaxdl.types import Key

Initializer: TypeAlias = Callable[..., Array]


def _scaled(key: Key, shape: Sequence[int], std: float, dtype) -> Array:
    return std * jax.random.normal(key, shape, dtype or jnp.result_type(float))


def _fans(shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) < 2 or min(shape) < 1:
        raise ValueError(
            f"Weights need a shape (n_in, ..., n_out) of positive sizes; got {tuple(shape)}."
        )
    return math.prod(shape[:-1]), shape[-1]


def zeros(key: Key, shape: Sequence[int], dtype=None) -> Float[Array, "..."]:
    """All zeros; `key` is not used. Hidden units then stay identical for ever (see symmetry)."""
    del key
    return jnp.zeros(shape, dtype or jnp.result_type(float))


def normal(key: Key, shape: Sequence[int], dtype=None) -> Float[Array, "..."]:
    """Standard deviation 0.01: the notes' `randn * 0.01` ("Random Initialization")."""
    return _scaled(key, shape, 0.01, dtype)


def xavier(key: Key, shape: Sequence[int], dtype=None) -> Float[Array, "..."]:
    """Standard deviation √(1/n_in), which the notes recommend for tanh.

    z = Σᵢ wᵢ xᵢ over n_in independent terms of unit variance then has variance 1.
    """
    return _scaled(key, shape, math.sqrt(1 / _fans(shape)[0]), dtype)


def glorot(key: Key, shape: Sequence[int], dtype=None) -> Float[Array, "..."]:
    """Standard deviation √(2/(n_in + n_out)): forward and backward variance in balance."""
    n_in, n_out = _fans(shape)
    return _scaled(key, shape, math.sqrt(2 / (n_in + n_out)), dtype)


def he(key: Key, shape: Sequence[int], dtype=None) -> Float[Array, "..."]:
    """Standard deviation √(2/n_in), which the notes recommend for ReLU.

    ReLU zeroes half of a symmetric input, hence twice Xavier's variance.
    """
    return _scaled(key, shape, math.sqrt(2 / _fans(shape)[0]), dtype)


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "normal": normal,
    "xavier": xavier,
    "glorot": glorot,
    "he": he,
}


def get(init: str | Initializer) -> Initializer:
    """The initializer of that name, or the given function (key, shape) → array.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
        TypeError: for anything that is neither a name nor a function.
    """
    if isinstance(init, str):
        return errors.lookup("initializer", init, INITIALIZERS)
    if not callable(init):
        raise TypeError(f"An initializer is a name or a function (key, shape); got {init!r}.")
    return init
