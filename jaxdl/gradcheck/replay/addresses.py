"""Names for variables that mean the same at every point, relative to a node.

A variable made by a line that runs as often as the node's own (time steps, examples) is named by
the line and a distance in time. Any other is named by its line, if that ran once or if it is
what the line made last or last but one.
"""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.replay.tape import Node, Tape

Address = tuple

ENDS = (-1, -2)
"""Of a line that runs several times, the results that code after it is likely to hold."""


def variables(tape: Tape, node: Node, shape: tuple[int, ...]) -> Iterator[tuple[Address, int]]:
    """(address, variable) of every floating value of this shape that has an address here."""
    for var in by_shape(tape).get(shape, ()):
        found = address(tape, node, var)
        if found is not None:
            yield found, var
    yield from carried(tape, node, shape)


def arranged(
    tape: Tape, node: Node, shape: tuple[int, ...]
) -> Iterator[tuple[Address, int, tuple]]:
    """(address, variable, order of axes) of values that have this shape once transposed.

    At one point two axes may be equally long by chance, so all orders have an address there.
    """
    for found, var in variables(tape, node, shape):
        yield found, var, tuple(range(len(shape)))
    if len(shape) in (2, 3):
        for order in itertools.permutations(range(len(shape))):
            other = tuple(shape[order.index(i)] for i in range(len(shape)))
            if order != tuple(range(len(shape))):
                for found, var in variables(tape, node, other):
                    yield (*found, order), var, order


def carried(tape: Tape, node: Node, shape: tuple[int, ...]) -> Iterator[tuple[Address, int]]:
    """In a loop: operands of this repetition that were made before it, such as the state."""
    for key, members in loops(tape).get(len(tape.lines[tape.line(node)]), {}).items():
        other = tape.nodes[members[tape.turn[node.index]]]
        for p, var in enumerate(other.ins):
            if np.shape(tape.values[var]) != shape or not is_floating(tape.values[var]):
                continue
            made = tape.maker(var)
            if is_constant(tape, var) and set(tape.operands(members, p)) == {var}:
                continue
            if made is None or not _same_turn(tape, made, node, len(members)):
                yield ("operand", key, p), var


def is_floating(value) -> bool:
    """Is it an array of floating numbers? Keys of random numbers are none of NumPy's."""
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def is_constant(tape: Tape, var: int) -> bool:
    """Is it neither data nor made of parameters?"""
    return not tape.data[var] and not tape.active[var]


def _same_turn(tape: Tape, made: Node, node: Node, count: int) -> bool:
    """Was it made in the node's own repetition of a loop of `count` turns?"""
    same = tape.turn[made.index] == tape.turn[node.index]
    return same and len(tape.lines[tape.line(made)]) == count


def loops(tape: Tape) -> dict[int, dict]:
    """Lines that run more than once, by how often."""
    if "loops" not in tape.memo:
        found: dict[int, dict] = {}
        for key, members in tape.lines.items():
            if len(members) > 1:
                found.setdefault(len(members), {})[key] = members
        tape.memo["loops"] = found
    return tape.memo["loops"]


def handed_on(tape: Tape, turns: int) -> dict[int, list[tuple[int, int]]]:
    """For each turn of the loops of this length: edges whose operand an earlier turn made."""
    key = ("handed on", turns)
    if key not in tape.memo:
        found: dict[int, list[tuple[int, int]]] = {}
        for members in loops(tape).get(turns, {}).values():
            for index in members:
                for position in tape.moving(tape.nodes[index]):
                    if _made_earlier(tape, index, position, turns):
                        found.setdefault(tape.turn[index], []).append((index, position))
        tape.memo[key] = found
    return tape.memo[key]


def _made_earlier(tape: Tape, index: int, position: int, turns: int) -> bool:
    made = tape.maker(tape.nodes[index].ins[position])
    if made is None or len(tape.lines[tape.line(made)]) != turns:
        return False
    return tape.turn[made.index] < tape.turn[index]


def by_shape(tape: Tape) -> dict[tuple[int, ...], list[int]]:
    """Floating variables by shape, distinct values only; single numbers only out of loops."""
    cached = tape.memo.get("by_shape")
    if cached is None:
        cached = tape.memo["by_shape"] = {}
        seen: dict[bytes, int] = {}
        for var, value in enumerate(tape.values):
            if not is_floating(value):
                continue
            producer = tape.producer[var]
            if value.ndim == 0 and (producer is None or not _repeats(tape, producer)):
                continue
            if producer is None and var not in tape.arguments and var not in tape.raw:
                continue
            print_ = value.tobytes() if value.size < 4096 else value.ravel()[:512].tobytes()
            key = print_ + str(value.shape).encode()
            if key in seen and not tape.active[var]:
                continue
            seen[key] = var
            cached.setdefault(value.shape, []).append(var)
    return cached


def _repeats(tape: Tape, index: int) -> bool:
    return len(tape.lines[tape.line(tape.nodes[index])]) > 1


class Place(NamedTuple):
    """What a variable's address is made of."""

    line: tuple
    slot: int
    count: int  # repetitions of its line
    elsewhere: Address | None  # for nodes of other loops


def address(tape: Tape, node: Node, var: int) -> Address | None:
    """How to find a variable from this node, or None."""
    index = tape.producer[var]
    if index is None:
        return ("given", var)
    place = _place(tape, var, index)
    if place.count > 1 and place.count == len(tape.lines[tape.line(node)]):
        distance = tape.turn[index] - tape.turn[node.index]
        if abs(distance) <= 1:
            return ("loop", place.line, place.slot, distance)
    return place.elsewhere


def _place(tape: Tape, var: int, index: int) -> Place:
    """What is the same for every node that looks for it, worked out once."""
    known = tape.memo.setdefault("places", {})
    if var not in known:
        made = tape.nodes[index]
        line, key, slot = tape.line(made), tape.key(made), made.outs.index(var)
        from_end = tape.ordinal[index] - len(tape.groups[key])
        elsewhere = ("line", key, slot, from_end) if from_end in ENDS else None
        known[var] = Place(line, slot, len(tape.lines[line]), elsewhere)
    return known[var]
