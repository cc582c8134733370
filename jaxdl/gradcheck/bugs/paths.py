"""Two paths left out at once: a normalisation whose mean and variance are taken as constants."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxdl.gradcheck.bugs.edges import scaled_edge
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.structure import at_line, line, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector

MAX_PAIRS = 200


class Paths(NamedTuple):
    """The hypothesis that nothing comes back through any of these groups of reductions."""

    keys: tuple
    selector: Selector

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """A cut at each reduction."""
        tape, found = case.tape, []
        for key in self.keys:
            for index in tape.groups.get(key, []):
                node = tape.nodes[index]
                text = f"what comes back through {len(self.keys)} reductions is left out"
                text += f" (one is{at_line(node)})" if line(node) else ""
                for p in tape.moving(node)[:1]:
                    found.append(
                        (
                            index,
                            Variant(
                                lambda c, p=p: scaled_edge(p, 0.0), 0, ("path_dropped",), text, 0.9
                            ),
                        )
                    )
        return found


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Paths]:
    """Every pair of reductions whose results are used again, not only summed up."""
    tape = case.tape
    keys = [
        key
        for key, members in tape.groups.items()
        if _returns(tape, tape.nodes[members[0]])
        and fits(tape.leaves[tape.nodes[members[0]].outs[0]])
    ]
    pairs = itertools.islice(itertools.combinations(keys, 2), MAX_PAIRS)
    for pair in pairs:
        yield Paths(pair, Selector("group", pair[0]))


def _returns(tape: Tape, node: Node) -> bool:
    """Is it a sum over axes that meets arrays of more entries again?"""
    if node.prim not in ("reduce_sum", "dot_general", "reduce_max") or not tape.is_active(
        node.index
    ):
        return False
    if node.index in penalty_nodes(tape) or node.prim == "dot_general":
        return False
    var = node.outs[0]
    for _ in range(12):
        users = tape.users(var)
        if not users:
            return False
        follow = tape.nodes[users[0][0]]
        if follow.prim == "broadcast_in_dim" and tape.shape(follow.outs[0]) != tape.shape(var):
            return True
        var = follow.outs[0]
    return False
