"""An elastic penalty on one leaf more: its two parts at once, with the strengths of another leaf.

    a/2 ‖θ‖² + b ‖θ‖₁:  a θ + b sign(θ)

Each part alone is found by a fit of its strength; both together are what the loss has elsewhere.
"""

import numpy as np

from jaxdl.gradcheck.bugs.algebra import finished
from jaxdl.gradcheck.bugs.edges import is_bias
from jaxdl.gradcheck.coefficients import written
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.structure import is_penalised, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node

EXACT = 1e-9


def family(case: Case, node: Node) -> dict:
    """The elastic penalty of every other leaf, added to a finished gradient that has none."""
    tape, leaf = case.tape, node.index
    if leaf >= len(tape.raw) or not tape.active[tape.raw[leaf]] or is_penalised(tape, leaf):
        return {}
    theta, found = tape.values[tape.raw[leaf]], {}
    flat = is_bias(tape, leaf) or theta.ndim < 2
    for other, (square, absolute) in strengths(case).items():
        direction = square * theta + absolute * np.sign(theta)
        found["elastic", other] = Variant(
            finished(lambda ct, direction=direction: ct + direction),
            1 << leaf,
            ("l2_on_bias",) if flat else ("l2_on_bias", "l2_scaled"),
            f"{written(square)} · θ + {written(absolute)} · sign(θ) is added: an elastic penalty "
            "that the loss does not put on this leaf",
            0.8,
        )
    return found


def strengths(case: Case) -> dict[int, tuple[float, float]]:
    """(a, b) of every leaf that has an elastic penalty."""
    if "elastic" not in case.memo:
        sent: dict[int, np.ndarray] = {}
        for index in penalty_nodes(case.tape):
            for var, ct in case.base.sent.get(index, ()):
                sent[var] = sent.get(var, 0.0) + ct
        pairs = ((k, sent.get(v)) for k, v in enumerate(case.tape.inputs))
        fits = {
            k: _fit(case.tape.values[case.tape.inputs[k]], s) for k, s in pairs if s is not None
        }
        case.memo["elastic"] = {k: fit for k, fit in fits.items() if fit is not None}
    return case.memo["elastic"]


def _fit(theta, slope) -> tuple[float, float] | None:
    """(a, b) with slope = a θ + b sign(θ), both positive; None if there are none."""
    columns = np.stack([np.ravel(theta), np.sign(np.ravel(theta))], axis=1)
    (a, b), *_ = np.linalg.lstsq(columns, np.ravel(slope), rcond=None)
    size = EXACT * np.max(np.abs(slope), initial=0.0)
    fits = len(columns) > 2 and np.all(np.abs(columns @ (a, b) - np.ravel(slope)) <= size)
    return (float(a), float(b)) if fits and min(a, b) > 1e3 * size else None
