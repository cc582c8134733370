"""Regions: everything elementwise between a variable z and an a that depends on z alone.

One primitive, or a formula such as 1/(1 + exp(−z)): what a person calls an activation.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.rules.elementwise import RULES as ELEMENTWISE
from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.structure import has_even_constants, mask_of
from jaxdl.gradcheck.replay.tape import Node, Tape

MAX_NODES = 24

ALGEBRAIC = {"square", "integer_pow", "sqrt", "rsqrt", "pow", "mul", "div", "add", "sub", "neg"}
"""Regions of these alone are hardly activations: other explanations come first."""

KINKED = {"max", "min", "select_n", "relu", "clamp", "abs"}

LARGER = {"max": "min", "min": "max"}
"""The larger or smaller of two arrays, and the other one."""

SMALL = 0.02
"""An added constant up to this size is taken for an ε."""

LARGEST = 0.5
"""What is added below a root, or left out where nothing else is, is an ε up to this size."""


class Region(NamedTuple):
    """Elementwise nodes from z to a, in order of execution."""

    z: int
    a: int
    nodes: tuple[Node, ...]

    def evaluate(
        self, tape: Tape, x: np.ndarray, skip: Collection[int] = (), branch=None, swapped=False
    ):
        """(value, derivative) of the region's function at x.

        Nodes in `skip` pass their operand on; selections, and the larger or smaller of two moving
        arrays, take the case numbered `branch`; with `swapped`, the larger is the smaller.
        """
        values: dict[int, Any] = {self.z: x}

        def read(v):
            return values.get(v, tape.values[v])

        nodes = [_swapped(tape, node) for node in self.nodes] if swapped else self.nodes
        for node in nodes:
            moving = tape.moving(node)
            if node.index in skip:
                values[node.outs[0]] = read(node.ins[moving[0]])
            elif branch is not None and picks(tape, node):
                case = node.ins[_place(node, branch)]
                values[node.outs[0]] = np.broadcast_to(read(case), np.shape(x))
            else:
                values[node.outs[0]] = RULES[node.prim][0](node.params, *map(read, node.ins))
        cts = {self.a: np.ones_like(values[self.a])}
        for node in reversed(nodes):
            ct = cts.get(node.outs[0])
            if ct is None:
                continue
            ins = list(map(read, node.ins))
            if node.index in skip:
                back = [ct if p == tape.moving(node)[0] else None for p in range(len(ins))]
            elif branch is not None and picks(tape, node):
                back = [ct if p == _place(node, branch) else None for p in range(len(ins))]
            else:
                back = RULES[node.prim][1](node.params, ct, ins, values[node.outs[0]])
            for var, c in zip(node.ins, back, strict=True):
                if c is not None and (tape.active[var] or var == self.z):
                    cts[var] = cts.get(var, 0.0) + c
        return values[self.a], cts.get(self.z, np.zeros_like(x))


def picks(tape: Tape, node: Node) -> bool:
    """Does it select one of several arrays, or the larger or smaller of two that both move?"""
    return node.prim == "select_n" or (node.prim in LARGER and len(tape.moving(node)) == 2)


def _swapped(tape: Tape, node: Node) -> Node:
    """The smaller of two moving arrays in place of the larger, and the other way round."""
    changes = node.prim in LARGER and picks(tape, node)
    return replace(node, prim=LARGER[node.prim]) if changes else node


def _place(node: Node, branch: int) -> int:
    """The operand that is the case with this number, from 1: a selection's condition is none."""
    return branch if node.prim == "select_n" else branch - 1


def is_elementwise(tape: Tape, node: Node) -> bool:
    """Does it act entry by entry, with every active operand of the result's shape?"""
    if node.prim not in ELEMENTWISE or ELEMENTWISE[node.prim][1] is None:
        return False
    shape = tape.shape(node.outs[0])
    return all(tape.shape(node.ins[p]) == shape for p in tape.moving(node))


def is_linear(tape: Tape, node: Node) -> bool:
    """Is it linear in its one active operand, or a sum?"""
    if node.prim in SUMS or node.prim in ("neg", "copy", "convert_element_type"):
        return True
    moving = tape.moving(node)
    if node.prim == "mul":
        return len(moving) == 1
    if node.prim == "div":
        return moving == [0]
    return node.prim == "select_n" and len(moving) == 1 and mask_of(tape, node) is not None


def regions(tape: Tape, node: Node) -> list[Region]:
    """Regions that end at this node's output, nearest source first."""
    if not is_elementwise(tape, node) or not tape.active[node.outs[0]]:
        return []
    found, members, frontier = [], [], {node.outs[0]}
    while frontier and len(members) < MAX_NODES:
        var = max(frontier)
        index = tape.producer[var]
        if index is None or not is_elementwise(tape, tape.nodes[index]) or index < len(tape.raw):
            break
        made = tape.nodes[index]
        members.append(made)
        frontier.remove(var)
        frontier |= {made.ins[p] for p in tape.moving(made)}
        if len(frontier) == 1 and not all(is_linear(tape, n) for n in members):
            (z,) = frontier
            found.append(Region(z, node.outs[0], tuple(reversed(members))))
    sources = [region for region in found[:-1] if not _is_moved_on(tape, region.z)]
    return [*sources, *found[-1:]][:3]


