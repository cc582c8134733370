"""Transformations of one gradient, without a memory of earlier ones: scaling, clipping, decay."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import errors
from jaxdl.optim import checks, moments
from jaxdl.optim.base import GradientTransformation, stateless, transformation
from jaxdl.optim.masking import masked
from jaxdl.types import Array, Key, PyTree, Scalar

Schedule = Callable[[Array], Scalar]
"""A function of the number of updates so far, starting at 0."""


def scale(step_size: Scalar) -> GradientTransformation:
    """Multiplies by a number: u = c g.

    Args:
        step_size: c, of either sign.
    """
    checks.hyperparams(step_size=step_size)
    return stateless(
        "scale",
        lambda updates, params: jax.tree.map(lambda g: moments.like(step_size, g) * g, updates),
    )


class ScaleByScheduleState(NamedTuple):
    """The number of updates so far."""

    count: Array


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Multiplies by a number that depends on the step: u = c(t) g, with t = 0 first.

    Args:
        step_size_fn: c, a function of the number of updates so far; see `schedules`.
    """

    def init(params):
        del params
        return ScaleByScheduleState(moments.zero_count())

    def update(updates, state, params):
        del params
        step_size = checks.scheduled(step_size_fn(state.count))
        u = jax.tree.map(lambda g: moments.like(step_size, g) * g, updates)
        return u, ScaleByScheduleState(moments.increment(state.count))

    return transformation("scale_by_schedule", ScaleByScheduleState, init, update)


def scale_by_learning_rate(
    learning_rate: Scalar | Schedule, *, flip_sign: bool = True
) -> GradientTransformation:
    """The descent step: u = −α g.

    Args:
        learning_rate: α ≥ 0, a number, a traced number, or a schedule of the step.
        flip_sign: False leaves out the minus, for ascent.

    Raises:
        ValueError: if α is negative.
    """
    sign = -1 if flip_sign else 1
    if callable(learning_rate):
        return scale_by_schedule(lambda count: sign * checks.scheduled(learning_rate(count)))
    checks.hyperparams(learning_rate=learning_rate)
    return scale(sign * learning_rate)


def scale_by_sign() -> GradientTransformation:
    """Keeps the sign alone: u = sign(g); for complex g, g / |g|."""
    return stateless("scale_by_sign", lambda updates, params: jax.tree.map(jnp.sign, updates))


def clip(max_delta: Scalar) -> GradientTransformation:
    """Clips every entry to an interval: u = min(max(g, −δ), δ).

    Args:
        max_delta: δ ≥ 0. Real and imaginary parts of complex gradients are clipped on their own.
    """
    checks.hyperparams(max_delta=max_delta)

    def one(g):
        if jnp.iscomplexobj(g):
            return jax.lax.complex(one(g.real), one(g.imag))
        delta = moments.like(max_delta, g)
        return jnp.clip(g, -delta, delta)

    return stateless("clip", lambda updates, params: jax.tree.map(one, updates))


def clip_by_global_norm(max_norm: Scalar) -> GradientTransformation:
    """Shortens the whole gradient to a largest length: u = g min(1, N / ‖g‖).

    Args:
        max_norm: N ≥ 0, compared with ‖g‖ = √(Σ |gᵢ|²) over all leaves. Squares of numbers above
            1e19 overflow in float32: the sum is scaled by a power of two, which changes no digit.

    Source: Pascanu, Mikolov & Bengio 2013, "On the difficulty of training recurrent neural
    networks".
    """
    checks.hyperparams(max_norm=max_norm)

    def clipped(updates, params):
        norm = _global_norm(updates)
        short = norm <= moments.like(max_norm, norm)

        def one(g):
            return jnp.where(short, g, g / norm.astype(g.dtype) * moments.like(max_norm, g))

        return jax.tree.map(one, updates)

    return stateless("clip_by_global_norm", clipped)


