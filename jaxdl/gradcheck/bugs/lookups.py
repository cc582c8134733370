"""Look-ups of rows by index: their gradient adds up, and assignment in its place loses rows."""

import itertools

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
    windows = node.params["dimension_numbers"].offset_dims
    axes = [i for i in range(len(tape.shape(node.outs[0]))) if i not in windows]
    words = ("examples_dropped", "shared_weight_missed")
    if len(axes) > 1:  # several look-ups for each example
        words = words[::-1]
    found = {}
    for first, added, step in itertools.product((0, *axes[1:]), (False, True), (1, -1)):
        which = "last" if step > 0 else "first"
        scope = f", in each slice of axis {first}," if added else ""
        found[first, added, step] = Variant(
            lambda c, how=(first, added, step): assigned(*how),
            tape.leaves[node.ins[0]],
            words,
            f"where an index occurs several times, only the {which} counts{scope} at {line(node)}",
            0.5,
        )
    return found


def assigned(first: int, added: bool, step: int) -> Rule:
    """A scatter that assigns where it should add.

    Args:
        first: the axis of the look-up that the outer loop runs along.
        added: are the results of the inner loops added up, each of them by assignment?
        step: 1 for assignments in order, −1 for the reverse.
    """

    def once(shape, index, ct):
        flat = np.zeros(int(np.prod(shape)))
        flat[index.ravel()[::step]] = ct.ravel()[::step]
        return flat.reshape(shape)

    def rule(sweep, node, ct):
        shape = sweep.tape.shape(node.ins[0])
        index = gather_index(node.params, shape, sweep.tape.values[node.ins[1]])
        index = np.moveaxis(np.broadcast_to(index, ct.shape), first, 0)
        ct = np.moveaxis(ct, first, 0)
        parts = zip(index, ct, strict=True) if added else [(index, ct)]
        return [(node.ins[0], sum(once(shape, *part) for part in parts))]

    return rule
