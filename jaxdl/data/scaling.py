"""Scaling of features: fitted on the training part, applied to every part.

Each scaler is `fit(x) -> state`, `apply(state, x)`, `invert(state, z)`; the state is a NamedTuple
of two or three arrays, so it is saved with the model like any parameters.

    state = data.standardize.fit(parts.train.x)
    x_dev = data.standardize.apply(state, parts.dev.x)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data.check import check_finite


class Scaler(NamedTuple):
    """Three pure functions: `fit(x) -> state`, `apply(state, x)`, `invert(state, z)`."""

    fit: Callable[..., Any]
    apply: Callable[[Any, Any], Any]
    invert: Callable[[Any, Any], Any]


class AffineState(NamedTuple):
    """z = (x − shift) / scale, column by column; `scale` is never 0."""

    shift: np.ndarray
    scale: np.ndarray


class WhitenState(NamedTuple):
    """z = (x − mean) W; `inverse` is W⁻¹."""

    mean: np.ndarray
    matrix: np.ndarray
    inverse: np.ndarray


def _fit_standardize(x, feature_names: tuple[str, ...] = ()) -> AffineState:
    """shift = μ, scale = σ with divisor m; σ = 1 for a constant column."""
    x = _concrete(x, feature_names)
    mean = x.mean(axis=0)
    spread = np.abs(x - mean).max(axis=0)
    constant = _is_constant(x, mean, spread)
    unit = np.where(constant, 1.0, spread)
    std = spread * np.sqrt((((x - mean) / unit) ** 2).mean(axis=0))
    return AffineState(np.where(constant, x[0], mean), np.where(constant, 1.0, std))


def _fit_min_max(x, feature_names: tuple[str, ...] = ()) -> AffineState:
    """shift = min, scale = max − min; scale = 1 for a constant column."""
    x = _concrete(x, feature_names)
    low, high = x.min(axis=0), x.max(axis=0)
    constant = _is_constant(x, x.mean(axis=0), high - low)
    return AffineState(np.where(constant, x[0], low), np.where(constant, 1.0, high - low))


def _apply_affine(state: AffineState, x):
    # A scale that x's dtype has no number for has become 0: to that dtype the column is constant.
    return _in_dtype_of(
        x, lambda x, shift, scale: (x - shift) / (scale + (scale == 0).astype(scale.dtype)), state
    )


def _invert_affine(state: AffineState, z):
    return _in_dtype_of(z, lambda z, shift, scale: z * scale + shift, state)


def _fit_whiten(x, feature_names: tuple[str, ...] = ()) -> WhitenState:
    """W = D⁻¹ V diag(λ^-½) Vᵀ, with D the σ of the columns and V diag(λ) Vᵀ their correlations.

    Directions without variance, which exist whenever m ≤ n or columns depend on each other,
    are only standardised (λ taken as 1): W stays invertible and amplifies no noise.
    """
    x = _concrete(x, feature_names)
    if x.ndim != 2:
        raise ValueError(f"whiten needs features of shape (m, n), got {x.shape}: flatten them.")
    shift, scale = _fit_standardize(x)
    z = (x - shift) / scale
    variance, v = np.linalg.eigh(z.T @ z / len(z))
    flat = variance <= variance.max() * max(z.shape) * np.finfo(np.float32).eps
    root = np.sqrt(np.where(flat, 1.0, variance))
    return WhitenState(shift, (v / root) @ v.T / scale[:, None], (v * root) @ v.T * scale)


def _apply_whiten(state: WhitenState, x):
    return _in_dtype_of(x, lambda x, mean, w, _: (x - mean) @ w, state)


def _invert_whiten(state: WhitenState, z):
    return _in_dtype_of(z, lambda z, mean, _, inverse: z @ inverse + mean, state)


def _concrete(x, feature_names: tuple[str, ...]) -> np.ndarray:
    """x as float64, refused when empty, not numeric or not finite."""
    x = np.asarray(x)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"Expected numeric features, got dtype {x.dtype}: encode them first.")
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"Expected features of shape (m, n) with m, n ≥ 1, got {x.shape}.")
    check_finite(x, feature_names)
    return x.astype(np.float64)


def _is_constant(x: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Columns whose spread is rounding error: dividing by it would magnify nothing into ±1."""
    return spread <= 8 * np.finfo(x.dtype).eps * np.abs(mean)


def _in_dtype_of(x, f: Callable, state: tuple):
    """f(x, *state) in x's float dtype: through float64 in NumPy, in that dtype under JAX."""
    if not isinstance(x, jax.Array):
        x = np.asarray(x)
        if x.dtype.kind not in "fiubV":
            raise TypeError(f"Expected numeric features, got dtype {x.dtype}: encode them first.")
    if x.shape[1:] != state[0].shape:
        raise ValueError(
            f"Expected examples of shape {state[0].shape}, as in the data the scaler was fitted "
            f"on, got {x.shape[1:]}."
        )
    check_finite(x)
    if isinstance(x, jax.Array):
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        leaves = (jnp.asarray(leaf, x.dtype) for leaf in state)
        return f(x, *(leaf[None] if leaf.ndim < x.ndim else leaf for leaf in leaves))
    dtype = x.dtype if x.dtype.kind == "f" else np.float32
    return f(x.astype(np.float64), *state).astype(dtype)


standardize = Scaler(_fit_standardize, _apply_affine, _invert_affine)
"""Zero mean and unit variance, the notes' "Normalizing inputs"; constant columns become 0."""

min_max = Scaler(_fit_min_max, _apply_affine, _invert_affine)
"""Training minimum to 0 and maximum to 1; constant columns become 0."""

whiten = Scaler(_fit_whiten, _apply_whiten, _invert_whiten)
"""Zero mean, unit variance and no correlation, turned as little as possible from the columns."""
