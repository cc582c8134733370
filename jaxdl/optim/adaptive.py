"""Directions with a step size of its own for every parameter: RMSprop, Adam, AMSGrad, Adagrad."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.optim import checks, moments
from jaxdl.optim.base import GradientTransformation, transformation
from jaxdl.types import Array, PyTree, Scalar


class ScaleByRmsState(NamedTuple):
    """The average s of squared gradients, and the number of updates so far."""

    count: Array
    nu: PyTree


def scale_by_rms(
    decay: Scalar = 0.9,
    eps: Scalar = 1e-8,
    initial_scale: Scalar = 0.0,
    eps_in_sqrt: bool = False,
    bias_correction: bool = False,
) -> GradientTransformation:
    """RMSprop's direction: the gradient over the root of its mean square.

        s = β s + (1 − β) g²,    u = g / (√s + ε)        (eps_in_sqrt: u = g / √(s + ε))

    Args:
        decay: β in [0, 1).
        eps: ε ≥ 0, keeps the quotient finite where the gradient has been zero.
        initial_scale: Value of s before the first gradient.
        eps_in_sqrt: Puts ε inside the root. optax's default; ours is the notes' form.
        bias_correction: Divides s by 1 − βᵗ first.

    Source: notes, "RMSprop"; Tieleman & Hinton 2012 (lecture).
    """
    checks.hyperparams(decay=decay, eps=eps, initial_scale=initial_scale)

    def init(params):
        return ScaleByRmsState(moments.zero_count(), moments.full_squares(params, initial_scale))

    def direction(g, s):
        g, s = moments.working(g, s)
        eps_ = moments.like(eps, s)
        factor = jax.lax.rsqrt(s + eps_) if eps_in_sqrt else 1 / (jnp.sqrt(s) + eps_)
        return factor.astype(g.dtype) * g

    def update(updates, state, params):
        del params
        s = moments.average_squares(updates, state.nu, decay)
        count = moments.increment(state.count)
        u = jax.tree.map(
            direction, updates, moments.debias(s, decay, count) if bias_correction else s
        )
        state = ScaleByRmsState(count, moments.cast_like(s, state.nu))
        return moments.cast_like(u, updates), state

    return transformation("scale_by_rms", ScaleByRmsState, init, update)


class ScaleByAdamState(NamedTuple):
    """The averages v of gradients (mu) and s of their squares (nu), and the number of updates."""

    count: Array
    mu: PyTree
    nu: PyTree


def scale_by_adam(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """Adam's direction: momentum over RMSprop's root, both corrected for their start at zero.

        v = β₁ v + (1 − β₁) g,    v̂ = v / (1 − β₁ᵗ)
        s = β₂ s + (1 − β₂) g²,   ŝ = s / (1 − β₂ᵗ)
        u = v̂ / (√(ŝ + ε_root) + ε)

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε ≥ 0, outside the root as in the notes. With 0 for both, an entry without any gradient
            is 0/0.
        eps_root: Added inside the root, which keeps derivatives through the update finite.
        mu_dtype: Dtype of v; None means that of the parameters.
        nesterov: v̂ = β₁ v/(1 − β₁ᵗ⁺¹) + (1 − β₁) g/(1 − β₁ᵗ): Nadam.

    Source: notes, "Adam optimization algorithm"; Kingma & Ba 2015; Dozat 2016 (Nadam, whose
    further factor β₂ on ŝ is left out here, as it is in optax).
    """
    checks.hyperparams(b1=b1, b2=b2, eps=eps, eps_root=eps_root)

    def init(params):
        nu = moments.full_squares(params, 0)
        return ScaleByAdamState(moments.zero_count(), moments.zeros(params, mu_dtype), nu)

    def update(updates, state, params):
        del params
        v = moments.average_tree(updates, state.mu, b1)
        s = moments.average_squares(updates, state.nu, b2)
        count = moments.increment(state.count)
        v_hat = look_ahead(updates, v, b1, count) if nesterov else moments.debias(v, b1, count)
        u = _quotient(v_hat, moments.debias(s, b2, count), eps, eps_root)
        v, s = moments.cast_like(v, state.mu), moments.cast_like(s, state.nu)
        return moments.cast_like(u, updates), ScaleByAdamState(count, v, s)

    return transformation("scale_by_adam", ScaleByAdamState, init, update)


def look_ahead(updates: PyTree, v: PyTree, b1: Scalar, count: Array) -> PyTree:
    """Nadam's v̂ = β₁ v/(1 − β₁ᵗ⁺¹) + (1 − β₁) g/(1 − β₁ᵗ): the same gradient once more."""
    after = moments.debias(v, b1, moments.increment(count))
    g = moments.debias(jax.tree.map(lambda g, v: g.astype(v.dtype), updates, v), b1, count)
    return jax.tree.map(
        lambda v, g: moments.like(b1, v) * v + moments.like(1 - b1, g) * g, after, g
    )


