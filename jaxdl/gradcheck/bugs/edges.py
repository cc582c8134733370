"""One edge of the graph carries a wrong multiple of its cotangent: dropped, negated, scaled.

The gradient is linear in an edge's coefficient c, so c is read off by least squares:
h = g + (c − 1) · (what comes through the edge). Edges in a row, with nothing joining in
between, give the same gradient and are one site.
"""

import math
from collections.abc import Sequence

import numpy as np

from jaxdl.gradcheck.coefficients import close, law, off_by_one, written
from jaxdl.gradcheck.hypotheses import Case, Name, Variant
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.leaves import (
    is_bias,
    is_shared,
    repeats,
    repetition,
    times_used,
)
from jaxdl.gradcheck.replay.regions import inside
from jaxdl.gradcheck.replay.structure import (
    at_line,
    bits,
    decides,
    factor_of,
    is_no_dropout,
    leaf_source,
    line,
    made,
    mask_of,
    penalty_nodes,
    unwrapped,
)
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import LEVELS, members


def scaled_edge(position: int, c: float) -> Rule:
    """The true rule, with what goes to one operand multiplied by c."""

    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct)
        scaled = [(p, c * x if p == position else x) for p, x in sent]
        return [(node.ins[p], x) for p, x in scaled if not (p == position and c == 0)]

    return rule


def is_first(tape: Tape, node: Node, position: int) -> bool:
    """Is this the first edge of its row, seen from the parameters?"""
    var = node.ins[position]
    made_by = tape.producer[var]
    if made_by is None or len(tape.users(var)) > 1 or var in tape.inputs:
        return True
    return len(tape.moving(tape.nodes[made_by])) != 1


def firsts(tape: Tape, node: Node) -> set[int]:
    """Operands whose edge is the first of its row in any repetition of the node's line.

    The state that a loop begins with may have one use, and those that it hands on several.
    """
    key = ("firsts", tape.line(node))
    if key not in tape.memo:
        same = [tape.nodes[i] for i in tape.lines[tape.line(node)]]
        tape.memo[key] = {p for n in same for p in tape.moving(n) if is_first(tape, n, p)}
    return tape.memo[key]


def row(tape: Tape, node: Node) -> list[Node]:
    """The nodes that an edge's cotangent comes through before anything else joins."""
    nodes = [node]
    while len(tape.moving(node)) == 1 and len(node.outs) == 1:
        users = tape.users(node.outs[0])
        if len(users) != 1:
            break
        node = tape.nodes[users[0][0]]
        nodes.append(node)
    return nodes


def family(case: Case, node: Node) -> dict:
    """A coefficient on each edge into this node that is the first of its row."""
    tape = case.tape
    if not tape.is_active(node.index) or node.prim == "scan_outputs":
        return {}
    if node.index < len(tape.raw) and len(tape.users(node.outs[0])) < 2:
        return {}  # the leaf's only use is the same site
    found: dict = {
        ("edge", p): Variant(
            rule=lambda c, p=p: scaled_edge(p, c),
            reach=tape.leaves[node.ins[p]],
            fitted=True,
            name=lambda cs, ms, p=p: name(case, node, p, cs, ms),
            guesses=tuple(1 / k for k in factors(tape, row(tape, node))),
        )
        for p in tape.moving(node)
        if p in firsts(tape, node) and node.ins.count(node.ins[p]) == 1
    }
    if node.outs == (tape.output,) and len(tape.moving(node)) > 1 and node.opaque is None:
        found["whole"] = Variant(
            rule=whole,
            reach=tape.leaves[tape.output],
            fitted=True,
            name=lambda cs, ms: name(case, node, None, cs, ms),
        )
    return found


def whole(c: float) -> Rule:
    """The true rule for c times the cotangent: a loss that ends in a sum, off by a factor."""

    def rule(sweep, node, ct):
        return [(node.ins[p], x) for p, x in by_position(sweep.tape, node, c * ct)]

    return rule


