"""Leaf algebra: what can be seen from a leaf's two gradients alone, without the loss.

The rules sit at the last node of a leaf (nodes 0, 1, ... of a tape) and change its finished
gradient: transposed, flipped, shifted, another leaf's, summed once too often, or with a
multiple of the parameter added.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from jaxdl.gradcheck.coefficients import along, close, law, written
from jaxdl.gradcheck.hypotheses import Case, Name, Variant
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.filters import has_windows, is_filter, shift_words
from jaxdl.gradcheck.replay.leaves import is_bias
from jaxdl.gradcheck.replay.structure import is_penalised, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape


def finished(f: Callable) -> Callable[[float], Rule]:
    """A rule that sends f(gradient) to the leaf."""
    return lambda c: lambda sweep, node, ct: [(node.ins[0], f(ct))]


def incoming(position: int, f: Callable) -> Callable[[float], Rule]:
    """A rule that sends f(contribution) to one operand."""

    def make(c):
        def rule(sweep, node, ct):
            sent = by_position(sweep.tape, node, ct)
            return [(node.ins[p], f(x) if p == position else x) for p, x in sent]

        return rule

    return make


def family(case: Case, node: Node) -> dict:
    """Everything that can happen to the finished gradient of a leaf, or to one use of it."""
    tape = case.tape
    if not tape.is_active(node.index):
        return {}
    if node.index < len(tape.raw):
        return _finished(case, node.index)
    found: dict = {}
    for p in tape.moving(node):
        if node.ins[p] in tape.inputs and len(tape.users(node.ins[p])) > 1:
            leaf = tape.inputs.index(node.ins[p])
            if node.index not in penalty_nodes(tape):
                found.update(_contribution(case, leaf, p))
    return found


def _contribution(case: Case, leaf: int, position: int) -> dict:
    """One use of a leaf that has several (or a penalty beside it)."""
    tape = case.tape
    shape = tape.shape(tape.raw[leaf])

    def exact(f, words, text, cost=1.0):
        return Variant(incoming(position, f), 1 << leaf, words, text, cost)

    found = {**_arrangements(tape, leaf, shape, exact), **_reductions(tape, leaf, shape, exact)}
    return {(position, key): variant for key, variant in found.items()}


def _finished(case: Case, leaf: int) -> dict:
    tape = case.tape
    shape, reach = tape.shape(tape.raw[leaf]), 1 << leaf

    def exact(f, words, text, cost=1.0):
        return Variant(finished(f), reach, words, text, cost)

    found = {
        **_arrangements(tape, leaf, shape, exact),
        **_reductions(tape, leaf, shape, exact),
        **_others(tape, leaf, shape, exact),
    }
    theta = tape.values[tape.raw[leaf]]
    if np.iscomplexobj(theta):
        text = "it is the complex conjugate of JAX's gradient, which is ∂L/∂x − i ∂L/∂y"
        found["conjugate"] = exact(np.conj, ("unknown", "sign"), text, 0.5)
    signs = np.sign(theta)
    penalties = [("l2", theta)]
    if len(np.unique(signs)) > 1:  # else it is 1 added to every entry, which is no penalty
        penalties.append(("l1", signs))
    for power, direction in penalties:
        if np.any(direction):
            found["penalty", power] = Variant(
                rule=lambda c, d=direction: finished(lambda ct: ct + (1 - c) * d)(c),
                reach=reach,
                fitted=True,
                name=lambda cs, ms, power=power: _penalty_name(case, leaf, power, cs, ms),
            )
    found.update(_of_another(theta, exact))
    if not _has_uses(tape, leaf):
        found["scale"] = Variant(
            rule=lambda c: finished(lambda ct: c * ct)(c),
            reach=reach,
            fitted=True,
            name=lambda cs, ms: _scale_name(case, leaf, cs, ms),
        )
    return found


def _has_uses(tape: Tape, leaf: int) -> bool:
    return bool(tape.users(tape.inputs[leaf]))


OF_OTHERS: dict[str, tuple[str, Callable]] = {
    "log |θ|": ("path_dropped", lambda x: x),
    "θ²/2": ("path_dropped", lambda x: 1 / x),
    "exp θ": ("activation_derivative_missing", lambda x: np.exp(-x)),
    "exp(θ/2)": ("activation_derivative_missing", lambda x: 2 * np.exp(-x / 2)),
    "exp(−θ)": ("activation_derivative_missing", lambda x: -np.exp(x)),
    "softplus θ": ("activation_derivative_missing", lambda x: 1 + np.exp(-x)),
    "sigmoid θ": ("activation_derivative_missing", lambda x: 2 + np.exp(x) + np.exp(-x)),
    "tanh θ": ("activation_derivative_missing", lambda x: np.cosh(x) ** 2),
    "exp θ, times θ": ("activation_derivative_wrong", lambda x: x * np.exp(-x)),
}
"""Functions u of a parameter θ: what ∂L/∂u for ∂L/∂θ is called, and dθ/du."""


def _of_another(theta: np.ndarray, exact: Callable) -> dict:
    """∂L/∂u = ∂L/∂θ · dθ/du, for a function u of the parameter, or of its diagonal alone."""
    found: dict = {}
    for what, (word, factor) in OF_OTHERS.items() if not np.iscomplexobj(theta) else ():
        with np.errstate(all="ignore"):
            slope = factor(theta)
        if np.all(np.isfinite(slope)) and np.any(slope):
            words = (word, "path_dropped", "activation_derivative_missing", "unknown")
            words = tuple(dict.fromkeys(words))
            for whose, own in (("the parameter θ", slope), *_diagonal(slope)):
                text = f"it is the gradient with respect to {what}, for that of {whose}"
                found["of another", what, whose] = exact(
                    lambda ct, own=own: ct * own, words, text, 0.85
                )
    return found


def _diagonal(slope: np.ndarray) -> tuple[tuple[str, np.ndarray], ...]:
    """The factor on the diagonal alone, as of a triangular matrix that is a Cholesky factor."""
    if slope.ndim < 2 or slope.shape[-1] != slope.shape[-2] or slope.shape[-1] < 2:
        return ()
    return (("the diagonal θ", np.where(np.eye(slope.shape[-1], dtype=bool), slope, 1.0)),)


def _arrangements(tape, leaf, shape, exact) -> dict:
    """Transposed, flipped, shifted along an axis."""
    found, rank = {}, len(shape)
    if rank < 2:
        return found
    for order in itertools.permutations(range(rank)):
        permuted = tuple(shape[i] for i in order)
        if order != tuple(range(rank)) and (permuted == shape or rank == 2):
            found["permuted", order] = exact(
                lambda ct, order=order: np.reshape(np.transpose(ct, order), shape),
                ("transpose",),
                f"the gradient's axes are in the order {order}",
                0.5,
            )
    for count in range(1, rank + 1):
        for axes in itertools.combinations([i for i in range(rank) if shape[i] > 1], count):
            kernel = any(is_filter(tape, leaf, axis) for axis in axes)
            # Heads, groups, pieces in another order.
            words = ("unknown", "leaves_swapped", "stale_operand", "conv_flip")
            if kernel:
                words = ("conv_flip",)
            elif has_windows(tape, leaf) or (rank > 2 and count > 1):
                words = ("conv_flip", "stale_operand", "unknown")
            elif rank == 2:
                words = ("unknown", "conv_flip", "stale_operand")
            text = f"the gradient is flipped along {along(axes)}"
            found["flipped", axes] = exact(lambda ct, axes=axes: np.flip(ct, axes), words, text)
    for axis, step in itertools.product(range(rank), (1, -1)):
        if shape[axis] > 2:
            words = shift_words(tape, leaf, axis)
            text = f"the gradient is shifted by {step} along axis {axis}"
            found["rolled", axis, step] = exact(
                lambda ct, axis=axis, step=step: np.roll(ct, step, axis),
                words,
                text,
            )
    return found


def _reductions(tape, leaf, shape, exact) -> dict:
    """The gradient summed or averaged over axes it should keep."""
    found = {}
    size = int(np.prod(shape, dtype=int))
    if size < 2:
        return found
    axes_sets = [
        axes
        for count in range(1, len(shape) + 1)
        for axes in itertools.combinations(range(len(shape)), count)
        if any(shape[i] > 1 for i in axes)
    ]
    bias = is_bias(tape, leaf) or len(shape) < 2
    words = ("bias_reduction_wrong",) if bias else ("unknown", "bias_reduction_wrong")
    for axes in axes_sets:
        for how, f in (("sum", np.sum), ("mean", np.mean)):
            scalar = len(axes) == len(shape)
            what = "all its entries" if scalar else along(axes)
            found["reduced", axes, how] = exact(
                lambda ct, f=f, axes=axes: np.broadcast_to(f(ct, axes, keepdims=True), shape),
                words,
                f"every entry is the {how} of the gradient over {what}",
                0.6 if bias else 1.5,
            )
    return found


def _others(tape, leaf, shape, exact) -> dict:
    """Another leaf's gradient in place of this one's."""
    found = {}
    for other, var in enumerate(tape.raw):
        if other == leaf or not tape.active[var] or tape.shape(var) != shape:
            continue
        out = tape.inputs[other]
        found["take", other] = Variant(
            rule=lambda c, out=out: lambda sweep, node, ct: [(node.ins[0], sweep.ct(out))],
            reach=1 << leaf,
            words=("stale_operand", "leaves_swapped"),
            text=f"it carries the gradient of leaf number {other}",
            cost=0.9,
        )
    return found


def swaps(case: Case, node: Node) -> dict:
    """This leaf and another carry each other's gradient; the same key stands at both."""
    tape, leaf = case.tape, node.index
    if leaf >= len(tape.raw) or not tape.active[tape.raw[leaf]]:
        return {}
    takes = _others(tape, leaf, tape.shape(tape.raw[leaf]), None)
    return {
        ("swap", *sorted((leaf, other))): variant._replace(
            reach=1 << leaf | 1 << other,
            words=("leaves_swapped",),
            text="the leaves carry each other's gradient",
            cost=0.3,
        )
        for (_, other), variant in takes.items()
    }


