"""Backward rules bound to a node: all that does not depend on the cotangent is worked out once.

A diagnosis sends thousands of cotangents through the same tape. A pullback is the node's own rule
of `rules` for one operand, as a function of the cotangent alone, with the same results bit for bit.
"""

from collections.abc import Callable

import numpy as np

from jaxdl.gradcheck.replay.rules import PARTS, RULES
from jaxdl.gradcheck.replay.rules.contractions import dot_letters, gather_index, plan
from jaxdl.gradcheck.replay.rules.elementwise import AT_ZERO, BINARY, UNARY, unbroadcast
from jaxdl.gradcheck.replay.rules.structural import broadcast_axes, slices, starts

Pullback = Callable[[np.ndarray], np.ndarray | None]


def pullback(prim: str, params: dict, ins: list, out: np.ndarray, position: int) -> Pullback:
    """The backward rule of a primitive for one operand.

    Args:
        prim: name of a primitive with a backward rule.
        params: of the equation.
        ins: values of the operands.
        out: value of the result.
        position: which operand.

    Returns:
        Cotangent of the result -> cotangent of the operand, or None where the rule sends none.
    """
    if prim in SPECIAL:
        return SPECIAL[prim](params, ins, out, position)
    if prim in UNARY and AT_ZERO not in params:
        return _scaled(UNARY[prim][1](ins[0], out), ins[0], out)
    if prim in BINARY:
        return _scaled(BINARY[prim][1 + position](*ins, out), ins[position], out)
    if prim in PARTS:
        back = PARTS[prim][position]
        return lambda ct: back(params, ct, *ins)
    rule = RULES[prim][1]
    assert rule is not None
    return lambda ct: rule(params, ct, ins, out)[position]


def _scaled(slope, operand: np.ndarray, out: np.ndarray) -> Pullback:
    """ct · slope; a slope of exactly one is left out."""
    shape = np.shape(operand)
    if shape != np.shape(out):
        return lambda ct: unbroadcast(ct * slope, shape)
    if isinstance(slope, float) and slope == 1.0:
        return lambda ct: ct
    return lambda ct: ct * slope


def _same(params, ins, out, position) -> Pullback:
    return lambda ct: ct


def _squeezed(params, ins, out, position) -> Pullback:
    shape = np.shape(ins[0])
    return lambda ct: ct.reshape(shape)


def _reshaped(params, ins, out, position) -> Pullback:
    if params.get("dimensions") is not None:
        return lambda ct: RULES["reshape"][1](params, ct, ins, out)[0]
    return _squeezed(params, ins, out, position)


def _transposed(params, ins, out, position) -> Pullback:
    order = tuple(np.argsort(params["permutation"]))
    return lambda ct: ct.transpose(order)


def _summed(params, ins, out, position) -> Pullback:
    shape = np.shape(ins[0])
    axes = broadcast_axes(params, shape)
    return lambda ct: np.add.reduce(ct, axis=axes).reshape(shape)


def _spread(params, ins, out, position) -> Pullback:
    shape, axes = np.shape(ins[0]), set(params["axes"])
    kept = tuple(1 if axis in axes else n for axis, n in enumerate(shape))

    def back(ct):
        full = np.empty(shape, ct.dtype)
        full[...] = ct.reshape(kept)
        return full

    return back


def _placed(shape: tuple[int, ...], where: tuple) -> Pullback:
    def back(ct):
        full = np.zeros(shape, ct.dtype)
        full[where] = ct
        return full

    return back


def _sliced(params, ins, out, position) -> Pullback:
    return _placed(np.shape(ins[0]), slices(params))


def _indexed(params, ins, out, position) -> Pullback:
    return _placed(np.shape(ins[0]), params["position"])


def _one_of_many(params, ins, out, position) -> Pullback:
    return lambda ct: ct[position]


def _stacked(params, ins, out, position) -> Pullback:
    where = (*(slice(None),) * (params["axis"] % np.ndim(out)), position)
    return lambda ct: ct[where]


def _joined(params, ins, out, position) -> Pullback:
    axis = params["dimension"]
    start = sum(np.shape(x)[axis] for x in ins[:position])
    where = (*(slice(None),) * axis, slice(start, start + np.shape(ins[position])[axis]))
    return lambda ct: ct[where]


def _windowed(params, ins, out, position) -> Pullback:
    shape = np.shape(ins[0])
    return _placed(shape, starts(shape, params["slice_sizes"], ins[1:]))


def _gathered(params, ins, out, position) -> Pullback:
    shape = np.shape(ins[0])
    index = np.broadcast_to(gather_index(params, shape, ins[1]), np.shape(out)).ravel()

    def back(ct):
        flat = np.zeros(np.size(ins[0]), ct.dtype)
        np.add.at(flat, index, ct.ravel())
        return flat.reshape(shape)

    return back


def _power(params, ins, out, position) -> Pullback:
    n, x = params["y"], ins[0]
    if n == 0:
        return np.zeros_like
    lower = x ** (n - 1) if n >= 1 else 1 / x ** (1 - n)
    return lambda ct: ct * n * lower


def _selected(params, ins, out, position) -> Pullback:
    chosen = ins[0] == position - 1
    return lambda ct: np.where(chosen, ct, 0.0)


def _dot(params, ins, out, position) -> Pullback:
    """The product with the other operand, laid out once."""
    x, y = ins
    left, right, result = dot_letters(params, x.ndim, y.ndim)
    if position == 0:
        p = plan(result, right, left, np.shape(out), y.shape)
        fixed = y.transpose(p.order_b).reshape(p.shape_b)
        return lambda ct: (
            (ct.transpose(p.order_a).reshape(p.shape_a) @ fixed)
            .reshape(p.shape_out)
            .transpose(p.order_out)
        )
    p = plan(left, result, right, x.shape, np.shape(out))
    fixed = x.transpose(p.order_a).reshape(p.shape_a)
    return lambda ct: (
        (fixed @ ct.transpose(p.order_b).reshape(p.shape_b))
        .reshape(p.shape_out)
        .transpose(p.order_out)
    )


SPECIAL: dict[str, Callable[..., Pullback]] = {
    "copy": _same,
    "convert_element_type": _same,
    "reshape": _reshaped,
    "squeeze": _squeezed,
    "transpose": _transposed,
    "broadcast_in_dim": _summed,
    "reduce_sum": _spread,
    "slice": _sliced,
    "index": _indexed,
    "stack": _stacked,
    "scan_outputs": _one_of_many,
    "concatenate": _joined,
    "dynamic_slice": _windowed,
    "gather": _gathered,
    "integer_pow": _power,
    "select_n": _selected,
    "dot_general": _dot,
}
"""Rules that get cheaper when their operands are known."""
