"""Convolutions, padding and slices: flipped, transposed or shifted on the way back."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.backward import by_position
from jaxdl.gradcheck.replay.filters import shift_words
from jaxdl.gradcheck.replay.rules.structural import padded_shape
from jaxdl.gradcheck.replay.rules.windows import (
    Params,
    conv_back_input,
    conv_back_kernel,
    conv_geometry,
)
from jaxdl.gradcheck.replay.structure import at_line, leaf_source
from jaxdl.gradcheck.replay.tape import Node, Tape

SHIFTED = ("pad", "slice", "dynamic_slice", "dynamic_update_slice", "gather", "concatenate")

SHIFT = ("padding_or_stride_shift",)

Shifts = Sequence[tuple[tuple[int, ...], bool]]
"""(move along the spatial axes, does it wrap round?)"""

STEPS = {
    "window_strides": "the stride is",
    "rhs_dilation": "the kernel's dilation is",
    "lhs_dilation": "the input's dilation is",
}
"""Parameters of a convolution that say how far apart places are."""

STAYS = ("first", "middle", "last")
"""The place of a window that stays where it is when its dilation is forgotten."""


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
    spaces = node.params["dimension_numbers"].rhs_spec[2:]
    flips = [axes for n in range(1, len(spaces) + 1) for axes in itertools.combinations(spaces, n)]
    moves = [m for m in itertools.product((-1, 0, 1), repeat=len(spaces)) if any(m)]
    shifts = [*itertools.product(moves, (False, True))]
    found = _both_ways(case, node, shifts)
    if 0 in case.tape.moving(node):
        found |= _to_input(case, node, flips, shifts)
    if 1 in case.tape.moving(node):
        found |= _to_kernel(case, node, flips, shifts)
    return found


def _one_way(case: Case, node: Node, position: int, back, words, text, cost=0.6) -> Variant:
    """Another `back(ct, x, kernel)` on the way to one operand."""

    def rule(sweep, node, ct):
        x, kernel = (sweep.tape.values[v] for v in node.ins)
        sent = by_position(sweep.tape, node, ct)
        return [(node.ins[p], back(ct, x, kernel) if p == position else c) for p, c in sent]

    at = at_line(node)
    return Variant(lambda c: rule, case.tape.leaves[node.ins[position]], words, text + at, cost)


def _to_input(case: Case, node: Node, flips, shifts: Shifts) -> dict:
    """The kernel not flipped or transposed; the result moved."""
    params, spec = node.params, node.params["dimension_numbers"]
    shape = case.tape.shape(node.ins[1])

    def with_kernel(change, words, text, cost):
        def back(ct, x, kernel):
            return conv_back_input(params, ct, x, change(kernel))

        return _one_way(case, node, 0, back, words, f"the kernel {text} on the way back", cost)

    found: dict = {
        ("input flip", axes): with_kernel(
            lambda k, axes=axes: np.flip(k, axes), ("conv_flip",), "is not flipped", 0.4
        )
        for axes in flips
    }
    out, into, *space = spec.rhs_spec
    if shape[out] == shape[into] > 1:
        found["input channels",] = with_kernel(
            lambda k: np.swapaxes(k, out, into), ("transpose",), "has its channels swapped", 0.5
        )
    if len(space) == 2 and shape[space[0]] == shape[space[1]]:
        found["input space",] = with_kernel(
            lambda k: np.swapaxes(k, *space), ("transpose", "conv_flip"), "is transposed", 0.5
        )
    for move, wrap in shifts:

        def back(ct, x, kernel, move=move, wrap=wrap):
            return _moved(conv_back_input(params, ct, x, kernel), spec.lhs_spec[2:], move, wrap)

        text = f"the input's gradient is shifted by {move}"
        found["input shift", move, wrap] = _one_way(case, node, 0, back, SHIFT, text)
    found |= _cropped(
        case, node, 0, conv_back_input, shifts,
        lambda move: f"the padding is cut off {places(move)} from the right place",
    )  # fmt: skip
    return found | _spread(case, node, shifts) | _forgotten(case, node, 0, conv_back_input)


def _spread(case: Case, node: Node, shifts: Shifts) -> dict:
    """A stride's zeros before the entries of the gradient, not behind; the last find no room."""
    params, spec = node.params, node.params["dimension_numbers"]
    found: dict = {}
    for move in dict.fromkeys(move for move, _ in shifts):
        fits = np.ones((), bool)
        spans = zip(
            spec.out_spec[2:], spec.lhs_spec[2:], params["window_strides"], move, strict=True
        )
        for axis, along, step, by in spans:
            count, room = case.tape.shape(node.outs[0])[axis], case.tape.shape(node.ins[0])[along]
            at = step * np.arange(count) + by
            fits = fits & _along(axis, (at >= 0) & (at < room), len(spec.out_spec))
        if max(params["window_strides"]) < 2 or np.all(fits):
            continue  # as if the padding were cut off elsewhere

        def back(ct, x, kernel, move=move, fits=fits):
            return conv_back_input(_off(params, tuple(-s for s in move)), ct * fits, x, kernel)

        text = f"the gradient is spread out {places(move)} from the right places"
        found["spread", move] = _one_way(case, node, 0, back, SHIFT, text)
    return found