def factors(tape: Tape, nodes: list[Node]) -> list[float]:
    """Constant factors along a row, a dropout mask's own factor included."""
    found = [k for node in nodes if (k := factor_of(tape, node)) is not None]
    return found + mask_factors(tape, nodes)


def mask_factors(tape: Tape, nodes: list[Node]) -> list[float]:
    """Factors that belong to dropout masks in a row: constants beside a mask, or in it."""
    dropout = [node for node in nodes if not is_no_dropout(tape, node)]
    masks = [mask for node in dropout if (mask := mask_of(tape, node)) is not None]
    own = [float(mask.max()) for mask in masks if not close(mask.max(), 1.0)]
    beside = [k for node in nodes if (k := factor_of(tape, node)) is not None and k > 1]
    return own + (beside if masks else [])


def name(
    case: Case, node: Node, position: int | None, cs: Sequence[float], ms: Sequence
) -> Name | None:
    """What a coefficient on this edge, or on all edges of the last node, is called."""
    found = law(cs, ms)
    tape = case.tape
    if found is None:
        if off_by_one(cs, ms):
            text = f"averaged over one example too many or too few ({line(node)})"
            return Name(("scale", "batch_mean_doubled", "batch_mean_missing"), text, 1.5)
        return None
    if close(found.factor, 1.0) and found.power == 0:
        return None
    node = told_at(tape, node, position)
    leaf = leaf_at(tape, node, position)
    at = at_line(node)
    for rule in (_penalty, _dropout, _batch, _bias, _zero):
        given = rule(case, node, position, leaf, found, at)
        if given is not None:
            return given
    branch = position is not None and leaf is None and len(tape.users(node.ins[position])) > 1
    if close(found.factor, -1.0):
        return Name(("sign",), f"the sign is wrong{at}", 0.72 if branch else 0.55)
    inside = _constant(case, node, found)
    text = f"multiplied by {written(found.factor)}{at}"
    cost = 0.75 if branch else 0.6 if found.sure or inside else 0.8
    words = ("scale", *_of_a_mean(tape, node, found.factor))
    if _is_exponent(tape, node, found.factor) or _is_in_activation(tape, node, position):
        words = ("activation_derivative_wrong", *words)
    return Name(words, text + inside, cost)


def _is_one_way(tape: Tape, node: Node, position: int | None) -> bool:
    """Is it one of several ways through a function, which gives one term of its derivative?"""
    return (node.index, position) in inside(tape) and np.size(tape.values[node.outs[0]]) > 1


def _is_in_activation(tape: Tape, node: Node, position: int | None) -> bool:
    """The same, and not a factor of a product in a term of the loss, which is no activation."""
    factor = row(tape, node)[-1].prim in ("mul", "div") and not feeds_layer(tape, node)
    return _is_one_way(tape, node, position) and not factor


def _is_exponent(tape: Tape, node: Node, factor: float) -> bool:
    """Is an exponent above 2 on the row not brought down, as of the cube in a GELU?"""
    powers = (n.params["y"] for n in row(tape, node) if n.prim == "integer_pow")
    return any(k > 2 and close(factor, 1 / k) for k in powers)


def _of_a_mean(tape: Tape, node: Node, factor: float) -> tuple[str, ...]:
    """What a factor is called as well that is the number of entries of an average on the row."""
    for over in row(tape, node):
        summed = tape.maker(unwrapped(tape, over.ins[0])[0])
        if over.prim == "div" and summed is not None and summed.prim == "reduce_sum":
            axes, shape = summed.params["axes"], tape.shape(summed.ins[0])
            count = math.prod(shape[axis] for axis in axes)
            if close(1 / count, factor_of(tape, over) or 0.0):
                if close(factor, count):
                    return ("batch_mean_missing",)
                if close(factor, 1 / count):
                    return ("batch_mean_doubled",)
    return ()


def told_at(tape: Tape, node: Node, position: int | None) -> Node:
    """The repetition that a name is told of: in a loop, one that does not begin it.

    What a loop begins with may be a leaf, and is another array at every later turn.
    """
    if position is None or leaf_source(tape, node.ins[position]) is None:
        return node
    same = tape.lines[tape.line(node)]
    for index, var in zip(same, tape.operands(same, position), strict=True):
        if var is not None and leaf_source(tape, var) is None:
            return tape.nodes[index]
    return node


