"""What parts of a tape are for: penalties, masks, biases, recurrences, elementwise chains."""

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from jaxdl.gradcheck.replay.backward import add_to, by_position, cotangent
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.tape import Node, Tape

LINEAR_SCALAR = {"neg", "copy", "convert_element_type", "reshape", "squeeze", "broadcast_in_dim"}


def line(node: Node) -> str:
    """`file.py:44`, the innermost line of the caller that led to a node."""
    where: Any = node.where
    while isinstance(where, tuple) and where and not _is_frames(where):
        where = where[0]
    return f"{os.path.basename(where[-1][0])}:{where[-1][1]}" if _is_frames(where) else ""


def _is_frames(where) -> bool:
    """Is it what `tape.lines_of` gives?"""
    return (
        isinstance(where, tuple)
        and len(where) > 0
        and isinstance(where[0], tuple)
        and len(where[0]) == 3
        and isinstance(where[0][0], str)
        and isinstance(where[0][1], int)
    )


@dataclass(frozen=True)
class Structure:
    """Facts about a tape that names depend on.

    Attributes:
        penalties: nodes that serve only a term of the loss without data.
        terms: variables of the additive terms of the loss.
    """

    penalties: frozenset[int]
    terms: tuple[int, ...]


def structure(tape: Tape) -> Structure:
    """Find the terms of the loss, and which nodes serve penalties only."""
    if "structure" not in tape.memo:
        tape.memo["structure"] = Structure(*_terms(tape))
    return tape.memo["structure"]


def _terms(tape: Tape) -> tuple[frozenset[int], tuple[int, ...]]:
    terms, path, stack = [], {}, [tape.output]
    while stack:
        var = stack.pop()
        node = tape.maker(var)
        if node is None or not tape.active[var]:
            continue
        moving = tape.moving(node)
        scalar = all(np.size(tape.values[v]) == 1 for v in node.ins)
        joins = node.prim in ("add", "sub", "add_any")
        passes = node.prim in LINEAR_SCALAR or scales(tape, node)
        if scalar and (joins or passes):
            path[node.index] = [node.ins[p] for p in moving]
            stack += path[node.index]
        else:
            terms.append(var)
    data = [v for v in terms if tape.data[v]]
    free = [v for v in terms if not tape.data[v] and is_penalty(tape, v)]
    data += [v for v in terms if not tape.data[v] and v not in free]
    if not data or not free:
        return frozenset(), tuple(terms)
    serving = ancestors(tape, free) - ancestors(tape, data)
    # On the way from the terms to the loss, a node belongs to penalties if all below it does.
    penal = set(free)
    for index in sorted(path):
        if path[index] and penal.issuperset(path[index]):
            serving.add(index)
            penal |= set(tape.nodes[index].outs)
    return frozenset(serving), tuple(terms)


def is_penalty(tape: Tape, term: int) -> bool:
    """Is the gradient of this term, on every leaf, made of θ and sign(θ) alone?"""
    cts = {term: np.ones(tape.shape(term))}
    made = tape.producer[term]
    for index in range(-1 if made is None else made, -1, -1):
        node = tape.nodes[index]
        ct = cotangent(tape, node, cts)
        if ct is not None:
            for p, c in by_position(tape, node, ct):
                add_to(cts, node.ins[p], c)
    return all(_shrinks(tape.values[v], cts[v]) for v in tape.raw if v in cts)


def _shrinks(theta, slope) -> bool:
    columns = np.stack([np.ravel(theta), np.sign(np.ravel(theta))], axis=1)
    fit = columns @ np.linalg.lstsq(columns, np.ravel(slope), rcond=None)[0]
    return bool(np.allclose(fit, np.ravel(slope), rtol=1e-8, atol=1e-8 * np.max(np.abs(slope))))


def scales(tape: Tape, node: Node) -> bool:
    """Does it multiply or divide its one active operand?"""
    moving = tape.moving(node)
    return (node.prim == "mul" and len(moving) == 1) or (node.prim == "div" and moving == [0])


def ancestors(tape: Tape, variables) -> set[int]:
    """Active nodes that these variables come from."""
    seen: set[int] = set()
    stack = list(variables)
    while stack:
        node = tape.maker(stack.pop())
        if node is None or node.index in seen or not tape.is_active(node.index):
            continue
        seen.add(node.index)
        stack += [v for v in node.ins if tape.active[v]]
    return seen


def is_mask(value) -> bool:
    """Does an array hold zeros and one other value, both of them?"""
    value = np.asarray(value)
    if value.size < 2 or value.dtype.kind not in "bif":
        return False
    rest = value[value != 0]
    return 0 < rest.size < value.size and bool(np.all(rest == rest.flat[0]))


def is_uniform(value) -> bool:
    """Is it one number, everywhere the same and neither 0 nor ±1?"""
    value = np.asarray(value)
    if value.size == 0 or value.dtype.kind not in "if":
        return False
    first = value.flat[0]
    return bool(np.all(value == first)) and np.isfinite(first) and abs(first) not in (0.0, 1.0)


def factor_of(tape: Tape, node: Node) -> float | None:
    """The constant by which a node multiplies its one active operand, or None."""
    if node.prim not in ("mul", "div") or len(tape.moving(node)) != 1:
        return None
    (p,) = tape.moving(node)
    other = tape.values[node.ins[1 - p]]
    if not is_uniform(other) or (node.prim == "div" and p == 1):
        return None
    k = float(np.asarray(other).flat[0])
    return 1 / k if node.prim == "div" else k


def mask_of(tape: Tape, node: Node) -> np.ndarray | None:
    """The 0/k array by which a node multiplies its active operand, or the selection it makes."""
    if node.prim == "mul" and len(tape.moving(node)) == 1:
        other = tape.values[node.ins[1 - tape.moving(node)[0]]]
        return np.asarray(other, float) if is_mask(other) else None
    if node.prim == "div" and tape.moving(node) == [0]:
        return None
    if node.prim == "select_n" and len(tape.moving(node)) == 1 and not tape.active[node.ins[0]]:
        (p,) = tape.moving(node)
        others = [v for q, v in enumerate(node.ins) if q not in (0, p)]
        chosen = np.asarray(tape.values[node.ins[0]]) == p - 1
        zero = all(np.all(np.asarray(tape.values[v]) == 0) for v in others)
        return chosen * 1.0 if zero and is_mask(chosen) else None
    return None


def leaf_source(tape: Tape, var: int) -> int | None:
    """The leaf that a variable is, up to reshaping and repetition, or None."""
    while var not in tape.inputs:
        node = tape.maker(var)
        if node is None or node.prim not in PLUMBING:
            return None
        var = node.ins[0]
    return tape.inputs.index(var)


@lru_cache(maxsize=256)
def bits(mask: int) -> tuple[int, ...]:
    """Positions of the ones."""
    return tuple(i for i in range(mask.bit_length()) if mask >> i & 1)
