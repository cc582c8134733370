"""One of several uses of an activation whose gradient does not go through f′, but past it.

    a = f(z), used by an output and by the next step:  z̄ = f′(z) · (ā_output + ā_next)

Written as f′(z) · ā_output + ā_next, or the other way round, the derivative is missing for a part.
So may be the way through a normaliser: of s = x − log Σ eˣ, used by an entropy and by something
else, the former's part is taken for that of x.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.activations import NO_ACTIVATION, is_kinked, plain
from jaxdl.gradcheck.bugs.uses import MOST_USERS, some_uses
from jaxdl.gradcheck.hypotheses import Case, Families, Hypothesis, Variant, hypotheses_of
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.regions import Region, ends_here, is_linear, regions
from jaxdl.gradcheck.replay.structure import ancestors, at_line, line
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import Selector

NORMALISER = ("path_dropped", "softmax_jacobian_diagonal")

MISSING = ("activation_derivative_missing",)

COLLECTING = ("scan_outputs", "concatenate")
"""These use the results of many steps at once."""


class Unnormalised(NamedTuple):
    """The hypothesis that some uses of a normalised array send nothing through its normaliser.

    With `diagonal`, they send what every entry has there of itself alone.
    """

    selector: Selector
    users: tuple[int, ...]  # positions in the list of uses
    count: int  # uses in all
    diagonal: bool

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """One rule at every node concerned."""
        tape, found = case.tape, []
        for index in self.selector.nodes(tape):
            made = tape.nodes[index]
            if not _is_normalised(tape, made):
                continue
            text = f"what comes back from {len(self.users)} of {self.count} uses goes past the "
            text += f"normaliser{at_line(made)}"
            above = {tape.nodes[i].prim for i in ancestors(tape, made.ins)}
            words = NORMALISER if "exp" in above else NORMALISER[:1]
            if self.diagonal:
                text = f"{text}, but for the diagonal of its Jacobian"
                words = words[::-1]
            for user, places in some_uses(tape, made, self.users, self.count).items():
                rule = _past(made, places, self.diagonal)
                found.append((user, Variant(lambda c, r=rule: r, 0, words, text, 0.75)))
        return found


def _past(made: Node, places: tuple[int, ...], diagonal: bool) -> Rule:
    """The true rule, but what goes to the normalised array goes on to what is normalised."""

    def rule(sweep, node, ct):
        sent, values = [], sweep.tape.values
        normalised = values[made.outs[0]]
        share = normalised if made.prim == "div" else np.exp(normalised)
        for p, c in by_position(sweep.tape, node, ct):
            if p in places:
                c = c * (1 - share) if diagonal else c
                c = c / values[made.ins[1]] if made.prim == "div" else c
            sent.append((made.ins[0] if p in places else node.ins[p], c))
        return sent

    return rule


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Hypothesis | Unnormalised]:
    """Every use of an activation that has others as well; some uses of what is normalised."""
    yield from hypotheses_of(case, Families((family,), ()), fits)
    tape = case.tape
    for key, members in tape.groups.items():
        node = tape.nodes[members[0]]
        count = len(tape.users(node.outs[0]))
        if not 2 <= count <= MOST_USERS or not fits(tape.leaves[node.outs[0]]):
            continue
        for size in range(1, count) if _is_normalised(tape, node) else ():
            for users in itertools.combinations(range(count), size):
                yield Unnormalised(Selector("group", key), users, count, False)
                yield Unnormalised(Selector("group", key), users, count, True)


def _is_normalised(tape: Tape, node: Node) -> bool:
    """Is it x − log Σ eˣ or x / Σ x: one number for many entries, made of the first operand?"""
    if node.prim not in ("sub", "div") or len(tape.moving(node)) != 2:
        return False
    repeated, first = tape.maker(node.ins[1]), tape.producer[node.ins[0]]
    if repeated is None or repeated.prim != "broadcast_in_dim":
        return False
    return first in ancestors(tape, [node.ins[1]])


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
    kinked = any(is_kinked(tape, region) for region in past.values())
    words = (*MISSING, "relu_mask_wrong") if kinked else MISSING
    if all(n.prim in NO_ACTIVATION or is_linear(tape, n) for n in nodes):
        words += ("stale_operand", "unknown")  # for these a forgotten factor gives the same
    text = f"what comes back from {line(node) or 'one use'} does not go through the derivative of "
    text += "the activation, which is used elsewhere as well"

    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct)
        return [(past[p].z if p in past else node.ins[p], c) for p, c in sent]

    algebraic = 0.6 if all(plain(tape, n) for n in nodes) else 0.0
    return Variant(lambda c: rule, reach, words, text, 0.55 + algebraic)
