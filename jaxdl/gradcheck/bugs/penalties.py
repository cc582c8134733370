"""A penalty that the loss puts on another leaf, put on this one as well.

    Σ f(θ′ᵢ) in the loss:  f′(θ) is added

Multiples of θ and of sign θ are fitted by `algebra`, whatever their strength; here is every other
penalty on single entries, such as an elastic one or Σ √(θ² + ε), as strong as the loss has it.
"""

from dataclasses import replace

import numpy as np

from jaxdl.gradcheck.bugs.algebra import finished
from jaxdl.gradcheck.bugs.edges import is_bias
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import add_to, by_position
from jaxdl.gradcheck.replay.structure import is_penalised, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node

EXACT = 1e-9


def family(case: Case, node: Node) -> dict:
    """The penalty of every other leaf, added to a finished gradient that has none."""
    tape, leaf = case.tape, node.index
    if leaf >= len(tape.raw) or not tape.active[tape.raw[leaf]] or is_penalised(tape, leaf):
        return {}
    theta, found = np.asarray(tape.values[tape.raw[leaf]]), {}
    flat = is_bias(tape, leaf) or theta.ndim < 2
    for other in range(len(tape.raw)):
        slopes = slopes_at(case, other, theta) if is_penalised(tape, other) else None
        if slopes is None or _is_multiple(slopes, theta) or _is_multiple(slopes, np.sign(theta)):
            continue
        found["penalty of", other] = Variant(
            finished(lambda ct, slopes=slopes: ct + slopes),
            1 << leaf,
            ("l2_on_bias",) if flat else ("l2_on_bias", "l2_scaled"),
            f"the penalty that the loss puts on parameter leaf {other} is put on this leaf as well",
            0.8,
        )
    return found


def slopes_at(case: Case, leaf: int, theta: np.ndarray) -> np.ndarray | None:
    """f′ at other numbers, if the penalty of a leaf is a sum of one function of its entries."""
    own = np.asarray(case.tape.values[case.tape.raw[leaf]])
    there, reversed_ = slopes_of(case, leaf, own), slopes_of(case, leaf, np.flip(own))
    size = np.max(np.abs(there), initial=0.0)
    if not own.size or not np.allclose(np.flip(reversed_), there, rtol=EXACT, atol=EXACT * size):
        return None
    rows = np.resize(theta, (-(-theta.size // own.size), *own.shape))
    slopes = np.stack([slopes_of(case, leaf, row) for row in rows])
    return slopes.ravel()[: theta.size].reshape(theta.shape)


def slopes_of(case: Case, leaf: int, x: np.ndarray) -> np.ndarray:
    """The gradient of the penalties on a leaf, with other numbers in it."""
    tape, nodes = case.tape, sorted(penalty_nodes(case.tape))
    values = list(tape.values)
    values[tape.raw[leaf]] = values[tape.inputs[leaf]] = x
    cts: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        for index in nodes:
            node = tape.nodes[index]
            outs = node.outputs([values[v] for v in node.ins])
            for var, out in zip(node.outs, outs, strict=True):
                values[var] = out
                if any(n not in nodes for n, _ in tape.users(var)):
                    cts[var] = case.base.ct(var)
        other = replace(tape, values=values, memo={})
        for index in reversed(nodes):
            node = other.nodes[index]
            ct = cts.get(node.outs[0]) if node.opaque is None else None
            for p, c in by_position(other, node, ct) if ct is not None else ():
                add_to(cts, node.ins[p], c)
    return np.broadcast_to(cts.get(tape.inputs[leaf], 0.0), np.shape(x))


def _is_multiple(one: np.ndarray, other: np.ndarray) -> bool:
    """Is one array the other times a number?"""
    scale = np.sum(one * other) / max(np.sum(other * other), 1e-300)
    return bool(np.all(np.abs(one - scale * other) <= EXACT * np.max(np.abs(one), initial=0.0)))
