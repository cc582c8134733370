"""A mark of each example, such as a survival time's event, applied on one way back alone.

The gradient through one operand is then that of the marked examples: those where an array of zeros
and ones, one number an example, is not zero.
"""

import numpy as np

from jaxdl.gradcheck.bugs.edges import is_first
from jaxdl.gradcheck.bugs.subsets import masked
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.structure import at_line, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape

MAX_MARKS = 16

TESTS = ("eq", "ne", "lt", "le", "gt", "ge", "not", "and", "or")

WORDS = ("examples_dropped", "path_dropped", "unknown")


def family(case: Case, node: Node) -> dict:
    """Every mark on every way back that carries one gradient for each example."""
    tape = case.tape
    if not tape.is_active(node.index) or node.opaque is not None or case.size is None:
        return {}
    if node.index in penalty_nodes(tape):
        return {}
    found: dict = {}
    axes = [a for a, n in enumerate(tape.shape(node.outs[0])) if n == case.size]
    for p in tape.moving(node) if axes else ():
        if not is_first(tape, node, p):
            continue
        for mark, keep in marks(case).items():
            if not tells(case, node, p, keep):
                continue
            text = f"only the examples that an array of zeros and ones marks count{at_line(node)}"
            found["mark", p, mark] = Variant(
                lambda c, p=p, keep=keep: masked(p, axes[0], keep),
                tape.leaves[node.ins[p]],
                WORDS,
                text,
                0.75,
            )
    return found


def tells(case: Case, node: Node, position: int, keep: np.ndarray) -> bool:
    """Is what the mark would leave out no whole path, which has a name of its own?

    It is one where all that comes through a use of the product, or through a node that the operand
    is made by, belongs to unmarked examples: as behind a choice between two terms by the mark.
    """
    tape, lonely = case.tape, _unmarked(case, keep)
    made = tape.producer[node.ins[position]]
    before = 0 if made is None else tape.above[made] | 1 << made
    var = node.outs[0]
    while len(users := tape.users(var)) == 1 and len(tape.nodes[users[0][0]].outs) == 1:
        var = tape.nodes[users[0][0]].outs[0]
    after = {(n, var) for n, _ in users}
    here = (node.index, node.ins[position])
    return not any(at in after or at == here or before >> at[0] & 1 for at in lonely)


def _unmarked(case: Case, keep: np.ndarray) -> set[tuple[int, int]]:
    """(node, variable) wherever a gradient that is sent belongs to unmarked examples alone."""
    key = ("unmarked", keep.tobytes())
    if key not in case.memo:
        found = set()
        for index, sent in case.base.sent.items():
            for var, ct in sent:
                alive = _alive(ct, len(keep))
                if np.any(alive) and not np.any(alive & keep):
                    found.add((index, var))
        case.memo[key] = found
    return case.memo[key]


def _alive(ct, size: int) -> np.ndarray:
    """For which examples a gradient is not zero; for all, if it is not one for each example."""
    axes = [a for a, n in enumerate(np.shape(ct)) if n == size]
    if not axes:
        return np.ones(size, bool)
    rows = np.moveaxis(np.asarray(ct), axes[0], 0)
    return np.any(rows.reshape(size, -1) != 0, axis=1)


def marks(case: Case) -> dict[int, np.ndarray]:
    """Data that is zero for some examples and one other number for the rest: where it is not zero.

    By variable, and also where all examples are marked: so it may be in a smaller batch.
    """
    if "marks" not in case.memo:
        given = [v for v in range(len(case.tape.values)) if _is_data(case.tape, v, case.size or 0)]
        found = {v: np.ravel(case.tape.values[v]) for v in given[:MAX_MARKS]}
        case.memo["marks"] = {v: x != 0 for v, x in found.items() if _has_one_number(x)}
    return case.memo["marks"]


def _is_data(tape: Tape, var: int, size: int) -> bool:
    """Is it one number for each example, given or the outcome of a test?"""
    made = tape.maker(var)
    own = isinstance(tape.values[var], np.ndarray) and (made is None or made.prim in TESTS)
    return own and tape.data[var] and not tape.active[var] and _alone(tape.shape(var), size)


def _alone(shape: tuple[int, ...], size: int) -> bool:
    return shape[:1] == (size,) and int(np.prod(shape)) == size


def _has_one_number(x: np.ndarray) -> bool:
    """Is it the same wherever it is not zero?"""
    rest = x[x != 0] if x.dtype.kind in "bif" else x[:0]
    return bool(rest.size) and bool(np.all(rest == rest[0]))
