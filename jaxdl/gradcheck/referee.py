"""Is autodiff itself right? Finite differences of the loss decide.

One random direction per leaf. Autodiff and the function disagree for good reasons (kinks, values
held fixed by `stop_gradient`) and for bad ones (a wrong custom rule, NaN behind a `where`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from jaxdl.gradcheck import interpret, numerical, tracing
from jaxdl.gradcheck.problem import largest
from jaxdl.gradcheck.shadow import Shadow

AGREE = 1e-6
"""Relative to the direction's size: far below any wrong rule, above finite-difference error."""

STEPS = (2e-4, 2e-6)
"""Relative step sizes tried, largest first; the smaller one steps over fewer kinks."""


BESIDE = 1e-4
"""How far beside kinks to look, relative to a leaf: far beyond the steps."""

QUICK = 1e-5
"""The step for one plain central difference: small enough to cross few kinks."""


@dataclass(frozen=True)
class Ruling:
    """What finite differences say about one leaf at one point.

    Attributes:
        leaf: its index.
        word: "agrees", "kink" (no two-sided derivative here), "noisy" (finite differences cannot
            tell), "frozen" (agrees when values behind stop_gradient are held fixed) or
            "disagrees".
        difference: |D − g·u|, relative to the size of the direction's terms.
        numeric, auto, hand: the three derivatives along the direction.
    """

    leaf: int
    word: str
    difference: float
    numeric: float
    auto: float
    hand: float

    @property
    def hand_is_right(self) -> bool:
        """Whether the hand gradient, unlike autodiff, is the derivative of the loss."""
        scale = max(abs(self.numeric), 1e-300)
        return abs(self.hand - self.numeric) <= 1e-5 * scale


class Referee:
    """Rules on single leaves at one point; the loss is evaluated through the shadow."""

    def __init__(self, shadow: Shadow, theta: list, data: list, seed: int):
        self.shadow, self.theta, self.data = shadow, theta, data
        self.rng = np.random.default_rng(seed)
        self.scales = leaf_scales(theta)

    def value(self, theta: Sequence[np.ndarray]) -> float:
        """The loss with the data of this point."""
        return self.shadow.value(theta, self.data)

    def rule(self, k: int, auto: Sequence[np.ndarray], hand: Sequence[np.ndarray]) -> Ruling:
        """Compare autodiff with finite differences along one random direction in leaf k."""
        ruling = None
        tree = max(largest(g) * s for g, s in zip(auto, self.scales, strict=True))
        quick = self._quick(k, auto[k], hand[k], tree)
        if quick is not None:
            return quick
        for step in STEPS:
            u = self._direction(k)
            d = numerical.directional(self.value, self.theta, u, step)
            ruling = _compare(k, d, u[k], auto[k], hand[k], tree)
            if ruling.word == "agrees":
                return ruling
        assert ruling is not None
        u = self._direction(k)
        if self._on_kink(u, auto[k], k):
            return Ruling(k, "kink", *_numbers(ruling))
        frozen = None if ruling.hand_is_right else self._frozen(u)
        if frozen is not None:
            again = _compare(k, frozen, u[k], auto[k], hand[k], tree)
            if again.word == "agrees":
                return Ruling(k, "frozen", *_numbers(again))
        return ruling

    def rule_all(self, auto: Sequence[np.ndarray], hand: Sequence[np.ndarray]) -> Ruling | None:
        """The ruling "agrees" from one direction through all leaves (leaf −1), or None."""
        u = [self._direction(k)[k] for k in range(len(self.theta))]
        numeric = numerical.central(self.value, self.theta, u, QUICK)
        terms, by_hand = (
            [float(np.sum(g * v).real) for g, v in zip(gradient, u, strict=True)]
            for gradient in (auto, hand)
        )
        scale = max(max(map(abs, terms), default=0.0), 1e-300)
        difference = abs(numeric - sum(terms)) / scale
        numbers = difference, numeric, sum(terms), sum(by_hand)
        return Ruling(-1, "agrees", *numbers) if difference <= AGREE else None

    def _quick(self, k: int, auto: np.ndarray, hand: np.ndarray, tree: float) -> Ruling | None:
        """The ruling "agrees" from two evaluations, or None."""
        u = self._direction(k)
        d = numerical.Derivative(numerical.central(self.value, self.theta, u, QUICK), 0.0)
        ruling = _compare(k, d, u[k], auto, hand, tree)
        return ruling if ruling.word == "agrees" else None

    def _direction(self, k: int) -> list[np.ndarray]:
        u = [np.zeros_like(leaf) for leaf in self.theta]
        normal = self.rng.standard_normal(u[k].shape)
        if u[k].dtype.kind == "c":
            normal = normal + 1j * self.rng.standard_normal(u[k].shape)
        u[k] = np.maximum(np.abs(self.theta[k]), 1e-2 * self.scales[k]) * normal
        return u

    def _on_kink(self, u: list[np.ndarray], auto: np.ndarray, k: int) -> bool:
        """Whether the derivatives from both sides exist and differ, by much or by what is asked.

        Where many kinks meet, convex and concave ones, their differences may cancel: then what
        counts is that autodiff is right beside them.
        """
        size = float(np.linalg.norm(np.abs(auto * u[k])))
        expected = float(np.sum(auto * u[k]).real)
        for step in (1e-5, 1e-7):
            both = numerical.sides(self.value, self.theta, u, step)
            gap = abs(both.right - both.left)
            scale = max(size, abs(both.left), abs(both.right))
            explains = min(abs(expected - both.left), abs(expected - both.right)) <= gap
            telling = gap > 1e-4 * scale or explains
            if gap > 10 * both.error and (telling or self._is_right_beside(u, k)):
                return True
        return False

    def _is_right_beside(self, u: list[np.ndarray], k: int) -> bool:
        """Whether autodiff agrees with finite differences at a point close by, off the kinks."""
        pairs = zip(self.theta, self.scales, strict=True)
        beside = [t + BESIDE * s * self.rng.standard_normal(t.shape) for t, s in pairs]
        auto = self.shadow(beside, self.data).auto
        if auto is None:
            return False

        d = numerical.directional(self.value, beside, u, STEPS[-1])
        return _compare(k, d, u[k], auto[k], auto[k], 0.0).word == "agrees"

    def _frozen(self, u: list[np.ndarray]) -> numerical.Derivative | None:
        """The derivative with everything behind `stop_gradient` held at its value here."""
        value = frozen_loss(self.shadow, self.theta, self.data)
        if value is None:
            return None
        return numerical.directional(value, self.theta, u, STEPS[0])


