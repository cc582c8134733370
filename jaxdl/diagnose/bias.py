"""Bias and variance: which of the two keeps the error up, and what to do about it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtri, stdtrit

from jaxdl import errors
from jaxdl.stats import Estimate

LOW_GAP = 0.01
"""A gap of at most one point of error rate counts as low: less is rarely worth another round."""

LOW_GAP_SHARE = 0.05
"""The same for errors that are no shares (squared errors): 5 % of the dev error."""


class BiasVariance(NamedTuple):
    """The three errors, the gaps between them with intervals, and what they say.

    `avoidable_bias` = train − optimal, `variance` = dev − train. `dominates` is one of "bias",
    "variance", "both" (both are high and neither is clearly larger), "neither" (both are low) and
    "unclear" (a gap is not low, but its interval holds 0). `high_bias` and `high_variance` say
    which gaps are above the tolerance and above 0 beyond chance.
    """

    train: Estimate
    dev: Estimate
    optimal: Estimate
    avoidable_bias: Estimate
    variance: Estimate
    dominates: str
    high_bias: bool
    high_variance: bool
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def bias_variance(
    train_error: Any,
    dev_error: Any,
    *,
    optimal_error: Any = 0.0,
    n_train: int | None = None,
    n_dev: int | None = None,
    tolerance: float | None = None,
    level: float = 0.95,
) -> BiasVariance:
    """Split the dev error into optimal error, avoidable bias and variance.

        dev error = optimal error + (train − optimal) + (dev − train)
                                    avoidable bias      variance

    Shares get Wilson's interval, means of other errors Student's; the gaps, which are sums of
    independent estimates, combine them without assuming symmetry (Newcombe 1998; Zou and Donner
    2008): with limits lᵢ, uᵢ of θᵢ, Σ cᵢ θᵢ reaches down by √Σ (cᵢ θᵢ − the lower end of cᵢ θᵢ)².
    The model was fitted to the training examples, so "train" estimates the error of this model on
    examples that it was trained on, no more.

    Args:
        train_error: a share in [0, 1] with n_train, or the errors of the examples (m,), such as
            0 and 1 for right and wrong, or squared errors: anything ≥ 0.
        dev_error: likewise, with n_dev.
        optimal_error: what no model can beat (Bayes error, people's error): a number that is
            taken as exact, an `Estimate`, or the errors of examples (m,).
        n_train: how many examples the share is of; not with an array.
        n_dev: likewise.
        tolerance: a gap of at most this is low, in units of the error; None is one point for
            shares, else 5 % of the dev error.
        level: of the intervals.

    Raises:
        ValueError: for a share without its count or outside [0, 1], an optimal error above 1 beside
            shares, errors that are negative or not finite, fewer than two examples, or a level
            outside (0, 1).

    Source: notes, "Bias / Variance" and "Basic Recipe for Machine Learning". Theirs has no
    intervals.
    """
    errors.within("level", level, 0 < level < 1, "in (0, 1)")
    train = _estimate("train_error", train_error, "n_train", n_train, level)
    dev = _estimate("dev_error", dev_error, "n_dev", n_dev, level)
    optimal = _optimal(optimal_error, level)
    shares = _is_share(train_error) and _is_share(dev_error)
    if shares and optimal.value > 1:
        raise ValueError(
            f"optimal_error must be a share in [0, 1], as the errors are, 0.15 for 15 %; got "
            f"{optimal.value:g}."
        )
    if tolerance is None:
        tolerance = LOW_GAP if shares else LOW_GAP_SHARE * dev.value
    errors.within("tolerance", tolerance, np.isfinite(tolerance) and tolerance >= 0, "≥ 0")
    bias = _combine((1, -1), (train, optimal))
    variance = _combine((1, -1), (dev, train))
    excess = _combine((1, -2, 1), (dev, train, optimal))  # variance − bias
    tolerance = tolerance * (1 + 1e-9)  # 0.16 − 0.15 is a point, though not in floating point
    high = {
        name: gap.value > tolerance and gap.low > 0
        for name, gap in (("bias", bias), ("variance", variance))
    }
    low = bias.value <= tolerance and variance.value <= tolerance
    dominates = _dominates(high, low, excess)
    text = _sentence(dominates, bias, variance, _form(shares))
    return BiasVariance(
        train, dev, optimal, bias, variance, dominates, high["bias"], high["variance"], text
    )


def _is_share(error: Any) -> bool:
    """Whether it is a number with a count, or consists of zeros and ones."""
    values = np.asarray(error)
    return values.ndim == 0 or bool(np.isin(values, (0, 1)).all())


def _estimate(name: str, error: Any, count_name: str, n: int | None, level: float) -> Estimate:
    values = np.asarray(error)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"{name} must be numbers; got {error!r} of dtype {values.dtype}.")
    values = values.astype(np.float64)
    if values.ndim == 0:
        return _of_share(name, float(values), count_name, n, level)
    if n is not None:
        raise ValueError(
            f"{count_name} belongs to a share; {name} of shape {values.shape} brings its own. "
            f"Leave {count_name} out."
        )
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(
            f"{name} must be a share with {count_name}, or the errors of at least two examples, "
            f"shape (m,); got shape {values.shape}."
        )
    valid = bool(np.isfinite(values).all() and (values >= 0).all())
    found = f"values from {values.min()} to {values.max()}"
    errors.within(name, found, valid, "finite errors ≥ 0, one per example")
    return _mean(values, level)


def _of_share(name: str, share: float, count_name: str, n: int | None, level: float) -> Estimate:
    if not 0 <= share <= 1:
        raise ValueError(
            f"{name} as one number must be a share in [0, 1], 0.15 for 15 %; got {share}. Errors "
            "of another kind, such as squared ones, come as one value per example, shape (m,)."
        )
    if n is None:
        raise ValueError(
            f"{name} = {share} is a share of how many examples? Give {count_name}, without which "
            "there is no interval, or the errors of the examples, shape (m,)."
        )
    valid = isinstance(n, (int, np.integer)) and n >= 2
    errors.within(count_name, n, valid, "a number of examples, at least 2")
    return _wilson(share, int(n), level)


def _mean(values: np.ndarray, level: float) -> Estimate:
    """Wilson's interval for zeros and ones, Student's for other errors."""
    n, mean = len(values), float(values.mean())
    if np.isin(values, (0, 1)).all():
        return _wilson(mean, n, level)
    half = float(stdtrit(n - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(n))
    return Estimate(mean, max(mean - half, 0.0), mean + half)


def _wilson(share: float, n: int, level: float) -> Estimate:
    z = float(ndtri((1 + level) / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return Estimate(share, float(min(centre - half, share)), float(max(centre + half, share)))


def _optimal(error: Any, level: float) -> Estimate:
    if isinstance(error, Estimate):
        valid = bool(np.isfinite(error).all()) and 0 <= error.low <= error.value <= error.high
        errors.within("optimal_error", error, valid, "an estimate with 0 ≤ low ≤ value ≤ high")
        return error
    if np.ndim(error):
        return _estimate("optimal_error", error, "n_optimal", None, level)
    errors.scalar("optimal_error", error)
    value = float(error)
    errors.within("optimal_error", value, np.isfinite(value) and value >= 0, "a finite number ≥ 0")
    return Estimate(value, value, value)


def _combine(factors: Sequence[float], estimates: Sequence[Estimate]) -> Estimate:
    """Σ cᵢ θᵢ of independent estimates, from their own intervals."""
    c, theta = np.asarray(factors, float), np.asarray(estimates, float)
    value = float(c @ theta[:, 0])
    ends = np.sort(c[:, None] * theta[:, 1:], axis=1)  # lower and upper end of each cᵢ θᵢ
    reach = np.sqrt(((ends - (c * theta[:, 0])[:, None]) ** 2).sum(axis=0))
    return Estimate(value, value - float(reach[0]), value + float(reach[1]))


def _dominates(high: dict[str, bool], low: bool, excess: Estimate) -> str:
    if low:
        return "neither"
    if not any(high.values()):
        return "unclear"
    if not all(high.values()):
        return "bias" if high["bias"] else "variance"
    if excess.low > 0:
        return "variance"
    return "bias" if excess.high < 0 else "both"


def _form(shares: bool):
    def percent(e: Estimate) -> str:
        return f"{100 * e.value:.1f} % ({100 * e.low:.1f} to {100 * e.high:.1f})"

    return percent if shares else lambda e: f"{e.value:.3g} ({e.low:.3g} to {e.high:.3g})"


ADVICE = {
    "bias": "High bias: the network does not fit the training data. Take a bigger network, train "
    "longer, or regularise less; more data will not help.",
    "variance": "High variance: the network fits the training data and not the dev data. Get more "
    "data, augment it, or regularise (L2, dropout, early stopping).",
    "both": "High bias and high variance: first a bigger network or longer training until the "
    "training data are fitted, then more data or regularisation.",
    "neither": "Both gaps are low: nothing to repair; what is left is the optimal error.",
    "unclear": "The gaps may be chance: with so few examples they cannot be told from 0. Evaluate "
    "on more examples before changing anything.",
}
"""The notes' basic recipe, one sentence for each outcome."""


def _sentence(dominates: str, bias: Estimate, variance: Estimate, form) -> str:
    seen = f"Avoidable bias {form(bias)}, variance {form(variance)}. "
    return seen + ADVICE[dominates]
