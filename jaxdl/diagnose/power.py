"""The power law of a learning curve, and what it can say about more data."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl import errors
from jaxdl.diagnose.curves import Curve
from jaxdl.stats import Estimate
from jaxdl.types import Key

EXPONENTS = np.geomspace(0.05, 2.0, 120)
"""c is sought among these: slower than 0.05 cannot be told from flat, faster than 2 from a step."""

FEWEST_SIZES = 4
"""Three parameters fit three points whatever they are; the fourth is the first to disagree."""

SHORTEST_RANGE = 4.0
"""The largest size must be at least 4 times the smallest, or the bend cannot be seen."""

WIDEST = 10.0
"""An interval whose ends are further apart than this factor is no answer."""

MISFIT = 0.01
"""p-value of "the points lie on a power law, up to their scatter" below which it is refused."""

NEAR = 0.02
"""Means within 2 % of the curve are near enough, however little they scatter."""


class PowerLaw(NamedTuple):
    """error(n) = a + b n^(−c), fitted; `draws` (resamples, 3) are refits to resampled errors.

    `a` is what no amount of data removes. `refusal` says why the fit may not be extrapolated, and
    is empty if it may. `sizes` and `errors` (k,) are the points, errors averaged over repeats.
    """

    a: Estimate
    b: Estimate
    c: Estimate
    sizes: np.ndarray
    errors: np.ndarray
    draws: np.ndarray
    level: float
    refusal: str

    @property
    def furthest(self) -> float:
        """No extrapolation beyond this: as far past the largest size as the curve is long."""
        return float(self.sizes[-1] ** 2 / self.sizes[0])


class MoreData(NamedTuple):
    """How many examples the target takes.

    `status` is "reached" (already), "estimate" (`n` holds the number in all and its interval),
    "unreachable" (the curve levels off above the target) or "cannot say"; `sentence` says it in
    words. `n` is None unless it is an estimate.
    """

    status: str
    target: float
    n: Estimate | None
    sentence: str

    def __str__(self) -> str:
        return self.sentence


def power_law(
    sizes: Any, errors_at: Any = None, *, key: Key, level: float = 0.95, resamples: int = 1000
) -> PowerLaw:
    """Fit error(n) = a + b n^(−c) with a, b ≥ 0 by weighted least squares.

    For each c on a fine grid a and b are a non-negative linear fit; the best c wins, so there is
    no start to choose and no local minimum. The scatter of an error is taken to grow as its root
    (as that of a share does), and weights are one over its square. The intervals are percentiles
    of refits to errors drawn around the fitted curve, with the spread of the residuals and their
    degrees of freedom (Student's, by a χ² draw for each refit). They speak of this dev set.

    Args:
        sizes: a `Curve`, whose dev errors are fitted, or the sizes (k,), ascending.
        errors_at: without a Curve: errors (k,) or (k, repeats).
        key: of the draws.
        level: of the intervals.
        resamples: how many refits.

    Raises:
        ValueError: for shapes that differ, errors that are negative or not finite, or fewer than
            four points in all.

    Source: not in the notes, which say only that more data reduces variance. The form is the usual
    one of the literature on learning curves.
    """
    n, e = _points(sizes, errors_at)
    errors.within("level", level, 0 < level < 1, "in (0, 1)")
    means, repeats = e.mean(axis=1), e.shape[1]
    best = _fit(n, means[None])[0]
    fitted = _at(best, n)
    floor = np.maximum(fitted, 0.01 * means.mean() + 1e-300)
    dof = e.size - 3
    spread = float((((e - fitted[:, None]) ** 2) / floor[:, None]).sum() / dof)
    with jax.enable_x64(True):
        noise_key, scale_key = jax.random.split(key)
        noise = np.asarray(jax.random.normal(noise_key, (resamples, len(n)), float))
        scale = dof / np.asarray(jax.random.chisquare(scale_key, dof, (resamples, 1), float))
    drawn = np.maximum(fitted + noise * np.sqrt(spread * scale * floor / repeats), 0.0)
    draws = _fit(n, drawn)
    a, b, c = (_interval(best[i], draws[:, i], level) for i in range(3))
    refusal = _refusal(n, e, fitted, floor, draws, level)
    return PowerLaw(a, b, c, n, means, draws, level, refusal)


def predict_error(law: PowerLaw, n: float) -> Estimate:
    """The error at n examples by the fitted curve, with its interval.

    Raises:
        ValueError: if the fit may not be extrapolated, or not so far (`law.furthest`).
    """
    _check_law(law)
    errors.within("n", n, np.isfinite(n) and n >= 1, "a number of examples, at least 1")
    if n > law.sizes[-1] and law.refusal:
        raise ValueError(f"No extrapolation to n = {n}: {law.refusal}")
    if n > law.furthest:
        raise ValueError(
            f"No extrapolation to n = {n}: the curve covers {law.sizes[0]:.0f} to "
            f"{law.sizes[-1]:.0f}, and is believed up to {law.furthest:.0f}, as far again."
        )
    best = np.array([law.a.value, law.b.value, law.c.value])
    values = [float(_at(row, np.array([float(n)]))[0]) for row in (best, *law.draws)]
    return _interval(values[0], np.array(values[1:]), law.level)


def more_data(law: PowerLaw, target: float) -> MoreData:
    """How many examples bring the error down to `target`: n = (b / (target − a))^(1/c).

    Refuses ("cannot say") where the fit has a `refusal`, where some of the refits get there and
    some never do, where the interval spans more than a factor of 10, and where the answer lies
    further past the largest size than the curve is long.

    Args:
        law: of a learning curve.
        target: the error wanted, in the curve's units, ≥ 0.
    """
    _check_law(law)
    errors.within("target", target, np.isfinite(target) and target >= 0, "a finite error ≥ 0")
    now, tail = float(law.sizes[-1]), (1 - law.level) / 2
    best = np.array([law.a.value, law.b.value, law.c.value])
    reached = float(_at(best, law.sizes[-1:])[0])
    if reached <= target:
        text = f"The error is {reached:.3g} at {now:.0f} examples already, at most {target:.3g}."
        return MoreData("reached", target, None, text)
    if law.refusal:
        return MoreData("cannot say", target, None, f"How much more data? {law.refusal}")
    needed = _needed(law.draws, target)
    never = float(np.isinf(needed).mean())
    if never >= 1 - tail:
        text = (
            f"More data alone will not do: the curve levels off at {law.a.value:.3g} "
            f"({law.a.low:.3g} to {law.a.high:.3g}), above {target:.3g}. Change the model, the "
            "features or the target."
        )
        return MoreData("unreachable", target, None, text)
    n = _interval(float(_needed(best[None], target)[0]), needed, law.level)
    return _answer(law, target, n, reached, never)


def _check_law(law: Any) -> None:
    if not isinstance(law, PowerLaw):
        raise TypeError(f"Expected the PowerLaw that power_law returns, got {type(law).__name__}.")


def _answer(law: PowerLaw, target: float, n: Estimate, reached: float, never: float) -> MoreData:
    """The estimate, or why it is none."""
    now = float(law.sizes[-1])
    low = max(n.low, now)
    at_least = f" At least {_round(low)} examples, it says." if np.isfinite(low) else ""
    if not np.isfinite(n.high) or n.high > WIDEST * low:
        text = (
            f"The curve cannot say how much data brings the error to {target:.3g}: it may level "
            f"off at {law.a.value:.3g} ({law.a.low:.3g} to {law.a.high:.3g}), and "
            f"{100 * never:.0f} % of the refits never get there.{at_least} Measure it at larger "
            "sizes or with more repeats."
        )
        return MoreData("cannot say", target, None, text)
    if n.value > law.furthest:
        text = (
            f"The error {target:.3g} lies further out than the curve can be believed: it covers "
            f"{law.sizes[0]:.0f} to {now:.0f} examples, and is followed up to "
            f"{_round(law.furthest)}.{at_least}"
        )
        return MoreData("cannot say", target, None, text)
    n = Estimate(n.value, low, n.high)
    text = (
        f"To bring the error from {reached:.3g} to {target:.3g}: about {_round(n.value)} examples "
        f"in all ({_round(n.low)} to {_round(n.high)}), {n.value / now:.1f} times the "
        f"{now:,.0f} of now."
    )
    return MoreData("estimate", target, n, text)


def _round(n: float) -> str:
    """Two significant digits: an extrapolation has no more."""
    return f"{float(f'{n:.2g}'):,.0f}"


def _points(sizes: Any, errors_at: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(sizes, Curve):
        sizes, errors_at = sizes.sizes, sizes.dev_error
    n, e = np.asarray(sizes, np.float64), np.asarray(errors_at, np.float64)
    e = e[:, None] if e.ndim == 1 else e
    if n.ndim != 1 or e.ndim != 2 or len(n) != len(e) or e.size < 4:
        raise ValueError(
            "Expected sizes (k,) and errors (k,) or (k, repeats), at least four points in all; got "
            f"{n.shape} and {np.shape(errors_at)}."
        )
    valid = bool(np.isfinite(n).all() and (n >= 1).all() and (np.diff(n) > 0).all())
    errors.within("sizes", n.tolist(), valid, "ascending, from 1 on")
    valid = bool(np.isfinite(e).all() and (e >= 0).all())
    errors.within("errors", e.tolist(), valid, "finite and ≥ 0")
    return n, e


def _at(abc: np.ndarray, n: np.ndarray) -> np.ndarray:
    return abc[0] + abc[1] * n ** -abc[2]


def _fit(n: np.ndarray, e: np.ndarray) -> np.ndarray:
    """(R, 3) best a, b, c for R rows of errors (R, k), weights one over the error."""
    coarse = _linear_fits(n, e, np.broadcast_to(EXPONENTS, (len(e), len(EXPONENTS))))
    step = EXPONENTS[1] / EXPONENTS[0]
    return _linear_fits(n, e, coarse[:, 2:] * np.geomspace(1 / step, step, 41))


def _linear_fits(n: np.ndarray, e: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(R, 3) the best of the non-negative fits a + b n^(−c) for each row's candidates c (R, C)."""
    f = (n / n[-1]) ** -c[..., None]  # (R, C, k), 1 at the largest size
    w = 1 / np.maximum(e, 0.01 * e.mean(axis=1, keepdims=True) + 1e-300)
    s, se = w.sum(axis=1)[:, None], (w * e).sum(axis=1)[:, None]
    sf, sff, sfe = ((g * v[:, None]).sum(axis=2) for g, v in ((f, w), (f**2, w), (f, w * e)))
    determinant = s * sff - sf**2
    flat = determinant <= 1e-12 * s * sff
    b = np.where(flat, 0.0, (s * sfe - sf * se) / np.where(flat, 1.0, determinant))
    a = (se - b * sf) / s
    a, b = np.where(a < 0, 0.0, a), np.where(a < 0, sfe / sff, b)
    a, b = np.where(b < 0, se / s, a), np.maximum(b, 0.0)
    # Σ w (e − a − b f)² but for Σ w e², which is the same for every c.
    loss = s * a**2 + sff * b**2 + 2 * (sf * a * b - se * a - sfe * b)
    best = (np.arange(len(e)), loss.argmin(axis=1))
    return np.stack([a[best], b[best] * n[-1] ** c[best], c[best]], axis=1)


def _needed(abc: np.ndarray, target: float) -> np.ndarray:
    """n at which each curve (R, 3) meets the target; infinite where it levels off above."""
    a, b, c = abc.T
    gap = np.where(target > a, target - a, 1.0)
    log_n = np.log(np.maximum(b, 1e-300) / gap) / c
    n = np.exp(np.clip(log_n, 0.0, 690.0))
    return np.where((target > a) & (log_n < 690), n, np.inf)


def _interval(value: float, draws: np.ndarray, level: float) -> Estimate:
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], method="inverted_cdf")
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))