def _is_moved_on(tape: Tape, z: int) -> bool:
    """Is it −x or x + c? What is wrong with a function of it is said of one of x."""
    made = tape.maker(z)
    if made is None or made.prim not in ("neg", "add", "sub") or len(tape.moving(made)) != 1:
        return False
    return has_even_constants(tape, made)


def inside(tape: Tape) -> frozenset[tuple[int, int]]:
    """Edges (node, operand position) that are one of several ways through an activation's formula.

    Cutting one of them leaves a derivative that is wrong, but not zero.
    """
    if "inside" not in tape.memo:
        edges: set[tuple[int, int]] = set()
        for node in tape.nodes:
            for region in regions(tape, node):
                curved = any(n.prim not in ALGEBRAIC for n in region.nodes)
                if curved and all(_has_constants(tape, n) for n in region.nodes):
                    edges |= _detours(tape, region)
        tape.memo["inside"] = frozenset(edges)
    return tape.memo["inside"]


def _detours(tape: Tape, region: Region) -> set[tuple[int, int]]:
    """Edges of a region without which its end still depends on its source."""
    edges = [(n.index, p) for n in region.nodes for p in tape.moving(n)]
    return {edge for edge in edges if _connects(tape, region, edge)}


def _connects(tape: Tape, region: Region, cut: tuple[int, int]) -> bool:
    reached = {region.z}
    for n in region.nodes:
        if any(n.ins[p] in reached and (n.index, p) != cut for p in tape.moving(n)):
            reached.update(n.outs)
    return region.a in reached


def _has_constants(tape: Tape, node: Node) -> bool:
    """Are its operands that do not move single numbers (or conditions)?"""
    others = [np.asarray(tape.values[v]) for v in node.ins if not tape.active[v]]
    return all(x.dtype == bool or x.size == 0 or np.all(x == x.flat[0]) for x in others)


def ends_here(tape: Tape, node: Node, region: Region) -> bool:
    """Leave out ends that are only a linear step beyond the end of a smaller region."""
    if not is_linear(tape, node) or len(tape.moving(node)) != 1:
        return True
    if node.prim == "neg":  # −f(−z), as log-sigmoid is written, is a function of its own
        return region.nodes[0].prim == "neg" and node.outs[0] != region.nodes[0].outs[0]
    users = tape.users(node.outs[0])
    tail = mask_of(tape, node) is None
    return tail and not (len(users) == 1 and is_linear_tail(tape, tape.nodes[users[0][0]]))


def is_linear_tail(tape: Tape, node: Node) -> bool:
    """Another linear elementwise step of one operand, with constants."""
    one = len(tape.moving(node)) == 1 and is_elementwise(tape, node)
    return one and is_linear(tape, node) and _has_constants(tape, node)


def has_bound(tape: Tape, region: Region) -> bool:
    """Does a selection of the region compare with a number other than 0?"""
    for node in region.nodes:
        index = tape.producer[node.ins[0]] if node.prim == "select_n" else None
        for v in tape.nodes[index].ins if index is not None else ():
            value = np.asarray(tape.values[v])
            if value.size and np.all(value == value.flat[0]) and value.flat[0] != 0:
                return True
    return False


def is_clip(tape: Tape, region: Region) -> bool:
    """Is it nothing but limits by constants, none of them 0?"""
    return all(
        is_limit(tape, n) or n.prim in ("copy", "convert_element_type") for n in region.nodes
    )


def is_limit(tape: Tape, node: Node) -> bool:
    """Does it limit what moves by a constant other than 0?"""
    if node.prim == "clamp":
        return True
    if node.prim not in ("max", "min") or len(tape.moving(node)) != 1:
        return False
    other = np.asarray(tape.values[node.ins[1 - tape.moving(node)[0]]])
    return other.size > 0 and bool(np.all(other == other.flat[0])) and other.flat[0] != 0


def is_epsilon(tape: Tape, node: Node) -> bool:
    """Does the node add a small constant, or limit by one?"""
    if is_limit(tape, node):
        return True
    if node.prim not in ("add", "sub") or len(tape.moving(node)) != 1:
        return False
    other = np.abs(np.asarray(tape.values[node.ins[1 - tape.moving(node)[0]]]))
    return bool(np.all(other <= SMALL)) and bool(np.any(other))


def is_small(tape: Tape, node: Node) -> bool:
    """Does it add one positive number, no larger than an ε may be, to the array that moves?"""
    if node.prim != "add" or len(tape.moving(node)) != 1:
        return False
    other = node.ins[1 - tape.moving(node)[0]]
    value = np.asarray(tape.values[other])
    return (
        not tape.data[other] and value.size > 0 and bool(np.all((value > 0) & (value <= LARGEST)))
    )
