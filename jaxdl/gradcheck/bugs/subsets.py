"""Sums that leave something out: examples, time steps, uses in a loop.

Within one node, part of the cotangent is zeroed along an axis that the backward rule sums
over. Across the repetitions of a line (an unrolled loop), an edge is cut in some of them.
"""

import numpy as np

from jaxdl.gradcheck.bugs.edges import is_first, scaled_edge
from jaxdl.gradcheck.bugs.steps import nests
from jaxdl.gradcheck.hypotheses import Case, Variant
from jaxdl.gradcheck.replay.addresses import handed_on, loops
from jaxdl.gradcheck.replay.backward import Rule, by_position
from jaxdl.gradcheck.replay.rules.contractions import dot_letters
from jaxdl.gradcheck.replay.rules.elementwise import SUMS
from jaxdl.gradcheck.replay.rules.structural import PLUMBING, broadcast_axes
from jaxdl.gradcheck.replay.structure import at_line, leaf_source, penalty_nodes
from jaxdl.gradcheck.replay.tape import Node, Tape

ONE_OF_SEVERAL = ("path_dropped", "timesteps_truncated", "shared_weight_missed")

HEADS = ("shared_weight_missed", "path_dropped", "timesteps_truncated")
FORGOTTEN = ("only the last one", "only the first one", "all but the last", "all but the first")
"""What becomes of a sum over heads, say, where = stands for += or a loop ends too early."""

REPEATED = ("path_dropped", "shared_weight_missed", "padding_or_stride_shift", "unknown")


def kept_sets(n: int) -> dict[str, np.ndarray]:
    """Named subsets of 0 ... n−1 that a buggy loop or slice keeps."""
    index = np.arange(n)
    sets = {
        "all but the last": index < n - 1,
        "all but the first": index > 0,
        "only the last one": index == n - 1,
        "only the first one": index == 0,
        "the first half": index < n // 2,
        "the second half": index >= n // 2,
        "every second one": index % 2 == 0,
        "every second one, from the second": index % 2 == 1,
        "all but the last two": index < n - 2,
        "all but the first two": index > 1,
    }
    return {name: keep for name, keep in sets.items() if 0 < keep.sum() < n}


def family(case: Case, node: Node) -> dict:
    """Subsets along summed axes, and subsets of the repetitions of this line."""
    if not case.tape.is_active(node.index) or node.index in penalty_nodes(case.tape):
        return {}
    return {**_along_axes(case, node), **_repetitions(case, node)}


def _along_axes(case: Case, node: Node) -> dict:
    tape, found = case.tape, {}
    out = node.outs[0]
    if node.opaque is not None or np.ndim(tape.values[out]) == 0:
        return {}
    lengths = tape.shape(out)

    def add(key, p, axis, words, text, cost, among=None):
        """Every subset along an axis, or every one of some, on the way to operand p or to all."""
        reach = tape.leaves[out if p is None else node.ins[p]]
        for what, keep in telling_sets(case, out, axis).items():
            if among is None or what in among:
                found[key, p, axis, what] = Variant(
                    lambda c, keep=keep: masked(p, axis, keep),
                    reach, words, f"{text} has {what}{at_line(node)}", cost,
                )  # fmt: skip

    for p in tape.moving(node):
        for axis in summed_axes(tape, node, p):
            words, noun = _of_a_sum(case, node, lengths[axis])
            add("kept", p, axis, words, f"the sum over {lengths[axis]} {noun}", 0.6)
        for axis in heads(tape, node, p):
            text = f"the sum over {lengths[axis]} uses of an array"
            add("heads", p, axis, HEADS, text, 0.75, FORGOTTEN)
    for axis in repeated_axes(tape, node):
        text = f"of {lengths[axis]} repetitions of an array, the way back"
        add("repeated", None, axis, REPEATED, text, 0.8)
    for axis, n in enumerate(lengths):
        if n == case.size and n > 1:
            text = f"of {n} examples, the gradient"
            add("through", None, axis, ("examples_dropped",), text, 0.6)
    return found


def _of_a_sum(case: Case, node: Node, n: int) -> tuple[tuple[str, ...], str]:
    """Words and noun for what a parameter's gradient leaves out along an axis of this length."""
    words, noun = kind(case, node, n)
    if node.prim == "broadcast_in_dim":  # of a bias, whose gradient is a sum
        words += ("bias_reduction_wrong",)
        in_time = has_state(case.tape, n) or has_state(case.tape, n - 1)  # the first sets it
        if noun == "positions" and not in_time:
            words = ("path_dropped", "shared_weight_missed", *words)
    return words, noun


