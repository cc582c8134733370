"""The right array, but from another turn of its loop: h_t where h_{t−1} belongs.

On the way back through a product in a loop, one factor is taken some turns earlier or later, from
one fixed turn, or from the loop in reverse. Beyond the ends there is nothing (zeros), the last
array once more, or the other end.
"""

from collections.abc import Callable, Iterator

import numpy as np

from jaxdl.gradcheck.bugs.operands import PRODUCTS, beside
from jaxdl.gradcheck.hypotheses import Case, Families, Hypothesis, Variant, hypotheses_of
from jaxdl.gradcheck.replay.filters import has_windows, is_filter
from jaxdl.gradcheck.replay.rules.contractions import dot_letters
from jaxdl.gradcheck.replay.rules.structural import PLUMBING
from jaxdl.gradcheck.replay.structure import at_line, leaf_source
from jaxdl.gradcheck.replay.tape import Node, Tape

SHORTEST = 3
MOVED = ("stale_operand", "padding_or_stride_shift")

Turn = Callable[[int, int], int | None]
"""(turn, number of turns) -> the turn whose array is taken, or None for zeros."""


def hypotheses(case: Case, fits: Callable[[int], bool]) -> Iterator[Hypothesis]:
    """Another turn of a loop, or another place along an axis, wherever there is a product."""
    return hypotheses_of(case, Families((family, along_axis), ()), fits)


def family(case: Case, node: Node) -> dict:
    """Another turn's factor on each way back through a product."""
    tape = case.tape
    if node.prim not in PRODUCTS or not tape.is_active(node.index):
        return {}
    members = tape.lines[tape.line(node)]
    if len(members) < 2:
        return {}
    found: dict = {}
    for p in tape.moving(node):
        if node.prim != "div" or p == 1:
            found.update(_variants(case, node, members, p))
    return found


def _variants(case: Case, node: Node, members: list[int], p: int) -> dict:
    tape, q = case.tape, 1 - p
    series = [tape.nodes[i].ins[q] for i in members]
    own = tape.shape(node.ins[q])
    if len(set(series)) < len(series) or any(tape.shape(v) != own for v in series):
        return {}
    if (
        leaf_source(tape, node.ins[p]) is not None
        and len({tape.nodes[i].ins[p] for i in members}) > 1
    ):
        return {}  # a parameter of its own at every turn, such as a filter's taps: no time steps
    at = at_line(node)
    owners = [leaf_source(tape, v) for v in series]
    each = _taps_each(owners) if _are_of_a_filter(tape, series) else 0
    taps = len(set(owners) - {None}) == 1 or each > 1
    if len(series) < SHORTEST and not (taps and _are_of_a_filter(tape, series)):
        return {}
    found = {}
    within = [("within parameters", each, 1)] if 1 < each < len(series) else []
    for nest, length, stride in (*within, *nests(len(series), case.size)):
        now = tape.turn[node.index] // stride % length
        for key, what, turn in turns() if length >= SHORTEST else REVERSED:
            then = turn(now, length)
            there = None if then is None else tape.turn[node.index] + (then - now) * stride
            value = np.zeros(own) if there is None else tape.values[series[there]]
            found["turn", p, nest, key] = Variant(
                lambda c, value=value: beside(node, p, value),
                tape.leaves[node.ins[p]],
                _tap_words(key) if taps else _turn_words(key),
                f"of a loop's {length} turns, an operand is taken {what}{at}",
                0.6,
            )
    return found


def _taps_each(owners: list[int | None]) -> int:
    """Of filters that are leaves of their own, one after the other: how many taps each has; else 0.

    One leaf for all is one filter with all of these taps.
    """
    k = owners.count(owners[0])
    alike = owners == [owners[i - i % k] for i in range(len(owners))]
    return k if alike and None not in owners else 0


def _are_of_a_filter(tape: Tape, series: list[int]) -> bool:
    """Are these the taps of one filter, and not the weights of two layers or two heads?"""
    leaf = leaf_source(tape, series[0])
    return leaf is not None and any(
        is_filter(tape, leaf, axis) for axis in range(len(tape.shape(tape.inputs[leaf])))
    )


def _tap_words(key: tuple) -> tuple[str, ...]:
    """What it is called to take other parts of one parameter, such as a filter's taps."""
    return ("conv_flip", "stale_operand") if key == ("reverse",) else MOVED[::-1]


def _turn_words(key: tuple) -> tuple[str, ...]:
    """What it is called to take another turn's array; two turns off may be a loop cut short."""
    words = ("stale_operand", "timesteps_truncated")
    return ("unknown", *words) if key[0] == -2 else words


def nests(turns: int, size: int | None) -> Iterator[tuple[str, int, int]]:
    """(name, length, stride) of a line's loops: one alone, or in or around one over examples."""
    yield "alone", turns, 1
    if size and size > 1 and turns % size == 0 and turns // size >= SHORTEST:
        yield "within examples", turns // size, 1
        yield "around examples", turns // size, size


