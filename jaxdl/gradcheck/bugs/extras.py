"""A derivative too many: the cotangent multiplied by one more f′; or one too few, of an exp.

The classics: a loss on logits gives a − y directly, and the sigmoid's a(1 − a) is applied again; a
loss of z that people think of as one of exp z, a rate or a scale, whose gradient is that by exp z.
"""

import numpy as np

from jaxdl.gradcheck.bugs.softmax import softmax
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.regions import regions
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node

WRONG = ("activation_derivative_wrong",)
UNNAMED = ("unknown", *WRONG, "stale_operand")
WORDS = {"its own value": UNNAMED, "sigmoid": UNNAMED, "step": ("relu_mask_wrong", *WRONG)}
"""Of factors that are no derivative of an activation, or the mask of a ReLU; else `WRONG`."""

BY_EXP = ("activation_derivative_missing", "path_dropped", "unknown")

MAKERS = ("dot_general", "add", "conv_general_dilated", "reshape", "squeeze", "add_any", "index")


def transposed(case: Case, node: Node) -> dict:
    """The gradient of a square matrix comes back transposed."""
    tape, out = case.tape, node.outs[0]
    shape = tape.shape(out)
    if not tape.is_active(node.index) or node.opaque is not None or node.index < len(tape.raw):
        return {}
    if len(shape) < 2 or shape[-1] != shape[-2] or shape[-1] < 2:
        return {}

    def rule(sweep, node, ct):
        back = by_position(sweep.tape, node, np.swapaxes(ct, -1, -2))
        return [(node.ins[p], c) for p, c in back]

    text = f"the gradient of a square matrix is transposed{at_line(node)}"
    words = ("transpose", "stale_operand", "unknown")  # sums over its axes may be exchanged, too
    return {"T": Variant(lambda c: rule, tape.leaves[out], words, text, 0.6)}


def family(case: Case, node: Node) -> dict:
    """The incoming gradient of a pre-activation times a derivative that does not belong there."""
    tape = case.tape
    out = node.outs[0]
    if not tape.is_active(node.index) or np.ndim(tape.values[out]) == 0:
        return {}
    if node.prim not in MAKERS and not regions(tape, node):
        return {}
    if not _ends_linear_part(case, node):
        return {}
    v = tape.values[out]
    at = at_line(node)
    with np.errstate(all="ignore"):
        s = 1 / (1 + np.exp(-v))
        factors = {
            "sigmoid′": s * (1 - s),
            "tanh′": 1 - np.tanh(v) ** 2,
            "step": (v > 0) * 1.0,
            "a(1 − a)": v * (1 - v),
            "1 − a²": 1 - v * v,
            "its own value": v,
            "sigmoid": s,
        }
        for axis in range(v.ndim):
            if v.shape[axis] > 1:
                p = softmax(v, axis)
                factors[f"p(1 − p) of its softmax, axis {axis}"] = p * (1 - p)
        inverse = np.exp(-v)
    found = {
        name: Variant(
            lambda c, k=k: times(k), tape.leaves[out], WORDS.get(name, WRONG),
            f"the gradient is multiplied by {name} once too often{at}", 0.8,
        )
        for name, k in factors.items()
    }  # fmt: skip
    if np.all(np.isfinite(inverse)):
        text = f"it is the gradient with respect to exp z, for that of z{at}"
        found["exp"] = Variant(lambda c: times(inverse), tape.leaves[out], BY_EXP, text, 0.85)
    return found


def _ends_linear_part(case: Case, node: Node) -> bool:
    """Is the next thing something other than one more sum?"""
    users = case.tape.users(node.outs[0])
    return not (len(users) == 1 and case.tape.nodes[users[0][0]].prim in ("add", "add_any"))


def times(k: np.ndarray) -> Rule:
    """The true rule for the cotangent times k."""

    def rule(sweep, node, ct):
        return [(node.ins[p], c) for p, c in by_position(sweep.tape, node, ct * k)]

    return rule
