"""The shares in the gradient of a log-sum of exponentials, taken from other logits.

    y = log Σᵢ exp zᵢ:   z̄ᵢ = ȳ pᵢ,  p = softmax(z)

Whoever has softmax(z′) there has forgotten the temperature, a mask or a bias, or weighs the parts
of a mixture by their prior alone. On all of the way back, or on the way to one term of z.
"""

from collections.abc import Iterator

import numpy as np
from scipy.special import softmax

from jaxdl.gradcheck.bugs.diverted import made_at
from jaxdl.gradcheck.bugs.logs import summed, times
from jaxdl.gradcheck.replay.addresses import variables
from jaxdl.gradcheck.replay.rules.structural import keep_axes
from jaxdl.gradcheck.replay.structure import at_line, unwrapped
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.search import Case, Variant

WORDS = ("stale_operand", "activation_derivative_wrong", "unknown")
PRIOR = ("stale_operand", "path_dropped", "activation_derivative_wrong", "unknown")
SUMS = ("add", "sub")


def family(case: Case, node: Node) -> dict:
    """Other shares on the whole way back through a logarithm, or on the way to one term."""
    tape = case.tape
    if not tape.is_active(node.index) or node.opaque is not None:
        return {}
    if node.prim == "log":
        return _whole(case, node)
    if node.prim in SUMS and len(tape.moving(node)) == 2:
        return _of_one_term(case, node)
    return {}


def _whole(case: Case, node: Node) -> dict:
    tape = case.tape
    total = tape.maker(unwrapped(tape, node.ins[0])[0])
    powers = tape.maker(total.ins[0]) if total is not None and total.prim == "reduce_sum" else None
    if total is None or powers is None or powers.prim != "exp":
        return {}
    z, axes = powers.ins[0], tuple(total.params["axes"])
    found, at = {}, at_line(node)
    for key, var, shares in _others(tape, node, z, axes):
        found["shares", key] = Variant(
            lambda c, shares=shares: (
                lambda sweep, node, ct: [(z, _kept(ct, axes, shares.ndim) * shares)]
            ),
            tape.leaves[z],
            WORDS,
            f"the shares of a softmax are those of another array{made_at(tape, var)}{at}",
            0.75,
        )
    return found


def _kept(ct, axes: tuple[int, ...], rank: int):
    """A cotangent that has the summed axes, of length 1."""
    return ct if np.ndim(ct) == rank else keep_axes(ct, axes)


def _of_one_term(case: Case, node: Node) -> dict:
    tape, out = case.tape, node.outs[0]
    total = summed(tape, out)
    if total is None or tape.shape(total.ins[0]) != tape.shape(out):
        return {}
    axes = tuple(total.params["axes"])
    right = softmax(tape.values[out], axis=axes)
    if not np.all(right > 0):
        return {}
    found: dict = {}
    for key, var, shares in _others(tape, node, out, axes):
        for p in tape.moving(node):
            text = "on the way to one term, the shares are those of another array"
            found["share", p, key] = Variant(
                lambda c, p=p, factor=shares / right: times(p, factor),
                tape.leaves[node.ins[p]],
                PRIOR,
                f"{text}{made_at(tape, var)}{at_line(node)}",
                0.8,
            )
    return found


def _others(tape: Tape, node: Node, z: int, axes: tuple[int, ...]) -> Iterator[tuple]:
    """(key, variable, its shares) for every other array that has the place of z."""
    shape = tape.shape(z)
    right = softmax(tape.values[z], axis=axes)
    shapes = [shape]
    if axes == (len(shape) - 1,) and len(shape) > 1:
        shapes.append(shape[-1:])  # the logits of a prior, the same for every example
    for own in shapes:
        for key, var in variables(tape, node, own):
            value = tape.values[var]
            if not tape.active[var] or not np.all(np.isfinite(value)):
                continue
            along = axes if own == shape else (0,)
            shares = np.broadcast_to(softmax(value, axis=along), shape)
            if not np.allclose(shares, right, rtol=1e-9, atol=0):
                yield key, var, shares
