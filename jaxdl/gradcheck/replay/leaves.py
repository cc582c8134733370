"""What a parameter leaf is for: a bias, a weight that layers share; how often it is used."""

import itertools
import math

import numpy as np

from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.rules.structural import PLUMBING, broadcast_axes
from jaxdl.gradcheck.replay.structure import penalty_nodes
from jaxdl.gradcheck.replay.tape import Tape


def is_bias(tape: Tape, leaf: int) -> bool:
    """Is every use of the leaf, outside penalties, an addition after repetition?"""
    penalties = penalty_nodes(tape)
    stack, adds, others = [tape.inputs[leaf]], 0, 0
    while stack:
        for index, _ in tape.users(stack.pop()):
            node = tape.nodes[index]
            if index in penalties:
                continue
            if len(tape.moving(node)) == 1 and node.prim in (
                "broadcast_in_dim",
                "reshape",
                "squeeze",
                "copy",
                "transpose",
                "slice",
                "index",
                "mul",
                "convert_element_type",
            ):
                stack.append(node.outs[0])
            elif node.prim in SUMS:
                adds += 1
            else:
                others += 1
    return adds > 0 and others == 0


def repeats(tape: Tape, leaf: int) -> bool:
    """Is the leaf repeated along new axes in its (only) use?"""
    var = tape.inputs[leaf]
    users = tape.users(var)
    while len(users) == 1:
        node = tape.nodes[users[0][0]]
        if len(tape.moving(node)) > 1:
            return False
        if np.size(tape.values[node.outs[0]]) > np.size(tape.values[var]):
            return True
        users = tape.users(node.outs[0])
    return False


def repetition(tape: Tape, leaf: int) -> list[int]:
    """Sizes (and their products) of the axes along which a bias is repeated."""
    users, sizes = tape.users(tape.inputs[leaf]), []
    while users:
        node = tape.nodes[users[0][0]]
        if len(tape.moving(node)) > 1:
            break
        if node.prim == "broadcast_in_dim":
            axes = broadcast_axes(node.params, tape.shape(node.ins[0]))
            sizes += [tape.shape(node.outs[0])[axis] for axis in axes]
        users = tape.users(node.outs[0])
    groups = [g for k in range(1, len(sizes) + 1) for g in itertools.combinations(sizes, k)]
    return sorted({math.prod(group) for group in groups} - {1})


def times_used(tape: Tape, leaf: int) -> int:
    """How many uses of a leaf there are outside penalties."""
    penalties = penalty_nodes(tape)
    var = tape.inputs[leaf]
    users = [n for n, _ in tape.users(var) if n not in penalties]
    while len(users) == 1 and tape.nodes[users[0]].prim in PLUMBING:
        users = [n for n, _ in tape.users(tape.nodes[users[0]].outs[0]) if n not in penalties]
    return len(users)


def is_shared(tape: Tape, leaf: int) -> bool:
    """Are all uses of the leaf products or look-ups, as of a weight that layers share?"""
    stack, found = [tape.inputs[leaf]], True
    while stack:
        for index, _ in tape.users(stack.pop()):
            node = tape.nodes[index]
            if index in penalty_nodes(tape):
                continue
            if node.prim in PLUMBING:
                stack.append(node.outs[0])
            else:
                found &= node.prim in ("dot_general", "conv_general_dilated", "gather")
    return found
