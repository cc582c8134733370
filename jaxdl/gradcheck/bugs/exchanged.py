"""Two parts of an array whose gradients are exchanged on the way back.

The gates of an LSTM cut from one product in another order, the two halves of a pooling, joined
arrays taken apart the wrong way round, two heads above one layer: what comes back is all there,
at the other's place.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector

PARTS = ("leaves_swapped", "wrong_entry", "stale_operand", "unknown")
WORDS = ("stale_operand", "leaves_swapped", "wrong_entry", "unknown")
CUTS = ("slice", "index", "dynamic_slice")
PRODUCTS = ("dot_general", "conv_general_dilated", "mul")
MOST = 12
"""So many uses of one array are looked at in pairs."""


class Exchanged(NamedTuple):
    """The hypothesis that two uses of an array get each other's gradient on the way back to it."""

    selector: Selector
    other: Selector
    position: int

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """A rule at each of the two, at every turn of a loop."""
        tape, found = case.tape, []
        pairs = [selector.nodes(tape) for selector in (self.selector, self.other)]
        if len(pairs[0]) != len(pairs[1]):
            return []
        for a, b in zip(*pairs, strict=True):
            one, other = tape.nodes[a], tape.nodes[b]
            if not _alike(tape, one, other, self.position):
                return []
            text = f"two parts of an array get each other's gradient{at_line(one)}"
            for node, instead in ((one, other), (other, one)):
                rule = _with_that_of(instead, self.position)
                variant = Variant(lambda c, r=rule: r, tape.leaves[node.outs[0]], PARTS, text, 0.75)
                found.append((node.index, variant))
        return found


def _with_that_of(other: Node, position: int) -> Rule:
    """The true rule, but on the way to one operand with the gradient of another node's result."""

    def rule(sweep, node, ct):
        own = by_position(sweep.tape, node, ct)
        wrong = dict(by_position(sweep.tape, node, sweep.ct(other.outs[0])))
        return [(node.ins[p], wrong[p] if p == position else c) for p, c in own]

    return rule


def _alike(tape: Tape, one: Node, other: Node, position: int) -> bool:
    same = one.prim == other.prim and tape.shape(one.outs[0]) == tape.shape(other.outs[0])
    return same and one.ins[position] == other.ins[position]


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Exchanged]:
    """Every pair of lines that cut a part from one array, or multiply one array, alike."""
    tape = case.tape
    for members in tape.groups.values():
        made = tape.nodes[members[0]]
        if (
            len(made.outs) != 1
            or not tape.is_active(made.index)
            or not fits(tape.leaves[made.outs[0]])
        ):
            continue
        users = [(tape.nodes[n], p) for n, p in tape.users(made.outs[0])]
        users = [(n, p) for n, p in users if n.prim in (*CUTS, *PRODUCTS) and n.opaque is None]
        for (a, p), (b, q) in itertools.combinations(users, 2) if len(users) <= MOST else ():
            keys = tape.key(a), tape.key(b)
            if p == q and keys[0] != keys[1] and _alike(tape, a, b, p):
                yield Exchanged(Selector("group", keys[0]), Selector("group", keys[1]), p)


def family(case: Case, node: Node) -> dict:
    """Two of several joined arrays exchanged when they are taken apart again, or all in reverse.

    Where these are windows of one array, all in reverse is a filter that was flipped.
    """
    tape = case.tape
    if node.prim not in ("concatenate", "stack") or not tape.is_active(node.index):
        return {}
    alike = len({tape.shape(v) for v in node.ins}) == 1
    windows = _overlap(tape, node)
    backwards = dict(enumerate(reversed(range(len(node.ins)))))
    moving = tape.moving(node)
    pairs = itertools.combinations(moving, 2) if len(moving) <= MOST else ()
    orders = [{p: q, q: p} for p, q in pairs if tape.shape(node.ins[p]) == tape.shape(node.ins[q])]
    orders += [backwards] if alike and len(moving) == len(node.ins) > 3 else []
    found = {}
    for order in orders:
        reach = 0
        for p in order:
            reach |= tape.leaves[node.ins[p]]
        flips = windows and all(backwards[p] == q for p, q in order.items()) and len(moving) > 1
        flips &= len(order) >= len(moving) - 1  # the one in the middle stays where it is
        many = "two" if len(order) == 2 else "all"
        text = f"{many} of the joined arrays get each other's gradient{at_line(node)}"
        words = ("conv_flip", *WORDS) if flips else WORDS
        found["exchanged", tuple(order.items())] = Variant(
            lambda c, order=order: _taken_apart(order), reach, words, text, 0.75
        )
    return found


def _overlap(tape: Tape, node: Node) -> bool:
    """Are all that are joined windows of one array that overlap, as those of a filter do?"""
    sources = [_source(tape, v) for v in node.ins]
    first = sources[0]
    if first is None or sources.count(first) < len(sources):
        return False
    return sum(np.size(tape.values[v]) for v in node.ins) > np.size(tape.values[first])


def _source(tape: Tape, var: int) -> int | None:
    """The array that a variable is a window of, if it is one."""
    made = tape.maker(var)
    cut = False
    while made is not None and made.prim in PLUMBING:
        cut |= made.prim in CUTS
        var, made = made.ins[0], tape.maker(made.ins[0])
    return var if cut else None


def _taken_apart(order: dict[int, int]) -> Rule:
    """The true rule with what goes to these operands exchanged."""

    def rule(sweep, node, ct):
        sent = dict(by_position(sweep.tape, node, ct))
        return [(node.ins[p], sent[order.get(p, p)]) for p in sent]

    return rule