def _refusal(n, e, fitted, floor, draws, level) -> str:
    if len(n) < FEWEST_SIZES or n[-1] < SHORTEST_RANGE * n[0]:
        return (
            f"The curve has {len(n)} sizes from {n[0]:.0f} to {n[-1]:.0f}; at least "
            f"{FEWEST_SIZES} over a factor of {SHORTEST_RANGE:.0f} are needed to see it bend."
        )
    falls = draws[:, 1] * (n[0] ** -draws[:, 2] - n[-1] ** -draws[:, 2])
    if np.quantile(falls, 1 - level) <= 1e-9 * fitted.mean():
        return (
            f"The error does not clearly fall with the size: {e[0].mean():.3g} at {n[0]:.0f}, "
            f"{e[-1].mean():.3g} at {n[-1]:.0f}. More data of this kind need not help."
        )
    if _misfit(e, fitted, floor) < MISFIT:
        return (
            "The points do not lie on a power law: they are further from it than their scatter "
            "allows. Measure at larger sizes, where curves settle."
        )
    return ""


def _misfit(e: np.ndarray, fitted: np.ndarray, floor: np.ndarray) -> float:
    """p-value of the lack-of-fit F test: the means about the curve against the repeats' scatter."""
    from scipy.stats import f

    k, repeats = e.shape
    means = e.mean(axis=1)
    if repeats < 2 or k <= 3 or (np.abs(means - fitted) <= NEAR * means).all():
        return 1.0
    within = (((e - means[:, None]) ** 2) / floor[:, None]).sum() / (k * (repeats - 1))
    between = repeats * (((means - fitted) ** 2) / floor).sum() / (k - 3)
    return float(f.sf(between / max(within, 1e-300), k - 3, k * (repeats - 1)))