def _along(axis: int, values: np.ndarray, rank: int) -> np.ndarray:
    """A vector along one of several axes."""
    return values.reshape([-1 if a == axis else 1 for a in range(rank)])


def places(move: tuple[int, ...]) -> str:
    """A move along the spatial axes in words."""
    steps = ", ".join(f"{s:+d} along axis {i}" for i, s in enumerate(move) if s)
    return f"({steps})"


def _cropped(case: Case, node: Node, position: int, back, shifts: Shifts, say) -> dict:
    """The way back of the convolution whose windows lie off: what was padding before comes in.

    `say(move)` puts it in words.
    """
    found = {}
    for move in dict.fromkeys(move for move, _ in shifts):
        off = _off(node.params, move)

        def elsewhere(ct, x, kernel, off=off):
            return back(off, ct, x, kernel)

        found["crop", position, move] = _one_way(case, node, position, elsewhere, SHIFT, say(move))
    return found


def _off(params: Params, move: tuple[int, ...]) -> Params:
    """A convolution whose windows start elsewhere."""
    padding = zip(params["padding"], move, strict=True)
    return params | {"padding": tuple((low + s, high - s) for (low, high), s in padding)}


def _to_kernel(case: Case, node: Node, flips, shifts: Shifts) -> dict:
    """The kernel's gradient flipped, or of an input or cotangent that is moved."""
    params, spec = node.params, node.params["dimension_numbers"]
    found = {}
    for axes in flips:

        def flipped(ct, x, kernel, axes=axes):
            return np.flip(conv_back_kernel(params, ct, x, kernel), axes)

        text = "the kernel's gradient is flipped"
        found["kernel flip", axes] = _one_way(case, node, 1, flipped, ("conv_flip",), text, 0.4)
    for move, wrap in shifts:

        def of_moved_input(ct, x, kernel, move=move, wrap=wrap):
            return conv_back_kernel(params, ct, _moved(x, spec.lhs_spec[2:], move, wrap), kernel)

        def of_moved_cotangent(ct, x, kernel, move=move, wrap=wrap):
            return conv_back_kernel(params, _moved(ct, spec.out_spec[2:], move, wrap), x, kernel)

        text = f"the kernel's gradient sees the input shifted by {move}"
        found["kernel shift", move, wrap] = _one_way(case, node, 1, of_moved_input, SHIFT, text)
        text = f"the kernel's gradient sees the output's gradient shifted by {move}"
        found["kernel ct shift", move, wrap] = _one_way(
            case, node, 1, of_moved_cotangent, SHIFT, text
        )
    found |= _cropped(
        case, node, 1, conv_back_kernel, shifts,
        lambda move: (
            f"the kernel's gradient reads its windows {places(tuple(-s for s in move))} too far"
        ),
    )  # fmt: skip
    return found | _forgotten(case, node, 1, conv_back_kernel)