def repeated_axes(tape: Tape, node: Node) -> list[int]:
    """Axes along which an array that is no parameter is repeated, as in upsampling."""
    if node.prim != "broadcast_in_dim":
        return []
    var = node.ins[0]
    if leaf_source(tape, var) is not None or np.size(tape.values[var]) < 2:
        return []
    axes = broadcast_axes(node.params, tape.shape(var))
    return [axis for axis in axes if tape.shape(node.outs[0])[axis] > 1]


def telling_sets(case: Case, out: int, axis: int) -> dict[str, np.ndarray]:
    """The named subsets along an axis that keep some of the gradient: else the path is dropped."""
    ct = np.moveaxis(case.base.ct(out), axis, 0)
    alive = np.any(ct.reshape(len(ct), -1) != 0, axis=1)
    return {what: keep for what, keep in kept_sets(len(ct)).items() if np.any(alive & keep)}


def kind(case: Case, node: Node, n: int) -> tuple[tuple[str, ...], str]:
    """Words and noun for things left out along an axis of this length."""
    if n == case.size:
        return ("examples_dropped",), "examples"
    if node.prim == "conv_general_dilated":
        return ("shared_weight_missed", "timesteps_truncated", "padding_or_stride_shift"), "places"
    if case.size is None:
        return ("examples_dropped", "timesteps_truncated"), "examples or time steps"
    return ("timesteps_truncated", "shared_weight_missed", "examples_dropped"), "positions"


def heads(tape: Tape, node: Node, position: int) -> list[int]:
    """Axes of a stack of products that the way back to this array, no parameter, sums over."""
    if node.prim != "dot_general" or len(tape.shape(node.outs[0])) < 3:
        return []
    if leaf_source(tape, node.ins[position]) is not None:
        return []
    letters = dot_letters(node.params, *(np.ndim(tape.values[v]) for v in node.ins))
    own = (letters.left, letters.right)[position]
    return [i for i, c in enumerate(letters.out) if c not in own]


def summed_axes(tape: Tape, node: Node, position: int) -> list[int]:
    """Axes of the output that the way back to this operand sums over, if it is a parameter."""
    var = node.ins[position]
    if leaf_source(tape, var) is None:
        return []
    if node.prim == "dot_general":
        letters = dot_letters(node.params, *(np.ndim(tape.values[v]) for v in node.ins))
        own = (letters.left, letters.right)[position]
        return [i for i, c in enumerate(letters.out) if c not in own]
    if node.prim == "broadcast_in_dim":
        return [
            a
            for a in broadcast_axes(node.params, tape.shape(var))
            if tape.shape(node.outs[0])[a] > 1
        ]
    if node.prim == "gather" and position == 0:
        windows = node.params["dimension_numbers"].offset_dims
        return [i for i in range(len(tape.shape(node.outs[0]))) if i not in windows]
    if node.prim == "conv_general_dilated" and position == 1:
        spec = node.params["dimension_numbers"].out_spec
        return [spec[0], *spec[2:]]
    return []


def masked(position: int | None, axis: int, keep: np.ndarray) -> Rule:
    """The true rule with part of the cotangent zeroed, on the way to one operand or to all."""

    def rule(sweep, node, ct):
        shape = [-1 if i == axis else 1 for i in range(np.ndim(ct))]
        part = by_position(sweep.tape, node, ct * keep.reshape(shape))
        if position is None:
            return [(node.ins[p], c) for p, c in part]
        cut = dict(part)
        whole = by_position(sweep.tape, node, ct)
        return [(node.ins[p], cut[p] if p == position else c) for p, c in whole]

    return rule


def _repetitions(case: Case, node: Node) -> dict:
    """Cut an edge in some of the repetitions of this line."""
    tape = case.tape
    members = tape.groups[tape.key(node)]
    n, k = len(members), tape.ordinal[node.index]
    if n < 2:
        return {}
    found: dict = {}
    for p in tape.moving(node):
        if not is_first(tape, node, p):
            continue
        words, noun = loop_words(case, node, p, members)
        inner = _inner(tape.operands(members, p))
        # One set may have several names: those that no batch size decides come first.
        sets = {**inner, **_windows(n), **kept_sets(n), **_of_every_round(n, case.size)}
        for what, keep in distinct(sets).items():
            said = words
            if (
                noun == "examples"
                and what.startswith(("the first", "only the first"))
                and keep.sum() < n - 1
            ):
                said = ("unknown", *words, "path_dropped")  # whoever forgets some, forgets the last
            if not keep[k]:
                found["repetition", p, what] = Variant(
                    lambda c, p=p: scaled_edge(p, 0.0),
                    tape.leaves[node.ins[p]],
                    ONE_OF_SEVERAL if what in inner else said,
                    f"of {n} {noun}, the way back has {what}{at_line(node)}",
                    0.7,
                )
    return found


