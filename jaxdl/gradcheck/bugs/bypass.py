"""One of several uses of an activation whose gradient does not go through f′, but past it.

    a = f(z), used by an output and by the next step:  z̄ = f′(z) · (ā_output + ā_next)

Written as f′(z) · ā_output + ā_next, or the other way round, the derivative is missing for a part.
"""

from collections.abc import Callable, Iterator

from jaxdl.gradcheck.bugs.activations import NO_ACTIVATION
from jaxdl.gradcheck.replay.backward import by_position
from jaxdl.gradcheck.replay.regions import (
    KINKED,
    Region,
    decides,
    ends_here,
    is_linear,
    regions,
)
from jaxdl.gradcheck.replay.structure import line
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.search import Case, Families, Hypothesis, Variant, hypotheses_of

MISSING = ("activation_derivative_missing",)

COLLECTING = ("scan_outputs", "concatenate")
"""These use the results of many steps at once."""


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Hypothesis]:
    """Every use of an activation that has others as well."""
    return hypotheses_of(case, Families((family,), ()), fits)


def family(case: Case, node: Node) -> dict:
    """What goes back to an activation used elsewhere, too, goes to its argument instead."""
    tape, past = case.tape, {}
    for p in tape.moving(node) if node.opaque is None else ():
        region = activation(tape, node.ins[p])
        if region is not None:
            past[p] = region
    choices: dict = {"all": past} if node.prim in COLLECTING else {p: {p: past[p]} for p in past}
    return {
        ("past", key): _variant(case, node, chosen) for key, chosen in choices.items() if chosen
    }


def activation(tape: Tape, var: int) -> Region | None:
    """The elementwise function that makes a variable of several uses, if one does.

    What a loop makes last has no use in a next turn.
    """
    made = tape.maker(var)
    if made is None:
        return None
    same = (tape.nodes[i] for i in tape.lines[tape.line(made)])
    if max(len(tape.users(node.outs[0])) for node in same) < 2:
        return None
    found = regions(tape, made)
    return found[0] if found and ends_here(tape, made, found[0]) else None


def _variant(case: Case, node: Node, past: dict[int, Region]) -> Variant:
    tape, reach = case.tape, 0
    for region in past.values():
        reach |= tape.leaves[region.z]
    nodes = [n for region in past.values() for n in region.nodes]
    kinked = any(n.prim in KINKED and decides(tape, n) for n in nodes)
    words = (*MISSING, "relu_mask_wrong") if kinked else MISSING
    if all(n.prim in NO_ACTIVATION or is_linear(tape, n) for n in nodes):
        words += ("stale_operand", "unknown")  # for these a forgotten factor gives the same
    text = f"what comes back from {line(node) or 'one use'} does not go through the derivative of "
    text += "the activation, which is used elsewhere as well"

    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct)
        return [(past[p].z if p in past else node.ins[p], c) for p, c in sent]

    return Variant(lambda c: rule, reach, words, text, 0.55)
