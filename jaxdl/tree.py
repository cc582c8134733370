"""Arithmetic on pytrees: parameters, gradients and updates are vectors with structure."""

import functools

import jax
import jax.numpy as jnp

from jaxdl.types import Array, PyTree, Scalar


def add(a: PyTree, b: PyTree) -> PyTree:
    """Leaf by leaf a + b, for two trees of one structure."""
    return jax.tree.map(jnp.add, a, b)


def subtract(a: PyTree, b: PyTree) -> PyTree:
    """Leaf by leaf a − b, for two trees of one structure."""
    return jax.tree.map(jnp.subtract, a, b)


def scale(factor: Scalar, a: PyTree) -> PyTree:
    """Leaf by leaf factor · a, in the leaf's own dtype."""
    return jax.tree.map(lambda leaf: jnp.asarray(factor, leaf.dtype) * leaf, a)


def zeros_like(a: PyTree) -> PyTree:
    """A tree of zeros with a's structure, shapes and dtypes."""
    return jax.tree.map(jnp.zeros_like, a)


def dot(a: PyTree, b: PyTree) -> Array:
    """Inner product Σ aᵢ bᵢ over all leaves; the first argument is conjugated if complex."""
    products = jax.tree.leaves(jax.tree.map(jnp.vdot, a, b))
    return functools.reduce(jnp.add, products) if products else jnp.zeros(())


def squared_norm(a: PyTree) -> Array:
    """Σ |aᵢ|² over all leaves: the squared Frobenius norm of everything."""
    return dot(a, a).real


def norm(a: PyTree) -> Array:
    """√(Σ |aᵢ|²) over all leaves."""
    return jnp.sqrt(squared_norm(a))


def size(a: PyTree) -> int:
    """How many numbers the tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(a))


def path_string(path: tuple) -> str:
    """A leaf's path as a person writes it: `[0]['w']` becomes `0.w`."""
    return jax.tree_util.keystr(path, simple=True, separator=".")


def paths(a: PyTree) -> list[str]:
    """The path of every leaf, in flattening order."""
    return [path_string(path) for path, _ in jax.tree.leaves_with_path(a)]