def _global_norm(updates: PyTree) -> Array:
    """√(Σ |gᵢ|²), without overflow or underflow of the squares."""
    leaves = [moments.working(leaf)[0] for leaf in jax.tree.leaves(updates) if leaf.size]
    if not leaves:
        return jnp.zeros(())
    largest = [jnp.max(jnp.maximum(jnp.abs(g.real), jnp.abs(g.imag))) for g in leaves]
    dtype = moments.wider(*(top.dtype for top in largest))
    top = jnp.max(jnp.stack([top.astype(dtype) for top in largest]))
    _, exponent = jnp.frexp(jnp.where(jnp.isfinite(top), top, 1))
    unit = jnp.ldexp(jnp.ones((), dtype), exponent)
    squares = [jnp.sum(moments.abs_squared(g / unit.astype(g.dtype))) for g in leaves]
    return unit * jnp.sqrt(sum(s.astype(dtype) for s in squares))


def centralize(output_axis: int = -1) -> GradientTransformation:
    """Takes from the gradient of each unit's weights their mean: u = g − mean(g).

    Args:
        output_axis: The axis that counts units; the mean runs over all others. Our weights are
            (n_in, n_out), so it is the last one; optax takes the first.

    Leaves with fewer than two axes (biases) are left as they are.

    Raises:
        ValueError: from `update`, if a leaf with several axes has no such axis.

    Source: Yong et al. 2020, "Gradient Centralization".
    """

    def one(g):
        if g.ndim < 2:
            return g
        if not -g.ndim <= output_axis < g.ndim:
            raise ValueError(f"No axis {output_axis} in a gradient of shape {g.shape}.")
        axes = tuple(axis for axis in range(g.ndim) if axis != output_axis % g.ndim)
        return g - jnp.mean(g, axis=axes, keepdims=True)

    return stateless("centralize", lambda updates, params: jax.tree.map(one, updates))


class AddNoiseState(NamedTuple):
    """The number of updates so far, and the key for the next one."""

    count: Array
    rng_key: Key


def add_noise(eta: Scalar, gamma: Scalar, key: Key) -> GradientTransformation:
    """Adds Gaussian noise that fades: u = g + N(0, η / tᵞ), with t = 1 first.

    Args:
        eta: η ≥ 0, the variance of the first noise.
        gamma: γ ≥ 0, how fast the variance falls.
        key: From `jax.random.key`; kept in the state.

    Source: Neelakantan et al. 2015, "Adding Gradient Noise Improves Learning for Very Deep
    Networks".
    """
    checks.hyperparams(eta=eta, gamma=gamma)

    def init(params):
        del params
        return AddNoiseState(moments.zero_count(), jnp.array(key, copy=True))

    def update(updates, state, params):
        del params
        count = moments.increment(state.count)
        deviation = jnp.sqrt(eta / count.astype(float) ** gamma)
        rng_key, sample_key = jax.random.split(state.rng_key)
        leaves, treedef = jax.tree.flatten(updates)
        keys = jax.random.split(sample_key, len(leaves))
        u = [
            g + moments.like(deviation, g) * jax.random.normal(k, g.shape, g.dtype)
            for k, g in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, u), AddNoiseState(count, rng_key)

    return transformation("add_noise", AddNoiseState, init, update)


def add_decayed_weights(weight_decay: Scalar = 0.0, mask: Any = None) -> GradientTransformation:
    """Weight decay: u = g + λ w.

    Args:
        weight_decay: λ ≥ 0.
        mask: A tree of True and False like the parameters (or a prefix of it), or a function that
            makes one from them: only leaves marked True decay. None: all of them.

    Raises:
        ValueError: from `update`, if the parameters are missing.

    Source: Loshchilov & Hutter 2019. Before the optimizer in a chain, it is the gradient of the
    notes' L2 penalty; after an adaptive one, it is decoupled from the step sizes (AdamW).
    """
    checks.hyperparams(weight_decay=weight_decay)

    def decayed(updates, params):
        def one(g, w):
            dtype, (g, w) = g.dtype, moments.working(g, jnp.asarray(w))
            return (g + moments.like(weight_decay, w) * w).astype(dtype)

        return jax.tree.map(one, updates, params)

    everywhere = stateless("add_decayed_weights", decayed, needs_params=True)
    return everywhere if mask is None else masked(everywhere, mask)


