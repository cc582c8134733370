"""The shares in the gradient of a log-sum of exponentials, taken from other logits.

    y = log Σᵢ exp zᵢ:   z̄ᵢ = ȳ pᵢ,  p = softmax(z)

Whoever has softmax(z′) there has forgotten the temperature, a mask or a bias, or weighs the parts
of a mixture by their prior alone. On all of the way back, or on the way to a part of z.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import softmax

from jaxdl.gradcheck.bugs.diverted import made_at
from jaxdl.gradcheck.bugs.lookups import weighted
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.regions import is_elementwise
from jaxdl.gradcheck.replay.structure import at_line, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape

WORDS = ("stale_operand", "activation_derivative_wrong", "unknown")
PASSED = ("abs", "broadcast_in_dim", "reshape", "squeeze", "copy", "convert_element_type")
"""What stands between the sum and its logarithm, and leaves each entry at its place."""

EVEN = 1e-12
"""Shares that differ by no more are all the same."""

PRIOR = ("stale_operand", "path_dropped", "activation_derivative_wrong", "unknown")


def family(case: Case, node: Node) -> dict:
    """Other shares on the whole way back through a logarithm, or on the way to one array."""
    tape = case.tape
    if not tape.is_active(node.index) or node.opaque is not None or node.index < len(tape.raw):
        return {}
    if (sum_ := exponentials(tape, node)) is not None:
        return _whole(case, node, *sum_)
    return _of_one_part(case, node)


def exponentials(tape: Tape, node: Node) -> tuple[int, tuple[int, ...]] | None:
    """(z, axes) of a node that makes log Σ exp z."""
    if node.prim != "log":
        return None
    total = tape.maker(unwrapped(tape, node.ins[0], PASSED)[0])
    powers = tape.maker(total.ins[0]) if total is not None and total.prim == "reduce_sum" else None
    if total is None or powers is None or powers.prim != "exp":
        return None
    whole = np.size(tape.values[total.outs[0]]) == np.size(tape.values[node.outs[0]]) > 0
    return (powers.ins[0], tuple(total.params["axes"])) if whole else None


def _whole(case: Case, node: Node, z: int, axes: tuple[int, ...]) -> dict:
    tape = case.tape
    shape = tape.shape(z)
    kept = tuple(1 if a in axes else n for a, n in enumerate(shape))
    found, at = {}, at_line(node)
    for key, var, shares in _others(tape, node, z, axes):
        found["shares", key] = Variant(
            lambda c, shares=shares: lambda sweep, node, ct: [(z, np.reshape(ct, kept) * shares)],
            tape.leaves[z],
            WORDS,
            f"the shares of a softmax are those of another array{made_at(tape, var)}{at}",
            0.75,
        )
    return found


def _of_one_part(case: Case, node: Node) -> dict:
    """At what makes a part of z, entry by entry: all that comes back to it, with other shares."""
    tape, found = case.tape, {}
    for which, (z, axes) in enumerate(_sums(tape)):
        right = _shares(tape, z, axes)
        if node.index not in _parts(tape, z) or not np.all(right > 0):
            continue
        for key, var, shares in _others(tape, node, z, axes):
            text = "on the way to one part, the shares are those of another array"
            found["share", which, key] = Variant(
                lambda c, factor=shares / right: weighted(factor, None),
                tape.leaves[node.outs[0]],
                PRIOR,
                f"{text}{made_at(tape, var)}{at_line(node)}",
                0.8,
            )
    return found


def _parts(tape: Tape, z: int) -> set[int]:
    """Nodes whose arrays go into z entry by entry, and those that make the first of these."""
    key = ("parts", z)
    if key not in tape.memo:
        found, stack = set(), [z]
        while stack:
            made = tape.maker(stack.pop())
            if made is None or made.index in found or tape.shape(made.outs[0]) != tape.shape(z):
                continue
            found.add(made.index)
            if is_elementwise(tape, made):
                stack += [made.ins[p] for p in tape.moving(made)]
        tape.memo[key] = found
    return tape.memo[key]


def _sums(tape: Tape) -> list[tuple[int, tuple[int, ...]]]:
    """(z, axes) of every log Σ exp z on a line that runs once."""
    if "log sums" not in tape.memo:
        nodes = (n for n in tape.nodes if n.prim == "log" and len(tape.lines[tape.line(n)]) == 1)
        tape.memo["log sums"] = [s for n in nodes if (s := exponentials(tape, n)) is not None]
    return tape.memo["log sums"]


def _others(tape: Tape, node: Node, z: int, axes: tuple[int, ...]) -> Iterator[tuple]:
    """(key, variable, its shares) for every other array that has the place of z."""
    shape = tape.shape(z)
    right = _shares(tape, z, axes)
    places = [(shape, axes)]
    if axes == (len(shape) - 1,) and len(shape) > 1:
        places.append((shape[-1:], (0,)))  # the logits of a prior, the same for every example
    for own, along in places:
        for key, var in variables(tape, node, own):
            if tape.active[var] and np.all(np.isfinite(tape.values[var])):
                shares = np.broadcast_to(_shares(tape, var, along), shape)
                uneven = np.ptp(shares, axis=axes).max() > EVEN  # a normaliser is no logits
                if uneven and not np.allclose(shares, right, rtol=1e-9, atol=0):
                    yield key, var, shares


def _shares(tape: Tape, var: int, axes: tuple[int, ...]) -> np.ndarray:
    """softmax of a variable, once."""
    key = ("shares", var, axes)
    if key not in tape.memo:
        tape.memo[key] = softmax(tape.values[var], axis=axes)
    return tape.memo[key]
