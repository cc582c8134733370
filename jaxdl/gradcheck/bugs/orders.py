"""A leaf whose entries, rows or columns stand in another order, such as two of them swapped.

Which order it is is read off: the slices of the caller's gradient along an axis are matched with
those of the right one. The same order must hold at every point.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.algebra import finished
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.filters import is_filter
from jaxdl.gradcheck.replay.structure import bits
from jaxdl.gradcheck.replay.tape import Tape
from jaxdl.gradcheck.selectors import Selector

LONGEST = 256
SWAPPED = ("leaves_swapped", "stale_operand", "wrong_entry", "unknown")
MIXED = ("unknown", "stale_operand", "leaves_swapped", "wrong_entry")


class Rearranged(NamedTuple):
    """The hypothesis that a leaf's gradient has its slices along an axis in this order."""

    leaf: int
    axis: int
    order: tuple[int, ...]
    selector: Selector

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """The finished gradient of the leaf, rearranged."""
        if case.tape.shape(case.tape.raw[self.leaf])[self.axis] != len(self.order):
            return []
        order, axis = list(self.order), self.axis
        words, text = self.said(case.tape)
        rule = finished(lambda ct: np.take(ct, order, axis))
        return [(self.leaf, Variant(rule, 1 << self.leaf, words, text, 1.2))]

    def said(self, tape: Tape) -> tuple[tuple[str, ...], str]:
        """Words and text."""
        rank = len(tape.shape(tape.raw[self.leaf]))
        if self.order[::-1] == tuple(range(len(self.order))) and is_filter(
            tape, self.leaf, self.axis
        ):
            return ("conv_flip",), f"the gradient is flipped along axis {self.axis}"
        moved = [i for i, k in enumerate(self.order) if i != k]
        along = "the last axis" if self.axis == rank - 1 else f"axis {self.axis}"
        if swaps_blocks(self.order):
            half = len(moved) // 2
            first, second = (_range(m) for m in (moved[:half], moved[half:]))
            return SWAPPED, f"places {first} and {second} along {along} carry each other's gradient"
        words = ("transpose", *MIXED) if is_transposed(self.order) else MIXED
        return words, f"the gradient's places along {along} are in another order"


def _range(places: list[int]) -> str:
    return str(places[0]) if len(places) == 1 else f"{places[0]} to {places[-1]}"


def swaps_blocks(order: tuple[int, ...]) -> bool:
    """Are two blocks of neighbours swapped, and everything else in its place?"""
    moved = [i for i, k in enumerate(order) if i != k]
    first, second = moved[: len(moved) // 2], moved[len(moved) // 2 :]
    compact = all(part[-1] - part[0] == len(part) - 1 for part in (first, second) if part)
    return compact and [order[i] for i in moved] == [*second, *first]


def is_transposed(order: tuple[int, ...]) -> bool:
    """Is it the order of a matrix's entries read column by column?"""
    n = len(order)
    sides = (k for k in range(2, n) if n % k == 0)
    return any(order == tuple(np.arange(n).reshape(k, -1).T.ravel()) for k in sides)


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Rearranged]:
    """At most one order for each axis of each wrong leaf."""
    for leaf in bits(case.wrong()):
        if not fits(1 << leaf):
            continue
        hand, auto = case.hand[leaf], case.base.grads()[leaf]
        selector = Selector("group", case.tape.key(case.tape.nodes[leaf]))
        for axis, n in enumerate(hand.shape):
            order = (
                found_order(hand, auto, axis, case.tolerance[leaf]) if 1 < n <= LONGEST else None
            )
            if order is not None:
                yield Rearranged(leaf, axis, order, selector)


def found_order(hand, auto, axis: int, tolerance: float) -> tuple[int, ...] | None:
    """The order in which the slices of `auto` are those of `hand`; None if they are not."""
    ours, true = (np.moveaxis(x, axis, 0).reshape(hand.shape[axis], -1) for x in (hand, auto))
    if ours.size and not np.allclose(ours.sum(0), true.sum(0), rtol=0, atol=len(ours) * tolerance):
        return None  # another order has the same sums
    order = np.arange(len(ours))
    off = np.flatnonzero(np.max(np.abs(ours - true), axis=1) > tolerance)
    weights = np.random.default_rng(0).standard_normal(ours.shape[1])
    order[off[np.argsort(ours[off] @ weights)]] = off[np.argsort(true[off] @ weights)]
    fits = len(off) > 0 and np.all(np.abs(ours - true[order]) <= tolerance)
    return tuple(map(int, order)) if fits else None
