"""Two gradients at one point, entry by entry: equal, equal but for rounding or a kink, or wrong."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from jaxdl.gradcheck import noise, numerical
from jaxdl.gradcheck.problem import NOISE_FACTOR, largest, tolerances
from jaxdl.gradcheck.shadow import Evaluation, Shadow

SMALL = 1e-2
"""Differences below this part of the leaf may be rounding; larger ones are not asked."""

ROUNDED = 4e-7
"""What constants rounded to float32 may cost, relative to the leaf."""

MOST_ENTRIES = 40
"""How many differing entries of one leaf are examined for kinks."""


@dataclass
class Comparison:
    """Both gradients at one point.

    Attributes:
        label: of the point.
        theta, data: where it is.
        here: the evaluation.
        eta: rounding noise per leaf; None until it is measured, which only differences call for.
        batch_size: number of examples or None.
        kinks: per leaf, a mask of the entries where the loss has no derivative.
        rounded: leaves whose agreement is only that of a narrow dtype.
    """

    label: str
    theta: list
    data: list
    here: Evaluation
    eta: tuple[float, ...] | None = None
    batch_size: int | None = None
    kinks: dict[int, np.ndarray] = field(default_factory=dict)
    rounded: set[int] = field(default_factory=set)

    @property
    def auto(self) -> list[np.ndarray]:
        """The oracle's gradient."""
        return self.here.auto or []

    def tolerances(self) -> list[float]:
        """Absolute tolerance per leaf."""
        return tolerances(self.auto, self.noise())

    def noise(self) -> tuple[float, ...]:
        """Rounding noise per leaf, as far as it is known."""
        return (0.0,) * len(self.theta) if self.eta is None else self.eta

    def error(self, k: int) -> np.ndarray:
        """|h − g| of leaf k: zero on kinks, infinite where only one of them is a number."""
        hand, auto = self.here.hand[k], self.auto[k]
        with np.errstate(invalid="ignore"):
            error = np.abs(hand - auto)
        if not np.isfinite(error).all():
            error = np.where(np.isfinite(error), error, np.where(hand == auto, 0.0, np.inf))
        return np.where(self.kinks[k], 0.0, error) if k in self.kinks else error

    def excess(self) -> list[float]:
        """Per leaf, the largest error in units of the tolerance: more than 1 is wrong."""
        return [
            float(np.max(self.error(k), initial=0.0)) / max(tolerance, 1e-300)
            for k, tolerance in enumerate(self.tolerances())
        ]

    def wrong(self) -> list[int]:
        """Indices of the leaves that differ by more than their tolerance."""
        return [k for k, excess in enumerate(self.excess()) if excess > 1]

    def differs(self, other: "Comparison") -> list[int]:
        """Indices of the leaves of which either gradient is another one there."""
        pairs = [(self.here.hand, other.here.hand), (self.auto, other.auto)]
        return [
            k
            for k, tolerance in enumerate(self.tolerances())
            if not all(_within(a[k], b[k], tolerance) for a, b in pairs)
        ]

    def allow(self, k: int, eta: float) -> None:
        """Raise the noise of leaf k to this value."""
        values = list(self.noise())
        values[k] = max(values[k], eta)
        self.eta = tuple(values)


def measure_noise(point: Comparison, shadow: Shadow, seed: int) -> None:
    """Find out how far rounding alone takes both gradients, unless that is known."""
    if point.eta is None:
        point.eta = noise.measured(shadow, point.theta, point.data, point.here, seed)


def _within(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    with np.errstate(invalid="ignore"):
        return bool(np.all((np.abs(a - b) <= tolerance) | (a == b) | (np.isnan(a) & np.isnan(b))))


def settle(point: Comparison, shadow: Shadow, seed: int, known: Collection[int] = ()) -> None:
    """Look closer at every leaf that differs: is it rounding, is it a kink?

    Changes the noise and the kink masks of `point`; what is still wrong afterwards is wrong.

    Args:
        point: changed in place.
        shadow: evaluates the loss.
        seed: of the stochastic arithmetic.
        known: leaves found wrong at an earlier point, where this was asked already.
    """
    small = [k for k in point.wrong() if k not in known and _is_small(point, k)]
    if small:
        _allow_rounded_constants(point, shadow, small)
        small = [k for k in point.wrong() if k in small]
    if small:
        _allow_rounding(point, shadow, small, seed)
    for k in point.wrong():
        if k not in known:
            _mask_kinks(point, shadow, k)


def _allow_rounding(point: Comparison, shadow: Shadow, leaves: Sequence[int], seed: int) -> None:
    """Ask stochastic arithmetic whether rounding explains what differs."""
    eta = noise.stochastic(shadow, point.theta, point.data, point.here, seed)
    if eta is None:
        return
    most = SMALL * max(largest(leaf) for leaf in point.auto)
    for k in leaves:
        if NOISE_FACTOR * eta[k] <= most:
            point.allow(k, float(eta[k]))


def _is_small(point: Comparison, k: int) -> bool:
    error = float(np.max(point.error(k)))
    tree = max((largest(leaf) for leaf in point.auto), default=0.0)
    return error <= SMALL * largest(point.auto[k]) or error <= 1e-9 * tree


def _allow_rounded_constants(point: Comparison, shadow: Shadow, leaves: Sequence[int]) -> None:
    """Where the code rounds to float32, agreement cannot be closer than that."""
    if not shadow.rounds(point.theta, point.data):
        return
    tree = max((largest(leaf) for leaf in point.auto), default=0.0)
    for k in leaves:
        size = max(largest(point.auto[k]), 1e-3 * tree)
        if float(np.max(point.error(k))) <= ROUNDED * size:
            point.allow(k, ROUNDED * size / NOISE_FACTOR)
            point.rounded.add(k)


def _mask_kinks(point: Comparison, shadow: Shadow, k: int) -> None:
    """Exempt the differing entries of leaf k where the loss has no two-sided derivative.

    They are not judged at all: any choice between the one-sided derivatives is a valid one for
    a single kink, and where several meet, their sum may lie outside the interval of both sides.
    """
    error = point.error(k).reshape(-1)
    differing = np.flatnonzero(error > point.tolerances()[k])
    if point.theta[k].dtype.kind == "c":
        return
    order = differing[np.argsort(-error[differing])][:MOST_ENTRIES]
    value = lambda leaves: shadow.value(leaves, point.data)  # noqa: E731
    kinked = 0
    for tried, i in enumerate(order, start=1):
        kinked += _has_kink(point, value, k, int(i))
        if tried >= 4 and not kinked:
            return
    if 2 * kinked >= len(order):
        mask = np.isin(np.arange(error.size), differing).reshape(point.theta[k].shape)
        point.kinks[k] = point.kinks.get(k, False) | mask


def _has_kink(point: Comparison, value: numerical.Value, k: int, i: int) -> bool:
    if not np.isfinite(point.here.hand[k].reshape(-1)[i]):
        return False  # no choice between one-sided derivatives
    both = numerical.entry_sides(value, point.theta, k, i)
    gap = abs(both.right - both.left)
    needed = float(point.error(k).reshape(-1)[i])
    # A kink explains the difference only if it is at least as large.
    explains = gap > 0.2 * needed if np.isfinite(needed) else gap > 1e-6
    return bool(np.isfinite(gap) and explains and gap > 10 * both.error)
