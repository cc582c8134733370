"""Look-ups of rows by index: their gradient adds up, and assignment in its place loses rows."""

import numpy as np

from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.rules.contractions import gather_index
from jaxdl.gradcheck.replay.structure import line
from jaxdl.gradcheck.replay.tape import Node
from jaxdl.gradcheck.search import Case, Variant


def family(case: Case, node: Node) -> dict:
    """Assignment instead of accumulation where an index occurs more than once."""
    tape = case.tape
    if node.prim != "gather" or node.opaque is not None or not tape.active[node.ins[0]]:
        return {}
    indices = tape.values[node.ins[1]]
    words = ("examples_dropped", "shared_weight_missed")
    if np.ndim(indices) > 2:  # several look-ups for each example
        words = words[::-1]
    text = "where an index occurs several times, only the {} is counted"
    return {
        which: Variant(
            lambda c, step=step: assigned(step), tape.leaves[node.ins[0]], words,
            f"{text.format(which)} at {line(node)}", 0.5,
        )
        for which, step in (("last", 1), ("first", -1))
    }  # fmt: skip


def assigned(step: int) -> Rule:
    """A scatter that assigns, in order or in reverse."""

    def rule(sweep, node, ct):
        shape = sweep.tape.shape(node.ins[0])
        index = gather_index(node.params, shape, sweep.tape.values[node.ins[1]])
        flat = np.zeros(int(np.prod(shape)))
        flat[np.broadcast_to(index, ct.shape).ravel()[::step]] = ct.ravel()[::step]
        return [(node.ins[0], flat.reshape(shape))]

    return rule
