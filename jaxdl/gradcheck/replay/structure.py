"""What parts of a tape are for: penalties, masks, biases, recurrences, elementwise chains."""

import itertools
import os
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import numpy as np

from jaxdl.gradcheck.replay.backward import add_to, by_position, cotangent
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.rules.elementwise import RULES as ELEMENTWISE
from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.tape import Node, Tape

LINEAR_SCALAR = {"neg", "copy", "convert_element_type", "reshape", "squeeze", "broadcast_in_dim"}

COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge", "is_finite", "not"}
RANDOM = ("random", "threefry")
FARTHEST = 64
"""Steps that a mask is followed back."""
FAR = 64.0
"""So many times larger, parameters are far from 0."""


def line(node: Node) -> str:
    """`file.py:44`, the innermost line of the caller that led to a node."""
    if node.line is None:
        node.line = _line(node.where)
    return node.line


def _line(where: Any) -> str:
    while isinstance(where, tuple) and where and not _is_frames(where):
        where = where[0]
    return f"{os.path.basename(where[-1][0])}:{where[-1][1]}" if _is_frames(where) else ""


def at_line(node: Node) -> str:
    """ " at file.py:44", or "" for a node that no line of the caller's led to."""
    place = line(node)
    return f" at {place}" if place else ""


@lru_cache(maxsize=4096)
def innermost(where: Any) -> Any:
    """Where a node was made, without the lines that led there: the same for every caller."""
    if _is_frames(where):
        return where[-1]
    return tuple(map(innermost, where)) if isinstance(where, tuple) else where


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


def penalty_nodes(tape: Tape) -> frozenset[int]:
    """Nodes that serve only a penalty: a norm of parameters, or of rows of them looked up by index.

    Data may say which rows are looked up and how strongly each entry is penalised, and nothing else
    in such a term of the loss.
    """
    if tape.output < 0:
        return frozenset()  # a tape of the leaves alone
    if "penalties" not in tape.memo:
        tape.memo["penalties"] = _penalty_nodes(tape)
    return tape.memo["penalties"]


def _penalty_nodes(tape: Tape) -> frozenset[int]:
    terms, path, stack = [], {}, [tape.output]
    while stack:
        var = stack.pop()
        node = tape.maker(var)
        if node is None or not tape.active[var]:
            continue
        moving = tape.moving(node)
        joins = node.prim in SUMS or node.prim == "reduce_sum"
        passes = node.prim in LINEAR_SCALAR or _scales_evenly(tape, node)
        if joins or passes:
            path[node.index] = [node.ins[p] for p in moving]
            stack += path[node.index]
        else:
            terms.append(var)
    free = [v for v in terms if only_rows(tape, v) and is_penalty(tape, v)]
    data = [v for v in terms if v not in free]
    if not data or not free:
        return frozenset()
    serving = ancestors(tape, free) - ancestors(tape, data)
    # On the way from the terms to the loss, a node belongs to penalties if all below it does.
    penal = set(free)
    for index in sorted(path):
        if path[index] and penal.issuperset(path[index]):
            serving.add(index)
            penal |= set(tape.nodes[index].outs)
    return frozenset(serving)


def _scales_evenly(tape: Tape, node: Node) -> bool:
    """Does it multiply or divide its one active operand by a single number?"""
    return scales(tape, node) and has_even_constants(tape, node)


def has_even_constants(tape: Tape, node: Node) -> bool:
    """Is every operand that does not move one number, repeated?"""
    return all(is_even(tape.values[v]) for v in node.ins if not tape.active[v])


def only_rows(tape: Tape, term: int) -> bool:
    """Does a term depend on no data but indices of rows that are looked up, and strengths?"""
    stack, seen = [term], set()
    while stack:
        var = stack.pop()
        if var in seen or not tape.data[var]:
            continue
        seen.add(var)
        node = tape.maker(var)
        if node is None:
            return False
        if is_lookup(tape, node):
            stack.append(node.ins[0])
        elif has_strengths(tape, node):
            stack += [node.ins[p] for p in tape.moving(node)]
        else:
            stack += node.ins
    return True


