"""Directions from an average of past gradients: heavy ball, Nesterov, the notes' average, Lion."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.optim import checks, moments
from jaxdl.optim.base import GradientTransformation, transformation
from jaxdl.types import Array, PyTree, Scalar


class TraceState(NamedTuple):
    """The decaying sum v of past gradients."""

    trace: PyTree


def trace(
    decay: Scalar, nesterov: bool = False, accumulator_dtype: Any = None
) -> GradientTransformation:
    """Heavy-ball momentum: a decaying sum of gradients.

        v = β v + g,    u = v            (nesterov: u = β v + g)

    Args:
        decay: β in [0, 1). A constant gradient is amplified to g/(1 − β); `ema` does not do so.
        nesterov: Looks one step ahead with the new v.
        accumulator_dtype: Dtype of v; None means that of the parameters.

    Source: Polyak 1964 (heavy ball), Nesterov 1983. The notes' momentum is `ema`.
    """
    checks.hyperparams(decay=decay)

    def init(params):
        return TraceState(moments.zeros(params, accumulator_dtype))

    def accumulate(g, v):
        g, v = moments.working(g, v)
        return g + moments.like(decay, v) * v

    def update(updates, state, params):
        del params
        v = moments.map_leaves(accumulate, updates, state.trace)
        u = jax.tree.map(accumulate, updates, v) if nesterov else v
        return moments.cast_like(u, updates), TraceState(moments.cast_like(v, state.trace))

    return transformation("trace", TraceState, init, update)


def nesterov(decay: Scalar, accumulator_dtype: Any = None) -> GradientTransformation:
    """Nesterov's momentum: `trace` that looks one step ahead.

        v = β v + g,    u = g + β v

    Args:
        decay: β in [0, 1).
        accumulator_dtype: Dtype of v; None means that of the parameters.

    Source: Nesterov 1983, in the form where gradients are taken at the parameters themselves.
    """
    return trace(decay, nesterov=True, accumulator_dtype=accumulator_dtype)


class EmaState(NamedTuple):
    """The exponentially weighted average v of past gradients, and how many it has seen."""

    count: Array
    ema: PyTree


def ema(
    decay: Scalar, debias: bool = True, accumulator_dtype: Any = None
) -> GradientTransformation:
    """The notes' momentum: an exponentially weighted average of gradients.

        v = β v + (1 − β) g,    u = v            (debias: u = v / (1 − βᵗ))

    Args:
        decay: β in [0, 1); the average reaches back about 1/(1 − β) steps.
        debias: Corrects for v having started at zero. t counts from 1.
        accumulator_dtype: Dtype of v; None means that of the parameters.

    Source: notes, "Gradient descent with Momentum" and "Bias correction in exponentially weighted
    averages". With the same learning rate its steps are 1 − β times those of `trace`.
    """
    checks.hyperparams(decay=decay)

    def init(params):
        return EmaState(moments.zero_count(), moments.zeros(params, accumulator_dtype))

    def update(updates, state, params):
        del params
        v = moments.average_tree(updates, state.ema, decay)
        count = moments.increment(state.count)
        u = moments.debias(v, decay, count) if debias else v
        return moments.cast_like(u, updates), EmaState(count, moments.cast_like(v, state.ema))

    return transformation("ema", EmaState, init, update)


class ScaleByLionState(NamedTuple):
    """The average m of past gradients, and the number of updates so far."""

    count: Array
    mu: PyTree


def scale_by_lion(
    b1: Scalar = 0.9, b2: Scalar = 0.99, mu_dtype: Any = None
) -> GradientTransformation:
    """Lion's direction: the sign of an average, so every entry is −1, 0 or 1.

        u = sign((1 − β₁) g + β₁ m),    m = β₂ m + (1 − β₂) g

    Args:
        b1: β₁ in [0, 1), the weight of the memory in the step.
        b2: β₂ in [0, 1), the decay of the memory.
        mu_dtype: Dtype of m; None means that of the parameters.

    Source: Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms".
    """
    checks.hyperparams(b1=b1, b2=b2)

    def init(params):
        return ScaleByLionState(moments.zero_count(), moments.zeros(params, mu_dtype))

    def update(updates, state, params):
        del params
        u = jax.tree.map(jnp.sign, moments.average_tree(updates, state.mu, b1))
        m = moments.average_tree(updates, state.mu, b2)
        count = moments.increment(state.count)
        state = ScaleByLionState(count, moments.cast_like(m, state.mu))
        return moments.cast_like(u, updates), state

    return transformation("scale_by_lion", ScaleByLionState, init, update)
