"""Finite differences as the oracle, for a loss that JAX cannot trace."""

import numpy as np

from jaxdl.gradcheck import numerical
from jaxdl.gradcheck.judge import Comparison
from jaxdl.gradcheck.problem import NOISE_FACTOR, largest
from jaxdl.gradcheck.shadow import Evaluation, Shadow

UNRELIABLE = 1e-4
"""An entry whose estimated error is above this part of its leaf is near a kink: not judged."""


def by_differences(
    shadow: Shadow, label: str, theta: list, data: list, here: Evaluation, batch_size: int | None
) -> Comparison:
    """Both gradients at one point, the oracle's by differences of every component.

    The estimated error of the differences is the noise of the comparison; entries with no
    reliable derivative are left out of it.
    """

    def value(leaves):
        return shadow.value(leaves, data)

    noise = _noise(value, theta)
    auto, errors = numerical.components(value, theta, noise)
    scale = max((largest(leaf) for leaf in auto), default=0.0)
    kinks = {}
    eta = []
    for k, (leaf, error) in enumerate(zip(auto, errors, strict=True)):
        limit = UNRELIABLE * max(largest(leaf), 1e-3 * scale) + 1e2 * noise
        mask = ~(error <= limit)
        if mask.any():
            kinks[k] = mask
        usable = float(np.max(error, initial=0.0, where=~mask))
        # Round-off of the differences themselves, where the estimate came out too small.
        eta.append(max(usable, 1e-10 * largest(leaf), 1e-11 * scale) / 5)
    return Comparison(
        label,
        theta,
        data,
        here._replace(auto=auto),
        tuple(e * 5 * 4 / NOISE_FACTOR for e in eta),
        batch_size,
        kinks,
    )


def _noise(value: numerical.Value, theta: list) -> float:
    """Noise of the values beyond float64 rounding, as of code that computes in float32."""
    rng = np.random.default_rng(0)
    u = [np.abs(leaf) * rng.standard_normal(leaf.shape) for leaf in theta]
    measured = numerical.value_noise(value, theta, u, 1e-9)
    base = abs(value(theta))
    return measured if measured > 1e-13 * max(base, 1e-300) else 0.0
