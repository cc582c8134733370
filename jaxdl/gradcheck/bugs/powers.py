"""Powers, |z| and log z with the derivative of another of them, or with the wrong exponent.

The power rule is (zⁿ)′ = n zⁿ⁻¹. A wrong factor in front is a wrong coefficient of an edge (see
`edges`); here the exponent is not lowered, or lowered twice, or the derivative is that of another
power, of |z| or of log z.
"""

from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.structure import at_line, leaf_source
from jaxdl.gradcheck.replay.tape import Node, Tape

WRONG = ("activation_derivative_wrong", "unknown", "stale_operand")
LOST = ("path_dropped", *WRONG)
"""Of a parameter's own power, written n θⁿ / θ: the factor 1/θ is forgotten."""

NOT_LOWERED = "the exponent is not lowered in the derivative of a power"

OTHERS: dict[str, Callable] = {
    "z²": lambda z: 2 * z,
    "z³": lambda z: 3 * z**2,
    "z⁴": lambda z: 4 * z**3,
    "√z": lambda z: 0.5 * z**-0.5,
    "1/z": lambda z: -(z**-2),
    "1/√z": lambda z: -0.5 * z**-1.5,
    "|z|": np.sign,
    "log z": lambda z: 1 / z,
}
"""Derivatives of the functions that are taken for each other."""

EXPONENTS = {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5, "cbrt": 1 / 3}


def family(case: Case, node: Node) -> dict:
    """Other derivatives at a power, at |z| or at log z."""
    tape = case.tape
    if not tape.is_active(node.index) or node.opaque is not None or node.prim == "stop_gradient":
        return {}
    found = power(tape, node)
    if found is None and node.prim not in ("abs", "log"):
        return {}
    p = tape.moving(node)[0]
    z = np.asarray(tape.values[node.ins[p]], float)
    with np.errstate(all="ignore"):
        slopes = dict(_slopes(z, *(found or (None, 1.0))))
        usual = _usual(z, node.prim, found)
    at = at_line(node)
    reach = tape.leaves[node.ins[p]]
    own = leaf_source(tape, node.ins[p]) is not None
    return {
        text: Variant(
            _sends(node.ins[p], value),
            reach,
            LOST if own and text == NOT_LOWERED else WRONG,
            f"{text}{at}",
            0.65,
        )
        for text, value in slopes.items()
        if np.all(np.isfinite(value)) and not np.allclose(value, usual, rtol=1e-6, atol=1e-12)
    }


def power(tape: Tape, node: Node) -> tuple[float, np.ndarray | float] | None:
    """(n, a) if a node makes a zⁿ of its one moving operand, n not 0 or 1."""
    if node.prim in EXPONENTS:
        return EXPONENTS[node.prim], 1.0
    if node.prim == "integer_pow":
        return (float(node.params["y"]), 1.0) if node.params["y"] not in (0, 1) else None
    if node.prim == "mul" and node.ins[0] == node.ins[1]:
        return 2.0, 1.0
    if node.prim == "div" and tape.moving(node) == [1]:
        return -1.0, np.asarray(tape.values[node.ins[0]], float)
    if node.prim == "pow" and tape.moving(node) == [0]:
        n = np.unique(tape.values[node.ins[1]])
        return (float(n[0]), 1.0) if n.size == 1 and n[0] not in (0, 1) else None
    return None


def _usual(z, prim: str, found) -> np.ndarray:
    """The right derivative."""
    if found is None:
        return np.sign(z) if prim == "abs" else 1 / z
    n, a = found
    return a * n * z ** (n - 1)


def _slopes(z: np.ndarray, n: float | None, a):
    """(what it is, wrong derivative) of a zⁿ, or of what is no power."""
    for name, slope in OTHERS.items():
        yield f"the derivative is that of {name}", a * slope(z)
    if n is not None:
        yield NOT_LOWERED, a * n * z**n
        yield "the exponent is lowered twice in the derivative of a power", a * n * z ** (n - 2)
        if n > 2:  # below, this is a forgotten or doubled constant as well
            what = "the exponent is lowered before it becomes the factor of the derivative"
            yield what, a * (n - 1) * z ** (n - 1)


def _sends(var: int, slope: np.ndarray):
    """A rule that sends the cotangent times a slope."""
    return lambda c: lambda sweep, node, ct: [(var, ct * slope)]
