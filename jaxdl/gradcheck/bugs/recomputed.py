"""Right rules after a slip in the forward pass that the gradient recomputes.

Whoever writes W x where the loss has W x + b, with every rule of the way back right, has the rules
at other values. No word of the catalogue is about the forward pass alone: a term or factor that it
lacks is called as one that the way back lacks, and `unknown` stands beside every word. The tape is
run again with one line changed, and every rule after it uses the new values; that line's own rule
may be the one of the loss or of the line as changed.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxdl.gradcheck.bugs.forward import Step, at_other_values, rerun
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.regions import is_small
from jaxdl.gradcheck.replay.rules.elementwise import UNARY
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node
from jaxdl.gradcheck.selectors import Selector, selectors

LEFT, RIGHT = 0, 1

LACKING = ("path_dropped", "stale_operand", "unknown")
SIGN = ("sign", "stale_operand", "unknown")
OTHER = ("stale_operand", "activation_derivative_wrong", "unknown")
FORGOTTEN = ("activation_derivative_wrong", "stale_operand", "unknown")
SIDES = ("relu_mask_wrong", "stale_operand", "activation_derivative_wrong", "unknown")


class Slip(NamedTuple):
    """What may stand in a node's place, and what that is called."""

    step: Step
    words: tuple[str, ...]


SLIPS: dict[str, dict[str, Slip]] = {
    "add": {
        "the first term left out": Slip(Step("copy", (RIGHT,)), LACKING),
        "the second term left out": Slip(Step("copy", (LEFT,)), LACKING),
        "− in place of +": Slip(Step("sub", (LEFT, RIGHT)), SIGN),
    },
    "sub": {
        "the first term left out": Slip(Step("neg", (RIGHT,)), LACKING),
        "the second term left out": Slip(Step("copy", (LEFT,)), LACKING),
        "+ in place of −": Slip(Step("add", (LEFT, RIGHT)), SIGN),
    },
    "mul": {
        "the first factor left out": Slip(Step("copy", (RIGHT,)), LACKING),
        "the second factor left out": Slip(Step("copy", (LEFT,)), LACKING),
        "a division in place of the product": Slip(Step("div", (LEFT, RIGHT)), OTHER),
    },
    "div": {
        "the divisor left out": Slip(Step("copy", (LEFT,)), LACKING),
        "a product in place of the division": Slip(Step("mul", (LEFT, RIGHT)), OTHER),
    },
    "max": {"min in place of max": Slip(Step("min", (LEFT, RIGHT)), SIDES)},
    "min": {"max in place of min": Slip(Step("max", (LEFT, RIGHT)), SIDES)},
}
"""For a primitive, what may be done instead."""

FUNCTIONS = UNARY.keys() - {"copy", "stop_gradient"} | {"integer_pow"}
"""Functions of one array, which may be forgotten."""


class Recomputed(NamedTuple):
    """The hypothesis that the selected nodes are computed with a slip.

    With `derived`, the line's own rule is derived from the line as changed.
    """

    selector: Selector
    slip: str
    derived: bool

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """The rules of all nodes that see other values."""
        tape = case.tape
        found = {i: slips(tape.nodes[i])[self.slip] for i in self.selector.nodes(tape)}
        steps = {i: slip.step for i, slip in found.items()}
        values, touched = rerun(tape, steps, local=False)
        first = tape.nodes[min(found)]
        text = f"the forward pass that it recomputes has a slip: {self.slip}{at_line(first)}"
        words = found[first.index].words
        if words == LACKING and is_small(tape, first):
            words = ("clip_or_eps_ignored", *words)
        return at_other_values(values, touched, steps if self.derived else {}, words, text, 0.9)


def slips(node: Node) -> dict[str, Slip]:
    """What may be computed in place of a node."""
    found = SLIPS.get(node.prim, {})
    if node.prim in FUNCTIONS:
        found = found | {f"{node.prim} left out": Slip(Step("copy", (LEFT,)), FORGOTTEN)}
    return found


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Recomputed]:
    """One for every line of arithmetic and every slip in it."""
    tape = case.tape
    for selector in selectors(tape):
        if selector.level != "kind":
            node = tape.nodes[selector.nodes(tape)[0]]
            for slip in slips(node):
                yield from (Recomputed(selector, slip, derived) for derived in (False, True))
