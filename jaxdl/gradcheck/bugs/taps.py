"""A convolution written as slices, with another step between them on the way back.

The slices of one array that start regularly, such as x[:, 2i : 2i + n] for i = 0, 1, 2, are taken
at another step instead: neighbours where the dilation or the stride is forgotten. The first or the
last of them stays where it is. Or all are taken one place off, with zeros beyond the end.
"""

import itertools
from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.bugs.kernels import places
from jaxdl.gradcheck.bugs.operands import PRODUCTS, replaced
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import at_line, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape

WORDS = ("padding_or_stride_shift", "stale_operand")

STEPS = (1, 2, 3)

Starts = tuple[int, ...]


def family(case: Case, node: Node) -> dict:
    """Slices at another step: as one factor of a product, or on the way back to their array."""
    tape = case.tape
    if not tape.is_active(node.index):
        return {}
    if node.prim == "slice":
        return _placed(case, node)
    if node.prim not in PRODUCTS or node.prim == "div" or node.opaque is not None:
        return {}
    found: dict = {}
    for p in tape.moving(node):
        found.update(_read(case, node, p))
    return found


def _variant(case: Case, node: Node, position: int, step: int, rule: Rule) -> Variant:
    text = f"the slices of an array are taken {step} apart on the way back{at_line(node)}"
    return Variant(lambda c: rule, case.tape.leaves[node.ins[position]], WORDS, text, 0.6)


def _read(case: Case, node: Node, p: int) -> dict:
    """The product with the slice that would be there at another step."""
    tape, q = case.tape, 1 - p
    cut, again = origin(tape, node.ins[q])
    if cut is None:
        return {}
    whole, found = tape.values[cut.ins[0]], {}
    for (step, end), starts in elsewhere(tape, cut).items():
        value = again(whole[window(cut, starts)])

        def ins(own, value=value):
            return [value if i == q else x for i, x in enumerate(own)]

        found["read", p, step, end] = _variant(case, node, p, step, replaced(node, p, ins=ins))
    for move in moves(tape, cut):
        starts = cut.params["start_indices"]
        starts = tuple(1 + a + step for a, step in zip(starts, move, strict=True))
        value = again(np.pad(whole, 1)[window(cut, starts)])

        def moved(own, value=value):
            return [value if i == q else x for i, x in enumerate(own)]

        text = f"the windows of an array are read {places(move)} from the right place"
        text += f" on the way back{at_line(node)}"
        rule = replaced(node, p, ins=moved)
        words = WORDS[::-1] if _takes_one(cut, move) else WORDS  # such as the mask of a layer
        found["moved", p, move] = Variant(
            lambda c, rule=rule: rule, tape.leaves[node.ins[p]], words, text, 0.65
        )
    return found


def _takes_one(cut: Node, move: tuple[int, ...]) -> bool:
    """Does the slice take one place along the axes of a move?"""
    begins, ends = cut.params["start_indices"], cut.params["limit_indices"]
    return all(b - a == 1 for a, b, step in zip(begins, ends, move, strict=True) if step)


def moves(tape: Tape, cut: Node) -> list[tuple[int, ...]]:
    """One place along some of the axes on which slices follow one another."""
    grid = siblings(tape, cut)
    steps = [(-1, 0, 1) if len(starts) > 1 else (0,) for starts in grid or ()]
    return [move for move in itertools.product(*steps) if any(move)]


def _placed(case: Case, node: Node) -> dict:
    """What a slice sends back, put where it would be at another step."""

    def rule(starts):
        def back(sweep, node, ct):
            whole = np.zeros(sweep.tape.shape(node.ins[0]))
            whole[window(node, starts)] = ct
            return [(node.ins[0], whole)]

        return back

    moved = elsewhere(case.tape, node).items()
    return {
        ("placed", *key): _variant(case, node, 0, key[0], rule(starts)) for key, starts in moved
    }


def origin(tape: Tape, var: int) -> tuple[Node | None, Callable]:
    """The slice that an array is, up to reshaping, and that reshaping; or None."""
    whole, again = unwrapped(tape, var, PLUMBING - {"slice"})
    cut = tape.maker(whole)
    return (cut if cut is not None and cut.prim == "slice" else None), again


def window(cut: Node, starts: Starts) -> tuple[slice, ...]:
    """The slice as long as it is, from other places."""
    begins, ends = cut.params["start_indices"], cut.params["limit_indices"]
    strides = cut.params["strides"] or (1,) * len(starts)
    places = zip(starts, begins, ends, strides, strict=True)
    return tuple(slice(new, new + b - a, s) for new, a, b, s in places)


def elsewhere(tape: Tape, cut: Node) -> dict[tuple[int, str], Starts]:
    """(step, end that stays) -> where this slice starts if its neighbours are so far apart."""
    grid = siblings(tape, cut)
    if grid is None:
        return {}
    begins, ends = cut.params["start_indices"], cut.params["limit_indices"]
    room = tape.shape(cut.ins[0])
    found: dict[tuple[int, str], Starts] = {}
    for step in STEPS:
        for end, at in (("first", 0), ("last", -1)):
            moves = [g if len(g) < 2 else _spaced(g, step, at) for g in grid]
            last = [m[-1] + b - a for m, a, b in zip(moves, begins, ends, strict=True)]
            inside = all(m[0] >= 0 for m in moves) and all(np.array(last) <= room)
            if moves != grid and inside:
                where = zip(moves, grid, begins, strict=True)
                found[step, end] = tuple(m[g.index(a)] for m, g, a in where)
    return found


def _spaced(starts: list[int], step: int, fixed: int) -> list[int]:
    """As many starts, `step` apart; the first (0) or the last (−1) is kept."""
    first = starts[0] if fixed == 0 else starts[-1] - step * (len(starts) - 1)
    return [first + step * i for i in range(len(starts))]


def siblings(tape: Tape, cut: Node) -> list[list[int]] | None:
    """Along every axis, where the slices of this size of the same array start, if regularly."""
    key = ("siblings", cut.ins[0], tape.shape(cut.outs[0]), cut.params["strides"])
    if key not in tape.memo:
        tape.memo[key] = _siblings(tape, cut)
    return tape.memo[key]


def _siblings(tape: Tape, cut: Node) -> list[list[int]] | None:
    shape, strides = tape.shape(cut.outs[0]), cut.params["strides"]
    nodes = (tape.nodes[n] for n, _ in tape.consumers[cut.ins[0]])
    starts = {
        tuple(map(int, n.params["start_indices"]))
        for n in nodes
        if n.prim == "slice" and tape.shape(n.outs[0]) == shape and n.params["strides"] == strides
    }
    grid = [sorted(set(along)) for along in zip(*starts, strict=True)]
    regular = all(len(set(np.diff(along))) <= 1 for along in grid)
    longest = max(map(len, grid), default=0)
    full = len(starts) == int(np.prod([len(along) for along in grid]))
    return grid if regular and longest > 1 and full else None
