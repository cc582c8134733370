"""An array moved along an axis, and its gradient the same way, or not at all, on the way back.

    y[t] = x[t − s]:  x̄[t] = ȳ[t + s], not ȳ[t − s]

The move is padding and a slice, in either order, or zeros joined to a slice.
"""

from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape

MOVES = ("pad", "slice", "concatenate")
WORDS = ("padding_or_stride_shift", "stale_operand", "unknown")
NOT_AT_ALL = ("padding_or_stride_shift", "path_dropped", "stale_operand", "unknown")


def family(case: Case, node: Node) -> dict:
    """The move as it is, or none, in place of the one back."""
    tape = case.tape
    found = moved(tape, node) if tape.is_active(node.index) else None
    if found is None:
        return {}
    source, again = found
    at = at_line(node)
    backs = {"moved the same way": (WORDS, again), "not moved": (NOT_AT_ALL, lambda ct: ct)}
    return {
        what: Variant(
            lambda c, back=back: lambda sweep, node, ct: [(source, back(ct))],
            tape.leaves[source],
            words,
            f"the gradient of an array that is moved is {what} on the way back{at}",
            0.7,
        )
        for what, (words, back) in backs.items()
    }


def moved(tape: Tape, node: Node) -> tuple[int, Callable[[np.ndarray], np.ndarray]] | None:
    """(source, the move) if a node ends one that leaves the shape as it is."""
    chain, var = [], node.outs[0]
    users = tape.users(var)
    if len(users) == 1 and tape.nodes[users[0][0]].prim in MOVES:
        return None  # it goes on
    made: Node | None = node
    while made is not None and made.prim in MOVES and len(tape.moving(made)) == 1:
        (p,) = tape.moving(made)
        chain.append((made, p))
        var = made.ins[p]
        made = tape.maker(var) if len(tape.users(var)) == 1 else None
    if len(chain) < 2 or tape.shape(var) != tape.shape(node.outs[0]):
        return None

    def again(x: np.ndarray) -> np.ndarray:
        for step, p in reversed(chain):
            ins = [x if q == p else np.zeros(tape.shape(v)) for q, v in enumerate(step.ins)]
            x = np.asarray(RULES[step.prim][0](step.params, *ins))
        return x

    ramp = np.arange(1.0, np.size(tape.values[var]) + 1).reshape(tape.shape(var))
    there = again(ramp)
    moves = bool(np.any((there != 0) & (there != ramp)))  # else it is no more than a mask
    return (var, again) if moves else None