def has_strengths(tape: Tape, node: Node) -> bool:
    """Does it multiply every entry of what has a parameter's shape by a number of its own?"""
    shape = tape.shape(node.outs[0])
    own = scales(tape, node) and not has_even_constants(tape, node)
    return own and shape in {tape.shape(v) for v in tape.raw}


def is_lookup(tape: Tape, node: Node) -> bool:
    """Does it look up entries of a parameter?"""
    return node.prim == "gather" and leaf_source(tape, node.ins[0]) is not None


def is_penalised(tape: Tape, leaf: int) -> bool:
    """Does the loss put a penalty on a leaf, or on rows of it that are looked up?"""
    stack = [tape.inputs[leaf]]
    while stack:
        for index, _ in tape.users(stack.pop()):
            if index in penalty_nodes(tape):
                return True
            if is_lookup(tape, tape.nodes[index]):
                stack.append(tape.nodes[index].outs[0])
    return False


def is_penalty(tape: Tape, term: int) -> bool:
    """Is it a norm of parameters on some of their entries, Σ (a θ² + b |θ|) or Σ √(θ² + ε)?

    The gradient of the first on every leaf, or on what is looked up of it, is made of θ and sign(θ)
    alone, and its value at −θ and 2θ is what the norm gives: log σ of a single σ has such a
    gradient, too, but is no norm. Strengths of the entries count as 1. For the others see
    `_is_even_and_grows`.
    """
    cts = {term: np.ones(tape.shape(term))}
    made = tape.producer[term]
    ends = []
    for index in range(-1 if made is None else made, -1, -1):
        node = tape.nodes[index]
        ct = cotangent(tape, node, cts)
        if ct is None:
            continue
        if is_lookup(tape, node):
            ends.append(node.outs[0])
            continue
        if has_strengths(tape, node):
            add_to(cts, node.ins[tape.moving(node)[0]], ct)
            continue
        for p, c in by_position(tape, node, ct):
            add_to(cts, node.ins[p], c)
    slopes = [(tape.values[v], cts[v]) for v in (*ends, *tape.raw) if v in cts]
    along = float(sum(np.sum(theta * slope) for theta, slope in slopes))
    fits = all(_shrinks(theta, slope) for theta, slope in slopes)
    return (fits and _grows_like_a_norm(tape, term, along)) or _is_even_and_grows(tape, term)


def _is_even_and_grows(tape: Tape, term: int) -> bool:
    """Is it Σ f(θᵢ), with f even, smallest at 0 and, far from there, growing at least like |θ|?

    A logarithm of |θ|, of θ² + ε or of 1 + θ² grows more slowly: it is that of a scale in a
    likelihood.
    """
    if not all(_keeps_places(tape, tape.nodes[i]) for i in ancestors(tape, [term])):
        return False
    near = [at_multiple(tape, term, t) for t in (0.0, 1 / FAR, 0.5, 1.0)]
    zero, here, mirrored = near[0], near[-1], at_multiple(tape, term, -1.0)
    far, farther = (at_multiple(tape, term, t) - zero for t in (FAR, 2 * FAR))
    even = abs(mirrored - here) <= 1e-8 * abs(here)
    grows = all(a < b for a, b in itertools.pairwise(near))
    return bool(even and grows and np.isfinite(farther) and farther >= 1.9 * far > 0)


def _keeps_places(tape: Tape, node: Node) -> bool:
    """Does it add up entries, or act on each alone, in the place of the parameter that it is of?"""
    out, moving = node.outs[0], {node.ins[p] for p in tape.moving(node)}
    total = np.size(tape.values[out]) == 1
    if total and node.prim in SUMS:
        return True
    if len(bits(tape.leaves[out])) > 1:
        return False
    if node.prim == "dot_general":
        return total and len(moving) == 1  # θ · θ
    if node.prim in PLUMBING:
        return node.prim == "copy" or total
    same = all(tape.shape(v) == tape.shape(out) for v in moving)
    return node.prim == "reduce_sum" or (node.prim in ELEMENTWISE and same)


