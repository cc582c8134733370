"""Learning rates that change: functions of the number of updates so far, counted from 0.

A schedule is a plain function `count -> value`; it traces and maps, so its own parameters may be
traced numbers too. Where optax has the same schedule, the name and the arguments are optax's.
"""

from collections.abc import Sequence

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl.optim import checks
from jaxdl.optim.transforms import Schedule
from jaxdl.types import Array, Scalar


def constant_schedule(value: Scalar) -> Schedule:
    """α(t) = α₀.

    Args:
        value: α₀ ≥ 0.
    """
    checks.hyperparams(value=value)
    return lambda count: value


def inverse_time_decay(
    init_value: Scalar, decay_rate: Scalar, steps_per_epoch: int = 1
) -> Schedule:
    """The notes' first decay: α(e) = α₀ / (1 + r e), with epochs e = 0, 1, 2, …

    Args:
        init_value: α₀ ≥ 0, the rate of the first epoch.
        decay_rate: r ≥ 0.
        steps_per_epoch: Updates per epoch; 1 lets the rate fall at every step.

    Source: notes, "Learning rate decay", first formula. Its epoch numbers start at 0 here.
    """
    checks.hyperparams(
        init_value=init_value, decay_rate=decay_rate, steps_per_epoch=steps_per_epoch
    )
    return lambda count: init_value / (1 + decay_rate * _epoch(count, steps_per_epoch))


def inverse_sqrt_decay(init_value: Scalar, k: Scalar = 1.0, steps_per_epoch: int = 1) -> Schedule:
    """The notes' second and third decay: α(e) = k α₀ / √e, with epochs e = 1, 2, 3, …

    Args:
        init_value: α₀ ≥ 0.
        k: Factor k ≥ 0; the first epoch has the rate k α₀.
        steps_per_epoch: Updates per epoch; 1 gives the notes' third formula, k α₀ / √t.

    Source: notes, "Learning rate decay", second and third formula. At epoch 0 and step 0 they
    divide by zero, so the first one counts as 1 here.
    """
    checks.hyperparams(
        init_value=init_value, **{"k (the factor)": k}, steps_per_epoch=steps_per_epoch
    )
    return lambda count: k * init_value / jnp.sqrt(_epoch(count, steps_per_epoch) + 1)


def exponential_decay(
    init_value: Scalar,
    transition_steps: int,
    decay_rate: Scalar,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Scalar | None = None,
) -> Schedule:
    """α(t) = α₀ rˢ with s = (t − t₀) / T, held at α₀ until t₀; staircase: s rounded down.

    Args:
        init_value: α₀ ≥ 0.
        transition_steps: T, steps for one factor r.
        decay_rate: r > 0.
        transition_begin: t₀ ≥ 0.
        staircase: Falls by r at once after every T steps ("discrete staircase" of the course).
        end_value: Where to stop: the lowest value if r < 1, else the highest.
    """
    checks.hyperparams(
        init_value=init_value,
        transition_steps=transition_steps,
        decay_rate=decay_rate,
        transition_begin=transition_begin,
    )
    if end_value is not None:
        checks.hyperparams(end_value=end_value)

    def schedule(count):
        since = _float(count) - transition_begin
        s = jnp.floor(since / transition_steps) if staircase else since / transition_steps
        value = jnp.where(since <= 0, init_value, init_value * jnp.power(decay_rate, s))
        if end_value is None:
            return value
        return jnp.where(
            jnp.asarray(decay_rate) < 1,
            jnp.maximum(value, end_value),
            jnp.minimum(value, end_value),
        )

    return schedule


def cosine_decay_schedule(
    init_value: Scalar, decay_steps: int, alpha: Scalar = 0.0, exponent: Scalar = 1.0
) -> Schedule:
    """Half a cosine: α(t) = α₀ ((1 − a) (½ (1 + cos π t/T))ᵖ + a), and a α₀ after T steps.

    Args:
        init_value: α₀ ≥ 0.
        decay_steps: T, at least 1.
        alpha: a in [0, 1], the fraction that stays.
        exponent: p.

    Source: Loshchilov & Hutter 2017, "SGDR", without its restarts.
    """
    checks.hyperparams(
        init_value=init_value, decay_steps=decay_steps, alpha=alpha, exponent=exponent
    )

    def schedule(count):
        t = jnp.minimum(_float(count), decay_steps)
        cosine = 0.5 * (1 + jnp.cos(jnp.pi * t / decay_steps))
        return init_value * ((1 - alpha) * cosine**exponent + alpha)

    return schedule