def leaf_at(tape: Tape, node: Node, position: int | None) -> int | None:
    """The leaf that an edge leads to directly, or None."""
    if node.index < len(tape.raw):
        return node.index
    return None if position is None else leaf_source(tape, node.ins[position])


def _penalty(case, node, position, leaf, found, at) -> Name | None:
    made_by = None if position is None else case.tape.producer[node.ins[position]]
    if not {node.index, made_by} & penalty_nodes(case.tape):
        return None
    if close(found.factor, 0.0):
        return Name(("l2_missing",), f"the penalty's gradient is left out{at}", 0.45)
    text = f"the penalty's gradient is multiplied by {_law(found)}{at}"
    return Name(("l2_scaled",), text, 0.5)


def _law(found) -> str:
    """factor · m^power as a person writes it: 2, m, 2 · m, 1 / m."""
    if found.power == 1 and close(found.factor, 1.0):
        return "m"
    return written(found.factor) + {0: "", 1: " · m", -1: " / m"}[found.power]


def _dropout(case, node, position, leaf, found, at) -> Name | None:
    if found.power or close(found.factor, 0.0):
        return None
    for k in mask_factors(case.tape, row(case.tape, node)):
        if close(found.factor, 1 / k):
            text = f"the dropout factor 1/keep_prob = {written(k)} is left out on the way back{at}"
            return Name(("dropout_scale_missing", "scale"), text, 0.4)
    return None


def _batch(case, node, position, leaf, found, at) -> Name | None:
    bias = leaf is not None and is_bias(case.tape, leaf)
    size = case.size
    factor, power = found.factor, found.power
    if power == 0 and not found.sure and size is not None and size > 1:
        power = 1 if close(factor, size) else -1 if close(factor, 1 / size) else 0
    if power == 0:
        return None
    extra = () if found.sure and close(factor, 1.0) else ("scale",)
    if not found.sure and size == 2:  # a stray factor is likelier than a sum over two examples
        word = "batch_mean_missing" if power == 1 else "batch_mean_doubled"
        return Name(("scale", word), f"multiplied by {written(factor)}{at}", 0.6)
    rest = "" if close(factor, 1.0) or not found.sure else f" (times {written(factor)})"
    if power == 1:
        text = f"summed over the batch instead of averaged: factor m{rest}{at}"
        return Name(("batch_mean_missing", *extra), text, 0.5)
    text = f"divided by m once too often{rest}{at}"
    if bias:
        text = f"the bias gradient is averaged over the batch where it must be summed{rest}{at}"
        return Name(("bias_reduction_wrong", "batch_mean_doubled", *extra), text, 0.5)
    words = ("batch_mean_doubled", *extra)
    if leaf is not None and (repeats(case.tape, leaf) or len(case.hand[leaf].shape) < 2):
        words = ("batch_mean_doubled", "bias_reduction_wrong", *extra)
    return Name(words, text, 0.5)


def _bias(case, node, position, leaf, found, at) -> Name | None:
    """A bias leaf off by the size of some of the axes it is repeated along."""
    if leaf is None or not is_bias(case.tape, leaf) or found.power or close(found.factor, 0.0):
        return None
    repeated = repetition(case.tape, leaf)
    for count in repeated:
        if close(found.factor, 1 / count):
            text = f"the bias gradient is averaged over {count} places where it must be summed{at}"
            words = ("bias_reduction_wrong", "scale")
            return Name(words if count > 2 else words[::-1], text, 0.6)
    return None


