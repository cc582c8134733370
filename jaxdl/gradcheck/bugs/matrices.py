"""Linear systems and eigenvalues with the wrong matrix on the way back.

    x = A⁻¹ b:  λ = A⁻ᵀ x̄,  b̄ = λ,  Ā = −λ xᵀ        f(λ(A)):  Ā = V diag(f′) Vᵀ

Forgotten transposes do not show where A is symmetric.
"""

import numpy as np

from jaxdl.gradcheck.replay.structure import line
from jaxdl.gradcheck.replay.tape import Node
from jaxdl.gradcheck.search import Case, Variant

UNSOLVED = ("unknown", "path_dropped", "activation_derivative_missing")


def family(case: Case, node: Node) -> dict:
    """Variants at a linear system or at an eigendecomposition."""
    if not case.tape.is_active(node.index):
        return {}
    makers = {"eigh": _eigenvalues, "custom_linear_solve": _system}
    return makers[node.prim](case, node) if node.prim in makers else {}


def _variant(case: Case, node: Node, rule, words, text: str) -> Variant:
    reach = case.tape.leaves[node.outs[0]]
    return Variant(lambda c: rule, reach, words, f"{text} at {line(node)}", 0.5)


def _eigenvalues(case: Case, node: Node) -> dict:
    values = {np.ndim(case.tape.values[v]): v for v in node.outs}
    if sorted(values) != [1, 2]:
        return {}
    v, slot = case.tape.values[values[2]], node.outs.index(values[1])

    def rule(vectors, step):
        return lambda sweep, node, cts: [
            (node.ins[0], vectors * cts[slot][::step] @ np.transpose(vectors))
        ]

    rows = "the eigenvectors are taken from the rows"
    order = "the eigenvalues are in the opposite order"
    return {
        "rows": _variant(case, node, rule(np.transpose(v), 1), ("transpose",), rows),
        "order": _variant(case, node, rule(v, -1), ("unknown", "stale_operand"), order),
    }


def _system(case: Case, node: Node) -> dict:
    tape = case.tape
    matrix, x = tape.values[node.ins[0]], tape.values[node.outs[0]]
    if np.ndim(matrix) != 2 or len(matrix) != len(x):
        return {}

    def rule(adjoint):
        def back(sweep, node, cts):
            lam = adjoint(np.asarray(cts[0]))
            left, right = (np.reshape(a, (len(x), -1)) for a in (lam, x))
            sent = [(node.ins[0], -left @ right.T), (node.ins[-1], lam)]
            return [(v, c) for v, c in sent if tape.active[v]]

        return back

    solved = "the adjoint system is solved with the matrix, not with its transpose,"
    unsolved = "the adjoint system is not solved"
    straight = rule(lambda ct: np.linalg.solve(matrix, ct))
    return {
        "no transpose": _variant(case, node, straight, ("transpose",), solved),
        "no solve": _variant(case, node, rule(lambda ct: ct), UNSOLVED, unsolved),
    }
