"""A product whose other factor is a sum: one term of that sum left out or of the wrong sign.

For y = x · Σ f(a − b) what goes to x is ct · Σ f(a − b). Whoever writes ct · Σ f(a) has forgotten b
there, though not where b itself gets its gradient.
"""

from typing import NamedTuple

import numpy as np

from jaxdl.gradcheck.bugs.operands import beside
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape

PASSES = PLUMBING | {"reduce_sum", "neg"}
MOST_STEPS = 8
MOST_TERMS = 6

DROPPED = ("path_dropped", "stale_operand", "unknown")
NEGATED = ("sign", "unknown")


class Term(NamedTuple):
    """One operand of a sum, and the steps from the sum to the end of what it is a part of."""

    var: int
    steps: tuple[Node, ...]  # the sum first


def family(case: Case, node: Node) -> dict:
    """Terms of the other operand left out or negated, on each way back through a product."""
    tape, found = case.tape, {}
    if node.prim not in ("mul", "dot_general") or not tape.is_active(node.index):
        return {}
    at = at_line(node)
    for p in tape.moving(node):
        q = 1 - p
        if node.ins[p] == node.ins[q]:
            continue
        for k, term in enumerate(terms(tape, node.ins[q])):
            for words, text, sign in ((DROPPED, "is left out", 0), (NEGATED, "is negated", -1)):
                value = without(tape, term, sign)
                found[p, k, sign] = Variant(
                    lambda c, p=p, value=value: beside(node, p, value),
                    tape.leaves[node.ins[p]],
                    words,
                    f"one term of a factor's sum {text} on the way back{at}",
                    0.75,
                )
    return found


def terms(tape: Tape, var: int) -> list[Term]:
    """The terms of the sums that a variable is a linear function of, the outermost sums first."""
    found: list[Term] = []
    stack: list[tuple[int, tuple[Node, ...]]] = [(var, ())]
    while stack and len(found) < MOST_TERMS:
        current, steps = stack.pop(0)
        made = tape.maker(current)
        if made is None or made.opaque is not None or len(steps) >= MOST_STEPS:
            continue
        if made.prim in SUMS:
            here = (made, *steps)
            found += [Term(v, here) for v in made.ins]
            stack += [(v, here) for v in made.ins]
        elif made.prim in PASSES or _is_scaled(tape, made):
            moving = tape.moving(made) or [0]
            stack.append((made.ins[moving[0]], (made, *steps)))
    return found[:MOST_TERMS]


def _is_scaled(tape: Tape, node: Node) -> bool:
    """Is it a multiple, by a constant or data?"""
    moving = tape.moving(node)
    return (node.prim == "mul" and len(moving) == 1) or (node.prim == "div" and moving == [0])


def without(tape: Tape, term: Term, factor: float) -> np.ndarray:
    """The end of a term's steps, with the term multiplied by a factor."""
    new = {term.var: factor * np.asarray(tape.values[term.var])}
    with np.errstate(all="ignore"):
        for node in term.steps:
            ins = [new.get(v, tape.values[v]) for v in node.ins]
            new[node.outs[0]] = np.asarray(RULES[node.prim][0](node.params, *ins))
    return new[term.steps[-1].outs[0]]
