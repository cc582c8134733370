"""Backpropagation through time cut between two steps: nothing of the state comes back from there.

A state may have several parts (h and c of an LSTM), so that no single edge is at fault.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxdl.gradcheck.bugs.subsets import is_in_time
from jaxdl.gradcheck.bugs.uses import scaled
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import handed_on, loops
from jaxdl.gradcheck.selectors import Selector

LONGEST = 64
PERIODS = range(2, 9)


class Truncated(NamedTuple):
    """The hypothesis that the gradient of a loop's state is cut at some steps."""

    turns: int
    how: str
    number: int
    selector: Selector

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """A cut at every edge that carries state over one of these steps."""
        edges = handed_on(case.tape, self.turns)
        cut = [t for t in edges if self.cuts(t)]
        text = f"in a loop of {self.turns} steps, nothing of the state comes back {self.said()}"
        at: dict[int, list[int]] = {}
        for turn in cut:
            for index, position in edges[turn]:
                at.setdefault(index, []).append(position)
        words = ("timesteps_truncated", "path_dropped")
        return [
            (i, Variant(lambda c, p=tuple(places): scaled(p, 0.0), 0, words, text, 0.65))
            for i, places in sorted(at.items())
        ]

    def cuts(self, turn: int) -> bool:
        """Is the state cut on its way into this turn?"""
        if self.how == "once":
            return turn == self.turns - self.number
        if self.how == "every":
            return turn % self.number == 0
        return (self.turns - turn) % self.number == 0

    def said(self) -> str:
        """Where it is cut, in words."""
        if self.how == "once":
            return f"beyond the last {self.number}"
        if self.number == 1:
            return "from any step"
        start = "the first" if self.how == "every" else "the last"
        return f"over every {self.number}th step, counted from {start}"


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Truncated]:
    """For each loop with a state of several parts: one cut anywhere, or cuts at regular steps."""
    tape = case.tape
    for turns in loops(tape):
        edges = handed_on(tape, turns)
        if not 2 < turns <= LONGEST or not any(len(at) > 1 for at in edges.values()):
            continue
        if not is_in_time(tape, turns):
            continue
        first = tape.nodes[next(iter(edges.values()))[0][0]]
        reach = 0
        for at in edges.values():
            for index, position in at:
                reach |= tape.leaves[tape.nodes[index].ins[position]]
        if not fits(reach):
            continue
        selector = Selector("group", tape.key(first))
        yield from (Truncated(turns, "once", k, selector) for k in range(1, turns))
        for period in (1, *PERIODS):
            if period < turns:
                yield Truncated(turns, "every", period, selector)
                yield Truncated(turns, "from the end", period, selector)
