"""How far two right gradients may differ because of rounding.

The cheap measurement moves every parameter by an ulp or two and watches both gradients. It sees
how the problem amplifies rounding, but not a cancellation inside the code at values that hardly
depend on the parameters (1 − a for a saturated a). `stochastic` does, at the price of compiling.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxdl.gradcheck import interpret, tracing
from jaxdl.gradcheck.problem import largest
from jaxdl.gradcheck.programs import quick_options
from jaxdl.gradcheck.shadow import Evaluation, Shadow
from jaxdl.gradcheck.tracing import Traced

JUMP = 1e-6
"""A change this large, relative to the tree, is no rounding: the gradient jumps there."""


def measured(
    shadow: Shadow, theta: list, data: list, here: Evaluation, seed: int, repeats: int = 2
) -> tuple[float, ...]:
    """η per leaf: how much either gradient changes when parameters move by about an ulp."""
    rng = np.random.default_rng(seed)
    eta = np.zeros(len(theta))
    for _ in range(repeats):
        there = shadow(_nudged(rng, theta), data)
        eta = np.maximum(eta, _changes(here.hand, there.hand))
        if here.auto is not None and there.auto is not None:
            eta = np.maximum(eta, _changes(here.auto, there.auto))
    scale = max((largest(leaf) for leaf in here.auto or here.hand), default=0.0)
    return tuple(float(e) if e <= JUMP * scale else 0.0 for e in eta)


def stochastic(
    shadow: Shadow, theta: list, data: list, here: Evaluation, seed: int, repeats: int = 3
) -> np.ndarray | None:
    """η per leaf by stochastic arithmetic on both programs, or None if neither is traced."""
    oracle, hand = shadow.traced(theta, data)
    traced = [(oracle, here.auto or [], slice(1, None))] if oracle else []
    traced += [(hand, here.hand, slice(None))] if hand else []
    if not traced:
        return None
    with tracing.scope():
        rounded = _rounded(shadow, [program for program, _, _ in traced], theta, data)
        eta = np.zeros(len(theta))
        for i in range(repeats):
            results = rounded(np.uint32(seed * 7919 + i + 1), list(theta), list(data))
            for (program, leaves, part), result in zip(traced, results, strict=True):
                order = shadow.order(result) if program is hand else range(len(result))
                there = [np.asarray(result[i]) for i in order][part]
                eta = np.maximum(eta, _changes(leaves, there))
    return eta


def _rounded(shadow: Shadow, programs: Sequence[Traced], theta: list, data: list) -> Callable:
    """Both programs with random rounding errors, compiled once for these shapes."""
    prepared = shadow.made(theta, data).prepared
    assert prepared is not None
    if prepared.rounded is None:

        @functools.partial(jax.jit, compiler_options=quick_options(*programs))
        def rounded(number, theta, data):
            leaves = [*theta, *data]
            return [interpret.run(p.closed, interpret.jitter(number), leaves) for p in programs]

        prepared.rounded = rounded
    return prepared.rounded


def _nudged(rng: np.random.Generator, theta: Sequence[np.ndarray]) -> list[np.ndarray]:
    step = 2.0**-51
    return [leaf * (1 + step * rng.integers(-1, 2, leaf.shape)) for leaf in theta]


def _changes(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.array([largest(x - y) for x, y in zip(a, b, strict=True)])