def _shrinks(theta, slope) -> bool:
    """slope = a θ + b sign(θ) wherever it is not zero, with sign(0) = 1 as for JAX's |θ|?"""
    theta, slope = np.ravel(theta), np.ravel(slope)
    theta, slope = theta[slope != 0], slope[slope != 0]
    if not slope.size:
        return True
    columns = np.stack([theta, np.where(theta >= 0, 1.0, -1.0)], axis=1)
    fit = columns @ np.linalg.lstsq(columns, slope, rcond=None)[0]
    return bool(np.allclose(fit, slope, rtol=1e-8, atol=1e-8 * np.max(np.abs(slope))))


def _grows_like_a_norm(tape: Tape, term: int, along: float) -> bool:
    """T(tθ) = A t² + B |t|, with 2A + B = θ·∇T: compared at t = −1 and t = 2."""
    zero, here, mirrored, double = (at_multiple(tape, term, t) for t in (0.0, 1.0, -1.0, 2.0))
    square = along - (here - zero)
    expected = zero + 4 * square + 2 * (along - 2 * square)
    size = 1e-8 * (abs(here) + abs(zero) + abs(along))
    return bool(abs(mirrored - here) <= size and abs(double - expected) <= size)


def at_multiple(tape: Tape, term: int, t: float) -> float:
    """A scalar variable, with all parameters multiplied by t, and all strengths 1."""
    values = {v: t * tape.values[v] for v in tape.raw}
    with np.errstate(all="ignore"):
        for index in sorted(ancestors(tape, [term])):
            node = tape.nodes[index]
            ins = [values.get(v, tape.values[v]) for v in node.ins]
            if has_strengths(tape, node):
                outs = [ins[p] for p in tape.moving(node)]
            else:
                outs = node.outputs(ins)
            values.update(zip(node.outs, outs, strict=True))
    return float(np.sum(values.get(term, tape.values[term])))


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


def is_even(value) -> bool:
    """Is it one number, everywhere the same?"""
    value = np.ravel(value)
    return value.size > 0 and bool(np.all(value == value[0]))


def is_uniform(value) -> bool:
    """Is it one number, everywhere the same and neither 0 nor ±1?"""
    value = np.asarray(value)
    if value.size == 0 or value.dtype.kind not in "if":
        return False
    first = value.flat[0]
    return bool(np.all(value == first)) and np.isfinite(first) and abs(first) not in (0.0, 1.0)


def factor_of(tape: Tape, node: Node) -> float | None:
    """The constant by which a node multiplies its one active operand, or None.

    One number of the data, such as an example's weight in a loop over examples, is no constant.
    """
    if node.prim not in ("mul", "div") or len(tape.moving(node)) != 1:
        return None
    (p,) = tape.moving(node)
    other = tape.values[node.ins[1 - p]]
    if tape.data[node.ins[1 - p]] or not is_uniform(other) or (node.prim == "div" and p == 1):
        return None
    k = float(np.asarray(other).flat[0])
    return 1 / k if node.prim == "div" else k


def decides(tape: Tape, node: Node) -> bool:
    """Is it a kink whose side depends on parameters (not a selection by a fixed condition)?"""
    return node.prim != "select_n" or decided(tape, node.ins[0])


def decided(tape: Tape, condition: int) -> bool:
    """Do parameters decide this condition, by a comparison a few steps back?"""
    stack, steps = [condition], 0
    while stack and steps < 8:
        made, steps = tape.maker(stack.pop()), steps + 1
        if made is not None and any(tape.active[v] for v in made.ins):
            return True
        stack += made.ins if made is not None else ()
    return False


def mask_of(tape: Tape, node: Node) -> np.ndarray | None:
    """The 0/k array by which a node multiplies its active operand, or the selection it makes."""
    if node.prim == "mul" and len(tape.moving(node)) == 1:
        other = tape.values[node.ins[1 - tape.moving(node)[0]]]
        return np.asarray(other, float) if is_mask(other) else None
    if node.prim == "div" and tape.moving(node) == [0]:
        return None
    if node.prim == "select_n" and len(tape.moving(node)) == 1 and not decides(tape, node):
        (p,) = tape.moving(node)
        others = [v for q, v in enumerate(node.ins) if q not in (0, p)]
        chosen = np.asarray(tape.values[node.ins[0]]) == p - 1
        zero = all(np.all(np.asarray(tape.values[v]) == 0) for v in others)
        return chosen * 1.0 if zero and is_mask(chosen) else None
    return None


