"""Softmax and log-softmax with a wrong Jacobian, however they are written.

A softmax is recognised by its values: an array p of shares that sum to 1 along an axis, and an
earlier array z of the same shape with softmax(z) = p. Its true Jacobian sends
p · (ct − Σ ct · p); the variants leave the sum out or keep only the diagonal.
"""

from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape

MAKERS = {"div", "mul", "exp", "sub", "custom_jvp_call"}
DEPTH = 16


def softmax(z: np.ndarray, axis: int) -> np.ndarray:
    """exp(z) / Σ exp(z) along an axis."""
    e = np.exp(z - np.max(z, axis=axis, keepdims=True))
    return e / np.sum(e, axis=axis, keepdims=True)


def family(case: Case, node: Node) -> dict:
    """Variants if this node makes a softmax or a log-softmax."""
    tape = case.tape
    if node.prim not in MAKERS or not tape.is_active(node.index):
        return {}
    value = tape.values[node.outs[0]]
    if np.ndim(value) == 0:
        return {}
    found: dict = {}
    with np.errstate(all="ignore"):
        for log in (False, True):
            p = np.exp(value) if log else value
            axis = _share_axis(p)
            if axis is None or (z := _logits(tape, node, p, axis)) is None:
                continue
            forms = _log_forms(p, axis) if log else _forms(p, axis)
            at = at_line(node)
            for key, (words, text, back) in forms.items():
                found[log, key] = Variant(
                    lambda c, back=back, z=z: lambda sweep, node, ct: [(z, back(ct))],
                    tape.leaves[z],
                    words,
                    text + at,
                    0.4,
                )
    return found


def _share_axis(p: np.ndarray) -> int | None:
    if not np.all(p >= 0):
        return None
    for axis in range(p.ndim - 1, -1, -1):
        if p.shape[axis] > 1 and np.allclose(np.sum(p, axis=axis), 1, rtol=0, atol=1e-9):
            return axis
    return None


def _logits(tape: Tape, node: Node, p: np.ndarray, axis: int) -> int | None:
    """The latest earlier active variable whose softmax is p, a shift for stability undone."""
    frontier: list[Node | None] = [node]
    best, seen = None, set[int]()
    while frontier and len(seen) < 4 * DEPTH:
        current = frontier.pop()
        for var in current.ins if current else ():
            if var in seen or not tape.active[var]:
                continue
            seen.add(var)
            z = tape.values[var]
            if np.shape(z) == p.shape and np.allclose(softmax(z, axis), p, rtol=1e-9, atol=1e-12):
                best = var if best is None else max(best, var)
            else:
                frontier.append(tape.maker(var))
    return best


Forms = dict[str, tuple[tuple[str, ...], str, Callable]]
DIAGONAL = ("softmax_jacobian_diagonal",)


def _forms(p: np.ndarray, axis: int) -> Forms:
    def total(x, along=axis):
        return np.sum(x, axis=along, keepdims=True)

    wrong = ("activation_derivative_wrong",)
    text = "the softmax gradient is "
    forms: Forms = {
        "diagonal": (DIAGONAL, text + "the diagonal p(1 − p) · ct", lambda ct: ct * p * (1 - p)),
        "no sum": (("path_dropped", *DIAGONAL), text + "p · ct", lambda ct: ct * p),
        "identity": (("activation_derivative_missing",), text + "ct", lambda ct: ct),
        "sum without p": (
            (*DIAGONAL, *wrong), text + "p · (ct − Σ ct)", lambda ct: p * (ct - total(ct)),
        ),
        "sum only": (
            ("path_dropped", *DIAGONAL), text + "−p · Σ p · ct", lambda ct: -p * total(p * ct),
        ),
        "no outer p": ((*wrong, *DIAGONAL), text + "ct − Σ p · ct", lambda ct: ct - total(p * ct)),
        "wrong sign": (
            (*wrong, "sign"), text + "p · (ct + Σ p · ct)", lambda ct: p * (ct + total(p * ct)),
        ),
        "mean": (
            wrong, text + "p · (ct − mean of p · ct)",
            lambda ct: p * (ct - np.mean(p * ct, axis=axis, keepdims=True)),
        ),
    }  # fmt: skip
    others = [a for a in range(p.ndim) if a != axis]
    for other in others:
        forms[f"axis {other - p.ndim}"] = (
            ("unknown", *wrong, *DIAGONAL, "transpose"),
            f"the sum in the softmax gradient runs over axis {other}, not {axis}",
            lambda ct, other=other: p * (ct - total(p * ct, other)),
        )
    forms["all axes"] = (
        ("unknown", *wrong, *DIAGONAL),
        "the sum in the softmax gradient runs over all axes",
        lambda ct: p * (ct - np.sum(p * ct)),
    )
    return forms


def _log_forms(p: np.ndarray, axis: int) -> Forms:
    def total(x):
        return np.sum(x, axis=axis, keepdims=True)

    wrong = ("activation_derivative_wrong",)
    text = "the log-softmax gradient is "
    return {
        "diagonal": (DIAGONAL, text + "only the diagonal (1 − p) · ct", lambda ct: ct * (1 - p)),
        "double": (
            (*wrong, *DIAGONAL), text + "multiplied by p(1 − p)",
            lambda ct: (ct - p * total(ct)) * p * (1 - p),
        ),
        "identity": (
            ("path_dropped", "activation_derivative_missing"), text + "ct, without the normaliser",
            lambda ct: ct,
        ),
        "no sum": (wrong, text + "ct − p", lambda ct: ct - p),
        "kept": (
            ("path_dropped", "stale_operand"), text + "−p · Σ ct", lambda ct: -p * total(ct)
        ),
    }  # fmt: skip
