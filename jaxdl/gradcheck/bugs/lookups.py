"""Look-ups by index: their gradient adds up, and assignment in its place loses rows.

What a look-up picks from an array that is used elsewhere, too, such as the correct class's score,
may also get no gradient at all, or nothing else may get one.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.taps import siblings, window
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.rules.contractions import gather_index
from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.structure import at_line, leaf_source, line
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector

PICKS = ("gather", "dynamic_slice")

MAX_LOOKUPS = 16
FEW_LOOKUPS = 4
"""Among so many, a single one may assign; among more, as in a loop over time, all of them do."""


def family(case: Case, node: Node) -> dict:
    """Entries that are picked left out, and assignment instead of accumulation."""
    return {**_picked(case, node), **_assigned(case, node), **_windowed(case, node)}


def _picked(case: Case, node: Node) -> dict:
    """At what makes an array: no gradient for the entries that data picks, or for the others."""
    tape, found = case.tape, {}
    if node.opaque is not None or not tape.is_active(node.index) or node.index < len(tape.raw):
        return {}
    out = node.outs[0]
    picks = [tape.nodes[n] for n, p in tape.users(out) if p == 0 and tape.nodes[n].prim in PICKS]
    picks = [n for n in picks if n.opaque is None and any(tape.data[v] for v in n.ins[1:])]
    if not picks or len(tape.users(out)) < 2 or leaf_source(tape, out) is not None:
        return {}
    for k, pick in enumerate(picks):
        ((_, hits),) = by_position(tape, pick, np.ones(tape.shape(pick.outs[0])))
        picked = hits != 0
        if np.all(picked):
            continue
        at = at_line(pick)
        for (words, what), weights in _weights(picked).items():
            for to in _ways(tape, node):
                found[what, k, to] = Variant(
                    lambda c, weights=weights, to=to: weighted(weights, to),
                    tape.leaves[out if to is None else node.ins[to]],
                    words,
                    f"the entries that are {what}{at}",
                    0.6 if to is None else 0.7,
                )
    return found


def _weights(picked: np.ndarray) -> dict:
    """(words, text) -> what the cotangent of every entry is multiplied by."""
    dropped = ("path_dropped", "unknown")
    alone = ("path_dropped", "softmax_jacobian_diagonal", "unknown")  # as of a normaliser's parts
    return {
        (dropped, "picked by index get no gradient"): ~picked * 1.0,
        (alone, "not picked by index get no gradient"): picked * 1.0,
        (("sign",), "picked by index get a gradient of the wrong sign"): np.where(picked, -1, 1.0),
    }


def _ways(tape: Tape, node: Node) -> list[int | None]:
    """All ways back from a node at once (None) and, from a sum, each one alone."""
    moving = tape.moving(node)
    return [None, *(moving if node.prim in SUMS and len(moving) > 1 else ())]


def weighted(weights: np.ndarray, to: int | None) -> Rule:
    """The true rule with the cotangent of each entry multiplied, on one way back or on all."""

    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct * weights)
        if to is None:
            return [(node.ins[p], c) for p, c in sent]
        other = dict(sent)
        return [(node.ins[p], other[p] if p == to else c)
                for p, c in by_position(sweep.tape, node, ct)]  # fmt: skip

    return rule


def _assigned(case: Case, node: Node) -> dict:
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
            f"where an index occurs several times, only the {which} counts{scope}{at_line(node)}",
            0.5,
        )
    return found


def _windowed(case: Case, node: Node) -> dict:
    """Windows over what is looked up: of an index that is in one several times, one place counts.

    `table[index[t : t + k]] += part` adds once for each index, with the part of its last place.
    """
    tape = case.tape
    made = tape.maker(node.ins[0]) if node.prim == "slice" else None
    if made is None or made.prim != "gather" or made.opaque is not None:
        return {}
    grid = siblings(tape, node)
    axes = [a for a, starts in enumerate(grid or ()) if len(starts) > 1]
    if grid is None or len(axes) != 1 or leaf_source(tape, made.ins[0]) is None:
        return {}
    index = gather_index(made.params, tape.shape(made.ins[0]), tape.values[made.ins[1]])
    index = np.broadcast_to(index, tape.shape(made.outs[0]))
    start, found = node.params["start_indices"][axes[0]], {}
    own = index[window(node, tuple(node.params["start_indices"]))]
    for which, rest in (
        ("last", [a for a in grid[axes[0]] if a > start]),
        ("first", [a for a in grid[axes[0]] if a < start]),
    ):
        keep = np.ones(own.shape)
        for at in rest:
            there = list(node.params["start_indices"])
            there[axes[0]] = at
            keep[own == index[window(node, tuple(there))]] = 0
        found["window", which] = Variant(
            lambda c, keep=keep: weighted(keep, None),
            tape.leaves[node.outs[0]],
            ("shared_weight_missed", "examples_dropped"),
            f"where an index is in a window several times, only the {which} counts{at_line(node)}",
            0.55,
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


class Wiped(NamedTuple):
    """The hypothesis that a look-up assigns, and wipes what others of its table added before.

    Attributes:
        selector: the first look-up of the table.
        leaf: the table.
        assigns: which of its look-ups assign, by number.
        order: of the look-ups.
        turns: does each example go through all look-ups before the next one does?
    """

    selector: Selector
    leaf: int
    assigns: tuple[int, ...]
    order: tuple[int, ...]
    turns: bool

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """All look-ups at the first of them, nothing at the others."""
        nodes = lookups(case.tape, self.leaf)
        if len(nodes) != len(self.order):
            return []
        at = line(nodes[self.assigns[0]])
        text = f"a look-up assigns where it must add to what the others of its table gave at {at}"
        words = ("shared_weight_missed", "examples_dropped")
        words += ("timesteps_truncated",) * (len(nodes) > FEW_LOOKUPS)
        rules = [self.rule(nodes), *(lambda sweep, node, ct: [] for _ in nodes[1:])]
        return [
            (node.index, Variant(lambda c, rule=rule: rule, 1 << self.leaf, words, text, 0.6))
            for node, rule in zip(nodes, rules, strict=True)
        ]

    def rule(self, nodes: list[Node]) -> Rule:
        """The table's gradient, written into it look-up by look-up."""

        def back(sweep, node, ct):
            shape = sweep.tape.shape(node.ins[0])
            cts = [np.asarray(sweep.ct(n.outs[0])) for n in nodes]
            places = [
                np.broadcast_to(gather_index(n.params, shape, sweep.tape.values[n.ins[1]]), c.shape)
                for n, c in zip(nodes, cts, strict=True)
            ]
            flat = np.zeros(int(np.prod(shape)))
            rows = [[i] for i in range(len(ct))] if self.turns else [slice(None)]
            for i, k in itertools.product(rows, self.order):
                where, what = places[k][i].ravel(), cts[k][i].ravel()
                if k in self.assigns:
                    flat[where] = what
                else:
                    np.add.at(flat, where, what)
            return [(node.ins[0], flat.reshape(shape))]

        return back


def lookups(tape: Tape, leaf: int) -> list[Node]:
    """The look-ups of one table that run along the same examples, in order of execution."""
    nodes = [tape.nodes[n] for n, p in tape.users(tape.inputs[leaf]) if p == 0]
    nodes = [n for n in nodes if n.prim == "gather" and n.opaque is None]
    nodes = [n for n in nodes if 0 not in n.params["dimension_numbers"].offset_dims]
    same = {tape.shape(n.outs[0])[:1] for n in nodes}
    return sorted(nodes, key=lambda n: n.index) if len(same) == 1 else []


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Wiped]:
    """Of several look-ups of one table, one or all assign, example by example or one by one."""
    tape = case.tape
    for leaf in range(len(tape.inputs)):
        nodes = lookups(tape, leaf) if fits(1 << leaf) else []
        if not 1 < len(nodes) <= MAX_LOOKUPS:
            continue
        selector, order = Selector("group", tape.key(nodes[0])), tuple(range(len(nodes)))
        single = [(k,) for k in order if len(order) <= FEW_LOOKUPS]
        for assigns in (*single, order):
            for way, turns in itertools.product((order, order[::-1]), (True, False)):
                yield Wiped(selector, leaf, assigns, way, turns)
