"""A wrong operand where a product takes a part of an array, or several arrays joined.

A row of the batch, the transposed or repeated array, [x, h] beside a joined weight: what is taken
by mistake is the same part of another array, or another array among those that are joined.
"""

from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.bugs.operands import (
    PRODUCTS,
    beside,
    instead,
    made_from,
    square_transposes,
    step_left_out,
)
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.structure import at_line, leaf_source, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape


def family(case: Case, node: Node) -> dict:
    """Wrong parts on each way back through a product."""
    if node.prim not in PRODUCTS or node.opaque is not None or not case.tape.is_active(node.index):
        return {}
    found: dict = {}
    for p in case.tape.moving(node):
        if node.prim != "div" or p == 1:
            found.update(_variants(case, node, p, case.tape.leaves[node.ins[p]]))
    return found


def _variants(case: Case, node: Node, p: int, reach: int) -> dict:
    tape, q = case.tape, 1 - p
    at = at_line(node)
    found: dict = {}
    for i, (own, remade) in enumerate(_pieces(tape, node.ins[q])):
        if leaf_source(tape, own) is not None:
            for order in square_transposes(tape.shape(own)):
                value = remade(np.transpose(tape.values[own], order))
                found["transposed part", p, i, order] = Variant(
                    lambda c, value=value: beside(node, p, value), reach, ("transpose",),
                    f"part of an operand is used without its transpose{at}", 0.45,
                )  # fmt: skip
            continue
        for address, var in variables(tape, node, tape.shape(own)):
            if var == own or not np.any(tape.values[var]):
                continue
            words = ("stale_operand",)
            if not tape.active[own] and made_from(tape, own, var):
                words = step_left_out(tape.values[var], tape.values[own])
            value = remade(tape.values[var])
            found["part", p, i, address] = Variant(
                lambda c, value=value: beside(node, p, value),
                reach, words, f"{instead(tape, node, q, var)}{at}", 0.72,
            )  # fmt: skip
    return found


def _pieces(tape: Tape, operand: int) -> list[tuple[int, Callable]]:
    """Arrays that an operand is a part of or joins, with what it is for other numbers in them."""
    whole, part = unwrapped(tape, operand)
    joined = tape.maker(whole)
    if joined is not None and joined.prim == "concatenate":
        return [(v, _with(tape, joined, i, part)) for i, v in enumerate(joined.ins)]
    return [(whole, part)] if whole != operand and whole not in tape.inputs else []


def _with(tape: Tape, joined: Node, i: int, part: Callable) -> Callable:
    """A concatenation with other numbers in place of its i-th array, as the operand it becomes."""

    def remade(x):
        arrays = [x if k == i else tape.values[v] for k, v in enumerate(joined.ins)]
        return part(RULES["concatenate"][0](joined.params, *arrays))

    return remade
