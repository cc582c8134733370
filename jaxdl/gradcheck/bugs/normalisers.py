"""Normalisations, y = (z − μ(z)) / σ(z), whose whole gradient lacks 1/σ or has it twice, or is ȳ.

All of what comes back to z has the factor 1/σ: directly, through μ and through σ. Written by hand
it stands once, before the whole, ∂L/∂z = (ȳ − mean ȳ − y mean(ȳ y)) / σ, where it may be forgotten.
"""

import numpy as np

from jaxdl.gradcheck.bugs.extras import times
from jaxdl.gradcheck.bugs.operands import FACTOR
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.regions import KINKED
from jaxdl.gradcheck.replay.structure import ancestors, at_line, made
from jaxdl.gradcheck.replay.tape import Node, Tape

STEPS = 4
"""So many steps may lie between z and what is divided."""


def family(case: Case, node: Node) -> dict:
    """At what makes z: everything that comes back, times or divided by a factor made of z."""
    tape = case.tape
    if not tape.is_active(node.index) or node.opaque is not None:
        return {}
    at = at_line(node)
    found = _ignored(case, node)
    for k, (var, factor) in enumerate(normalisers(tape).get(node.outs[0], ())):
        said = f"the normalising factor {made(tape, var)}"
        for power, words, text in (
            (-1, FACTOR, f"{said} is left out on the way back{at}"),
            (1, ("unknown", "stale_operand"), f"{said} is applied twice on the way back{at}"),
        ):
            with np.errstate(all="ignore"):
                value = factor**power
            if np.all(np.isfinite(value)):
                reach = tape.leaves[node.outs[0]]
                found[k, power] = Variant(lambda c, v=value: times(v), reach, words, text, 0.7)
    return found


def _ignored(case: Case, node: Node) -> dict:
    """A product with a factor made of its other operand, which goes back as if there were none.

    A factor made by a maximum or a selection is a limit to the length of rows.
    """
    tape, found = case.tape, {}
    for p in tape.moving(node) if node.prim in ("mul", "div") else ():
        spread, other = node.ins[1 - p], node.ins[p]
        if (node.prim == "div" and p == 1) or not _is_repeated(tape, spread):
            continue
        made_of, shape = ancestors(tape, [spread]), tape.shape(spread)
        if all(tape.producer[z] not in made_of for z in _sources(tape, other, shape)):
            continue
        own = made_of - ancestors(tape, [other])
        limits = any(tape.nodes[i].prim in KINKED - {"abs"} for i in own)
        words = ("clip_or_eps_ignored", "path_dropped") if limits else FACTOR
        what = "limit to its length" if limits else "normalisation"
        text = f"the gradient goes past the {what}{at_line(node)}"
        reach = tape.leaves[node.outs[0]]
        found["ignored", p] = Variant(lambda c, p=p: _straight(p), reach, words, text, 0.6)
    return found


def _straight(position: int) -> Rule:
    """All that comes back goes to one operand."""
    return lambda sweep, node, ct: [(node.ins[position], ct)]


def normalisers(tape: Tape) -> dict[int, list[tuple[int, np.ndarray]]]:
    """z -> statistics of z, as factors of a product with something made of z."""
    if "normalisers" not in tape.memo:
        found: dict[int, list] = {}
        for node in tape.nodes:
            for q in tape.moving(node) if node.prim in ("mul", "div") else ():
                spread, other = node.ins[q], node.ins[1 - q]
                if (node.prim == "div" and q == 0) or not _is_repeated(tape, spread):
                    continue
                value = np.asarray(tape.values[spread])
                with np.errstate(all="ignore"):
                    factor = 1 / value if node.prim == "div" else value
                made_of = ancestors(tape, [spread])
                for z in _sources(tape, other, value.shape):
                    if tape.producer[z] in made_of:
                        found.setdefault(z, []).append((spread, factor))
        tape.memo["normalisers"] = found
    return tape.memo["normalisers"]


def _is_repeated(tape: Tape, var: int) -> bool:
    """Does an array hold fewer numbers than entries, such as one for each row?"""
    node = tape.maker(var)
    return node is not None and node.prim == "broadcast_in_dim" and tape.active[var]


def _sources(tape: Tape, var: int, shape: tuple[int, ...]) -> list[int]:
    """A variable and what it was made of in a few steps, of one shape."""
    found, stack = [], [var]
    while stack and len(found) < STEPS:
        current = stack.pop(0)
        node = tape.maker(current)
        if current in found or node is None or not tape.active[current]:
            continue
        if tape.shape(current) == shape:
            found.append(current)
            stack += node.ins
    return found
