"""Masks on the way back: dropout not reapplied, winners of a maximum chosen wrongly."""

import numpy as np

from jaxdl.gradcheck.bugs.diverted import made_at
from jaxdl.gradcheck.bugs.edges import factors, row
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.rules.structural import keep_axes
from jaxdl.gradcheck.replay.rules.windows import pool_places, pool_spread
from jaxdl.gradcheck.replay.structure import (
    at_line,
    decides,
    is_no_dropout,
    leaf_source,
    mask_of,
)
from jaxdl.gradcheck.replay.tape import Node, Tape


def family(case: Case, node: Node) -> dict:
    """Variants for dropout masks, reductions by maximum and max-pooling."""
    if not case.tape.is_active(node.index):
        return {}
    if node.prim in ("reduce_max", "reduce_min"):
        return _extrema(case, node)
    if node.prim == "reduce_window_max":
        return _pooling(case, node)
    if node.prim == "select_n" and len(case.tape.moving(node)) > 1:
        return _selection(case, node)
    return _dropout(case, node)


def _selection(case: Case, node: Node) -> dict:
    """A choice between two arrays by data: one of them taken everywhere, or the wrong one."""
    tape = case.tape
    if len(node.ins) != 3 or tape.moving(node) != [1, 2] or decides(tape, node):
        return {}
    second = np.broadcast_to(tape.values[node.ins[0]], tape.shape(node.outs[0])).astype(bool)
    shares = {
        "to its first array everywhere": np.zeros_like(second),
        "to its second array everywhere": np.ones_like(second),
        "to the array that was not chosen": ~second,
    }

    def sent(second):
        return lambda sweep, node, ct: [
            (node.ins[1], np.where(second, 0.0, ct)), (node.ins[2], np.where(second, ct, 0.0))
        ]  # fmt: skip

    return {
        what: Variant(
            lambda c, share=share: sent(share),
            tape.leaves[node.outs[0]],
            ("unknown", "relu_mask_wrong", "path_dropped"),
            f"the gradient of a selection goes {what}{at_line(node)}",
            0.55,
        )
        for what, share in shares.items()
    }


def _dropout(case: Case, node: Node) -> dict:
    mask = mask_of(case.tape, node)
    if mask is None:
        return {}
    (p,) = case.tape.moving(node)
    reach = case.tape.leaves[node.ins[p]]
    own = float(mask.max())
    nearby = {k for k in factors(case.tape, _through(case, node)) if k > 1}
    found = {}
    for kept in sorted({own, 1.0, *(own / k for k in nearby), *(1 / k for k in nearby)}):
        complete = kept == own
        words = mask_words(case.tape, node)
        words += () if complete else ("dropout_scale_missing",)
        text = "the mask is not applied on the way back"
        text += "" if complete else ", nor its factor"
        found["unmasked", round(kept, 12)] = Variant(
            lambda c, kept=kept: _constant(p, kept), reach, words, f"{text}{at_line(node)}", 0.3
        )
    return found


def mask_words(tape: Tape, node: Node) -> tuple[str, ...]:
    """What it is called if this mask is not applied on the way back.

    Masks of units and of positions, of dropout or of padding, share a word. Labels, events and
    marks of what counts are zeros and ones as well, in terms of the loss that go into no further
    weights, and so are the triangles that shape a parameter and the identity that makes a diagonal:
    these have no word. Nor has a mask that a comparison makes of data: of padding, of missing or
    unseen values.
    """
    known = ("dropout_mask_missing",)
    (p,) = tape.moving(node)
    if is_no_dropout(tape, node) or leaf_source(tape, node.ins[p]) is not None:
        return ("unknown", *known)
    return known


def _through(case: Case, node: Node) -> list[Node]:
    """The row of a mask, with the constant factors just before it."""
    tape, before = case.tape, []
    (p,) = tape.moving(node)
    var = node.ins[p]
    while len(tape.users(var)) == 1 and len(before) < 3:
        made = tape.maker(var)
        if made is None or made.prim not in ("mul", "div") or len(tape.moving(made)) != 1:
            break
        before.append(made)
        var = made.ins[tape.moving(made)[0]]
    return before + row(tape, node)