def is_no_dropout(tape: Tape, node: Node) -> bool:
    """Is the mask of this node an identity matrix, or made of data by a comparison, or of terms?

    With a factor such as 1/keep_prob beside it a comparison makes a mask of dropout, too. A mask
    that stands before no further weights tells which terms of the loss count.
    """
    mask = mask_of(tape, node)
    if mask is None:
        return False
    compared = _is_compared(tape, node) and not scaled_beside(tape, node)
    return _is_diagonal(mask) or compared or not _goes_into_weights(tape, node)


def _goes_into_weights(tape: Tape, node: Node) -> bool:
    """Is there a product with a parameter on the way from this node to the loss?"""
    key = ("into weights", node.index)
    if key not in tape.memo:
        reached, found = set(node.outs), False
        for later in tape.nodes[node.index + 1 :]:
            if found or reached.isdisjoint(later.ins) or not tape.is_active(later.index):
                continue
            product = later.prim in ("dot_general", "conv_general_dilated")
            found = product and any(leaf_source(tape, v) is not None for v in later.ins)
            reached.update(later.outs)
        tape.memo[key] = found
    return tape.memo[key]


def scaled_beside(tape: Tape, node: Node) -> bool:
    """Does a constant of more than 1 multiply what comes into a mask or goes out of it?"""
    (p,) = tape.moving(node)
    beside = [tape.maker(node.ins[p]), *(tape.nodes[n] for n, _ in tape.users(node.outs[0]))]
    return any(n is not None and (factor_of(tape, n) or 0.0) > 1 for n in beside)


def _is_compared(tape: Tape, node: Node) -> bool:
    """Does the loss make this mask by comparing data, none of it random?"""
    (p,) = tape.moving(node)
    stack, seen = [v for q, v in enumerate(node.ins) if q != p], set[str]()
    for _ in range(FARTHEST):
        made = tape.maker(stack.pop()) if stack else None
        if made is not None:
            seen.add(made.prim)
            stack += made.ins
    return bool(seen & COMPARISONS) and not any(p.startswith(RANDOM) for p in seen)


def _is_diagonal(mask: np.ndarray) -> bool:
    """Is it an identity matrix, or a batch of them, times a constant?"""
    *_, rows, columns = (0, 0, *mask.shape)
    return rows == columns > 1 and bool(np.all((mask != 0) == np.eye(rows, dtype=bool)))


def leaf_source(tape: Tape, var: int) -> int | None:
    """The leaf that a variable is, up to reshaping and repetition, or None."""
    while var not in tape.inputs:
        node = tape.maker(var)
        if node is None or node.prim not in PLUMBING:
            return None
        var = node.ins[0]
    return tape.inputs.index(var)


def unwrapped(
    tape: Tape, var: int, prims: Collection[str] = PLUMBING
) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """What an array is made of by these primitives of one operand alone, and how it is made."""
    chain: list[Node] = []
    node = tape.maker(var)
    while node is not None and node.prim in prims and var not in tape.inputs:
        chain.append(node)
        var = node.ins[0]
        node = tape.maker(var)

    def again(x: np.ndarray) -> np.ndarray:
        for step in reversed(chain):
            x = RULES[step.prim][0](step.params, x)
        return x

    return var, again


def made(tape: Tape, var: int) -> str:
    """Where an array comes from, in words; "leaf number 2" becomes the leaf's path in a finding."""
    index = tape.producer[var]
    place = "" if index is None else line(tape.nodes[index])
    if place:
        return f"made at {place}"
    leaf = leaf_source(tape, var)
    return "of the input" if leaf is None else f"of leaf number {leaf}"


@lru_cache(maxsize=256)
def bits(mask: int) -> tuple[int, ...]:
    """Positions of the ones."""
    return tuple(i for i in range(mask.bit_length()) if mask >> i & 1)
