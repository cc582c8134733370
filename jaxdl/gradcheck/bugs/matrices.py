"""Linear systems, eigenvalues and log determinants with the wrong matrix on the way back.

    x = A⁻¹ b:  λ = A⁻ᵀ x̄,  b̄ = λ,  Ā = −λ xᵀ        f(λ(A)):  Ā = V diag(f′) Vᵀ
    log |det A|:  Ā = A⁻ᵀ, whichever triangular factor of A it is computed from

Forgotten transposes do not show where A is symmetric.
"""

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import by_position
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape

FACTORS = {"lu": 1.0, "cholesky": 2.0}
"""Triangular factors, and log |det A| in units of the sum of their diagonal's logarithms."""

FROM_FACTOR = ("abs", "gather", "mul", "reduce_sum", "select_n", "reshape", "squeeze", "copy")
"""How a diagonal is taken from a factor."""

UNSOLVED = ("stale_operand", "path_dropped", "unknown", "activation_derivative_missing")

SYSTEMS = ("custom_linear_solve", "triangular_solve")

PLAIN = ("stale_operand", "path_dropped", "unknown")

WITHOUT_JITTER = ("clip_or_eps_ignored", "path_dropped", "stale_operand")

ONE_STEP = (((1,), (0,)), ((), ()))
"""Dimension numbers of the plain product of two matrices."""


def family(case: Case, node: Node) -> dict:
    """Variants at a linear system, an eigendecomposition, a log determinant or a product."""
    if not case.tape.is_active(node.index):
        return {}
    makers = {
        "eigh": _eigenvalues,
        "custom_linear_solve": _system,
        "triangular_solve": _triangular,
        "log": _log_determinant,
        "dot_general": _product,
    }
    found = makers[node.prim](case, node) if node.prim in makers else {}
    return {**found, **_plain(case, node)} if node.prim in SYSTEMS else found


def _variant(case: Case, node: Node, rule, words, text: str) -> Variant:
    reach = case.tape.leaves[node.outs[0]]
    return Variant(lambda c: rule, reach, words, f"{text}{at_line(node)}", 0.5)


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


def _plain(case: Case, node: Node) -> dict:
    """Of a quadratic form c/2 bᵀ(A Aᵀ)⁻¹b by way of x = A⁻¹b: c b goes to b, not c (A Aᵀ)⁻¹b."""
    tape, given = case.tape, node.ins[-1]
    x, b = (np.asarray(tape.values[v]) for v in (node.outs[0], given))
    ct = np.asarray(case.base.ct(node.outs[0]))
    size = float(np.vdot(x, x).real)
    if not tape.active[given] or len(node.outs) != 1 or not size > 0 or np.shape(b) != x.shape:
        return {}
    c = float(np.vdot(x, ct).real) / size
    if not c or not np.allclose(ct, c * x, rtol=1e-9, atol=1e-12 * abs(c) * np.max(np.abs(x))):
        return {}

    def rule(sweep, node, cts):
        sent = dict(by_position(sweep.tape, node, cts))
        last = len(node.ins) - 1
        return [(node.ins[p], c * b if p == last else s) for p, s in sent.items()]

    text = (
        "the right-hand side goes back as it is, without the inverse matrix of the quadratic form"
    )
    variant = _variant(case, node, rule, PLAIN, text)
    return {"plain": variant._replace(reach=tape.leaves[given], cost=0.6)}