def _constant(position: int, k: float) -> Rule:
    """k · ct goes to the operand."""
    return lambda sweep, node, ct: [(node.ins[position], k * ct)]


WINNER = ("unknown", "relu_mask_wrong", "activation_derivative_wrong")
"""A maximum that sends its gradient elsewhere: no word is made for it, a ReLU's mask is nearest."""

EVERY: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("every entry", "every place of the window"), ("activation_derivative_missing",)
)
"""Further words where no winner is looked for at all."""

OTHER = ("stale_operand", "path_dropped")
"""Further words where it is looked for in another array, or among other entries."""


def _extrema(case: Case, node: Node) -> dict:
    axes = tuple(node.params["axes"])
    x, out = case.tape.values[node.ins[0]], case.tape.values[node.outs[0]]
    winners = x == keep_axes(out, axes)
    count = int(np.prod([x.shape[i] for i in axes]))
    best, worst = (np.argmax, np.argmin) if node.prim == "reduce_max" else (np.argmin, np.argmax)
    shares = {
        "every entry": np.ones_like(x),
        "every entry, equally": np.full_like(x, 1 / count),
        "every winner of a tie, in full": winners * 1.0,
        "the first winner of a tie": chosen(x, axes, best),
        "the first entry": chosen(np.zeros_like(x), axes, best),
        "the last entry": np.flip(chosen(np.zeros_like(x), axes, best), axes),
        "the loser": chosen(x, axes, worst),
    }
    named: dict = {what: (what, share) for what, share in shares.items()}
    for address, var in variables(case.tape, node, x.shape):
        value = case.tape.values[var]
        if var != node.ins[0] and np.all(np.isfinite(value)):
            what = f"where another array{made_at(case.tape, var)} has its own"
            named["elsewhere", address] = (what, chosen(value, axes, best))
    return {
        key: Variant(
            lambda c, share=share: (
                lambda sweep, node, ct: [(node.ins[0], keep_axes(ct, axes) * share)]
            ),
            case.tape.leaves[node.ins[0]],
            (*WINNER, *EVERY.get(what, OTHER)),
            f"the gradient of a maximum goes to {what}{at_line(node)}",
            0.6,
        )
        for key, (what, share) in named.items()
    }


def chosen(x: np.ndarray, axes: tuple[int, ...], choose) -> np.ndarray:
    """Ones where `choose` (argmax, argmin) finds the entry of x along these axes, else zeros."""
    front = np.moveaxis(x, axes, range(len(axes)))
    rows = front.reshape(-1, *front.shape[len(axes) :])
    ones = (np.arange(len(rows)).reshape(-1, *(1,) * (rows.ndim - 1)) == choose(rows, axis=0)) * 1.0
    return np.moveaxis(ones.reshape(front.shape), range(len(axes)), axes)


def _pooling(case: Case, node: Node) -> dict:
    x = case.tape.values[node.ins[0]]
    places = pool_places(node.params, x, -np.inf)
    count = len(places)
    winners = places == np.max(places, axis=0)
    last = np.argmax(places[::-1], axis=0)
    order = np.arange(count).reshape(-1, *(1,) * (places.ndim - 1))
    shares = {
        "every place of the window": np.ones(places.shape),
        "every place of the window, equally": np.full(places.shape, 1 / count),
        "every winner of a tie, in full": winners * 1.0,
        "the winners of a tie, shared": winners / winners.sum(axis=0),
        "the last winner of a tie": (order == count - 1 - last) * 1.0,
        "the first place of the window": np.broadcast_to(order == 0, places.shape) * 1.0,
        "the smallest entry": (order == np.argmin(places, axis=0)) * 1.0,
    }

    def spread(share):
        def rule(sweep, node, ct):
            return [(node.ins[0], pool_spread(node.params, ct, x, share))]

        return lambda c: rule

    return {
        what: Variant(
            spread(share),
            case.tape.leaves[node.ins[0]],
            (*WINNER, *EVERY.get(what, ())),
            f"the gradient of max-pooling goes to {what}{at_line(node)}",
            0.6,
        )
        for what, share in shares.items()
    }