def linear_schedule(
    init_value: Scalar, end_value: Scalar, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """A straight line from one value to another: (α₀ − α₁) (1 − (t − t₀)/T) + α₁, then α₁.

    Args:
        init_value: α₀ ≥ 0, the value until t₀.
        end_value: α₁ ≥ 0, the value from t₀ + T on.
        transition_steps: T, at least 1.
        transition_begin: t₀ ≥ 0.
    """
    checks.hyperparams(
        init_value=init_value,
        end_value=end_value,
        transition_steps=transition_steps,
        transition_begin=transition_begin,
    )

    def schedule(count):
        t = jnp.clip(_float(count) - transition_begin, 0, transition_steps)
        return (init_value - end_value) * (1 - t / transition_steps) + end_value

    return schedule


def warmup_constant_schedule(init_value: Scalar, peak_value: Scalar, warmup_steps: int) -> Schedule:
    """Linear warm-up from one value to another over `warmup_steps`, then constant.

    Args:
        init_value: Rate at step 0.
        peak_value: Rate from step `warmup_steps` on.
        warmup_steps: 0 leaves the warm-up out.
    """
    checks.hyperparams(init_value=init_value, peak_value=peak_value, warmup_steps=warmup_steps)
    if warmup_steps == 0:
        return constant_schedule(peak_value)
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: Scalar,
    peak_value: Scalar,
    warmup_steps: int,
    decay_steps: int,
    end_value: Scalar = 0.0,
    exponent: Scalar = 1.0,
) -> Schedule:
    """Linear warm-up, then half a cosine.

    Args:
        init_value: Rate at step 0.
        peak_value: Rate after the warm-up, > 0.
        warmup_steps: Length of the warm-up; 0 leaves it out.
        decay_steps: Length of the whole, warm-up included.
        end_value: Rate at the end and after it.
        exponent: Power of the cosine.

    Raises:
        ValueError: if the whole is not longer than the warm-up, or the peak is 0.
    """
    checks.hyperparams(peak_value=peak_value, end_value=end_value)
    if not isinstance(peak_value, jax.core.Tracer) and peak_value == 0:
        raise ValueError(
            "peak_value must be positive, got 0: end_value is a fraction of it. "
            "For a rate of 0 use constant_schedule(0)."
        )
    if decay_steps <= warmup_steps:
        raise ValueError(
            f"decay_steps counts the warm-up too and must exceed warmup_steps, "
            f"got decay_steps={decay_steps} and warmup_steps={warmup_steps}."
        )
    fall = cosine_decay_schedule(
        peak_value, decay_steps - warmup_steps, end_value / peak_value, exponent
    )
    rise = warmup_constant_schedule(init_value, peak_value, warmup_steps)
    return join_schedules([rise, fall], [warmup_steps])


def piecewise_constant_schedule(
    init_value: Scalar, boundaries_and_scales: dict[int, float] | None = None
) -> Schedule:
    """Steps: α₀ times all factors whose boundary is reached.

    Args:
        init_value: α₀ ≥ 0.
        boundaries_and_scales: `{step: factor ≥ 0}`; a factor counts from its step on.
    """
    scales = boundaries_and_scales or {}
    checks.hyperparams(init_value=init_value)
    for boundary, factor in scales.items():
        checks.hyperparams(**{f"the factor at step {boundary}": factor})

    def schedule(count):
        value = jnp.asarray(init_value)
        for boundary, factor in sorted(scales.items()):
            value = jnp.where(count < boundary, value, factor * value)
        return value

    return schedule


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another; each counts from its own start.

    Args:
        schedules: At least one.
        boundaries: The steps at which the second, third, … begin; increasing.

    Raises:
        ValueError: if the numbers do not fit or boundaries do not increase.
        TypeError: if one of the schedules is no function.
    """
    for part in schedules:
        if not callable(part):
            raise TypeError(
                f"join_schedules joins functions of the step, got {part!r}. "
                "For a number use constant_schedule."
            )
    if len(boundaries) != len(schedules) - 1 or list(boundaries) != sorted(set(boundaries)):
        raise ValueError(
            f"join_schedules expects one increasing boundary between neighbours, got "
            f"{len(schedules)} schedules and boundaries {list(boundaries)}."
        )

    def schedule(count):
        value = schedules[0](count)
        for boundary, following in zip(boundaries, schedules[1:], strict=True):
            value = jnp.where(count < boundary, value, following(count - boundary))
        return value

    return schedule


def sampled_schedule(values: Sequence[float] | np.ndarray | Array) -> Schedule:
    """A schedule read from a table: α(t) = values[t], and the last value after the end.

    Args:
        values: One rate per step, at least one, none negative.

    Raises:
        ValueError: if the table is empty, not one-dimensional, or holds a negative number.
    """
    table = jnp.asarray(values, dtype=float)
    if table.ndim != 1 or not table.size:
        raise ValueError(f"sampled_schedule expects a list of rates, got shape {table.shape}.")
    if not isinstance(table, jax.core.Tracer):
        rates = np.asarray(table)
        for step in np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))[:1]:
            checks.hyperparams(**{f"values[{step}]": rates[step]})
    return lambda count: table[jnp.clip(jnp.asarray(count).astype(int), 0, table.size - 1)]


def _float(count: Scalar) -> Array:
    return jnp.asarray(count, dtype=float)


def _epoch(count: Scalar, steps_per_epoch: int) -> Array:
    return jnp.floor(_float(count) / steps_per_epoch)
