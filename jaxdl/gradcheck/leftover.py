"""What no hypothesis explains: single wrong places, and the rest as unknown."""

import numpy as np

from jaxdl.gradcheck.hypotheses import Case
from jaxdl.gradcheck.problem import Finding
from jaxdl.gradcheck.replay.structure import bits


def leftover(
    cases: list[Case], left: int, names: list[str], stopped: float | None
) -> tuple[Finding, ...]:
    """One finding for every single wrong place, and one for all the rest.

    `stopped` is the number of seconds after which the search was stopped, if it was.
    """
    findings, rest = [], []
    for i in nearest_to_loss(cases[0], left):
        place = lone_place(cases, i)
        if place is None:
            rest.append(i)
        else:
            text = f"{names[i]}: wrong at {place} and nowhere else."
            words = _words_of(place, len(bits(left)) == 1, _is_taken_apart(cases[0], i))
            findings.append(Finding(words[0], words[1:], (names[i],), text, worst(cases, i)))
    if rest:  # whatever is wrong with these may be what is wrong at the single places, too
        findings.insert(0, unknown(cases, rest, names, stopped))
    return tuple(findings)


def _words_of(place: str, alone: bool, taken_apart: bool) -> tuple[str, ...]:
    """What a single wrong place is called.

    One in each of several leaves is seldom a slip of one place, nor is a whole row, least of all
    of rows that the loss uses in different ways, such as the taps of a filter.
    """
    if not alone:
        return ("unknown", "wrong_entry")
    if place.startswith("entry"):
        return ("wrong_entry",)
    return ("unknown", "wrong_entry") if taken_apart else ("wrong_entry", "unknown")


def _is_taken_apart(case: Case, leaf: int) -> bool:
    """Does the loss take parts of this leaf?"""
    tape = case.tape
    users = (tape.nodes[n] for n, _ in tape.users(tape.inputs[leaf]))
    return any(node.prim in ("slice", "index", "dynamic_slice", "gather") for node in users)


def lone_place(cases: list[Case], leaf: int) -> str | None:
    """The one entry, row or column where a leaf is wrong at every point, or None."""
    bad = np.zeros(cases[0].hand[leaf].shape, bool)
    for case in cases:
        bad |= ~(np.abs(case.rest()[leaf]) <= case.tolerance[leaf])
    index = np.argwhere(bad)
    if bad.size < 2 or not len(index):
        return None
    if len(index) == 1:
        return f"entry {index[0].tolist()}"
    for axis in range(bad.ndim):
        where = np.unique(index[:, axis])
        if bad.ndim > 1 and len(where) == 1 and bad.shape[axis] > 1:
            return f"index {where[0]} of axis {axis}"
    return None


def worst(cases: list[Case], leaf: int) -> float:
    """Largest error of a leaf relative to its largest entry."""
    errors = [np.max(np.abs(c.rest()[leaf]), initial=0) for c in cases]
    sizes = [np.max(np.abs(c.hand[leaf]), initial=1e-300) for c in cases]
    return float(max(e / s for e, s in zip(errors, sizes, strict=True)))


def unknown(cases: list[Case], left: list[int], names: list[str], stopped: float | None) -> Finding:
    """Where the gradient is wrong, when nothing says why."""
    case, first = cases[0], left[0]
    rest = np.abs(case.rest()[first])
    entry = np.unravel_index(int(np.argmax(rest)), rest.shape) if rest.size else ()
    place = [int(i) for i in entry]
    why = "No single bug that was tried gives this gradient."
    if stopped is not None:
        why = (
            f"The search stopped after {stopped:g} s, before every bug was tried (budget_s gives "
            "it more time)."
        )
    text = (
        f"{why} The wrong leaf nearest to the loss is "
        f"{names[first]}: start there. Its worst entry is {place}: {case.hand[first][entry]:.6g} "
        f"where {case.base.grads()[first][entry]:.6g} is right (point {case.label!r})."
    )
    leaves = tuple(names[i] for i in left)
    return Finding("unknown", (), leaves, text, max(worst(cases, i) for i in left))


def nearest_to_loss(case: Case, wrong: int) -> list[int]:
    """Wrong leaves in backward order: the one used last in the loss first."""
    tape = case.tape

    def last_use(leaf: int) -> int:
        return max((n for n, _ in tape.users(tape.inputs[leaf])), default=0)

    return sorted(bits(wrong), key=last_use, reverse=True)