def _zero(case, node, position, leaf, found, at) -> Name | None:
    if position is None or not close(found.factor, 0.0):
        return None
    tape = case.tape
    if leaf is not None:
        if times_used(tape, leaf) > 1 and node.index >= len(tape.raw):
            text = f"one use of the leaf is left out{at}"
            words = ("shared_weight_missed", "path_dropped")
            return Name(words if is_shared(tape, leaf) else words[::-1], text, 0.5)
        exact = not np.any(case.hand[leaf])
        return Name(
            ("zero_leaf", "path_dropped"), "the leaf's gradient is zero", 0.35 if exact else 0.8
        )
    if _is_one_way(tape, node, position):
        words = ("activation_derivative_wrong", "path_dropped")
        if not _is_in_activation(tape, node, position):
            words = words[::-1]
        if _chosen(case, node):
            words = ("path_dropped", "examples_dropped", "activation_derivative_wrong")
        return Name(words, f"one term of the derivative is left out{at}", 0.65)
    text = f"the path back to {_array(tape, node.ins[position])} is left out{at}"
    if carries(tape, node, position):
        return Name(("timesteps_truncated", "path_dropped"), text + ", at every step", 0.5)
    words = ("path_dropped", "examples_dropped") if _chosen(case, node) else ("path_dropped",)
    if is_of_last_turn(tape, node, position):
        words += ("timesteps_truncated",)  # what a mask holds still is handed on as well
    var = node.ins[position]
    shared = _made_by_helper(tape, var) or _is_of_one_leaf(tape, var)
    if shared or _is_used_at_every_turn(tape, node, position):
        words += ("shared_weight_missed",)  # one of several times that a network is applied
    return Name(words, text, 0.5)


def _made_by_helper(tape: Tape, var: int) -> bool:
    """Was it made on a line that several calls run?"""
    node = tape.maker(var)
    if node is None:
        return False
    same = members(tape, "place")[LEVELS["place"](tape.key(node))]
    return len({tape.nodes[i].where for i in same}) > 1


def _is_of_one_leaf(tape: Tape, var: int) -> bool:
    """Is it made of one leaf alone, and used several times, as an embedding's rows are?"""
    return len(bits(tape.leaves[var])) == 1 and len(tape.users(var)) > 1


def _is_used_at_every_turn(tape: Tape, node: Node, position: int) -> bool:
    """Is it the same array in every repetition of the line, as the keys of a memory's hops are?"""
    same = tape.lines[tape.line(node)]
    return len(same) > 1 and len(set(tape.operands(same, position))) == 1


def _chosen(case: Case, node: Node) -> bool:
    """Does a condition on the data choose what comes through this row, example by example?"""
    tape = case.tape
    return any(
        n.prim == "select_n" and case.size in tape.shape(n.outs[0]) and not decides(tape, n)
        for n in row(tape, node)
    )


def feeds_layer(tape: Tape, node: Node) -> bool:
    """Does a matrix product or a convolution come after this node, as after an activation?"""
    layers = (n for n in tape.nodes if n.prim in ("dot_general", "conv_general_dilated"))
    return any(tape.above[n.index] >> node.index & 1 for n in layers)


def _array(tape: Tape, var: int) -> str:
    place = made(tape, var)
    return "a parameter" if place.startswith("of leaf") else f"the array {place}"


def carries(tape: Tape, node: Node, position: int) -> bool:
    """Is this the one edge that hands a state of a loop on from turn to turn?"""
    turn = tape.turn[node.index]
    next_uses = [n for n, _ in tape.users(node.ins[position]) if tape.turn[n] == turn]
    return is_of_last_turn(tape, node, position) and len(next_uses) == 1


def is_of_last_turn(tape: Tape, node: Node, position: int) -> bool:
    """Does this edge bring what a line of the same loop made one turn before?"""
    made, count = tape.maker(node.ins[position]), len(tape.lines[tape.line(node)])
    if made is None or count < 2 or len(tape.lines[tape.line(made)]) != count:
        return False
    return tape.turn[made.index] == tape.turn[node.index] - 1


def _constant(case, node, found) -> str:
    """A remark if the coefficient is a constant of the loss, left out or applied twice."""
    for k in factors(case.tape, row(case.tape, node)):
        if close(found.factor, 1 / k):
            return f": the factor {written(k)} is left out on the way back"
        if close(found.factor, k):
            return f": the factor {written(k)} is applied twice"
    return ""
