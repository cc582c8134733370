"""What a gradient check knows about one gradient: the points, the tolerances, the causes.

`Problem` is what the diagnosis works on: the loss, the hand-derived gradient, and both
gradients at several points, everything upcast to float64 once.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxdl.types import PyTree

CAUSES: tuple[str, ...] = (
    "scale",
    "sign",
    "batch_mean_missing",
    "batch_mean_doubled",
    "l2_missing",
    "l2_scaled",
    "l2_on_bias",
    "transpose",
    "leaves_swapped",
    "activation_derivative_missing",
    "activation_derivative_wrong",
    "relu_mask_wrong",
    "dropout_scale_missing",
    "dropout_mask_missing",
    "bias_reduction_wrong",
    "stale_operand",
    "examples_dropped",
    "timesteps_truncated",
    "shared_weight_missed",
    "softmax_jacobian_diagonal",
    "path_dropped",
    "conv_flip",
    "padding_or_stride_shift",
    "clip_or_eps_ignored",
    "zero_leaf",
    "wrong_entry",
    "not_a_number",
    "nondeterministic",
    "cotangent_ignored",
    "unknown",
    # Found before or beside the comparison, not by diagnosis:
    "raises",  # the gradient function raises an exception
    "structure",  # it returns a tree of another structure than the parameters
    "shape",  # a leaf has another shape than its parameter
    "input_mutated",  # it changes one of its arguments in place
    "autodiff_path",  # the hand gradient is the derivative of the loss; jax.grad's is not
    "not_linear",  # a pullback or Hessian-vector product is not linear in its vector
    "not_symmetric",  # a Hessian-vector product is not that of a symmetric matrix
)
"""Every word that `Finding.cause` and `Finding.equivalent` may hold."""

RELATIVE_TOLERANCE = 1e-9
"""Of a leaf's largest entry: far above float64 rounding, far below any bug."""

TREE_FLOOR = 1e-14
"""Of the largest entry of all leaves, for leaves that are zero up to cancellation."""

NOISE_FACTOR = 50.0
"""How many times the measured rounding noise two right gradients may differ by."""


@dataclass(frozen=True)
class Point:
    """One point where both gradients were evaluated.

    Attributes:
        label: "given", "perturbed 1", "batch 1", ...
        params: the parameters; floating leaves are float64 (complex ones complex128), others
            as the caller gave them.
        args: the further arguments of the loss, upcast in the same way.
        hand: the caller's gradient here, a tree of NumPy arrays in float64 (complex128).
        auto: the oracle's gradient here (`jax.grad`, or finite differences of a loss that JAX
            cannot trace), of the same structure; leaves that are not floating hold zeros.
        batch_size: number of examples, or None when `batch_argnums` was not given.
    """

    label: str
    params: PyTree
    args: tuple
    hand: PyTree
    auto: PyTree
    batch_size: int | None = None


@dataclass(frozen=True)
class Problem:
    """Everything that the diagnosis may use.

    Attributes:
        loss: `loss(params, *args) -> scalar`, as the caller gave it.
        grad: `grad(params, *args) -> tree`, as the caller gave it.
        points: at least one; the first is the given one.
        batch_argnums: which of `args` hold one example per row, or None.
        batch_axis: the axis of the examples.
        noise: for each point's label, the rounding noise η of every leaf, in flattening order.
        seed: for everything random.
    """

    loss: Callable[..., Any]
    grad: Callable[..., Any]
    points: tuple[Point, ...]
    batch_argnums: tuple[int, ...] | None = None
    batch_axis: int = 0
    noise: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    seed: int = 0

    def tolerance(self, point: Point) -> PyTree:
        """Largest |a − b| per leaf at which two gradients count as the same.

            max(1e-9 · max|g_leaf|, 1e-14 · max|g_tree|, 50 · η_leaf)

        The same number decides the verdict and whether a hypothesis is accepted. The second
        term is for leaves that vanish by cancellation, such as a bias before batch
        normalisation, where no digit of the leaf itself is right.

        Returns:
            A tree of floats, of the structure of `point.auto`.
        """
        leaves, structure = jax.tree.flatten(point.auto)
        eta = self.noise.get(point.label, (0.0,) * len(leaves))
        return jax.tree.unflatten(structure, tolerances(leaves, eta))


def tolerances(leaves: list[np.ndarray], noise: tuple[float, ...]) -> list[float]:
    """`Problem.tolerance` for a flat list of gradient leaves and their noise."""
    sizes = [largest(leaf) for leaf in leaves]
    floor = TREE_FLOOR * max(sizes, default=0.0)
    return [
        max(RELATIVE_TOLERANCE * size, floor, NOISE_FACTOR * eta)
        for size, eta in zip(sizes, noise, strict=True)
    ]


def largest(leaf: np.ndarray) -> float:
    """max|entry| over the finite entries; 0 for none."""
    size = np.abs(np.asarray(leaf))
    found = float(np.max(size, initial=0.0))
    return found if math.isfinite(found) else float(np.max(size, initial=0.0, where=size < np.inf))


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, named.

    Attributes:
        cause: a word of `CAUSES`; "unknown" also where the explanation shows the slip but no word
            is sure to name it.
        equivalent: further words for it: of other slips that give the same gradient at every
            point tried, and what this one is called as well at its place.
        leaves: the paths of the leaves concerned, as `jaxdl.tree.paths` writes them.
        explanation: the rest, in a sentence, with numbers.
        residual: what the explanation leaves unexplained: the largest |h − ĥ| over points and
            leaves, relative to the largest entry of the leaf.
    """

    cause: str
    equivalent: tuple[str, ...]
    leaves: tuple[str, ...]
    explanation: str
    residual: float

    def __post_init__(self) -> None:
        for word in (self.cause, *self.equivalent):
            if word not in CAUSES:
                raise ValueError(f"Unknown cause {word!r}: expected one of {', '.join(CAUSES)}.")
