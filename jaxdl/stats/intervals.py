"""Intervals for a mean over families of problems: stratified Wilson and bootstrap.

Families are fixed and weigh equally, problems within a family are a random sample. Inside this
module scores are centred at 0, in [−½, ½], so that exchanging the arms is a change of sign.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import ndtr, ndtri

from jaxdl.types import Array, Key


class Estimate(NamedTuple):
    """A number with its confidence interval."""

    value: float
    low: float
    high: float


def stratified_wilson(values, families=None, level: float = 0.95) -> Estimate:
    """Mean of scores in [0, 1], families weighing equally, with a Wilson interval.

        p̂ = Σ_h w_h p̂_h,   w_h = 1/F
        limits: the means p = Σ_h w_h p_h with |p̂ − p| = z √V,   V = Σ_h w_h² p_h (1 − p_h)/n_h

    This is the score interval: for each candidate mean p the families' own shares p_h are those
    of largest likelihood with that mean, n_h (p̂_h − p_h) = λ w_h p_h (1 − p_h), whence
    p̂ − p = λ V and the limits lie at λ = ±z/√V. One family gives Wilson's interval of 1927,
    and so do families that agree; unanimous families of n in all give n/(n + z²), not certainty.
    Scores between 0 and 1, such as ½ for a tie, vary less than 0 and 1 do: for them the interval
    is conservative.

    Args:
        values: (n,) in [0, 1].
        families: a label per value; None is one family.
        level: of the interval.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"Expected a row of scores in [0, 1], got {brief(values)}.")
    _, strata = strata_of(families, len(values), at_least=1)
    order = np.argsort(strata, kind="stable")
    return plus_half(wilson(values[order] - 0.5, np.bincount(strata), level))


def stratified_bootstrap(
    values, families=None, *, key: Key, level: float = 0.95, resamples: int = 10_000
) -> Estimate:
    """Mean of any scores, families weighing equally, with a bias-corrected bootstrap interval.

    Problems are drawn with replacement within each family; families stay as they are. The
    deviations from each family's mean are stretched by √(n_h/(n_h − 1)), without which the
    spread of resampled means falls short by that factor. Bias-corrected percentiles (Efron 1981):
    with z₀ = Φ⁻¹(share of resamples below the estimate), the limits are the percentiles
    Φ(2 z₀ ∓ z). Too narrow when nearly all values are equal: use the Wilson interval there.

    Args:
        values: (n,) finite numbers.
        families: a label per value; None is one family.
        key: of the resamples.
        level: of the interval.
        resamples: how many.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"Expected a row of finite numbers, got {brief(values)}.")
    _, strata = strata_of(families, len(values))
    order = np.argsort(strata, kind="stable")
    return bootstrap(values[order], np.bincount(strata), key, level, resamples)


def strata_of(families, n: int, at_least: int = 2) -> tuple[list[str], np.ndarray]:
    """Names of the families and the number of each problem's family."""
    if families is None:
        names, strata = np.zeros(1, int), np.zeros(n, int)
    elif np.shape(families) == (n,):
        names, strata = np.unique(families, return_inverse=True)
    else:
        raise ValueError(
            f"Expected one family per problem, shape ({n},), got {np.shape(families)}."
        )
    small = names[np.bincount(strata) < at_least]
    if len(small):
        raise ValueError(
            f"Expected at least {at_least} problems per family, got fewer in {small[0]!r}: an "
            "interval needs to see how problems of a family differ. Draw more, or merge families."
        )
    return [str(name) for name in names], strata


def brief(values: np.ndarray) -> str:
    """Shape and range, for messages."""
    bounds = f" between {values.min()} and {values.max()}" if values.size else ""
    return f"shape {values.shape}{bounds}"


