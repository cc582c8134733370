"""Convolutions, padding and slices: flipped, transposed or shifted on the way back."""

import itertools

import numpy as np

from jaxdl.gradcheck.replay.backward import by_position
from jaxdl.gradcheck.replay.rules.windows import conv_back_input, conv_back_kernel
from jaxdl.gradcheck.replay.structure import line
from jaxdl.gradcheck.replay.tape import Node
from jaxdl.gradcheck.search import Case, Variant

SHIFTED = ("pad", "slice", "dynamic_slice", "dynamic_update_slice", "gather", "concatenate")


def family(case: Case, node: Node) -> dict:
    """Variants at convolutions and at nodes that move windows of an array."""
    if not case.tape.is_active(node.index):
        return {}
    if node.prim == "conv_general_dilated":
        return _convolution(case, node)
    if node.prim in SHIFTED:
        return _shifts(case, node)
    return {}


def shifted(x: np.ndarray, axis: int, step: int, wrap: bool) -> np.ndarray:
    """x moved by `step` along an axis; zeros come in unless it wraps round."""
    out = np.roll(x, step, axis)
    if not wrap:
        edge = [slice(None)] * x.ndim
        edge[axis] = slice(0, step) if step > 0 else slice(step, None)
        out[tuple(edge)] = 0
    return out


def _convolution(case: Case, node: Node) -> dict:
    tape, spec = case.tape, node.params["dimension_numbers"]
    params = node.params
    space_x, space_k = spec.lhs_spec[2:], spec.rhs_spec[2:]
    space_y = spec.out_spec[2:]
    at = f" at {line(node)}" if line(node) else ""
    found: dict = {}

    def variant(position, back, words, text, cost=0.6):
        def rule(sweep, node, ct):
            x, kernel = (sweep.tape.values[v] for v in node.ins)
            sent = by_position(sweep.tape, node, ct)
            return [(node.ins[p], back(ct, x, kernel) if p == position else c) for p, c in sent]

        return Variant(lambda c: rule, tape.leaves[node.ins[position]], words, text + at, cost)

    flips = [
        axes for n in range(1, len(space_k) + 1) for axes in itertools.combinations(space_k, n)
    ]
    if 0 in tape.moving(node):
        for axes in flips:
            found["input flip", axes] = variant(
                0, lambda ct, x, k, axes=axes: conv_back_input(params, ct, x, np.flip(k, axes)),
                ("conv_flip",), "the kernel is not flipped on the way back to the input", 0.4,
            )  # fmt: skip
        o, i = spec.rhs_spec[:2]
        kernel_shape = tape.shape(node.ins[1])
        if kernel_shape[o] == kernel_shape[i] > 1:
            found["input channels"] = variant(
                0, lambda ct, x, k: conv_back_input(params, ct, x, np.swapaxes(k, o, i)),
                ("transpose",), "the kernel's channels are not transposed on the way back", 0.5,
            )  # fmt: skip
        if len(space_k) == 2 and kernel_shape[space_k[0]] == kernel_shape[space_k[1]]:
            found["input space"] = variant(
                0, lambda ct, x, k: conv_back_input(params, ct, x, np.swapaxes(k, *space_k)),
                ("transpose", "conv_flip"), "the kernel is transposed on the way back", 0.5,
            )  # fmt: skip
    if 1 in tape.moving(node):
        for axes in flips:
            found["kernel flip", axes] = variant(
                1, lambda ct, x, k, axes=axes: np.flip(conv_back_kernel(params, ct, x, k), axes),
                ("conv_flip",), "the kernel's gradient is flipped", 0.4,
            )  # fmt: skip
    moves = [m for m in itertools.product((-1, 0, 1), repeat=len(space_x)) if any(m)]
    for move, wrap in itertools.product(moves, (False, True)):
        words = ("padding_or_stride_shift",)
        if 0 in tape.moving(node):
            found["input shift", move, wrap] = variant(
                0, lambda ct, x, k, move=move, wrap=wrap: _moved(
                    conv_back_input(params, ct, x, k), space_x, move, wrap),
                words, f"the input's gradient is shifted by {move}",
            )  # fmt: skip
        if 1 in tape.moving(node):
            found["kernel shift", move, wrap] = variant(
                1, lambda ct, x, k, move=move, wrap=wrap: conv_back_kernel(
                    params, ct, _moved(x, space_x, move, wrap), k),
                words, f"the kernel's gradient sees the input shifted by {move}",
            )  # fmt: skip
            found["kernel ct shift", move, wrap] = variant(
                1, lambda ct, x, k, move=move, wrap=wrap: conv_back_kernel(
                    params, _moved(ct, space_y, move, wrap), x, k),
                words, f"the kernel's gradient sees the output's gradient shifted by {move}",
            )  # fmt: skip
        found["both shift", move, wrap] = Variant(
            lambda c, move=move, wrap=wrap: lambda sweep, node, ct: [
                (node.ins[p], x)
                for p, x in by_position(sweep.tape, node, _moved(ct, space_y, move, wrap))
            ],
            tape.leaves[node.outs[0]], words, f"the gradient is shifted by {move}{at}", 0.6,
        )  # fmt: skip
    return found


def _moved(x, axes, move, wrap):
    for axis, step in zip(axes, move, strict=True):
        if step:
            x = shifted(np.array(x), axis, step, wrap)
    return x


def _shifts(case: Case, node: Node) -> dict:
    """What a pad or slice sends back, moved by one along each axis."""
    tape, found = case.tape, {}
    for p in tape.moving(node):
        shape = tape.shape(node.ins[p])
        out = tape.shape(node.outs[0])
        axes = [a for a in range(len(shape)) if len(out) != len(shape) or shape[a] != out[a]]
        steps = [1, -1]
        moves = [{a: s} for a in axes for s in steps]
        if len(axes) == 2:
            moves += [dict(zip(axes, m, strict=True)) for m in itertools.product(steps, steps)]
        for move, wrap in itertools.product(moves, (False, True)):
            found["shift", p, tuple(move.items()), wrap] = Variant(
                lambda c, p=p, move=move, wrap=wrap: _shift_rule(p, move, wrap),
                tape.leaves[node.ins[p]],
                ("padding_or_stride_shift",),
                f"the gradient is shifted by {move} at {line(node)}",
                0.7,
            )
    return found


def _shift_rule(position, move, wrap):
    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct)
        axes, steps = zip(*move.items(), strict=True)
        return [
            (node.ins[p], _moved(c, axes, steps, wrap) if p == position else c) for p, c in sent
        ]

    return rule
