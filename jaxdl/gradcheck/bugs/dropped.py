"""Any subset of examples or positions left out: which ones is read off by least squares.

The gradient is a sum of what comes through each index of an axis. If the caller's gradient is
that sum with some of the parts missing, the least-squares weights are ones and zeros.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.subsets import kind, masked, summed_axes
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import shift
from jaxdl.gradcheck.replay.regions import KINKED
from jaxdl.gradcheck.replay.structure import at_line, bits, decides, penalty_nodes
from jaxdl.gradcheck.selectors import Selector

MAX_INDEX = 64
MAKERS = ("dot_general", "conv_general_dilated", "reduce_sum", "sub", "gather")


class Subset(NamedTuple):
    """The hypothesis that some indices of one axis of one node are left out."""

    selector: Selector
    position: int | None
    axis: int
    goal: int

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """The rule with the indices left out that the gradient lacks here, if it fits."""
        nodes = self.selector.nodes(case.tape)
        if len(nodes) != 1:
            return []
        node = case.tape.nodes[nodes[0]]
        n = case.tape.shape(node.outs[0])[self.axis]
        keep = kept(case, node.index, self.position, self.axis, n, self.goal)
        if keep is None:
            return []
        words, noun = kind(case, node, n)
        lost = ", ".join(map(str, np.flatnonzero(~keep)[:6]))
        words += ("path_dropped", "unknown")  # a condition may have left them out as well
        if _is_decided(case, n):
            words += ("relu_mask_wrong",)
        text = f"of {n} {noun}, no gradient goes to number {lost}{at_line(node)}"
        rule = masked(self.position, self.axis, keep)
        return [(node.index, Variant(lambda c: rule, 0, words, text, 0.9))]


def _is_decided(case: Case, n: int) -> bool:
    """Does a hinge or another kink let some of `n` entries through?"""
    tape = case.tape
    kinks = (k for k in tape.nodes if k.prim in KINKED and tape.is_active(k.index))
    return any(n in tape.shape(k.outs[0]) and decides(tape, k) for k in kinks)


def kept(case: Case, index: int, position, axis: int, n: int, goal: int) -> np.ndarray | None:
    """Which indices are in the sum, or None if no subset fits."""
    parts = []
    for i in range(n):
        rule = masked(position, axis, np.arange(n) != i)
        change = shift(case.base, {index: rule}, goal)
        parts.append(flat(case, change, goal))
    matrix = np.stack(parts, axis=1)
    if len(matrix) <= n:
        return None
    weights, *_ = np.linalg.lstsq(
        matrix, flat(case, dict(enumerate(case.rest())), goal), rcond=None
    )
    whole = np.round(weights)
    if np.max(np.abs(weights - whole)) > 1e-5 or not set(whole) <= {0.0, 1.0} or not whole.any():
        return None
    return whole == 0


def flat(case: Case, change: dict, goal: int) -> np.ndarray:
    """The goal leaves of a change as one vector, each in units of its size."""
    parts = []
    for i in bits(goal):
        size = max(float(np.max(np.abs(case.rest()[i]), initial=0)), 1e-300)
        value = change.get(i)
        parts.append(np.zeros(case.hand[i].size) if value is None else np.ravel(value) / size)
    return np.concatenate(parts)


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Subset]:
    """Axes that a way back to a leaf sums over, and the axis of examples of whole nodes."""
    tape, goal = case.tape, case.wrong()
    if not goal:
        return
    for key, members in tape.groups.items():
        node = tape.nodes[members[0]]
        if len(members) > 1 or not tape.is_active(node.index) or node.opaque is not None:
            continue
        if node.index in penalty_nodes(tape):
            continue
        shape = tape.shape(node.outs[0])
        for p in tape.moving(node):
            if fits(tape.leaves[node.ins[p]]):
                for axis in summed_axes(tape, node, p):
                    if 2 < shape[axis] <= MAX_INDEX:
                        yield Subset(Selector("group", key), p, axis, goal)
        if node.prim in MAKERS and fits(tape.leaves[node.outs[0]]):
            for axis, n in enumerate(shape):
                if n == case.size and 2 < n <= MAX_INDEX:
                    yield Subset(Selector("group", key), None, axis, goal)
