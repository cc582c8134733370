"""A penalty that the loss puts on another leaf, put on this one as well.

    Σ f(θ′ᵢ) in the loss:  f′(θ) is added

Multiples of θ and of sign θ are fitted by `algebra`, whatever their strength; here is every other
penalty on single entries, such as an elastic one or Σ √(θ² + ε), as strong as the loss has it.
"""

from dataclasses import replace

import numpy as np

from jaxdl.gradcheck.bugs.algebra import finished
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import add_to, by_position
from jaxdl.gradcheck.replay.leaves import is_bias
from jaxdl.gradcheck.replay.structure import is_penalised, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape

EXACT = 1e-9


def family(case: Case, node: Node) -> dict:
    """The penalty of every other leaf, added to a finished gradient that has none."""
    tape, leaf = case.tape, node.index
    if leaf >= len(tape.raw) or not tape.active[tape.raw[leaf]] or is_penalised(tape, leaf):
        return {}
    theta, found = np.asarray(tape.values[tape.raw[leaf]]), {}
    flat = is_bias(tape, leaf) or theta.ndim < 2
    for other in range(len(tape.raw)):
        if not is_penalised(tape, other) or _is_fitted(case, other):
            continue
        slopes = slopes_at(case, other, theta)
        if slopes is None:
            continue
        found["penalty of", other] = Variant(
            finished(lambda ct, slopes=slopes: ct + slopes),
            1 << leaf,
            ("l2_on_bias",) if flat else ("l2_on_bias", "l2_scaled"),
            f"the penalty that the loss puts on leaf number {other} is put on this leaf as well",
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
    tape, nodes = case.tape, penalty_nodes(case.tape)
    values = list(tape.values)
    values[tape.raw[leaf]] = values[tape.inputs[leaf]] = x
    cts: dict[int, np.ndarray] = {}
    with np.errstate(all="ignore"):
        changed = {tape.inputs[leaf]}
        for node in (tape.nodes[i] for i in serving(tape)):
            if not changed & set(node.ins):
                continue
            changed |= set(node.outs)
            outs = node.outputs([values[v] for v in node.ins])
            for var, out in zip(node.outs, outs, strict=True):
                values[var] = out
        for var in (v for i in nodes for v in tape.nodes[i].outs):
            if any(n not in nodes for n, _ in tape.users(var)):
                cts[var] = case.base.ct(var)
        other = replace(tape, values=values, memo={})
        for index in sorted(nodes, reverse=True):
            node = other.nodes[index]
            ct = cts.get(node.outs[0]) if node.opaque is None else None
            for p, c in by_position(other, node, ct) if ct is not None else ():
                add_to(cts, node.ins[p], c)
    return np.broadcast_to(cts.get(tape.inputs[leaf], 0.0), np.shape(x))


def serving(tape: Tape) -> list[int]:
    """All nodes that the penalties are made by, such as the comparisons of a piecewise one."""
    if "serving" not in tape.memo:
        found, stack = set(), list(penalty_nodes(tape))
        while stack:
            index = stack.pop()
            if index not in found:
                found.add(index)
                makers = (tape.producer[v] for v in tape.nodes[index].ins)
                stack += [made for made in makers if made is not None]
        tape.memo["serving"] = sorted(found - set(range(len(tape.raw))))
    return tape.memo["serving"]


def _is_fitted(case: Case, leaf: int) -> bool:
    """Is f′ a multiple of θ or of sign θ, for which `algebra` finds the strength?"""
    key = ("fitted penalty", leaf)
    if key not in case.memo:
        own = np.asarray(case.tape.values[case.tape.raw[leaf]])
        once, doubled = slopes_of(case, leaf, own), slopes_of(case, leaf, 2 * own)
        close = (np.allclose(doubled, k * once, rtol=EXACT, atol=0) for k in (1, 2))
        case.memo[key] = any(close)
    return case.memo[key]
