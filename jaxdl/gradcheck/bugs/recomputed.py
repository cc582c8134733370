"""Right rules after a slip in the forward pass that the gradient recomputes.

Whoever writes W x where the loss has W x + b, with every rule of the way back right, has the rules
at other values. No word of the catalogue is about the forward pass, so it is `unknown`, but with
the place and the slip. The tape is run again with one line changed, and every rule after it uses
the new values; that line's own rule may be the one of the loss or of the line as changed.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxdl.gradcheck.bugs.forward import Step, rerun, rule_of
from jaxdl.gradcheck.bugs.normalisations import is_small
from jaxdl.gradcheck.replay.rules.elementwise import UNARY
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node
from jaxdl.gradcheck.search import Case, Variant
from jaxdl.gradcheck.selectors import Selector, selectors

WORDS = ("unknown",)

LEFT, RIGHT = 0, 1

SLIPS: dict[str, dict[str, Step]] = {
    "add": {
        "the first term left out": Step("copy", (RIGHT,)),
        "the second term left out": Step("copy", (LEFT,)),
        "− in place of +": Step("sub", (LEFT, RIGHT)),
    },
    "sub": {
        "the first term left out": Step("neg", (RIGHT,)),
        "the second term left out": Step("copy", (LEFT,)),
        "+ in place of −": Step("add", (LEFT, RIGHT)),
    },
    "mul": {
        "the first factor left out": Step("copy", (RIGHT,)),
        "the second factor left out": Step("copy", (LEFT,)),
        "a division in place of the product": Step("div", (LEFT, RIGHT)),
    },
    "div": {
        "the divisor left out": Step("copy", (LEFT,)),
        "a product in place of the division": Step("mul", (LEFT, RIGHT)),
    },
    "max": {"min in place of max": Step("min", (LEFT, RIGHT))},
    "min": {"max in place of min": Step("max", (LEFT, RIGHT))},
}
"""For a primitive, what may stand in its place."""

FUNCTIONS = UNARY.keys() - {"copy", "stop_gradient"} | {"integer_pow"}
"""Functions of one array, which may be forgotten."""


class Recomputed(NamedTuple):
    """The hypothesis that the selected nodes are computed with a slip."""

    selector: Selector
    slip: str
    known: bool  # also to the line's own rule

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """The rules of all nodes that see other values."""
        tape = case.tape
        steps = {i: slips(tape.nodes[i])[self.slip] for i in self.selector.nodes(tape)}
        values, touched = rerun(tape, steps, False)
        where = at_line(tape.nodes[min(steps)])
        text = f"the forward pass that it recomputes has a slip: {self.slip}{where}"
        rules = steps if self.known else {}
        small = steps[min(steps)].prim == "copy" and is_small(tape, tape.nodes[min(steps)])
        words = ("clip_or_eps_ignored", *WORDS) if small else WORDS
        return [
            (i, Variant(lambda c, i=i: rule_of(values, rules.get(i)), 0, words, text, 0.9))
            for i in touched
        ]


def slips(node: Node) -> dict[str, Step]:
    """What may be computed in place of a node."""
    found = SLIPS.get(node.prim, {})
    if node.prim in FUNCTIONS:
        found = found | {f"{node.prim} left out": Step("copy", (LEFT,))}
    return found


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Recomputed]:
    """One for every line of arithmetic and every slip in it."""
    tape = case.tape
    for selector in selectors(tape):
        if selector.level != "kind":
            node = tape.nodes[selector.nodes(tape)[0]]
            for slip in slips(node):
                yield from (Recomputed(selector, slip, known) for known in (False, True))
