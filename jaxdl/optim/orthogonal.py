"""Muon: momentum made orthogonal, for weights that are matrices."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import tree
from jaxdl.optim import checks, moments
from jaxdl.optim.adaptive import look_ahead
from jaxdl.optim.base import GradientTransformation, chain, stateless, transformation
from jaxdl.optim.masking import partition
from jaxdl.optim.recipes import adamw
from jaxdl.optim.transforms import Schedule, add_decayed_weights, scale_by_learning_rate
from jaxdl.types import Array, PyTree, Scalar

NS_COEFFS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration, of steepest slope at zero (Jordan et al. 2024)."""


class MuonState(NamedTuple):
    """The average m of past gradients, and the number of updates so far."""

    count: Array
    mu: PyTree


def scale_by_muon(
    ns_coeffs: Any = NS_COEFFS,
    ns_steps: int = 5,
    beta: Scalar = 0.95,
    eps: Scalar = 1e-8,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> GradientTransformation:
    """Muon's direction: the average of gradients with all its singular values near 1.

        m = β m + (1 − β) g,    m̂ bias-corrected (nesterov: looked ahead as in Nadam)
        X₀ = m̂ / (‖m̂‖ + ε),     Xₖ₊₁ = a Xₖ + (b A + c A²) Xₖ  with  A = Xₖ Xₖᵀ,     u = X₅

    Args:
        ns_coeffs: (a, b, c), or one such triple per iteration (the last `ns_steps` are used).
        ns_steps: Iterations, at least 1. Singular values end up between about 0.7 and 1.2.
        beta: β in [0, 1).
        eps: ε ≥ 0.
        mu_dtype: Dtype of m; None means that of the parameters.
        nesterov: Looks one step ahead.

    Raises:
        ValueError: from `update`, if a leaf is not a matrix.

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; the
    average is bias-corrected as in optax.
    """
    checks.hyperparams(beta=beta, eps=eps, ns_steps=ns_steps)
    coefficients = _per_step(ns_coeffs, ns_steps)

    def init(params):
        _check_matrices(params)
        return MuonState(moments.zero_count(), moments.zeros(params, mu_dtype))

    def update(updates, state, params):
        del params
        m = moments.average_tree(updates, state.mu, beta)
        count = moments.increment(state.count)
        m_hat = look_ahead(updates, m, beta, count) if nesterov else moments.debias(m, beta, count)
        u = jax.tree.map(lambda x: _orthogonalize(x, coefficients, eps), m_hat)
        state = MuonState(count, moments.cast_like(m, state.mu))
        return moments.cast_like(u, updates), state

    return transformation("scale_by_muon", MuonState, init, update)


def scale_by_shape(consistent_rms: Scalar | None = None) -> GradientTransformation:
    """Makes orthogonal updates comparable between shapes: u = √(max(1, n_out/n_in)) g.

    Args:
        consistent_rms: A number r gives u = r √(max(n_in, n_out)) g instead, whose root mean
            square is about r for every shape, as Adam's is.

    Weights are (n_in, n_out).
    """
    if consistent_rms is not None:
        checks.hyperparams(consistent_rms=consistent_rms)

    def one(g):
        n_in, n_out = g.shape
        if consistent_rms is None:
            return moments.like(np.sqrt(max(1.0, n_out / max(n_in, 1))), g) * g
        return moments.like(np.sqrt(max(n_in, n_out)), g) * moments.like(consistent_rms, g) * g

    def scaled(updates, params):
        del params
        _check_matrices(updates)
        return jax.tree.map(one, updates)

    return stateless("scale_by_shape", scaled)


def muon(
    learning_rate: Scalar | Schedule,
    ns_coeffs: Any = NS_COEFFS,
    ns_steps: int = 5,
    beta: Scalar = 0.95,
    eps: Scalar = 1e-8,
    weight_decay: Scalar = 0.0,
    weight_decay_mask: Any = None,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
    adam_b1: Scalar = 0.9,
    adam_b2: Scalar = 0.999,
    adam_eps_root: Scalar = 0.0,
    adam_weight_decay: Scalar = 0.0,
    adam_learning_rate: Scalar | Schedule | None = None,
    consistent_rms: Scalar | None = None,
) -> GradientTransformation:
    """Muon for weight matrices, AdamW for all other leaves.

    Args:
        learning_rate: α ≥ 0 of the matrices.
        ns_coeffs: See `scale_by_muon`.
        ns_steps: See `scale_by_muon`.
        beta: β in [0, 1) of the matrices' momentum.
        eps: ε ≥ 0, of both.
        weight_decay: λ ≥ 0 of the matrices, decoupled.
        weight_decay_mask: Which of them decay; see `add_decayed_weights`.
        mu_dtype: Dtype of the first moments; None means that of the parameters.
        nesterov: Looks one step ahead, in both.
        adam_b1: β₁ of AdamW.
        adam_b2: β₂ of AdamW.
        adam_eps_root: ε inside AdamW's root.
        adam_weight_decay: λ of AdamW.
        adam_learning_rate: α of AdamW; None means `learning_rate`.
        consistent_rms: See `scale_by_shape`.

    Source: Jordan et al. 2024. The partition is by shape: every leaf with two axes is a matrix.
    """
    checks.hyperparams(adam_b1=adam_b1, adam_b2=adam_b2, adam_weight_decay=adam_weight_decay)
    checks.hyperparams(adam_eps_root=adam_eps_root)
    if adam_learning_rate is not None and not callable(adam_learning_rate):
        checks.hyperparams(adam_learning_rate=adam_learning_rate)
    matrices = chain(
        scale_by_muon(ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov=nesterov),
        scale_by_shape(consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    others = adamw(
        learning_rate if adam_learning_rate is None else adam_learning_rate,
        adam_b1,
        adam_b2,
        eps,
        adam_eps_root,
        mu_dtype,
        adam_weight_decay,
        nesterov=nesterov,
    )
    return partition({"muon": matrices, "adam": others}, _by_shape)


def _by_shape(params: PyTree) -> PyTree:
    return jax.tree.map(lambda w: "muon" if jnp.ndim(w) == 2 else "adam", params)


def _orthogonalize(x: Array, coefficients: np.ndarray, eps: Scalar) -> Array:
    """Newton–Schulz iteration towards U Vᵀ of x = U S Vᵀ, on the side with the smaller square."""
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    length = jnp.linalg.norm(x)
    x = x / (length + moments.like(eps, length)).astype(x.dtype)
    for a, b, c in coefficients:
        square = x @ x.T.conj()
        mixed = moments.like(b, x) * square + (moments.like(c, x) * square) @ square
        x = moments.like(a, x) * x + mixed @ x
    return x.T if tall else x


def _per_step(ns_coeffs: Any, ns_steps: int) -> np.ndarray:
    """One row (a, b, c) for each iteration."""
    rows = np.asarray(ns_coeffs, dtype=float)
    if rows.ndim == 1 and len(rows) == 3:
        rows = np.tile(rows, (ns_steps, 1))
    if rows.ndim != 2 or rows.shape[1] != 3 or len(rows) < ns_steps:
        raise ValueError(
            f"ns_coeffs must be (a, b, c) or at least ns_steps={ns_steps} such triples, "
            f"got shape {np.shape(ns_coeffs)}."
        )
    return rows[-ns_steps:]


def _check_matrices(leaves: PyTree) -> None:
    for path, leaf in jax.tree.leaves_with_path(leaves):
        if jnp.ndim(leaf) != 2:
            raise ValueError(
                f"Muon moves matrices, but {tree.path_string(path)!r} has shape "
                f"{jnp.shape(leaf)}. Use optim.muon, which gives other leaves to AdamW."
            )
