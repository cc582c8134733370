"""Masks on the way back: dropout not reapplied, winners of a maximum chosen wrongly."""

import numpy as np

from jaxdl.gradcheck.bugs.edges import factors, row
from jaxdl.gradcheck.replay.backward import Rule
from jaxdl.gradcheck.replay.rules.structural import keep_axes
from jaxdl.gradcheck.replay.rules.windows import pool_places, pool_spread
from jaxdl.gradcheck.replay.structure import line, mask_of
from jaxdl.gradcheck.replay.tape import Node
from jaxdl.gradcheck.search import Case, Variant


def family(case: Case, node: Node) -> dict:
    """Variants for dropout masks, reductions by maximum and max-pooling."""
    if not case.tape.is_active(node.index):
        return {}
    if node.prim in ("reduce_max", "reduce_min"):
        return _extrema(case, node)
    if node.prim == "reduce_window_max":
        return _pooling(case, node)
    return _dropout(case, node)


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
        words = ("dropout_mask_missing",)
        words += () if complete else ("dropout_scale_missing",)
        text = "the mask is not applied on the way back"
        text += "" if complete else ", nor its factor"
        found["unmasked", round(kept, 12)] = Variant(
            lambda c, kept=kept: _constant(p, kept), reach, words, f"{text} at {line(node)}", 0.3
        )
    return found


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


def _extrema(case: Case, node: Node) -> dict:
    axes = tuple(node.params["axes"])
    x, out = case.tape.values[node.ins[0]], case.tape.values[node.outs[0]]
    winners = x == keep_axes(out, axes)
    count = int(np.prod([x.shape[i] for i in axes]))
    flat = np.moveaxis(winners, axes, range(len(axes)))
    first = np.cumsum(flat.reshape(count, -1), axis=0) == 1
    first = np.moveaxis(
        (first & flat.reshape(count, -1)).reshape(flat.shape), range(len(axes)), axes
    )
    shares = {
        "every entry": np.ones_like(x),
        "every entry, equally": np.full_like(x, 1 / count),
        "every winner of a tie, in full": winners * 1.0,
        "the first winner of a tie": first * 1.0,
    }
    return {
        what: Variant(
            lambda c, share=share: (
                lambda sweep, node, ct: [(node.ins[0], keep_axes(ct, axes) * share)]
            ),
            case.tape.leaves[node.ins[0]],
            ("relu_mask_wrong", "activation_derivative_wrong"),
            f"the gradient of a maximum goes to {what} at {line(node)}",
            0.6,
        )
        for what, share in shares.items()
    }


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
            ("relu_mask_wrong", "activation_derivative_wrong"),
            f"the gradient of max-pooling goes to {what} at {line(node)}",
            0.6,
        )
        for what, share in shares.items()
    }
