"""Optimizers around an optimizer: skipping, accumulating, looking ahead, averaging."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import tree
from jaxdl.optim import checks, moments
from jaxdl.optim.base import GradientTransformation, takes_extra, transformation
from jaxdl.types import Array, Params, PyTree, Scalar


class ApplyIfFiniteState(NamedTuple):
    """How often gradients were not finite: in a row, last time, in all; and the inner state."""

    notfinite_count: Array
    last_finite: Array
    total_notfinite: Array
    inner_state: PyTree


def apply_if_finite(
    inner: GradientTransformation, max_consecutive_errors: int
) -> GradientTransformation:
    """Skips the step when a gradient holds a NaN or an infinity.

        u = inner(g) if all g are finite, else 0 with the state left as it was

    Args:
        inner: The transformation to protect.
        max_consecutive_errors: After more than so many bad gradients in a row they are let
            through, so that a run that is lost is seen to be lost.
    """
    checks.hyperparams(max_consecutive_errors=max_consecutive_errors)
    pass_extra = takes_extra(inner.update)

    def init(params):
        zero = moments.zero_count
        return ApplyIfFiniteState(zero(), jnp.array(True), zero(), inner.init(params))

    def update(updates, state, params, **extra):
        finite = _all_finite(updates)
        in_a_row = jnp.where(finite, 0, moments.increment(state.notfinite_count))

        def step():
            u, inner_state = inner.update(updates, state.inner_state, params, **pass_extra(extra))
            return moments.cast_like(u, updates), inner_state

        def skip():
            return tree.zeros_like(updates), state.inner_state

        u, inner_state = jax.lax.cond(finite | (in_a_row > max_consecutive_errors), step, skip)
        total = jnp.where(finite, state.total_notfinite, moments.increment(state.total_notfinite))
        return u, ApplyIfFiniteState(in_a_row, finite, total, inner_state)

    return transformation("apply_if_finite", ApplyIfFiniteState, init, update)


def _all_finite(updates: PyTree) -> Array:
    leaves = [jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(updates)]
    return jnp.all(jnp.array(leaves)) if leaves else jnp.array(True)


class AccumulateState(NamedTuple):
    """Which micro-batch comes next, how many steps were made, the inner state and the mean."""

    mini_step: Array
    gradient_step: Array
    inner_opt_state: PyTree
    acc_grads: PyTree


def accumulate(
    inner: GradientTransformation, k: int, accumulator_dtype: Any = None
) -> GradientTransformation:
    """One step for every k gradients: the mean of k micro-batches, as if they were one batch.

        u = inner((g₁ + … + g_k) / k) at every k-th call, else 0

    Args:
        inner: The optimizer; its state changes at every k-th call only.
        k: Micro-batches per step, at least 1.
        accumulator_dtype: Dtype of the mean; None means that of the parameters, at least float32.

    The mean over micro-batches is that of the whole batch if they are of one size.
    """
    checks.hyperparams(k=k)
    pass_extra = takes_extra(inner.update)

    def init(params):
        zero = jax.tree.map(lambda p: moments.working(jnp.zeros_like(p))[0], params)
        zero = moments.zeros(zero, accumulator_dtype)
        return AccumulateState(moments.zero_count(), moments.zero_count(), inner.init(params), zero)

    def update(updates, state, params, **extra):
        def running_mean(g, mean):
            mean_dtype, (g, mean) = mean.dtype, moments.working(g, mean)
            return (mean + (g - mean) / (state.mini_step + 1).astype(mean.dtype)).astype(mean_dtype)

        mean = moments.map_leaves(running_mean, updates, state.acc_grads)

        def step():
            u, inner_state = inner.update(
                moments.cast_like(mean, updates), state.inner_opt_state, params, **pass_extra(extra)
            )
            done = moments.increment(state.gradient_step)
            u = moments.cast_like(u, updates)
            return u, AccumulateState(
                moments.zero_count(), done, inner_state, tree.zeros_like(mean)
            )

        def wait():
            waiting = state._replace(mini_step=state.mini_step + 1, acc_grads=mean)
            return tree.zeros_like(updates), waiting

        return jax.lax.cond(state.mini_step + 1 >= k, step, wait)

    return transformation("accumulate", AccumulateState, init, update)


class LookaheadState(NamedTuple):
    """The state of the fast optimizer, its steps since the last meeting, the slow weights."""

    fast_state: PyTree
    steps_since_sync: Array
    slow: Params


def lookahead(
    inner: GradientTransformation,
    sync_period: int = 6,
    slow_step_size: Scalar = 0.5,
    reset_state: bool = False,
) -> GradientTransformation:
    """k steps forward, one step back: slow weights follow the fast ones.

        φ = φ + α (w − φ),  w = φ        after every k steps of the inner optimizer on w

    Args:
        inner: The fast optimizer.
        sync_period: k, at least 1.
        slow_step_size: α in [0, 1].
        reset_state: Starts the inner optimizer anew after each meeting.

    Parameters are the fast weights; the slow ones are in the state (optax keeps both in a pair
    of parameters). Nothing may change the updates after this one.

    Raises:
        ValueError: from `update`, if the parameters are missing.

    Source: Zhang et al. 2019, "Lookahead Optimizer: k steps forward, 1 step back".
    """
    checks.hyperparams(sync_period=sync_period, slow_step_size=slow_step_size)
    pass_extra = takes_extra(inner.update)

    def init(params):
        return LookaheadState(inner.init(params), moments.zero_count(), _copy(params))

    def update(updates, state, params, **extra):
        u, fast_state = inner.update(updates, state.fast_state, params, **pass_extra(extra))
        meet = state.steps_since_sync + 1 >= sync_period

        def gap(slow, w, u):
            slow, w, u = moments.working(slow, jnp.asarray(w), u)
            return jnp.where(meet, w + u - slow, 0)

        def follow(slow, d):
            part = moments.like(slow_step_size, d) * d
            return (slow.astype(d.dtype) + part).astype(slow.dtype)

        def step_back(u, d):
            part = moments.like(1 - slow_step_size, d) * d
            return (u.astype(d.dtype) - part).astype(u.dtype)

        gaps = jax.tree.map(gap, state.slow, params, u)
        slow = jax.tree.map(follow, state.slow, gaps)
        u = jax.tree.map(step_back, u, gaps)
        if reset_state:
            fresh = inner.init(params)
            fast_state = jax.tree.map(lambda f, s: jnp.where(meet, f, s), fresh, fast_state)
        since = jnp.where(meet, 0, state.steps_since_sync + 1)
        return moments.cast_like(u, updates), LookaheadState(fast_state, since, slow)

    return transformation("lookahead", LookaheadState, init, update, needs_params=True)


class AverageParamsState(NamedTuple):
    """How many parameters went into the average, and the average."""

    count: Array
    average: Params


def average_params(decay: Scalar | None = None) -> GradientTransformation:
    """Keeps an average of the parameters, last in a chain; the updates pass unchanged.

        w̄ = w̄ + γ (w − w̄),    γ = 1/t (decay None)    or    (1 − β) / (1 − βᵗ)

    Args:
        decay: None for the plain mean of all iterates; β in [0, 1) for the notes' exponentially
            weighted average with bias correction, of which this is the recurrence.

    Read the average with `averaged(state)`.

    Raises:
        ValueError: from `update`, if the parameters are missing.

    Source: Polyak & Juditsky 1992 (the mean); notes, "Bias correction in exponentially weighted
    averages".
    """
    if decay is not None:
        checks.hyperparams(decay=decay)

    def init(params):
        return AverageParamsState(moments.zero_count(), _copy(params))

    def update(updates, state, params):
        count = moments.increment(state.count)
        if decay is None:
            rate = 1 / count.astype(float)
        else:
            beta = jnp.asarray(decay)
            rate = jnp.asarray(1 - decay) / (1 - beta ** count.astype(beta.dtype))

        def one(mean, w, u):
            dtype, (mean, w, u) = mean.dtype, moments.working(mean, jnp.asarray(w), u)
            return (mean + moments.like(rate, mean) * (w + u - mean)).astype(dtype)

        average = jax.tree.map(one, state.average, params, updates)
        return updates, AverageParamsState(count, average)

    return transformation("average_params", AverageParamsState, init, update, needs_params=True)


def averaged(state: PyTree) -> Params:
    """The average that `average_params` keeps, found anywhere in an optimizer's state.

    Raises:
        ValueError: if there is none, or more than one.
    """

    def is_average(node):
        return isinstance(node, AverageParamsState)

    found = [s for s in jax.tree.leaves(state, is_leaf=is_average) if is_average(s)]
    if len(found) != 1:
        raise ValueError(
            f"Expected one average_params in the optimizer's state, found {len(found)}. "
            "Put optim.average_params() last in the chain."
        )
    return found[0].average


def _copy(params: Params) -> Params:
    """Arrays of their own, so that parameters and state can both be donated."""
    return jax.tree.map(lambda p: jnp.array(p, copy=True), params)
