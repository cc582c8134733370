"""Size of a difference and tests about it: Hodges–Lehmann, equivalence, trend, Holm."""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri

from jaxdl import errors
from jaxdl.stats.intervals import Estimate, brief


def hodges_lehmann(differences, level: float = 0.95) -> Estimate:
    """Median of the averages of all pairs of differences, with the signed-rank interval.

    The limits are the order statistics of the n(n+1)/2 averages (dᵢ + dⱼ)/2, i ≤ j, at which
    Wilcoxon's signed-rank test turns: exact up to 50 differences, then the normal approximation
    (Hodges and Lehmann 1963). Infinite differences are ranked last; +inf and −inf average to 0.
    The test takes the differences to be symmetric about the median of averages: for very skewed
    ones (a squared exponential) 95 % intervals were seen to cover 92 to 94 %.

    Args:
        differences: (n,), one per problem, positive where the first arm is better.
        level: of the interval. Fewer than six differences cannot exclude anything at 0.95:
            the interval is then the whole line.
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 1 or not len(d) or np.isnan(d).any():
        raise ValueError(f"Expected a row of differences without NaN, got {brief(d)}.")
    i, j = np.triu_indices(len(d))
    averages = np.sort(_average(d[i], d[j]))
    rank = _signed_rank_quantile(len(d), (1 - level) / 2)
    low, high = (averages[rank], averages[-1 - rank]) if rank >= 0 else (-np.inf, np.inf)
    return Estimate(float(median(averages)), float(low), float(high))


class Equivalence(NamedTuple):
    """Two one-sided tests: `p_value` is the larger of theirs; `interval` has level 1 − 2α."""

    equivalent: bool
    p_value: float
    interval: Estimate


def equivalence(differences, margin: float, alpha: float = 0.05) -> Equivalence:
    """Is the difference inside ±margin? Two one-sided signed-rank tests (TOST).

    Equivalent when "d ≤ −margin" and "d ≥ margin" are both rejected at alpha, scipy's
    `wilcoxon` being the test. A difference that is merely not significant is not equivalence.

    Args:
        differences: (n,), one per problem.
        margin: half width of the region of practical equivalence, > 0, in the same units.
        alpha: level of each test.
    """
    from scipy.stats import wilcoxon

    d = np.asarray(differences, np.float64)
    if not margin > 0:
        raise ValueError(f"Expected a margin above 0, got {margin}.")
    interval = hodges_lehmann(d, level=1 - 2 * alpha)
    above: Any = wilcoxon(d + margin, alternative="greater", zero_method="zsplit")
    below: Any = wilcoxon(d - margin, alternative="less", zero_method="zsplit")
    p_value = float(max(above.pvalue, below.pvalue))
    return Equivalence(p_value <= alpha, p_value, interval)


class Trend(NamedTuple):
    """Kendall's tau-b of the values against the levels, and the p-value of "no trend"."""

    tau: float
    p_value: float


def trend(levels, values, alternative: str = "two-sided") -> Trend:
    """Do the values rise with the ordered levels? Jonckheere's test.

    Jonckheere's sum of Mann–Whitney counts over all pairs of levels is, but for constants,
    the numerator of Kendall's tau between level and value, so the p-value is that of scipy's
    `kendalltau` with its correction for ties.

    Args:
        levels: (n,) ordered numbers, many values to a level.
        values: (n,).
        alternative: "two-sided", "greater" (rising) or "less".
    """
    from scipy.stats import kendalltau

    if alternative not in ("two-sided", "greater", "less"):
        raise errors.unknown_name("alternative", alternative, ("two-sided", "greater", "less"))
    levels, values = np.asarray(levels), np.asarray(values)
    if levels.shape != values.shape or levels.ndim != 1 or len(levels) < 3:
        raise ValueError(
            f"Expected levels and values of one shape (n,), n ≥ 3, got {levels.shape} and "
            f"{values.shape}."
        )
    if len(set(levels.tolist())) < 2 or len(set(values.tolist())) < 2:
        return Trend(0.0, 1.0)  # nothing varies, so nothing speaks for a trend
    result: Any = kendalltau(levels, values, alternative=alternative, method="asymptotic")
    return Trend(float(result.statistic), float(result.pvalue))


def holm(p_values) -> np.ndarray:
    """p-values adjusted for testing them all: max_{j ≤ i} (k − j + 1) p₍ⱼ₎, at most 1.

    Rejecting those at or below alpha keeps the chance of any wrong rejection at alpha, whatever
    the dependence between the tests (Holm 1979).
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"Expected a row of p-values in [0, 1], got {brief(p)}.")
    order = np.argsort(p)
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(adjusted, 1.0)[np.argsort(order)]


def median(values: np.ndarray) -> np.ndarray:
    """Median along the last axis, defined for infinite values too."""
    ordered, n = np.sort(values, axis=-1), values.shape[-1]
    return _average(ordered[..., (n - 1) // 2], ordered[..., n // 2])


def _average(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(x + y)/2, and 0 for infinities of opposite sign."""
    with np.errstate(invalid="ignore"):
        return np.nan_to_num((x + y) / 2, nan=0.0, posinf=np.inf, neginf=-np.inf)


def _signed_rank_quantile(n: int, alpha: float) -> int:
    """The largest k with P(T ≤ k) ≤ alpha for the signed-rank sum T of n; −1 if there is none."""
    if n > 50:
        mean, sd = n * (n + 1) / 4, np.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return int(np.floor(mean + ndtri(alpha) * sd - 0.5))
    ways = np.ones(1)
    for rank in range(1, n + 1):  # the generating function Π (1 + x^rank)
        ways = np.convolve(ways, np.r_[1, np.zeros(rank - 1), 1])
    return int(np.searchsorted(np.cumsum(ways) / 2.0**n, alpha, side="right")) - 1