def _penalty_name(case: Case, leaf: int, power: str, cs: Sequence[float], ms) -> Name | None:
    found = law([1 - c for c in cs], ms)
    if found is None or found.power == 1:
        return None
    tape = case.tape
    amount = written(found.factor) + (" / m" if found.power == -1 else "")
    what = "θ" if power == "l2" else "sign(θ)"
    text = f"{amount} · {what} is added: a penalty that the loss does not put on this leaf"
    if is_penalised(tape, leaf):
        text = f"{amount} · {what} is added to the penalty's gradient"
        return Name(("l2_scaled",), text, 0.9)
    if is_bias(tape, leaf) or len(tape.shape(tape.raw[leaf])) < 2:
        return Name(("l2_on_bias",), text, 0.85)  # the gradient may be a multiple of θ itself
    return Name(("l2_on_bias", "l2_scaled"), text, 0.9)


def _scale_name(case: Case, leaf: int, cs: Sequence[float], ms) -> Name | None:
    """Without a tape: the leaf as a whole times a constant."""
    found = law(cs, ms)
    if found is None:
        return None
    c, power = found.factor, found.power
    if power == 0 and not found.sure and case.size:
        power = 1 if close(c, case.size) else -1 if close(c, 1 / case.size) else 0
    if power:
        word = "batch_mean_missing" if power == 1 else "batch_mean_doubled"
        if power == -1 and len(case.tape.shape(case.tape.raw[leaf])) < 2:
            return Name(("bias_reduction_wrong", word), "averaged where it must be summed", 0.6)
        return Name((word,), f"the factor is {'m' if power == 1 else '1/m'}", 0.6)
    if close(c, 0.0):
        return Name(("zero_leaf",), "the gradient is zero", 0.6)
    if close(c, -1.0):
        return Name(("sign",), "the gradient is negated", 0.6)
    return Name(("scale",), f"multiplied by {written(c)}", 0.6)