def proximal_l1(learning_rate: Scalar | Schedule, strength: Scalar) -> GradientTransformation:
    """The proximal step of an L1 penalty, last in a chain: weights become exactly zero.

        z = w + u,    w := sign(z) max(|z| − α λ, 0)

    Args:
        learning_rate: α, the rate of the optimizer before it.
        strength: λ ≥ 0. A subgradient λ sign(w) would only make weights small.

    Raises:
        ValueError: from `update`, if the parameters are missing.

    Source: soft thresholding is the proximal operator of α λ |·|; a chain of `gradient_descent`
    and this is ISTA (Beck & Teboulle 2009, "A Fast Iterative Shrinkage-Thresholding Algorithm
    for Linear Inverse Problems").
    """
    checks.hyperparams(strength=strength)
    rate = learning_rate if callable(learning_rate) else lambda count: learning_rate
    if not callable(learning_rate):
        checks.hyperparams(learning_rate=learning_rate)

    def init(params):
        del params
        return ScaleByScheduleState(moments.zero_count())

    def update(updates, state, params):
        def one(u, w):
            dtype, (u, w) = u.dtype, moments.working(u, jnp.asarray(w))
            z = w + u
            size = jnp.abs(z)
            threshold = moments.like(checks.scheduled(rate(state.count)), size) * moments.like(
                strength, size
            )
            shrunk = jnp.sign(z) * jnp.maximum(size - threshold, 0).astype(z.dtype)
            return (shrunk - w).astype(dtype)

        u = jax.tree.map(one, updates, params)
        return u, ScaleByScheduleState(moments.increment(state.count))

    return transformation("proximal_l1", ScaleByScheduleState, init, update, needs_params=True)


def max_norm(limit: Scalar, output_axis: int = -1) -> GradientTransformation:
    """Max-norm: last in a chain, it keeps each unit's incoming weights within a ball.

        z = w + u,    w := z · min(1, c / ‖z‖)   for the weights z of each unit

    Args:
        limit: c > 0, the largest Euclidean norm.
        output_axis: the axis that counts units; the norm runs over all others. Our weights are
            (n_in, n_out), so it is the last one.

    Leaves with fewer than two axes (biases) are left as they are; `masked` leaves out more.

    Raises:
        ValueError: if c is not above 0; from `update`, if the parameters are missing or a leaf
            with several axes has no such axis.

    Source: the notes do not have it; Srivastava et al. 2014, "Dropout", recommend it with dropout.
    """
    checks.hyperparams(limit=limit)
    if errors.is_concrete(limit):
        errors.within("limit", limit, bool(limit > 0), "above 0: at 0 every weight would be 0")

    def one(u, w):
        if jnp.ndim(u) < 2:
            return u
        if not -u.ndim <= output_axis < u.ndim:
            raise ValueError(f"No axis {output_axis} in an update of shape {u.shape}.")
        dtype, (u, w) = u.dtype, moments.working(u, jnp.asarray(w))
        z = w + u
        axes = tuple(axis for axis in range(z.ndim) if axis != output_axis % z.ndim)
        size = jnp.linalg.norm(z, axis=axes, keepdims=True)
        c = moments.like(limit, size)
        # Not z times a factor less w where nothing is cut: that would change u by rounding.
        cut = z * (c / jnp.maximum(size, c)).astype(z.dtype)
        return jnp.where(size > c, cut - w, u).astype(dtype)

    return stateless(
        "max_norm", lambda updates, params: jax.tree.map(one, updates, params), needs_params=True
    )