def leaf_scales(theta: Sequence[np.ndarray]) -> list[float]:
    """A typical entry of each leaf; of the tree, for leaves of zeros."""
    sizes = [float(np.sqrt(np.mean(np.abs(leaf) ** 2))) if leaf.size else 0.0 for leaf in theta]
    fallback = float(np.clip(max(sizes, default=0.0), 1e-2, 1.0))
    return [size if size > 1e-8 else fallback for size in sizes]


def frozen_loss(shadow: Shadow, theta: list, data: list) -> numerical.Value | None:
    """The loss with `stop_gradient` values held fixed at θ; None if it holds no stop_gradient."""
    if shadow.mode != "traced":
        return None
    with tracing.scope():
        flat = tracing.loss_of(shadow.loss, shadow.call)
        traced = tracing.trace(flat, shadow.call, list(theta), list(data))
        if not stops(traced):
            return None
        try:
            rule, record = interpret.freeze(None)
            interpret.run(traced.closed, rule, [*theta, *data])
            held = [np.asarray(value) for value in record]
        except Exception:  # inside a loop the values differ from step to step
            return None

        @jax.jit
        def value(leaves):
            rule, _ = interpret.freeze(held)
            return interpret.run(traced.closed, rule, [*leaves, *data])[0]

    def evaluate(leaves: Sequence[np.ndarray]) -> float:
        with tracing.scope():
            return float(value(list(leaves)))

    return evaluate


def stops(traced: tracing.Traced) -> list[str]:
    """Places of `stop_gradient` in a traced loss."""
    return [
        tracing.place(eqn)
        for eqn in interpret.equations(traced.closed)
        if eqn.primitive.name == "stop_gradient"
    ]


def suspects(shadow: Shadow, theta: list, data: list) -> tuple[list[str], list[str]]:
    """Places of `stop_gradient` and of custom derivative rules in the loss, each once."""
    with tracing.scope():
        flat = tracing.loss_of(shadow.loss, shadow.call)
        traced = tracing.trace(flat, shadow.call, list(theta), list(data))
    found = [e for e in interpret.equations(traced.closed) if e.primitive.name in interpret.CUSTOM]
    custom = [place for place in map(tracing.place, found) if place]
    return _once(stops(traced)), _once(custom)


def _once(items: list[str]) -> list[str]:
    return list(dict.fromkeys(item for item in items if item))


def _compare(
    k: int,
    d: numerical.Derivative,
    u: np.ndarray,
    auto: np.ndarray,
    hand: np.ndarray,
    tree: float,
) -> Ruling:
    expected, by_hand = (float(np.sum(g * u).real) for g in (auto, hand))
    size = largest(auto) * largest(u)
    scale = max(float(np.linalg.norm(np.nan_to_num(np.abs(auto * u)))), 1e-3 * size)
    scale = max(scale, abs(d.value) if np.isfinite(d.value) else 0.0, 1e-300)
    gap = abs(d.value - expected)
    numbers = gap / scale, d.value, expected, by_hand
    if not np.isfinite(d.value):
        return Ruling(k, "noisy", *numbers)
    if gap <= max(AGREE * scale, min(20 * d.error, 1e-3 * tree)):
        return Ruling(k, "agrees", *numbers)
    return Ruling(k, "noisy" if gap <= 20 * d.error else "disagrees", *numbers)


def _numbers(ruling: Ruling) -> tuple[float, float, float, float]:
    return ruling.difference, ruling.numeric, ruling.auto, ruling.hand