def _quotient(v: PyTree, s: PyTree, eps: Scalar, eps_root: Scalar) -> PyTree:
    """v / (√(s + ε_root) + ε)."""

    def one(v, s):
        v, s = moments.working(v, s)
        root = jnp.sqrt(s + moments.like(eps_root, s))
        return v / (root + moments.like(eps, s)).astype(v.dtype)

    return jax.tree.map(one, v, s)


class ScaleByAmsgradState(NamedTuple):
    """Adam's averages, and the largest s so far."""

    count: Array
    mu: PyTree
    nu: PyTree
    nu_max: PyTree


def scale_by_amsgrad(
    b1: Scalar = 0.9,
    b2: Scalar = 0.999,
    eps: Scalar = 1e-8,
    eps_root: Scalar = 0.0,
    mu_dtype: Any = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> GradientTransformation:
    """AMSGrad's direction: Adam whose denominator never shrinks.

        v, s as in `scale_by_adam`,    s_max = max(s_max, ŝ),    u = v̂ / (√(s_max + ε_root) + ε)

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε ≥ 0, outside the root.
        eps_root: Added inside the root.
        mu_dtype: Dtype of v; None means that of the parameters.
        bias_correction_mu: v̂ = v / (1 − β₁ᵗ), else v.
        bias_correction_nu: ŝ = s / (1 − β₂ᵗ), else s. The paper corrects neither.

    Source: Reddi, Kale & Kumar 2018, "On the Convergence of Adam and Beyond".
    """
    checks.hyperparams(b1=b1, b2=b2, eps=eps, eps_root=eps_root)

    def init(params):
        mu = moments.zeros(params, mu_dtype)
        nu, nu_max = moments.full_squares(params, 0), moments.full_squares(params, 0)
        return ScaleByAmsgradState(moments.zero_count(), mu, nu, nu_max)

    def update(updates, state, params):
        del params
        v = moments.average_tree(updates, state.mu, b1)
        s = moments.average_squares(updates, state.nu, b2)
        count = moments.increment(state.count)
        v_hat = moments.debias(v, b1, count) if bias_correction_mu else v
        s_hat = moments.debias(s, b2, count) if bias_correction_nu else s
        s_max = jax.tree.map(
            lambda *pair: jnp.maximum(*moments.working(*pair)), state.nu_max, s_hat
        )
        u = _quotient(v_hat, s_max, eps, eps_root)
        v, s = moments.cast_like(v, state.mu), moments.cast_like(s, state.nu)
        s_max = moments.cast_like(s_max, state.nu_max)
        return moments.cast_like(u, updates), ScaleByAmsgradState(count, v, s, s_max)

    return transformation("scale_by_amsgrad", ScaleByAmsgradState, init, update)


class ScaleByRssState(NamedTuple):
    """The sum of squared gradients."""

    sum_of_squares: PyTree


def scale_by_adagrad(
    initial_accumulator_value: Scalar = 0.1, eps: Scalar = 1e-7, eps_in_sqrt: bool = True
) -> GradientTransformation:
    """Adagrad's direction: the gradient over the root of the sum of all its squares.

        S = S + g²,    u = g / √(S + ε)  (0 where S = 0)        (else: u = g / (√S + ε))

    Args:
        initial_accumulator_value: Value of S before the first gradient, ≥ 0.
        eps: ε ≥ 0.
        eps_in_sqrt: Puts ε inside the root, as optax does; False is the paper's form.

    Source: Duchi, Hazan & Singer 2011, "Adaptive Subgradient Methods". optax calls it
    `scale_by_rss`.
    """
    checks.hyperparams(initial_accumulator_value=initial_accumulator_value, eps=eps)

    def init(params):
        return ScaleByRssState(moments.full_squares(params, initial_accumulator_value))

    def accumulate(g, total):
        g, total = moments.working(g, total)
        return moments.abs_squared(g) + total

    def direction(g, total):
        g, total = moments.working(g, total)
        eps_ = moments.like(eps, total)
        factor = jax.lax.rsqrt(total + eps_) if eps_in_sqrt else 1 / (jnp.sqrt(total) + eps_)
        return jnp.where(total > 0, factor, 0).astype(g.dtype) * g

    def update(updates, state, params):
        del params
        total = moments.map_leaves(accumulate, updates, state.sum_of_squares)
        u = jax.tree.map(direction, updates, total)
        state = ScaleByRssState(moments.cast_like(total, state.sum_of_squares))
        return moments.cast_like(u, updates), state

    return transformation("scale_by_adagrad", ScaleByRssState, init, update)
