"""How far two right gradients may differ because of rounding.

The cheap measurement moves every parameter by an ulp or two and watches both gradients. It sees
how the problem amplifies rounding, but not a cancellation inside the code at values that hardly
depend on the parameters (1 − a for a saturated a). `stochastic` does, at the price of compiling.
"""

from collections.abc import Sequence

import jax
import numpy as np

from jaxdl.gradcheck import interpret, tracing
from jaxdl.gradcheck.problem import largest
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
    shadow: Shadow, theta: list, data: list, seed: int, repeats: int = 3
) -> np.ndarray | None:
    """η per leaf by stochastic arithmetic on both programs, or None if they are not traced."""
    programs = shadow.traced(theta, data)
    if programs[0] is None and programs[1] is None:
        return None
    eta = np.zeros(len(theta))
    with tracing.scope():
        for program in programs:
            if program is not None:
                eta = np.maximum(eta, _spread(program, theta, data, seed, repeats))
    return eta


def _spread(program: Traced, theta: list, data: list, seed: int, repeats: int) -> np.ndarray:
    @jax.jit
    def rounded(number, *args):
        return interpret.run(program.closed, interpret.jitter(number), args)

    exact = [np.asarray(leaf) for leaf in program(theta, data)][-len(theta) :]
    eta = np.zeros(len(theta))
    for i in range(repeats):
        number = np.uint32(seed * 7919 + i + 1)
        leaves = [np.asarray(leaf) for leaf in rounded(number, *theta, *data)][-len(theta) :]
        eta = np.maximum(eta, _changes(exact, leaves))
    return eta


def _nudged(rng: np.random.Generator, theta: Sequence[np.ndarray]) -> list[np.ndarray]:
    step = 2.0**-51
    return [leaf * (1 + step * rng.integers(-1, 2, leaf.shape)) for leaf in theta]


def _changes(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.array([largest(x - y) for x, y in zip(a, b, strict=True)])
