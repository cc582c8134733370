"""A call `loss(params, *args)` taken apart: what is differentiated, what is data, what is fixed.

Three kinds of leaves: floating leaves of the parameters (the gradient is with respect to
these), other arrays (inputs, labels, keys), and everything else (Python numbers, strings,
functions), which is passed through untouched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxdl import tree
from jaxdl.types import PyTree

THETA, DATA, FIXED = "theta", "data", "fixed"


@dataclass(frozen=True)
class Call:
    """The leaves of `(params, args)` in flattening order, each with its kind.

    Attributes:
        structure: of the pair `(params, args)`.
        leaves: as the caller gave them.
        kinds: THETA, DATA or FIXED, one per leaf.
        params: as the caller gave them.
        x64: whether float64 was on where the check was called.
    """

    structure: Any
    leaves: tuple
    kinds: tuple[str, ...]
    params: PyTree
    x64: bool = False

    @property
    def names(self) -> list[str]:
        """Paths of the leaves that are differentiated."""
        paths = tree.paths(self.params)
        return [
            path or "params"
            for path, kind in zip(paths, self.kinds[: len(paths)], strict=True)
            if kind == THETA
        ]

    def pick(self, kind: str) -> list:
        """The leaves of one kind, as given."""
        return [leaf for leaf, k in zip(self.leaves, self.kinds, strict=True) if k == kind]

    def theta64(self) -> list[np.ndarray]:
        """The differentiated leaves in float64 (complex128)."""
        return [upcast(leaf) for leaf in self.pick(THETA)]

    def data64(self) -> list:
        """The other arrays, floating ones in float64 (complex128)."""
        return [upcast(leaf) for leaf in self.pick(DATA)]

    def join(self, theta: Sequence, data: Sequence) -> tuple[PyTree, tuple]:
        """`(params, args)` with these leaves in place of the given ones."""
        streams = {THETA: iter(theta), DATA: iter(data)}
        leaves = [
            leaf if kind == FIXED else next(streams[kind])
            for leaf, kind in zip(self.leaves, self.kinds, strict=True)
        ]
        return jax.tree.unflatten(self.structure, leaves)

    def join_as_given(self, theta: Sequence, data: Sequence) -> tuple[PyTree, tuple]:
        """`join`, each leaf in the container that the caller used (NumPy, JAX, Python float).

        NumPy leaves are copies, so that a function that writes into them harms nobody.
        """
        return self.join(
            [_like(new, old) for new, old in zip(theta, self.pick(THETA), strict=True)],
            [_like(new, old) for new, old in zip(data, self.pick(DATA), strict=True)],
        )

    def gradient_tree(self, gradient: Sequence[np.ndarray]) -> PyTree:
        """A tree of the parameters' structure: these leaves, and zeros where none belongs."""
        leaves, structure = jax.tree.flatten(self.params)
        stream = iter(gradient)
        kinds = self.kinds[: len(leaves)]
        full = [
            next(stream) if kind == THETA else np.zeros(np.shape(leaf))
            for leaf, kind in zip(leaves, kinds, strict=True)
        ]
        return jax.tree.unflatten(structure, full)

    def argument_of(self) -> list[int]:
        """For every DATA leaf, the index of the argument it belongs to; −1 for one of params."""
        params, args = jax.tree.unflatten(self.structure, self.leaves)
        counts = [len(jax.tree.leaves(tree)) for tree in (params, *args)]
        owner = [i for i, count in enumerate(counts, start=-1) for _ in range(count)]
        return [i for i, kind in zip(owner, self.kinds, strict=True) if kind == DATA]


def take_apart(params: PyTree, args: tuple) -> Call:
    """Sort the leaves of a call into kinds.

    Raises:
        TypeError: if a leaf of `params` is no number, or if none of them is floating.
        ValueError: if a parameter holds NaN or infinity.
    """
    named = jax.tree.leaves_with_path(params)
    _require_concrete(params, args)
    kinds = [_kind_of_parameter(tree.path_string(path), leaf) for path, leaf in named]
    if THETA not in kinds:
        found = ", ".join(str(_dtype(leaf)) for _, leaf in named) or "no leaves at all"
        raise TypeError(
            "Expected params with at least one floating-point leaf to differentiate, "
            f"got {found}. Convert the parameters to a floating dtype."
        )
    for (path, leaf), kind in zip(named, kinds, strict=True):
        if kind == THETA and not np.all(np.isfinite(upcast(leaf))):
            raise ValueError(
                f"Expected finite parameters, but {tree.path_string(path) or 'params'} holds "
                "NaN or infinity. A gradient can only be checked where the loss is finite."
            )
    kinds += [DATA if _is_array(leaf) else FIXED for leaf in jax.tree.leaves(args)]
    leaves, structure = jax.tree.flatten((params, tuple(args)))
    x64 = bool(jax.config.read("jax_enable_x64"))
    return Call(structure, tuple(leaves), tuple(kinds), params, x64)


def _require_concrete(params: PyTree, args: tuple) -> None:
    named = [(tree.path_string(p) or "params", v) for p, v in jax.tree.leaves_with_path(params)]
    for i, arg in enumerate(args):
        named += [(f"argument {i} after params", leaf) for leaf in jax.tree.leaves(arg)]
    for name, leaf in named:
        if isinstance(leaf, Tracer):
            raise TypeError(
                f"Expected concrete arrays, but {name} is being traced ({leaf.aval}): call the "
                "check outside of jax.jit, jax.grad and jax.vmap."
            )


def upcast(leaf: Any) -> Any:
    """A floating leaf as a float64 (complex128) NumPy array; any other array unchanged."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf
    array = np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return array
    wide = np.complex128 if jnp.issubdtype(array.dtype, jnp.complexfloating) else np.float64
    return array.astype(wide)


def _kind_of_parameter(path: str, leaf: Any) -> str:
    if isinstance(leaf, float | complex):
        return THETA
    if isinstance(leaf, bool | int):
        return FIXED
    if not _is_array(leaf):
        raise TypeError(
            f"Expected arrays as leaves of params, but {path or 'params'} is a "
            f"{type(leaf).__name__}. Pass settings as further arguments or in a closure; "
            "register your own container class with jax.tree_util."
        )
    return THETA if jnp.issubdtype(leaf.dtype, jnp.inexact) else DATA


def _is_array(leaf: Any) -> bool:
    if isinstance(leaf, jax.Array):
        return True
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.dtype.kind not in "OSUMm"
    return False


def _dtype(leaf: Any) -> Any:
    return getattr(leaf, "dtype", type(leaf).__name__)


def _like(new: Any, old: Any) -> Any:
    if isinstance(old, jax.Array):
        return jnp.asarray(new)
    if isinstance(old, float | complex):
        return type(old)(new)
    return np.asarray(new)[()] if isinstance(old, np.generic) else np.array(new)
