"""Finite differences as the oracle, for a loss that JAX cannot trace."""

import time

import numpy as np

from jaxdl.gradcheck import numerical
from jaxdl.gradcheck.judge import Comparison
from jaxdl.gradcheck.problem import NOISE_FACTOR, largest
from jaxdl.gradcheck.shadow import Evaluation, Shadow

UNRELIABLE = 1e-4
"""An entry whose estimated error is above this part of its leaf is near a kink: not judged."""

EVALUATIONS = 6
"""Of the loss for one derivative."""

DIRECTIONS = 6
"""Per leaf, where there is no time for every entry."""


def by_differences(
    shadow: Shadow,
    label: str,
    theta: list,
    data: list,
    here: Evaluation,
    batch_size: int | None,
    budget_s: float,
) -> Comparison:
    """Both gradients at one point, the oracle's by finite differences.

    Every component if the budget allows, else random directions in each leaf. The estimated
    error of the differences is the noise of the comparison; entries with no reliable derivative
    are left out of it.
    """

    def value(leaves):
        return shadow.value(leaves, data)

    noise, seconds = _noise(value, theta)
    size = sum(leaf.size for leaf in theta)
    if size * EVALUATIONS * seconds > budget_s:
        auto, errors = by_directions(value, theta, here.hand, noise)
    else:
        auto, errors = numerical.components(value, theta, noise)
    tree = max((largest(leaf) for leaf in auto), default=0.0)
    limit = 100 * noise / numerical.widest(noise, value(theta))
    kinks, eta = {}, []
    for k, (leaf, error) in enumerate(zip(auto, errors, strict=True)):
        mask = ~(error <= max(UNRELIABLE * max(largest(leaf), 1e-3 * tree), limit))
        if mask.any():
            kinks[k] = mask
        usable = float(np.max(error, initial=0.0, where=~mask))
        # Never below the round-off of the differences, should the estimate come out too small.
        eta.append(SAFETY * max(usable, 1e-10 * largest(leaf), 1e-11 * tree) / NOISE_FACTOR)
    return Comparison(label, theta, data, here._replace(auto=auto), tuple(eta), batch_size, kinks)


SAFETY = 4.0
"""How far above its estimate the error of a finite difference may be."""


def by_directions(
    value: numerical.Value, theta: list, hand: list, noise: float
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The gradient nearest to `hand` that has the right derivative along random directions.

        g = h + Σ cⱼ uⱼ   with   g·uⱼ = D(uⱼ)

    Where the hand gradient is right the sum vanishes, to the accuracy of the differences.
    """
    rng = np.random.default_rng(0)
    auto, errors = [], []
    for k, (leaf, h) in enumerate(zip(theta, hand, strict=True)):
        u = rng.standard_normal((DIRECTIONS, leaf.size)) / max(leaf.size, 1) ** 0.5
        ds = [numerical.along(value, theta, k, v.reshape(leaf.shape), noise) for v in u]
        gaps = np.array([d.value for d in ds]) - u @ h.reshape(-1).real
        correction = np.linalg.lstsq(u, gaps, rcond=None)[0]
        auto.append(h + correction.reshape(leaf.shape))
        errors.append(np.full(leaf.shape, max((d.error for d in ds), default=0.0)))
    return auto, errors


def _noise(value: numerical.Value, theta: list) -> tuple[float, float]:
    """Noise of the values beyond float64 rounding (code that computes in float32), and the
    seconds that one value takes."""
    rng = np.random.default_rng(0)
    u = [np.abs(leaf) * rng.standard_normal(leaf.shape) for leaf in theta]
    base = abs(value(theta))
    started = time.perf_counter()
    measured = numerical.value_noise(value, theta, u, 1e-6)
    seconds = (time.perf_counter() - started) / 7
    return (measured if measured > 1e-12 * max(base, 1e-300) else 0.0), seconds
