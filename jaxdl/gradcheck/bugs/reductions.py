"""Sums over the wrong axes: a bias gradient reduced along its own axis, or to one number."""

import itertools

import numpy as np

from jaxdl.gradcheck.coefficients import along
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.structure import at_line, leaf_source
from jaxdl.gradcheck.replay.tape import Node

CUT = ", of another length and cut or repeated to fit,"


def family(case: Case, node: Node) -> dict:
    """Other reductions of the cotangent where an operand was repeated."""
    tape = case.tape
    if node.prim != "broadcast_in_dim" or not tape.is_active(node.index):
        return {}
    (p,) = tape.moving(node)
    shape, out = tape.shape(node.ins[p]), tape.shape(node.outs[0])
    if leaf_source(tape, node.ins[p]) is None or int(np.prod(shape)) == int(np.prod(out)):
        return {}
    found = {}
    for count in range(1, len(out) + 1):
        for axes in itertools.combinations(range(len(out)), count):
            kept = [n for i, n in enumerate(out) if i not in axes]
            cut = int(np.prod(kept)) != int(np.prod(shape))
            if cut and len(kept) != 1:
                continue
            for how, f in (("sum", np.sum), ("mean", np.mean), ("maximum", np.max)):
                found[axes, how] = Variant(
                    reduced(node.ins[p], axes, f, shape),
                    tape.leaves[node.ins[p]],
                    ("bias_reduction_wrong",),
                    f"its gradient is the {how} over {along(axes)}{CUT * cut}{at_line(node)}",
                    0.5 + 0.2 * (how == "maximum") + 0.1 * cut,
                )
    return found


def reduced(var: int, axes, f, shape):
    """A rule that sends f(ct) over these axes, cut or repeated where it has another length."""

    def rule(sweep, node, ct):
        return [(var, np.resize(f(ct, axis=axes), shape))]

    def make(c: float) -> Rule:
        return rule

    return make