def distinct(sets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each subset once, under its first name; neither everything nor nothing."""
    seen: dict[bytes, str] = {}
    for what, keep in sets.items():
        if keep.any() and not keep.all():
            seen.setdefault(keep.tobytes(), what)
    return {what: sets[what] for what in seen.values()}


def _windows(n: int) -> dict[str, np.ndarray]:
    """The last few repetitions, and chunks between which the gradient is cut."""
    index = np.arange(n)
    last = {_several("last", k): index >= n - k for k in range(1, min(n, 9))}
    first = {_several("first", k): index < k for k in range(1, min(n, 9))}
    chunks = {f"all but number 1, {k + 1}, ...": index % k != 0 for k in range(2, min(n, 9))}
    return {**last, **first, **chunks}


def _several(which: str, k: int) -> str:
    return f"the {which} {k}" if k > 1 else f"only the {which} one"


def _inner(operands: list[int | None]) -> dict[str, np.ndarray]:
    """One turn left out of a short loop within each turn of another, such as one of three gates.

    All turns of the short one use the same array.
    """
    n, k = len(operands), operands.count(operands[0])
    index = np.arange(n)
    if k < 2 or k == n or operands != [operands[i - i % k] for i in index]:
        return {}
    return {f"all but number {r + 1} of every {k}": index % k != r for r in range(k)}


def _of_every_round(n: int, size: int | None) -> dict[str, np.ndarray]:
    """The last few repetitions for each example, where a loop over examples is in or around this.

    The time steps of each example, say, one example after the other.
    """
    found = {}
    for _, length, stride in nests(n, size):
        turn = np.arange(n) // stride % length
        of = f"of every {length}" if stride == 1 else f"of {length} rounds"
        found |= {f"{what} {of}": keep[turn] for what, keep in _windows(length).items()}
    return found


def loop_words(case: Case, node: Node, position: int, members) -> tuple[tuple[str, ...], str]:
    """Words and noun for repetitions of a line that are left out."""
    tape = case.tape
    if len(members) == case.size and not has_state(tape, len(members)):
        return ("examples_dropped", "shared_weight_missed", "timesteps_truncated"), "examples"
    leaf = leaf_source(tape, node.ins[position])
    if leaf is None:
        if not has_state(tape, len(members)):
            return ("path_dropped", "timesteps_truncated"), "turns"
        return ("timesteps_truncated", "path_dropped"), "time steps"
    if _takes_part(tape, node, position, leaf):
        words = ("path_dropped", "wrong_entry", "shared_weight_missed")
        by_example = case.size is not None and case.size > 1 and len(members) % case.size == 0
        return (*words, "examples_dropped") if by_example else words, "parts of the leaf"
    if not is_in_time(tape, len(members)):
        return ("shared_weight_missed", "timesteps_truncated", "path_dropped"), "uses"
    if not has_state(tape, len(members)):
        return ("shared_weight_missed", "timesteps_truncated", "examples_dropped"), "uses"
    return ("timesteps_truncated", "shared_weight_missed", "examples_dropped"), "time steps"


def _takes_part(tape: Tape, node: Node, position: int, leaf: int) -> bool:
    """Does this use see only some entries of the leaf?"""
    seen = [node.ins[position]] + ([node.outs[0]] if node.prim in PLUMBING else [])
    whole = np.size(tape.values[tape.inputs[leaf]])
    return min(np.size(tape.values[var]) for var in seen) < whole


def is_in_time(tape: Tape, count: int) -> bool:
    """Does a loop of this many turns read other data at every turn?"""
    for members in loops(tape).get(count, {}).values():
        first = tape.nodes[members[0]]
        for p in range(len(first.ins)) if tape.is_active(members[-1]) else ():
            given = [v for v in tape.operands(members, p) if v is not None]
            fixed = all(tape.data[v] and not tape.active[v] for v in given)
            if fixed and len(set(given)) == count:
                return True
    return False


def has_state(tape: Tape, turns: int) -> bool:
    """Does a loop of this length hand on more than a running sum?"""
    edges = [edge for at in handed_on(tape, turns).values() for edge in at]
    return any(tape.nodes[index].prim not in SUMS for index, _ in edges)