REVERSED: tuple[tuple[tuple, str, Turn], ...] = (
    (("reverse",), "in reverse", lambda t, n: n - 1 - t),
)
"""All that can be told of two taps."""


def turns() -> Iterator[tuple[tuple, str, Turn]]:
    """(key, words, rule) of every way to take the wrong turn."""
    for d in (-1, 1):
        what = f"1 {'earlier' if d < 0 else 'later'}"
        yield (d, "zeros"), what, lambda t, n, d=d: t + d if 0 <= t + d < n else None
        yield (d, "end"), what, lambda t, n, d=d: min(max(t + d, 0), n - 1)
        yield (d, "round"), f"{what}, round the end", lambda t, n, d=d: (t + d) % n
    yield (-2, "zeros"), "2 earlier", lambda t, n: t - 2 if t > 1 else None
    yield ("first",), "from the first", lambda t, n: 0
    yield ("last",), "from the last", lambda t, n: n - 1
    yield from REVERSED


def along_axis(case: Case, node: Node) -> dict:
    """The same where time is an axis: a factor moved along one that the way back sums over."""
    tape = case.tape
    if node.prim not in ("dot_general", "mul") or not tape.is_active(node.index):
        return {}
    at = at_line(node)
    found = {}
    for p in tape.moving(node):
        q = 1 - p
        leaf = leaf_source(tape, node.ins[p])
        windows = leaf is not None and has_windows(tape, leaf)
        words = MOVED[::-1] if windows or _is_cut_from_padded(tape, node.ins[q]) else MOVED
        for axis in _summed(case, node, p):
            for key, what, value in _moved(tape, node.ins[q], axis):
                found["axis", p, axis, key] = Variant(
                    lambda c, p=p, value=value: beside(node, p, value),
                    tape.leaves[node.ins[p]],
                    ("unknown", *MOVED) if key == "reverse" else words,
                    f"along axis {axis}, an operand is taken {what}{at}",
                    0.75,
                )
    return found


def _summed(case: Case, node: Node, p: int) -> list[int]:
    """Axes of the other operand along which it may be moved on the way to operand p."""
    tape = case.tape
    if leaf_source(tape, node.ins[1 - p]) is not None:
        return []
    other = tape.shape(node.ins[1 - p])
    if len(other) == 2 and other[0] == case.size:
        return []  # examples have no order
    if node.prim == "mul":
        axes = range(len(other) - 1) if len(other) > 2 else ()
    else:
        letters = dot_letters(node.params, *(len(tape.shape(v)) for v in node.ins))
        sides = letters.left, letters.right
        axes = (
            [i for i, c in enumerate(sides[1 - p]) if c not in sides[p]] if len(other) > 1 else ()
        )
    return [axis for axis in axes if other[axis] >= SHORTEST]


def _moved(tape: Tape, var: int, axis: int) -> Iterator[tuple]:
    """(key, words, value): an array moved by one along an axis, or reversed."""
    x = tape.values[var]
    yield "reverse", "in reverse", np.flip(x, axis)
    for d in (-1, 1):
        what = f"1 {'earlier' if d < 0 else 'later'}"
        end = 0 if d < 0 else x.shape[axis] - 1
        rolled = np.roll(x, -d, axis)
        yield (d, "round"), f"{what}, round the end", rolled
        for key, rest in (("zeros", 0.0), ("end", np.take(x, [end], axis))):
            value = np.moveaxis(rolled.copy(), axis, 0)
            value[end] = np.moveaxis(np.broadcast_to(rest, rolled.shape), axis, 0)[0]
            yield (d, key), what, np.moveaxis(value, 0, axis)
        beyond = _window(tape, var, axis, d)
        if beyond is not None:
            yield (d, "window"), f"{what}, from what it is a slice of", beyond


def _is_cut_from_padded(tape: Tape, var: int) -> bool:
    """Is it a slice of a padded array?"""
    cut, made = False, tape.maker(var)
    while made is not None and made.prim in PLUMBING:
        cut |= made.prim == "slice"
        made = tape.maker(made.ins[0])
    return cut and made is not None and made.prim == "pad"


def _window(tape: Tape, var: int, axis: int, d: int) -> np.ndarray | None:
    """The slice beside this one, if it is a slice with room beside it."""
    made = tape.maker(var)
    if made is None or made.prim != "slice" or made.params["strides"] is not None:
        return None
    start, limit = list(made.params["start_indices"]), list(made.params["limit_indices"])
    start[axis], limit[axis] = start[axis] + d, limit[axis] + d
    whole = tape.values[made.ins[0]]
    if start[axis] < 0 or limit[axis] > whole.shape[axis]:
        return None
    return whole[tuple(slice(a, b) for a, b in zip(start, limit, strict=True))]