def _family_means(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """(..., n) values, sorted by family, to (..., F) means."""
    starts = np.cumsum(sizes) - sizes
    return np.add.reduceat(values, starts, axis=-1) / sizes


def plus_half(centred: Estimate) -> Estimate:
    """From [−½, ½] to [0, 1]. Multiples of 2⁻⁵³ make ½ + m and 1 − (½ − m) the same float."""
    clipped = (min(max(m, -0.5), 0.5) for m in centred)
    return Estimate(*(0.5 + round(m * 2**53) / 2**53 for m in clipped))


def wilson(centred: np.ndarray, sizes: np.ndarray, level: float) -> Estimate:
    """Stratified Wilson interval of scores in [−½, ½], sorted by family."""
    means = _family_means(centred, sizes)
    low, high = _wilson_limits(means, sizes, level)
    return Estimate(float(means.mean()), float(low), float(high))


def _wilson_limits(means: np.ndarray, sizes: np.ndarray, level: float):
    """Limits from (..., F) family means of scores in [−½, ½]; the mirror is exact by form."""
    z = float(ndtri(0.5 + level / 2))
    both = np.stack([means, -means])
    low, high = _one_family_low(both, sizes, z) if len(sizes) == 1 else _wilson_low(both, sizes, z)
    return low, -high


def _one_family_low(means: np.ndarray, sizes: np.ndarray, z: float) -> np.ndarray:
    """Wilson's closed form, for u = p − ½: (u − z √((¼ − u²)/n + z²/4n²)) / (1 + z²/n)."""
    u, n = means[..., 0], sizes[0]
    spread = np.sqrt(np.maximum(0.25 - u**2, 0) / n + (z / (2 * n)) ** 2)
    return (u - z * spread) / (1 + z**2 / n)


def _wilson_low(means: np.ndarray, sizes: np.ndarray, z: float) -> np.ndarray:
    """The λ > 0 with λ √V(λ) = z, in a bracket cut by 64; with u = p − ½, p(1 − p) is ¼ − u²."""
    families = len(sizes)

    def at(multiplier):
        """Mean of u and λ² V at multipliers of shape (...) or (..., 63)."""
        own = means if multiplier.ndim == means.ndim - 1 else means[..., None, :]
        k = multiplier[..., None] / (families * sizes)
        root = np.sqrt(np.maximum(1 - 4 * k * own + k**2, 0))
        u = (2 * own - k / 2) / (1 + root)
        variance = np.maximum((0.25 - u**2) / sizes, 0).sum(axis=-1) / families**2
        return u.sum(axis=-1) / families, multiplier**2 * variance

    share = np.maximum(means.mean(axis=-1) + 0.5, 1e-9)
    low, high = np.zeros_like(share), np.maximum(4 * families * sizes.max(), 2 * z**2 / share)
    parts = np.arange(1, 64) / 64
    for _ in range(14):  # 84 halvings in the time of few: NumPy's calls cost more than its sums
        width = high - low
        between = low[..., None] + width[..., None] * parts
        before = (at(between)[1] <= z**2).sum(axis=-1)
        low, high = low + width * (before / 64), low + width * ((before + 1) / 64)
        if (high - low <= np.spacing(high)).all():
            break
    return at(low)[0]


def bootstrap(values: np.ndarray, sizes, key: Key, level: float, resamples: int) -> Estimate:
    """Bias-corrected bootstrap interval of values of any scale, sorted by family."""
    means, stretched = _stretch(values, sizes)
    with jax.enable_x64(True):
        drawn = np.asarray(_resampled_means(key, stretched[None], sizes, resamples))
    low, high = _bias_corrected(drawn, means[None], level)
    return Estimate(float(means), float(low[0]), float(high[0]))


def _stretch(values: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The equally weighted mean, and values whose deviations are larger by √(n_h/(n_h − 1))."""
    means = _family_means(values, sizes)
    centre, factor = (np.repeat(a, sizes, axis=-1) for a in (means, np.sqrt(sizes / (sizes - 1))))
    return means.mean(axis=-1), centre + (values - centre) * factor


@partial(jax.jit, static_argnames="resamples")
def _resampled_means(key: Key, values: Array, sizes: Array, resamples: int) -> Array:
    """(resamples, V) equally weighted means of V rows of values under the same redraws."""
    n = values.shape[-1]
    size = jnp.repeat(sizes, sizes, total_repeat_length=n)
    start = jnp.repeat(jnp.cumsum(sizes) - sizes, sizes, total_repeat_length=n)
    weight = 1 / (size * len(sizes)).astype(values.dtype)

    def one(key: Key) -> Array:
        offset = jax.random.uniform(key, (n,), values.dtype) * size.astype(values.dtype)
        rows = start + jnp.minimum(offset.astype(start.dtype), size - 1)
        return values[:, rows] @ weight

    return jax.lax.map(one, jax.random.split(key, resamples), batch_size=200)


def _bias_corrected(drawn: np.ndarray, estimate: np.ndarray, level: float):
    """Bias-corrected percentile limits, (V,) each, from (R, V) resampled means."""
    tolerance = 1e-9 * np.abs(drawn).max(initial=1e-300)

    def lower(drawn, estimate):
        below = (drawn < estimate - tolerance).mean(0) + (
            np.abs(drawn - estimate) <= tolerance
        ).mean(0) / 2
        z0 = ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
        rank = np.floor(ndtr(2 * z0 + ndtri((1 - level) / 2)) * len(drawn)).astype(int)
        return np.take_along_axis(np.sort(drawn, axis=0), rank[None], axis=0)[0]

    return lower(drawn, estimate), -lower(-drawn, -estimate)
