"""What a slip may also be called, by the place where it is.

The search says exactly which rule of the way back is wrong. Which word a person has for it depends
on what stands there as well: whoever leaves a path out beside a clip has ignored the clip.
These words follow the ones that were found.
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.edges import feeds_layer, mask_factors, row
from jaxdl.gradcheck.replay.regions import KINKED, is_elementwise, is_epsilon
from jaxdl.gradcheck.replay.structure import decides, penalty_nodes, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape

DERIVATIVE = {"activation_derivative_missing", "activation_derivative_wrong"}
ROUTE = {"path_dropped", "stale_operand"}
SUBSET = {"path_dropped", "examples_dropped"}
PENALTY = ("l2_missing", "l2_scaled")

NEXT = 3
"""So many nodes in a row are near."""


class Habit(NamedTuple):
    """Where a slip with one of these names is called by another word as well."""

    at: Callable[[Tape, Node], bool]
    found: set[str]
    also: tuple[str, ...]


def words(tape: Tape, node: Node, found: tuple[str, ...]) -> tuple[str, ...]:
    """Further words for a slip of this name at a node, none of them found already."""
    habits = (h for h in HABITS if found[0] in h.found and h.at(tape, node))
    return tuple(dict.fromkeys(w for h in habits for w in h.also if w not in found))


def neighbours(tape: Tape, node: Node) -> list[Node]:
    """An elementwise node with those before it, and those that what it makes comes through next."""
    if not is_elementwise(tape, node):
        return []
    before = (tape.maker(unwrapped(tape, v)[0]) for v in node.ins)
    after = itertools.takewhile(lambda n: is_elementwise(tape, n), row(tape, node)[:NEXT])
    return [*after, *(n for n in before if n is not None)]


def anywhere(tape: Tape, node: Node) -> bool:
    """Wherever it is."""
    return True


def in_a_penalty(tape: Tape, node: Node) -> bool:
    """Does the node serve only a penalty?"""
    return node.index in penalty_nodes(tape)


def beside_a_limit(tape: Tape, node: Node) -> bool:
    """Is there a clip or an added ε at the node?"""
    return any(is_epsilon(tape, n) for n in neighbours(tape, node))


def at_a_kink(tape: Tape, node: Node) -> bool:
    """Do parameters decide between two sides at the node?"""
    return any(n.prim in KINKED and decides(tape, n) for n in neighbours(tape, node))


def at_dropout(tape: Tape, node: Node) -> bool:
    """Is there a mask with a factor of its own at the node?"""
    return bool(mask_factors(tape, neighbours(tape, node)))


def before_dropout(tape: Tape, node: Node) -> bool:
    """Does what comes back to the node come through such a mask, and nothing else join it?"""
    return bool(mask_factors(tape, row(tape, node)))


def beside_one_number(tape: Tape, node: Node) -> bool:
    """Does the node multiply or divide an array by a single number that moves?"""
    if node.prim not in ("mul", "div") or np.size(tape.values[node.outs[0]]) == 1:
        return False
    moving = (unwrapped(tape, v)[0] for v in node.ins if tape.active[v])
    return any(np.size(tape.values[v]) == 1 for v in moving)


def at_one_number(tape: Tape, node: Node) -> bool:
    """Is a single number made here, once?"""
    return np.size(tape.values[node.outs[0]]) == 1 and len(tape.lines[tape.line(node)]) == 1


def in_a_term(tape: Tape, node: Node) -> bool:
    """Is it arithmetic in a term of the loss, with no layer after it?"""
    return is_elementwise(tape, node) and not feeds_layer(tape, node)


def where_ways_join(tape: Tape, node: Node) -> bool:
    """Does more than one way back lead through the node or to what it uses?"""
    used = [unwrapped(tape, v)[0] for v in node.ins if tape.active[v]]
    return len(used) > 1 or any(len(tape.users(v)) > 1 for v in used)


HABITS = (
    Habit(in_a_penalty, {*ROUTE, *DERIVATIVE, "scale", "shared_weight_missed"}, PENALTY),
    Habit(at_dropout, {*ROUTE, *DERIVATIVE}, ("dropout_scale_missing", "dropout_mask_missing")),
    Habit(before_dropout, {"scale"}, ("dropout_scale_missing",)),
    Habit(beside_a_limit, {*ROUTE, *DERIVATIVE, "relu_mask_wrong"}, ("clip_or_eps_ignored",)),
    Habit(at_a_kink, {*SUBSET, *DERIVATIVE}, ("relu_mask_wrong",)),
    Habit(beside_one_number, {*ROUTE, *DERIVATIVE}, ("scale",)),
    Habit(anywhere, {"activation_derivative_wrong"}, ("stale_operand",)),
    Habit(at_one_number, DERIVATIVE, ("scale", "activation_derivative_missing")),
    # What is left of an array without one of its parts stands in the place of the whole.
    Habit(where_ways_join, {"path_dropped"}, ("stale_operand",)),
    Habit(in_a_term, {"stale_operand"}, ("activation_derivative_wrong", "path_dropped")),
)