def _system(case: Case, node: Node) -> dict:
    tape = case.tape
    matrix, x = tape.values[node.ins[0]], tape.values[node.outs[0]]
    if np.ndim(matrix) != 2 or len(matrix) != len(x):
        return {}

    def rule(adjoint, solution=x):
        def back(sweep, node, cts):
            lam = adjoint(np.asarray(cts[0]))
            left, right = (np.reshape(a, (len(x), -1)) for a in (lam, solution))
            sent = [(node.ins[0], -left @ right.T), (node.ins[-1], lam)]
            return [(v, c) for v, c in sent if tape.active[v]]

        return back

    solved = "the adjoint system is solved with the matrix, not with its transpose,"
    unsolved = "the adjoint system is not solved"
    given = "the right-hand side takes the place of the solution in the matrix's gradient"
    straight = rule(lambda ct: np.linalg.solve(matrix, ct))
    right = tape.values[node.ins[-1]]
    stale = rule(lambda ct: np.linalg.solve(matrix.T, ct), right)
    found = {
        "no transpose": _variant(case, node, straight, ("transpose",), solved),
        "no solve": _variant(case, node, rule(lambda ct: ct), UNSOLVED, unsolved),
        "right-hand side": _variant(case, node, stale, ("stale_operand",), given),
    }
    plain = without_jitter(tape, node.ins[0])
    if plain is not None:
        text = "the adjoint system is solved without what is added to the matrix's diagonal"
        bare = rule(lambda ct: np.linalg.solve(plain.T, ct))
        found["no jitter"] = _variant(case, node, bare, WITHOUT_JITTER, text)
    return found


def _triangular(case: Case, node: Node) -> dict:
    """Systems with a triangular factor: the adjoint solved with the factor itself, or not."""
    tape, moving, params = case.tape, case.tape.moving(node), node.params
    factor, x = _operator(params, tape.values[node.ins[0]]), tape.values[node.outs[0]]
    if np.iscomplexobj(x):
        return {}

    def rule(adjoint, to):
        def back(sweep, node, cts):
            sent = dict(by_position(sweep.tape, node, cts))
            ct, solution = np.asarray(cts[0]), x
            if not params["left_side"]:  # X A = B is Aᵀ Xᵀ = Bᵀ
                ct, solution = np.swapaxes(ct, -1, -2), np.swapaxes(x, -1, -2)
            lam = adjoint(ct)
            slope = -lam @ np.swapaxes(solution, -1, -2)
            turned = params["transpose_a"] == params["left_side"]
            other = _triangle(params, np.swapaxes(slope, -1, -2) if turned else slope)
            sides = (other, lam if params["left_side"] else np.swapaxes(lam, -1, -2))
            return [(node.ins[p], sides[p] if p in to else c) for p, c in sent.items()]

        return back

    def variant(adjoint, to, words, text, cost):
        reach = 0
        for p in to:
            reach |= tape.leaves[node.ins[p]]
        return _variant(case, node, rule(adjoint, to), words, text)._replace(reach=reach, cost=cost)

    left = factor if params["left_side"] else np.swapaxes(factor, -1, -2)
    solved = "the adjoint system is solved with the factor, not with its transpose,"
    unsolved = "the adjoint system is not solved"
    diagonal = left * np.eye(left.shape[-1])
    others = {  # substitution by hand, row by row
        ("path_dropped", "stale_operand", "unknown"): (diagonal, "the factor's diagonal alone"),
        ("sign", "unknown"): (2 * diagonal - left, "the rest of the factor negated"),
    }
    found: dict = {}
    for to in dict.fromkeys((tuple(moving), *((p,) for p in moving))):
        cost = 0.5 if len(to) == len(moving) else 0.6
        found["no transpose", to] = variant(
            lambda ct: np.linalg.solve(left, ct), to, ("transpose",), solved, cost
        )
        found["no solve", to] = variant(lambda ct: ct, to, UNSOLVED, unsolved, cost)
        for words, (matrix, text) in others.items():
            found[text, to] = variant(
                lambda ct, matrix=matrix: np.linalg.solve(np.swapaxes(matrix, -1, -2), ct),
                to, words, f"the adjoint system is solved with {text}", cost,
            )  # fmt: skip
    return found


def _operator(params, factor) -> np.ndarray:
    """The matrix that a triangular system is solved with."""
    factor = _triangle(params, np.asarray(factor, float))
    if params["unit_diagonal"]:
        factor = factor + np.eye(factor.shape[-1])
    return np.swapaxes(factor, -1, -2) if params["transpose_a"] else factor


def _triangle(params, matrix: np.ndarray) -> np.ndarray:
    """What a triangular system sees of a matrix."""
    inner = int(params["unit_diagonal"])
    return np.tril(matrix, -inner) if params["lower"] else np.triu(matrix, inner)


