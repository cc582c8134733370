"""An average over other entries than the loss's: the marked or the active ones, or all of them.

    y = Σᵢ kᵢ xᵢ / n:  x̄ᵢ = ȳ kᵢ / n, not ȳ kᵢ / Σ k

Whoever divides by Σ k averages what a mark k, or the positive side of a ReLU, leaves; and the
other way round.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.edges import scaled_edge
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.regions import LARGER
from jaxdl.gradcheck.replay.structure import at_line, made, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape

MOST = 16
SUMS = ("reduce_sum", "dot_general")
MORE, FEWER = ("batch_mean_doubled",), ("batch_mean_missing",)
"""What an average over more or fewer examples than the loss's is called as well."""


class Marked(NamedTuple):
    """How many entries of an array count, and of how many."""

    var: int
    count: int
    size: int


def family(case: Case, node: Node) -> dict:
    """Another number of entries in place of an average's own."""
    tape = case.tape
    if not _averages(tape, node):
        return {}
    (p,) = tape.moving(node)
    divisor = float(np.ravel(tape.values[node.ins[1]])[0])
    given = tape.maker(node.ins[1]) is None
    found: dict = {}
    for key, marked in all_marked(tape).items():
        whose = f"those that an array {made(tape, marked.var)} marks"
        numbers = {f"over {whose}": marked.count}
        if not given:
            numbers[f"over all, not {whose}"] = marked.size
        batch = (MORE, FEWER) if marked.size == case.size else ((), ())
        for k, (what, number) in enumerate(numbers.items()):
            if number:
                found["average", key, k] = Variant(
                    lambda c, factor=divisor / number: scaled_edge(p, factor),
                    tape.leaves[node.outs[0]],
                    ("scale", *batch[number < divisor], "unknown"),
                    f"averaged {what}{at_line(node)}",
                    0.85,
                )
    return found


def _averages(tape: Tape, node: Node) -> bool:
    """Does it divide a sum over several entries by one number that does not move?"""
    if node.prim != "div" or tape.moving(node) != [0] or np.size(tape.values[node.outs[0]]) != 1:
        return False
    summed = tape.maker(unwrapped(tape, node.ins[0])[0])
    return summed is not None and summed.prim in SUMS


def all_marked(tape: Tape) -> dict[tuple, Marked]:
    """Arrays that say yes or no of each entry, on lines that ran once, by a name for the line."""
    if "marked" not in tape.memo:
        found: dict[tuple, Marked] = {}
        for key, var, yes in _answers(tape):
            if len(found) < MOST:
                found[key] = Marked(var, int(np.sum(yes)), yes.size)
        tape.memo["marked"] = found
    return tape.memo["marked"]


def _answers(tape: Tape) -> Iterator[tuple[tuple, int, np.ndarray]]:
    for var in tape.arguments:
        value = tape.values[var]
        numbers = isinstance(value, np.ndarray) and value.dtype.kind in "bif"
        if numbers and value.size > 1 and np.all((value == 0) | (value == 1)):
            labels = value.ndim > 1 and np.all(np.sum(value, axis=-1) == 1)
            if not labels:
                yield ("given", var), var, value != 0
    for members in tape.groups.values():
        node = tape.nodes[members[0]]
        value = tape.values[node.outs[0]] if len(members) == 1 else None
        if not isinstance(value, np.ndarray) or value.size < 2:
            continue
        key = tape.key(node)
        if value.dtype.kind == "b":
            yield key, node.outs[0], value
        elif node.prim == "relu":
            yield key, node.outs[0], value > 0
        elif node.prim in LARGER and len(tape.moving(node)) == 1:
            limit = tape.values[node.ins[1 - tape.moving(node)[0]]]
            yield key, node.outs[0], value != limit
