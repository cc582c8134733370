"""A variable with several uses, of which some together carry a wrong multiple of their gradient.

The two parts of a penalty on one variable, a gate and its complement: no edge lies behind them all,
but the mistake is one. So it is for all uses of a sum, before which no one edge lies either. The
gradient is linear in their common coefficient, which is fitted.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from jaxdl.gradcheck.bugs import edges
from jaxdl.gradcheck.bugs.uses import MOST_USERS, scaled, some_uses
from jaxdl.gradcheck.coefficients import close
from jaxdl.gradcheck.hypotheses import Case, Name, Variant
from jaxdl.gradcheck.replay.structure import line, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector


class Some(NamedTuple):
    """The hypothesis that these uses of what a line makes carry a common wrong coefficient."""

    selector: Selector
    users: tuple[int, ...]  # positions in the list of uses
    count: int  # uses in all

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """One rule at every node concerned."""
        tape, found = case.tape, []
        for index in self.selector.nodes(tape):
            made = tape.nodes[index]
            for user, places in some_uses(tape, made, self.users, self.count).items():
                found.append((user, self.variant(case, made, tape.nodes[user], places)))
        return found

    def variant(self, case: Case, made: Node, user: Node, places: tuple[int, ...]) -> Variant:
        """The fitted rule at one of the uses."""
        return Variant(
            rule=lambda c: scaled(places, c),
            reach=case.tape.leaves[made.outs[0]],
            fitted=True,
            name=lambda cs, ms: self.name(case, made, user, places[0], cs, ms),
        )

    def name(
        self, case: Case, made: Node, user: Node, position: int, cs: Sequence[float], ms: Sequence
    ) -> Name | None:
        """The name that one edge with this coefficient would have, at a higher price."""
        if len(self.users) == self.count:
            return of_all(case, made, cs, ms)
        given = edges.name(case, user, position, cs, ms)
        if given is None:
            return None
        text = f"{given.text} (as for {len(self.users)} of {self.count} uses of the array made at "
        words = given.words if "scale" not in given.words else (*given.words, "unknown")
        return Name(words, f"{text}{line(made) or 'the start'})", given.cost + 0.3)


def of_all(case: Case, made: Node, cs: Sequence[float], ms: Sequence) -> Name | None:
    """The name of a common coefficient of all that comes back to what a node makes."""
    if not all(close(c, 0.0) for c in cs):
        return edges.name(case, made, None, cs, ms)
    text = f"nothing comes back through the array made at {line(made)}"
    return Name(("path_dropped",), text, 0.6)


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Some]:
    """Every set of two or more of the uses of what a line makes; all, if it joins several ways."""
    tape = case.tape
    for key, members in tape.groups.items():
        # A loop's last turn hands nothing on, so what it makes has fewer uses.
        node = max((tape.nodes[i] for i in members), key=lambda n: len(_users(tape, n)))
        if not tape.is_active(node.index) or not fits(tape.leaves[node.outs[0]]):
            continue
        count = len(_users(tape, node))
        most = count if len(tape.moving(node)) > 1 else count - 1
        for size in range(2, most + 1) if count <= MOST_USERS else ():
            for users in itertools.combinations(range(count), size):
                yield Some(Selector("group", key), users, count)


def _users(tape: Tape, node: Node) -> list[tuple[int, int]]:
    if node.opaque is not None or node.index in penalty_nodes(tape):
        return []
    return sorted(tape.users(node.outs[0]))