def without_jitter(tape: Tape, var: int) -> np.ndarray | None:
    """A matrix before a constant was added to its diagonal, if it was and has an inverse."""
    made = tape.maker(var)
    while made is not None and made.prim in PLUMBING and len(tape.shape(made.ins[0])) == 2:
        made = tape.maker(made.ins[0])
    if made is None or made.prim not in ("add", "sub") or len(tape.moving(made)) != 1:
        return None
    (p,) = tape.moving(made)
    added = np.asarray(tape.values[made.ins[1 - p]])
    if added.ndim != 2 or np.any(added != added.flat[0] * np.eye(*added.shape)):
        return None
    plain = np.asarray(tape.values[made.ins[p]], float)
    return plain if np.linalg.matrix_rank(plain) == len(plain) else None


def _product(case: Case, node: Node) -> dict:
    """Square matrices multiplied from the wrong side on the way back."""
    tape = case.tape
    a, b = (np.asarray(tape.values[v]) for v in node.ins)
    if a.ndim != 2 or a.shape != b.shape or len(a) != len(a[0]) or len(a) < 2:
        return {}
    if tuple(node.params["dimension_numbers"]) != ONE_STEP:
        return {}
    moving = tape.moving(node)

    def rule(to):
        def back(sweep, node, ct):
            right, other = (ct @ b.T, a.T @ ct), (b.T @ ct, ct @ a.T)
            return [(node.ins[p], (other if p in to else right)[p]) for p in moving]

        return back

    text = "a matrix is multiplied from the wrong side on the way back"
    words = ("transpose", "stale_operand")
    found: dict = {("side", "all"): _variant(case, node, rule(moving), words, text)}
    for p in moving if len(moving) > 1 else ():
        one = _variant(case, node, rule([p]), words, text)
        found["side", p] = one._replace(reach=tape.leaves[node.ins[p]], cost=0.6)
    return found


def _log_determinant(case: Case, node: Node) -> dict:
    """At the logarithms of a factor's diagonal: another matrix in place of A⁻ᵀ."""
    tape = case.tape
    made = _factor(tape, node)
    if made is None or not _is_even(case.base.ct(node.outs[0])):
        return {}
    units = FACTORS[made.prim]
    matrix = np.asarray(tape.values[made.ins[0]], float)

    def rule(other):
        return lambda sweep, node, ct: [(made.ins[0], np.mean(ct) / units * other)]

    with np.errstate(all="ignore"):
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            return {}
    stale = ("stale_operand", "unknown")
    whole = "the matrix takes the place of its inverse in the log determinant's gradient"
    straight = "the inverse is not transposed in the log determinant's gradient"
    none = "the inverse is left out of the log determinant's gradient"
    found = {
        "itself": _variant(case, node, rule(matrix), stale, whole),
        "itself transposed": _variant(case, node, rule(matrix.T), stale, whole),
        "inverse": _variant(case, node, rule(inverse), ("transpose",), straight),
        "nothing": _variant(case, node, rule(np.eye(len(matrix))), stale, none),
    }
    plain = without_jitter(tape, made.ins[0])
    if plain is not None:
        text = "what is added to the matrix's diagonal is ignored in the log determinant's gradient"
        bare = rule(np.linalg.inv(plain).T)
        found["no jitter"] = _variant(case, node, bare, WITHOUT_JITTER, text)
    return found


def _factor(tape: Tape, node: Node) -> Node | None:
    """The factorisation of whose diagonal these are the logarithms, or None."""
    var = node.ins[0]
    made = tape.maker(var)
    while made is not None and made.prim in FROM_FACTOR and len(tape.moving(made)) == 1:
        var = made.ins[tape.moving(made)[0]]
        made = tape.maker(var)
    if made is None or made.prim not in FACTORS or len(tape.shape(var)) != 2:
        return None
    diagonal = np.abs(np.diagonal(tape.values[var]))
    return made if np.array_equal(diagonal, np.abs(tape.values[node.ins[0]])) else None


def _is_even(ct: np.ndarray) -> bool:
    """Do all logarithms count the same, as in a determinant?"""
    return bool(np.ptp(ct) <= 1e-9 * np.max(np.abs(ct)))
