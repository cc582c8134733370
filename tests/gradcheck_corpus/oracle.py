"""Independent truth: `jax.grad` in float64 at the given point and at random ones."""

import functools
import inspect
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from tests.compiling import once

from .case import Case


def _is_float(leaf) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(leaf.dtype, np.floating)


def upcast(tree):
    """Every floating array as float64; integers and keys as they are."""
    return jax.tree.map(lambda v: v.astype(np.float64) if _is_float(v) else v, tree)


def points(case: Case, count: int):
    """The given parameters, then `count` perturbed ones."""
    params = upcast(case.params)
    yield params
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield jax.tree.map(
            lambda v, rng=rng: v + 0.3 * rng.normal(size=np.shape(v)) if _is_float(v) else v,
            params,
        )


@functools.cache
def derivative(loss: Callable) -> Callable:
    """`jax.grad(loss)`, compiled once for a loss and all its mutants."""
    return once(jax.grad(loss))


def disagreements(case: Case, count: int) -> Iterator[float]:
    """The largest relative difference of the hand gradient from `jax.grad`, point by point."""
    true = derivative(inspect.unwrap(case.reference or case.loss))
    with jax.enable_x64(True):
        tried = list(points(case, count))
    return (_disagreement(case, params, true) for params in tried)


def _disagreement(case: Case, params, true: Callable) -> float:
    with jax.enable_x64(True):
        params, args = jax.tree.map(
            lambda v: jnp.asarray(v) if isinstance(v, np.ndarray) else v,
            (params, upcast(case.args)),
        )
        return _difference(case, params, args, true(params, *args))


def _difference(case: Case, params, args, true) -> float:
    try:
        hand = case.grad(params, *args)
    except Exception:
        if case.cause in ("raises", "input_mutated"):
            return float("inf")
        raise
    if jax.tree.structure(hand) != jax.tree.structure(true):
        return float("inf")
    return max(map(_relative, jax.tree.leaves(hand), jax.tree.leaves(true)))


def _relative(a, b) -> float:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not np.isfinite(a).all():
        return float("inf")
    return float(np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)) if a.size else 0.0
