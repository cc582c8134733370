"""The arithmetic that the transformations share: averages, bias correction, counting.

Averages are computed in float32 where the numbers have 16 bits, and stored in the dtype of the
accumulator: an ε of 1e-8 is zero in float16, and 1 − 0.999 is lost beside 1 in bfloat16.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.optim import checks
from jaxdl.optim.base import wider
from jaxdl.types import Array, PyTree, Scalar


def like(value: Scalar, leaf: Array) -> Scalar:
    """A hyperparameter in the dtype of the leaf it is going to meet; a Python number takes it."""
    if type(value) in (float, int) and jnp.issubdtype(leaf.dtype, jnp.floating):
        return value
    return jnp.asarray(value, leaf.dtype)


def map_leaves(f: Callable[..., Array], updates: PyTree, *accumulators: PyTree) -> PyTree:
    """`jax.tree.map` over updates and state, with an error that names the first difference."""
    for accumulator in accumulators:
        checks.same_tree(updates, accumulator, "the updates", "the optimizer's state")
    return jax.tree.map(f, updates, *accumulators)


_WIDE = {jnp.dtype(name) for name in ("float32", "float64", "complex64", "complex128")}


def working(*leaves: Array) -> tuple[Array, ...]:
    """The leaves in the precision to compute in: the widest among them, at least 32 bits."""
    dtypes = {leaf.dtype for leaf in leaves}
    if len(dtypes) == 1 and dtypes <= _WIDE:
        return leaves
    real = jnp.finfo(wider(*dtypes)).dtype
    if jnp.finfo(real).bits < 32:
        real = jnp.dtype(jnp.float32)
    complexes = wider(real, jnp.complex64)
    return tuple(leaf.astype(complexes if jnp.iscomplexobj(leaf) else real) for leaf in leaves)


def abs_squared(g: Array) -> Array:
    """|g|², real also for complex g."""
    return (g.conj() * g).real if jnp.iscomplexobj(g) else g * g


def average(g: Array, previous: Array, decay: Scalar) -> Array:
    """One step of the exponentially weighted average: (1 − β) g + β v."""
    g, previous = working(g, previous)
    return like(1 - decay, g) * g + like(decay, previous) * previous


def average_tree(updates: PyTree, averages: PyTree, decay: Scalar) -> PyTree:
    """`average` of every leaf: the first moment."""
    return map_leaves(lambda g, m: average(g, m, decay), updates, averages)


def average_squares(updates: PyTree, averages: PyTree, decay: Scalar) -> PyTree:
    """`average` of the squares |g|² of every leaf: the second moment."""

    def one(g, v):
        (g,) = working(g)
        return average(abs_squared(g), v, decay)

    return map_leaves(one, updates, averages)


def debias(averages: PyTree, decay: Scalar, count: Array) -> PyTree:
    """Bias correction: v / (1 − βᵗ), with t the number of values averaged so far."""
    decay = jnp.asarray(decay)
    weight = 1 - decay ** count.astype(decay.dtype)
    return jax.tree.map(lambda v: v / like(weight, v), averages)


def increment(count: Array) -> Array:
    """t + 1, staying at the largest integer instead of overflowing."""
    largest = jnp.array(jnp.iinfo(count.dtype).max, count.dtype)
    return jnp.where(count < largest, count + 1, largest)


def zero_count() -> Array:
    """t = 0."""
    return jnp.zeros([], jnp.int32)


def zeros(params: PyTree, dtype: Any = None) -> PyTree:
    """Zeros in the shape of the parameters, in `dtype` or in their own.

    Raises:
        TypeError: if `dtype` is not of floating-point numbers, or real for complex parameters.
    """

    def one(p):
        loses = jnp.iscomplexobj(p) and not jnp.issubdtype(dtype, jnp.complexfloating)
        if dtype is not None and (loses or not jnp.issubdtype(dtype, jnp.inexact)):
            raise TypeError(
                f"The accumulator's dtype must hold parameters of {jnp.result_type(p)}, "
                f"got {jnp.dtype(dtype)}. None takes theirs."
            )
        return jnp.zeros_like(p, dtype=dtype)

    return jax.tree.map(one, params)


def full_squares(params: PyTree, value: Scalar) -> PyTree:
    """`value` in the shape of the parameters: real, as squares |g|² are, for complex ones too."""

    def one(p):
        return jnp.full_like(p, value, dtype=jnp.finfo(jnp.result_type(p)).dtype)

    return jax.tree.map(one, params)


def cast_like(values: PyTree, target: PyTree) -> PyTree:
    """The values in the dtypes of the target's leaves.

    Raises:
        TypeError: for complex values where the target is real.
    """

    def one(v, t):
        if v.dtype == t.dtype:
            return v
        if jnp.iscomplexobj(v) and not jnp.iscomplexobj(t):
            raise TypeError(
                f"Gradients of {v.dtype} do not fit parameters of {t.dtype}: make both complex, "
                "or take the gradient of a real function of real parameters."
            )
        return v.astype(t.dtype)

    return jax.tree.map(one, values, target)
