"""Products with a wrong factor: another array in place of an operand or of the cotangent.

For y = x · w the true rule sends ct · wᵀ to x and xᵀ · ct to w. Here w, x or ct on one of the
two ways back is replaced by every other array of the same shape, or by its transpose.
"""

import numpy as np

from jaxdl.gradcheck.replay.addresses import arranged
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.regions import ALGEBRAIC, is_elementwise, is_linear
from jaxdl.gradcheck.replay.rules import PARTS, RULES
from jaxdl.gradcheck.replay.structure import bits, leaf_source, line, mask_of
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.search import Case, Variant

SKIPPED = ("activation_derivative_missing", "dropout_mask_missing")
"""What a gradient taken one step too late leaves out; such a slip is likely."""

CURVED = {"exp", "tanh", "logistic", "relu", "max", "erf", "log", "log1p", "select_n"}

PRODUCTS = ("dot_general", "conv_general_dilated", "mul", "div")


def family(case: Case, node: Node) -> dict:
    """Wrong operands and wrong cotangents on each way back through a product."""
    tape = case.tape
    if node.prim not in PRODUCTS or not tape.is_active(node.index):
        return {}
    found: dict = {}
    for p in tape.moving(node):
        reach = tape.leaves[node.ins[p]]
        if node.prim != "div" or p == 1:
            found.update(_operands(case, node, p, reach))
        found.update(_cotangents(case, node, p, reach))
    return found


def replaced(node: Node, position: int, ins=None, ct_of=None) -> Rule:
    """The true rule, but on the way to one operand with other operands or another cotangent."""

    def rule(sweep, node, ct):
        tape = sweep.tape
        own = [tape.values[v] for v in node.ins]
        own = own if ins is None else ins(own)
        new = ct if ct_of is None else ct_of(sweep)
        if node.prim in PARTS:
            other = PARTS[node.prim][position](node.params, new, *own)
        else:
            back = RULES[node.prim][1](node.params, new, own, tape.values[node.outs[0]])
            other = back[position]
        sent = by_position(tape, node, ct)
        return [(node.ins[p], other if p == position else c) for p, c in sent]

    return rule


def _operands(case: Case, node: Node, p: int, reach: int) -> dict:
    tape, q = case.tape, 1 - p
    other = tape.values[node.ins[q]]
    at = f" at {line(node)}" if line(node) else ""
    found: dict = {}

    def substituted(value):
        def ins(own):
            own = list(own)
            own[q] = value
            return own

        return lambda c: replaced(node, p, ins=ins)

    for order in square_transposes(np.shape(other)):
        if node.prim in ("dot_general", "mul"):
            found["transposed", p, order] = Variant(
                substituted(np.transpose(other, order)), reach, ("transpose",),
                f"an operand is used without its transpose (or with one too many){at}", 0.4,
            )  # fmt: skip
    for address, var, order in arranged(tape, node, np.shape(other)):
        if var == node.ins[q] or not np.any(tape.values[var]):
            continue
        words = ("stale_operand",)
        if mask_of(tape, node) is not None:
            words = ("dropout_mask_missing", "stale_operand")
        if leaf_source(tape, var) is not None and leaf_source(tape, node.ins[q]) is not None:
            text = f"another parameter is used in place of an operand{at}"
        else:
            text = f"the array {made(tape, var)} is used in place of an operand{at}"
        found["operand", p, address] = Variant(
            substituted(np.transpose(tape.values[var], order)), reach, words, text, 0.7
        )
    return found


def square_transposes(shape: tuple[int, ...]):
    """Swaps of two equal axes (the last two of a stack of matrices, or any pair)."""
    rank = len(shape)
    for i in range(rank):
        for j in range(i + 1, rank):
            if shape[i] == shape[j] > 1:
                order = list(range(rank))
                order[i], order[j] = j, i
                yield tuple(order)


def made(tape: Tape, var: int) -> str:
    """Where an array comes from, in words."""
    index = tape.producer[var]
    place = "" if index is None else line(tape.nodes[index])
    if place:
        return f"made at {place}"
    leaf = leaf_source(tape, var)
    return "of the input" if leaf is None else f"of parameter leaf {leaf}"


def _cotangents(case: Case, node: Node, p: int, reach: int) -> dict:
    """The gradient of a later array in place of that of the product."""
    tape, found = case.tape, {}
    out = node.outs[0]
    at = f" at {line(node)}" if line(node) else ""
    for order in square_transposes(tape.shape(out)) if node.prim == "dot_general" else ():
        found["cotangent transposed", p, order] = Variant(
            lambda c, order=order: replaced(
                node, p, ct_of=lambda sweep: np.transpose(sweep.ct(out), order)
            ),
            reach, ("transpose",), f"the incoming gradient is transposed{at}", 0.5,
        )  # fmt: skip
    for address, var, order in arranged(tape, node, tape.shape(out)):
        if not tape.active[var] or var <= out or var == out:
            continue
        words, text = between(tape, out, var)
        found["cotangent", p, address] = Variant(
            lambda c, var=var, order=order: replaced(
                node, p, ct_of=lambda sweep: np.transpose(sweep.ct(var), order)
            ),
            reach, words, text + at, 0.55 if words[0] in SKIPPED else 0.85,
        )  # fmt: skip
    return found


def between(tape: Tape, out: int, var: int) -> tuple[tuple[str, ...], str]:
    """What is skipped when the gradient of `var` is taken for that of the earlier `out`."""
    path, current = [], var
    while current != out and len(path) < 24:
        index = tape.producer[current]
        node = tape.nodes[index] if index is not None else None
        if node is None or not is_elementwise(tape, node):
            break
        path.append(node)
        previous = [node.ins[q] for q in tape.moving(node)]
        current = out if out in previous else max(previous, default=-1)
    if current == out:
        curved = [n for n in path if not is_linear(tape, n)]
        if curved and all(n.prim in ALGEBRAIC for n in curved):
            return ("path_dropped", "stale_operand"), "the gradient behind a formula is used"
        if curved:
            words = ("activation_derivative_missing", "stale_operand")
            return words, "the gradient behind the activation is used, without f′"
        if any(mask_of(tape, n) is not None for n in path):
            words = ("dropout_mask_missing", "stale_operand")
            return words, "the gradient behind the dropout mask is used"
        if path:
            return (
                "path_dropped",
                "stale_operand",
            ), "the gradient behind a constant factor is used"
    if skips_activation(tape, out, var):
        words = ("activation_derivative_missing", "stale_operand")
        return words, "the gradient behind the activation is used, without its derivative"
    return ("stale_operand",), "the gradient of another array is used in a product"


def skips_activation(tape: Tape, out: int, var: int) -> bool:
    """Is there a nonlinearity but no further product between two arrays?"""
    first, last = tape.producer[out], tape.producer[var]
    if first is None or last is None or not tape.above[last] >> first & 1:
        return False
    before = bits(tape.above[last] | 1 << last)
    between = [tape.nodes[k] for k in before if k > first and tape.above[k] >> first & 1]
    prims = {node.prim for node in between}
    return bool(prims & CURVED) and not prims & {"dot_general", "conv_general_dilated"}
