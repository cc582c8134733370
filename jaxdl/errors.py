"""Messages that say what was expected, what arrived and what to do."""

import difflib
import errno
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import chex
import jax
import jax.core
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")


UNWRITABLE = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "a file has reached the largest size that is allowed",
    errno.EROFS: "the disk can only be read",
}
"""What keeps files from being written, by its number."""


def unknown_name(
    kind: str, name: object, known: Iterable[str], aliases: Mapping[str, str] | None = None
) -> ValueError:
    """The error for a name outside `known`, with the nearest match suggested.

    `aliases` maps what other libraries call it to the name it has here.
    """
    known = sorted(known)
    meant = {**{k.lower(): k for k in known}, **(aliases or {})}
    near = difflib.get_close_matches(str(name).lower(), meant, n=1, cutoff=0.5)
    hint = f" Did you mean {meant[near[0]]!r}?" if near else ""
    return ValueError(f"Unknown {kind} {name!r}.{hint} Known: {', '.join(known)}.")


def lookup(
    kind: str, name: str, table: Mapping[str, T], aliases: Mapping[str, str] | None = None
) -> T:
    """`table[name]`, or a ValueError that names the nearest match; see `unknown_name`.

    Raises:
        ValueError: if `name` is not in `table`.
    """
    if name not in table:
        raise unknown_name(kind, name, table, aliases)
    return table[name]


def is_concrete(value: Any) -> bool:
    """Whether the value is known now, so that a check may look at it."""
    return not isinstance(value, jax.core.Tracer)


def floating(name: str, value: Any) -> jax.Array:
    """`value` as an array, if its dtype is real floating.

    Raises:
        TypeError: for integers, booleans and complex numbers, quoting the dtype.
    """
    array = jnp.asarray(value)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} must be floating-point; got dtype {array.dtype} with shape {array.shape}. "
            f"Convert it first, for example {name}.astype(jnp.float32)."
        )
    return array


def scalar(name: str, value: Any) -> None:
    """Complain unless `value` is one real number, traced or not.

    Raises:
        TypeError: for anything that is not a number, and for arrays that are not real.
        ValueError: for an array of more than one number.
    """
    if not isinstance(value, (int, float, np.generic, np.ndarray, jax.Array)):
        raise TypeError(f"{name} must be a number; got {value!r}.")
    if np.shape(value) != ():
        raise ValueError(
            f"{name} must be one number; got shape {np.shape(value)}. To try several, use jax.vmap."
        )
    dtype = jnp.result_type(value)
    if not jnp.issubdtype(dtype, jnp.floating) and not jnp.issubdtype(dtype, jnp.integer):
        raise TypeError(f"{name} must be a real number; got dtype {dtype}.")


def within(name: str, value: Any, valid: bool, expected: str) -> None:
    """Complain unless `valid`.

    Raises:
        ValueError: that `name` must be `expected`, quoting the value.
    """
    if not valid:
        raise ValueError(f"{name} must be {expected}; got {value}.")


def shaped(name: str, array: Any, shape: tuple, hint: str) -> None:
    """Assert a shape. A word in `shape` stands for any size: ("m", 1) is one column.

    Raises:
        ValueError: quoting the name, both shapes, and the hint: what to do.
    """
    sizes = tuple(None if isinstance(size, str) else size for size in shape)
    try:
        chex.assert_shape(array, sizes)
    except AssertionError:
        expected = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(
            f"{name} must have shape ({expected}); got {tuple(array.shape)}. {hint}"
        ) from None