def _forgotten(case: Case, node: Node, position: int, back) -> dict:
    """Neighbouring places on the way back where the convolution takes every second, say."""
    found = {}
    for which, what in STEPS.items():
        for stays in STAYS if which == "rhs_dilation" else STAYS[:1]:
            if max(node.params[which]) > 1:

                def by_one(ct, x, kernel, which=which, stays=stays):
                    return back(_dense(node, which, stays, ct, x, kernel), ct, x, kernel)

                text = f"{what} forgotten on the way back"
                key = ("step", position, which, stays)
                found[key] = _one_way(case, node, position, by_one, SHIFT, text)
    return found


def _dense(node: Node, which: str, stays: str, ct, x, kernel) -> dict:
    """The convolution with steps of 1, and room at its end for as many windows as before."""
    spec = node.params["dimension_numbers"]
    params: Params = node.params | {which: (1,) * len(node.params[which])}
    sizes = tuple(np.shape(kernel)[a] for a in spec.rhs_spec[2:])
    g = conv_geometry(params, sizes)
    apart = zip(sizes, node.params["rhs_dilation"], strict=True)
    wider = [(k - 1) * (d - 1) for k, d in apart]  # what the window loses without its dilation
    part = {"first": 0.0, "middle": 0.5, "last": 1.0}[stays]
    lows = [c[0] - int(part * lost) for c, lost in zip(g.config, wider, strict=True)]
    left = tuple((low, 0, gap) for low, (_, _, gap) in zip(lows, g.config, strict=True))
    given = padded_shape(left, [np.shape(x)[a] for a in spec.lhs_spec[2:]])
    counts = [np.shape(ct)[a] for a in spec.out_spec[2:]]
    spans = zip(counts, g.strides, g.size, g.dilation, strict=True)
    needed = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in spans]
    ends = zip(lows, needed, given, strict=True)
    return params | {"padding": tuple((low, n - m) for low, n, m in ends)}


def _both_ways(case: Case, node: Node, shifts: Shifts) -> dict:
    """The incoming gradient moved, on the way to both operands."""
    space = node.params["dimension_numbers"].out_spec[2:]

    def rule(move, wrap):
        def back(sweep, node, ct):
            sent = by_position(sweep.tape, node, _moved(ct, space, move, wrap))
            return [(node.ins[p], c) for p, c in sent]

        return lambda c: back

    reach = case.tape.leaves[node.outs[0]]
    return {
        ("both shift", move, wrap): Variant(
            rule(move, wrap),
            reach,
            SHIFT,
            f"the gradient is shifted by {move}{at_line(node)}",
            0.6,
        )
        for move, wrap in shifts
    }


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
        leaf = leaf_source(tape, node.ins[p])
        for move, wrap in itertools.product(moves, (False, True)):
            if wrap and all(shape[a] == 2 for a in move):
                continue  # that turns them round
            words = (*SHIFT, "stale_operand", "unknown")
            if leaf is not None:
                words = shift_words(tape, leaf, next(iter(move)))
            if node.prim == "gather" or (leaf is None and _takes_one(tape, node, p, move)):
                words = ("unknown", "wrong_entry", "stale_operand", *SHIFT)  # an index off by one
            found["shift", p, tuple(move.items()), wrap] = Variant(
                lambda c, p=p, move=move, wrap=wrap: _shift_rule(p, move, wrap),
                tape.leaves[node.ins[p]],
                words,
                f"the gradient is shifted by {along_axes(move)}{at_line(node)}",
                0.7,
            )
    return found


def along_axes(move: dict[int, int]) -> str:
    """A move in words, such as "1 along axis 0"."""
    return ", ".join(f"{step} along axis {axis}" for axis, step in move.items())


def _takes_one(tape: Tape, node: Node, position: int, move: dict[int, int]) -> bool:
    """Does a slice take one place along the axes of a move?"""
    shape = tape.shape(node.ins[position])
    rest = [n for axis, n in enumerate(shape) if axis not in move]
    return node.prim != "pad" and math.prod(rest) == np.size(tape.values[node.outs[0]])


def _shift_rule(position, move, wrap):
    def rule(sweep, node, ct):
        sent = by_position(sweep.tape, node, ct)
        axes, steps = zip(*move.items(), strict=True)
        return [
            (node.ins[p], _moved(c, axes, steps, wrap) if p == position else c) for p, c in sent
        ]

    return rule
