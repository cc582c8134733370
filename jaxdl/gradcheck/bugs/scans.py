"""Running sums, products, maxima and log-sums: their way back runs the other way.

    y_i = Σ_{j ≤ i} x_j:          x̄_j = Σ_{i ≥ j} ȳ_i
    y_i = Π_{j ≤ i} x_j:          x̄_j = Σ_{i ≥ j} ȳ_i y_i / x_j
    y_i = log Σ_{j ≤ i} exp x_j:  x̄_j = Σ_{i ≥ j} ȳ_i exp(x_j − y_i)

Each is x̄_j = Σ_{i ≥ j} D_ij ȳ_i. Here the sum runs the same way as the forward pass, is left out,
begins one place early or late, or runs over everything. A running sum written another way (a
product with a triangle of ones, an associative scan, a loop) is recognised by its values.
"""

from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.structure import at_line
from jaxdl.gradcheck.replay.tape import Node, Tape

SLOPES: dict[str, Callable] = {
    "cumsum": lambda x, y: np.ones_like(x * y),
    "cumprod": lambda x, y: y / x,
    "cumlogsumexp": lambda x, y: np.exp(x - y),
    "cummax": lambda x, y: (x == y) * 1.0,
    "cummin": lambda x, y: (x == y) * 1.0,
}
"""D_ij from x_j and y_i, for entries of a maximum that occur once."""

WRITTEN_OUT = ("dot_general", "add", "add_any", "concatenate", "scan_outputs", "reshape")
"""What the last step of a running sum may be."""

LONGEST = 256
NEAR = 16

SKIPPED = ("path_dropped", "stale_operand", "unknown")
MOVED = ("path_dropped", "timesteps_truncated", "examples_dropped")
WIDER = ("stale_operand", "padding_or_stride_shift", "unknown")


def family(case: Case, node: Node) -> dict:
    """Wrong ways back through a running sum, product, maximum or log-sum that ends here."""
    tape = case.tape
    found = scan(tape, node) if tape.is_active(node.index) else None
    if found is None:
        return {}
    z, name, axis, reverse = found
    x, y = (_first(tape.values[v], axis, reverse) for v in (z, node.outs[0]))
    if not 1 < len(x) <= LONGEST:
        return {}
    at = at_line(node)
    with np.errstate(all="ignore"):
        slopes = SLOPES[name](x[None], y[:, None])  # (i, j, ...)
    plain = name == "cumsum"
    return {
        key: Variant(
            _rule(z, np.where(_from(mask, x.ndim), slopes, 0.0), axis, reverse),
            tape.leaves[z],
            words,
            f"what comes back through a running {NAMES[name]} {text}{at}",
            0.5,
        )
        for key, (mask, words, text) in _masks(len(x), plain).items()
    }


NAMES = {
    "cumsum": "sum",
    "cumprod": "product",
    "cumlogsumexp": "log-sum",
    "cummax": "maximum",
    "cummin": "minimum",
}


def _masks(n: int, plain: bool) -> dict[str, tuple]:
    """key -> (which y_i send to which x_j, words, text)."""
    ones = np.ones((n, n), bool)
    own = np.eye(n, dtype=bool)
    right = np.tril(ones)
    found = {
        "skipped": (own, SKIPPED, "is not summed up: each place gets its own part alone"),
        "straight": (right.T, ("transpose", "unknown"), "is summed from the wrong end"),
        "late": (np.tril(ones, -1), MOVED, "leaves each place's own part out"),
        "early": (np.tril(ones, 1), WIDER, "begins one place too early"),
        "straight, late": (
            np.triu(ones, 1), ("transpose", "unknown"),
            "is summed from the wrong end, without each place's own part",
        ),
        "everywhere": (ones, ("unknown", *SKIPPED[:2]), "is summed over all places"),
    }  # fmt: skip
    # Beyond its own range a running product or maximum has no derivative of this form.
    return {k: v for k, v in found.items() if plain or not np.any(v[0] & ~right) or k == "straight"}


def _from(mask: np.ndarray, rank: int) -> np.ndarray:
    return mask.reshape(*mask.shape, *(1,) * (rank - 1))


def _first(x: np.ndarray, axis: int, reverse: bool) -> np.ndarray:
    """The array with its running axis in front and in running order."""
    x = np.moveaxis(np.asarray(x, float), axis, 0)
    return x[::-1] if reverse else x


def _rule(z: int, weights: np.ndarray, axis: int, reverse: bool) -> Callable[[float], Rule]:
    """x̄_j = Σ_i weights_ij ȳ_i."""

    def rule(sweep, node, ct):
        ct = ct[0] if node.opaque is not None else ct
        back = np.einsum("ij...,i...->j...", weights, _first(ct, axis, reverse))
        back = back[::-1] if reverse else back
        return [(z, np.moveaxis(back, 0, axis))]

    return lambda c: rule


def scan(tape: Tape, node: Node) -> tuple[int, str, int, bool] | None:
    """(variable, name, axis, reversed) if a node makes something running of an earlier variable."""
    if node.prim in SLOPES:
        return node.ins[0], node.prim, node.params["axis"], node.params["reverse"]
    key = ("running", node.index)
    if key not in tape.memo:
        tape.memo[key] = _written_out(tape, node) if node.prim in WRITTEN_OUT else None
    return tape.memo[key]


def _written_out(tape: Tape, node: Node) -> tuple[int, str, int, bool] | None:
    y = np.asarray(tape.values[node.outs[0]])
    if node.opaque is not None or y.ndim == 0 or y.dtype.kind != "f" or max(y.shape) < 3:
        return None
    if node.prim == "dot_general" and not any(
        _is_triangle(tape.values[v]) for v in node.ins if not tape.active[v]
    ):
        return None
    if len(tape.lines[tape.line(node)]) > 1:
        return None  # within a loop: what the loop makes is seen behind it
    stack, seen = list(node.ins), set[int]()
    while stack and len(seen) < NEAR + 3 * len(node.ins):
        var = stack.pop(0)
        if var in seen or not tape.active[var]:
            continue
        seen.add(var)
        if tape.shape(var) == y.shape and (found := _running(tape.values[var], y)):
            return (var, "cumsum", *found)
        made = tape.maker(var)
        stack += made.ins if made is not None else ()
    return None


def _is_triangle(value) -> bool:
    """Does it hold ones on one side of the diagonal, and zeros on the other?"""
    value = np.asarray(value)
    if value.ndim != 2 or value.shape[0] != value.shape[1]:
        return False
    ones = np.tril(np.ones(value.shape))
    return np.array_equal(value, ones) or np.array_equal(value, ones.T)


def _running(x: np.ndarray, y: np.ndarray) -> tuple[int, bool] | None:
    """(axis, reversed) along which y is the running sum of x, or None."""
    for axis in range(y.ndim):
        if y.shape[axis] < 3:
            continue
        for reverse in (False, True):
            start = -1 if reverse else 0
            if not np.array_equal(np.take(x, start, axis), np.take(y, start, axis)):
                continue
            front = np.cumsum(_first(x, axis, reverse), axis=0)
            if np.any(front != front[:1]) and np.allclose(
                front, _first(y, axis, reverse), rtol=1e-9, atol=1e-12
            ):
                return axis, reverse
    return None
