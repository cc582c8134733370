"""Exponentially weighted averages: a running mean that needs memory for one number.

The notes teach them before momentum, RMSprop and Adam, which are made of them.
"""

import math

import jax
import jax.core
import jax.numpy as jnp

from jaxdl.types import Array, Scalar


def ewa(series: Array, beta: Scalar, debias: bool = True) -> Array:
    """The exponentially weighted average of a series, at each of its times.

        v_t = β v_{t−1} + (1 − β) θ_t,  v_0 = 0          (debias: v_t / (1 − βᵗ), t = 1 first)

    Args:
        series: θ, real or complex floating-point numbers, time on axis 0.
        beta: β in [0, 1), a number or a traced number. About 1/(1 − β) values are averaged.
        debias: Corrects for v_0 = 0, so that a constant series has itself as its average.

    Returns:
        The averages, of the shape and dtype of the series; 16-bit ones are summed in float32.

    Raises:
        ValueError: if β is outside [0, 1), or the series is empty or a single number.
        TypeError: if the series is not of floating-point numbers.

    Source: notes, "Understanding exponentially weighted averages" and "Bias correction in
    exponentially weighted averages".
    """
    _check_beta(beta)
    series = jnp.asarray(series)
    if not jnp.issubdtype(series.dtype, jnp.inexact):
        raise TypeError(
            f"ewa expects a series of floating-point numbers, got {series.dtype}. "
            "Convert it, for example with series.astype(float)."
        )
    if series.ndim == 0 or not len(series):
        got = f"shape {series.shape}" if series.ndim else "a single number"
        raise ValueError(f"ewa expects a series with time on axis 0, got {got}.")
    dtype, series = series.dtype, series.astype(_at_least_32_bits(series.dtype))
    keep, new = (jnp.asarray(c, series.dtype) for c in (beta, 1 - beta))

    def step(v, theta):
        v = keep * v + new * theta
        return v, v

    _, averages = jax.lax.scan(step, jnp.zeros_like(series[0]), series)
    if debias:
        weight = jnp.asarray(_total_weight(beta, len(series)), series.dtype)
        averages = averages / weight.reshape(-1, *[1] * (series.ndim - 1))
    return averages.astype(dtype)


def weights(beta: Scalar, length: int) -> Array:
    """How much each past value counts in the average: (1 − β) βᵏ for the value k steps ago.

    Args:
        beta: β in [0, 1).
        length: How many values, at least 1.

    Returns:
        `length` weights, the newest first. They sum to 1 − β^length: what bias correction
        divides by. The weight falls to 1/e of the newest after about 1/(1 − β) steps.

    Raises:
        ValueError: if β is outside [0, 1) or `length` below 1.
    """
    _check_beta(beta)
    if length < 1:
        raise ValueError(f"weights expects a length of at least 1, got {length}.")
    beta = jnp.asarray(beta, dtype=float)
    return (1 - beta) * beta ** jnp.arange(length, dtype=beta.dtype)


def effective_window(beta: Scalar) -> Scalar:
    """How many values the average is over, roughly: 1 / (1 − β).

    Args:
        beta: β in [0, 1).

    Returns:
        The window in steps: 10 for β = 0.9, 50 for 0.98, 2 for 0.5, as in the notes' course.

    Raises:
        ValueError: if β is outside [0, 1).
    """
    _check_beta(beta)
    return 1 / (1 - beta)


def _total_weight(beta: Scalar, length: int) -> Array:
    """1 − β, 1 − β², …, 1 − β^length, also for a β that rounds to 1."""
    logarithm = jnp.log1p(-jnp.asarray(1 - beta, float))
    times = jnp.arange(1, length + 1, dtype=logarithm.dtype)
    return -jnp.expm1(times * logarithm)


def _at_least_32_bits(dtype: jnp.dtype) -> jnp.dtype:
    """A sum in 16 bits stops growing long before the average is reached."""
    return jnp.dtype(jnp.float32) if jnp.finfo(dtype).bits < 32 else dtype


def _check_beta(beta: Scalar) -> None:
    if isinstance(beta, jax.core.Tracer):
        return
    if isinstance(beta, str) or beta is None:
        raise TypeError(f"beta must be a number in [0, 1), got {beta!r}.")
    if not (jnp.ndim(beta) == 0 and math.isfinite(beta) and 0 <= beta < 1):
        raise ValueError(f"beta must be one number in [0, 1), got {beta}.")
