"""Where to compare: the given point, perturbed ones, and smaller batches.

A point hides bugs: a bias penalty at zero biases, a transposed square matrix that is symmetric,
a factor 3 where both the batch and the classes are three. Perturbed points make every parameter
nonzero and spread their scales, but keep the structure that code may rely on: signs, symmetric
matrices, triangular ones.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck.call import Call


def perturbed(theta: Sequence[np.ndarray], size: float, seed: int) -> list[np.ndarray]:
    """θ·exp(size·N) for nonzero entries; size·s·N for zeros, s the typical entry of the tree."""
    rng = np.random.default_rng(seed)
    typical = _typical(theta)
    return [_perturb(rng, leaf, size, typical) for leaf in theta]


def _typical(theta: Sequence[np.ndarray]) -> float:
    entries = np.concatenate([np.abs(leaf).reshape(-1) for leaf in theta] or [np.zeros(0)])
    nonzero = entries[entries > 0]
    return float(np.clip(np.median(nonzero), 1e-3, 1.0)) if nonzero.size else 0.3


def _perturb(rng: np.random.Generator, leaf: np.ndarray, size: float, typical: float) -> np.ndarray:
    normal = rng.standard_normal(leaf.shape)
    if leaf.dtype.kind == "c":
        normal = normal + 1j * rng.standard_normal(leaf.shape)
    spread = np.clip(size * normal.real, -1.5, 1.5)
    if leaf.dtype.kind != "c" and leaf.any() and (leaf >= 0).all():
        normal = np.abs(normal)  # perhaps a quantity that cannot be negative
    moved = np.where(leaf != 0, leaf * np.exp(spread), size * typical * normal)
    return _keep_structure(leaf, moved)


def _keep_structure(leaf: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Symmetric stays symmetric, triangular stays triangular, for matrices in the last axes."""
    if leaf.ndim < 2 or leaf.shape[-1] != leaf.shape[-2] or leaf.shape[-1] < 2 or not leaf.any():
        return moved
    if np.array_equal(leaf, np.swapaxes(leaf, -1, -2)):
        half = np.tril(moved) + np.swapaxes(np.tril(moved, -1), -1, -2)
        return half if np.count_nonzero(leaf - _diagonal_part(leaf)) else _near_diagonal(leaf, half)
    if not np.triu(leaf, 1).any():
        return np.tril(moved)
    return np.triu(moved) if not np.tril(leaf, -1).any() else moved


def _diagonal_part(leaf: np.ndarray) -> np.ndarray:
    return leaf * np.eye(leaf.shape[-1])


def _near_diagonal(leaf: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """A diagonal matrix may be a covariance: keep the rest small enough to stay definite."""
    n = leaf.shape[-1]
    return np.where(np.eye(n, dtype=bool), moved, moved * (0.3 / n))


def sub_batch_sizes(m: int, avoid: Sequence[int]) -> list[int]:
    """Two batch sizes coprime with m and each other, unlike any dimension in use.

    Small ones, but not so small that a variance over the batch degenerates. A batch of one or
    two is repeated instead, to three and four or five rows.
    """
    chosen: list[int] = []
    candidates = sorted(range(3, max(min(m, 24), 6)), key=lambda s: (s in avoid, s == m, s))
    for s in candidates:
        if s != m and all(math.gcd(s, other) == 1 for other in (m, *chosen)):
            chosen.append(s)
    rest = [s for s in candidates if s not in chosen and s != m]
    return (chosen + rest)[:2]


def rows_of(m: int, size: int, seed: int) -> np.ndarray:
    """Which examples a batch of `size` holds: different ones, as far as there are any."""
    order = np.random.default_rng(seed).permutation(m)
    return np.sort(order[:size]) if size <= m else np.resize(order, size)


def batch_size(call: Call, batch_argnums: Sequence[int], axis: int) -> int:
    """The number of examples in the arguments named by `batch_argnums`.

    Raises:
        ValueError: if an index is out of range, holds no array, or the sizes differ.
    """
    owners, leaves = call.argument_of(), call.pick("data")
    n_args = len(call.join(call.pick("theta"), leaves)[1])
    sizes = {}
    for i in batch_argnums:
        if not 0 <= i < n_args:
            raise ValueError(
                f"Expected batch_argnums to index the {n_args} arguments after params, got {i}. "
                "params is not counted: the first argument after it is 0."
            )
        mine = [leaf for leaf, owner in zip(leaves, owners, strict=True) if owner == i]
        if not mine or any(np.ndim(leaf) == 0 for leaf in mine):
            raise ValueError(
                f"Expected argument {i} (batch_argnums) to be an array with an axis of "
                f"examples, got shapes {[np.shape(leaf) for leaf in mine]}."
            )
        sizes[i] = {np.shape(leaf)[_axis(leaf, axis)] for leaf in mine}
    found = set().union(*sizes.values())
    if len(found) != 1:
        raise ValueError(
            f"Expected one number of examples along axis {axis} in all of batch_argnums, got "
            + ", ".join(f"argument {i}: {sorted(size)}" for i, size in sizes.items())
            + "."
        )
    if found == {0}:
        raise ValueError(
            f"Expected at least one example, got arrays of length 0 along axis {axis} in all of "
            "batch_argnums."
        )
    return found.pop()


def names_batch_size(call: Call, batch_argnums: Sequence[int], m: int) -> bool:
    """Whether another argument holds the number of examples, or indices of examples.

    With fewer examples it would no longer fit the data.
    """
    args = call.join(call.pick("theta"), call.pick("data"))[1]
    others = [leaf for i, a in enumerate(args) if i not in batch_argnums for leaf in _integers(a)]
    return any(
        leaf == m if np.ndim(leaf) == 0 else np.size(leaf) and 1 < np.max(leaf) < m
        for leaf in others
    )


def _integers(arg: Any) -> list:
    leaves = [leaf for leaf in jax.tree.leaves(arg) if not isinstance(leaf, bool | str)]
    plain = [leaf for leaf in leaves if isinstance(leaf, int | np.ndarray | np.generic | jax.Array)]
    return [
        np.asarray(v)
        for v in plain
        if jnp.issubdtype(getattr(v, "dtype", np.int64), np.signedinteger)
    ]


def sub_batch(
    call: Call, data: Sequence, batch_argnums: Sequence[int], axis: int, rows: np.ndarray
) -> list:
    """The data with only these examples."""
    return [
        leaf[(slice(None),) * _axis(leaf, axis) + (rows,)] if owner in batch_argnums else leaf
        for leaf, owner in zip(data, call.argument_of(), strict=True)
    ]


def _axis(leaf: Any, axis: int) -> int:
    """The axis of the examples; the last one where a leaf has fewer (labels beside columns)."""
    return axis % np.ndim(leaf) if axis < 0 else min(axis, np.ndim(leaf) - 1)
