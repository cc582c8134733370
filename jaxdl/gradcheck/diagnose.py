"""Names the bug in a wrong hand-derived gradient, exactly or not at all.

For every hypothesis the gradient that this bug would give is computed; it is accepted only if
it equals the caller's gradient to rounding on every leaf, at every point and batch size. Among
those that hold, the cheapest description stands first. If no single bug explains every leaf,
the best explanation of one leaf is taken for granted and the search goes on from there.
"""

import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import tree
from jaxdl.gradcheck import nearby
from jaxdl.gradcheck.bugs import (
    activations,
    algebra,
    averages,
    bypass,
    dropped,
    edges,
    exchanged,
    extras,
    forward,
    junctions,
    kernels,
    logs,
    lookups,
    marks,
    masks,
    matrices,
    normalisations,
    normalisers,
    operands,
    orders,
    parts,
    paths,
    penalties,
    powers,
    products,
    recomputed,
    reductions,
    rows,
    scans,
    shares,
    softmax,
    standardised,
    steps,
    straight,
    subsets,
    taps,
    terms,
    truncation,
    uses,
)
from jaxdl.gradcheck.hypotheses import Case, Families, Match, explains
from jaxdl.gradcheck.leftover import leftover, lone_place, nearest_to_loss
from jaxdl.gradcheck.problem import Finding, Point, Problem
from jaxdl.gradcheck.replay.backward import Sweep, shift, sweep
from jaxdl.gradcheck.replay.structure import bits
from jaxdl.gradcheck.replay.tape import Tape
from jaxdl.gradcheck.replay.trace import trace
from jaxdl.gradcheck.search import search

FAMILIES = Families(
    every=(
        edges.family,
        algebra.family,
        masks.family,
        softmax.family,
        subsets.family,
        kernels.family,
        taps.family,
        extras.family,
        extras.transposed,
        lookups.family,
        marks.family,
        matrices.family,
        reductions.family,
        rows.family,
        scans.family,
        powers.family,
        terms.family,
        normalisers.family,
        standardised.family,
        exchanged.family,
        averages.family,
        penalties.family,
        shares.family,
        straight.family,
    ),
    many=(activations.family, operands.family, parts.family),
    everywhere=(activations.family, algebra.swaps, masks.family, softmax.family),
    first=(
        truncation.hypotheses,
        junctions.hypotheses,
        uses.hypotheses,
        logs.hypotheses,
        bypass.hypotheses,
        orders.hypotheses,
    ),
)

OTHERS = (
    forward.hypotheses,
    products.hypotheses,
    normalisations.hypotheses,
    paths.hypotheses,
    lookups.hypotheses,
    dropped.hypotheses,
    steps.hypotheses,
    exchanged.hypotheses,
)
"""Hypotheses about many nodes at once, and those that come last because they are many."""

LAST = (recomputed.hypotheses,)
"""Slips in the forward pass, many and slow to try: only where no rule is wrong."""

MAX_BUGS = 8
BRANCHES = 3

ROUNDING = 1e-13
"""Of a wrong gradient's largest entry."""

WHOLE = 0.8
"""Part of the budget for single bugs behind several leaves, before slips at each are looked for."""

LONE = 0.8
"""Part of the budget that is saved where a single entry of a leaf is wrong."""


def diagnose(problem: Problem, budget_s: float = 10.0) -> tuple[Finding, ...]:
    """What is wrong with the gradient, one finding for every independent bug.

    Args:
        problem: both gradients at several points.
        budget_s: seconds of computing after which the search stops; what is unexplained then is
            "unknown".

    Returns:
        Findings; empty if the gradient is right.
    """
    deadline = time.thread_time() + budget_s
    names = [path or "params" for path in tree.paths(problem.points[0].params)]
    broken = not_a_number(problem, names)
    points = [p for p in problem.points if _finite(p.hand) and _finite(p.auto)]
    if not points:
        return broken
    cases = prepare(problem, points)
    wrong = all_wrong(cases)
    if not wrong:
        return broken
    matches, left = explain(cases, wrong, deadline - spared(cases, wrong, budget_s), MAX_BUGS)
    findings = [_finding(m, cases, names) for m in matches]
    stopped = budget_s if time.thread_time() > deadline else None
    return (*broken, *merged(findings), *leftover(cases, left, names, stopped))


def spared(cases: list[Case], wrong: int, budget_s: float) -> float:
    """Seconds not to be spent where one entry of each leaf is wrong: that is an answer already."""
    lone = all((lone_place(cases, i) or "").startswith("entry") for i in bits(wrong))
    return LONE * budget_s if lone else 0.0


def _finite(gradient) -> bool:
    return all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def not_a_number(problem: Problem, names: list[str]) -> tuple[Finding, ...]:
    """Leaves that hold NaN or infinity where the true gradient does not."""
    bad: dict[str, str] = {}
    for point in problem.points:
        pairs = zip(names, jax.tree.leaves(point.hand), jax.tree.leaves(point.auto), strict=True)
        for name, hand, auto in pairs:
            if not np.all(np.isfinite(hand)) and np.all(np.isfinite(auto)):
                bad.setdefault(name, point.label)
    if not bad:
        return ()
    where = ", ".join(f"{name} at the point {label!r}" for name, label in bad.items())
    text = f"The gradient holds NaN or infinity: {where}."
    return (Finding("not_a_number", (), tuple(bad), text, float("inf")),)


def prepare(problem: Problem, points: Sequence[Point]) -> list[Case]:
    """The points as cases, the most telling one (most leaves wrong, perturbed, full batch) first.

    Where a unit is dead, or a gate shut, what is wrong behind it does not show.
    """
    order = sorted(points, key=lambda p: ("perturbed" not in p.label, -(p.batch_size or 0)))
    cases = [prepare_point(problem, point) for point in order]
    return sorted(cases, key=lambda case: -len(bits(case.wrong())))


def prepare_point(problem: Problem, point: Point) -> Case:
    """Trace the loss at a point; without a faithful tape, only the leaves."""
    hand = [np.asarray(x) for x in jax.tree.leaves(point.hand)]
    auto = [np.asarray(x) for x in jax.tree.leaves(point.auto)]
    # Where the right gradient is 0, the wrong one tells how large rounding may be.
    tolerance = [
        max(float(t), ROUNDING * float(np.max(np.abs(h), initial=0.0)))
        for t, h in zip(jax.tree.leaves(problem.tolerance(point)), hand, strict=True)
    ]
    size = point.batch_size or guessed_size(point.args)
    complexes = any(np.iscomplexobj(leaf) for leaf in auto)  # the rules of the tape are real
    for atomic in () if complexes else (False, True):
        try:
            tape = trace(problem.loss, point.params, point.args, atomic)
            base = sweep(tape)
        except Exception:  # the loss is the caller's: whatever it raises, there is no tape of it
            continue
        pairs = zip(base.grads(), auto, tolerance, strict=True)
        if all(np.all(np.abs(a - b) <= t) for a, b, t in pairs):
            return Case(point.label, tape, base, hand, tolerance, size)
    tape, base = bare(jax.tree.leaves(point.params), auto)
    return Case(point.label, tape, base, hand, tolerance, size)


def guessed_size(args: tuple) -> int | None:
    """Number of examples where nobody said: the commonest length of the arrays' first axis."""
    arrays = [x for x in jax.tree.leaves(args) if np.ndim(x) > 0]
    lengths = Counter(np.shape(x)[0] for x in arrays if np.shape(x)[0] > 1)
    return lengths.most_common(1)[0][0] if lengths else None


def bare(params: list, auto: list[np.ndarray]) -> tuple[Tape, Sweep]:
    """A tape that has only the leaves, for a loss that cannot be traced."""
    tape = Tape()
    raw = []
    for i, value in enumerate(params):
        value = np.asarray(value)
        moves = jnp.issubdtype(value.dtype, np.inexact)
        raw.append(tape.variable(value, active=moves, leaves=1 << i if moves else 0))
    leaves = [tape.apply("copy", {}, (v,), ("leaf", i))[0] for i, v in enumerate(raw)]
    tape.raw, tape.inputs = tuple(raw), tuple(leaves)
    return tape, sweep(tape, seeds=dict(zip(leaves, auto, strict=True)))


@dataclass(frozen=True)
class Accepted:
    """A bug that was found, with everything else that gives the same gradient."""

    best: Match
    others: tuple[Match, ...]


def explain(
    cases: list[Case], wrong: int, deadline: float, bugs: int
) -> tuple[list[Accepted], int]:
    """Bugs that together give the caller's gradient, and the leaves that stay unexplained."""
    now = time.thread_time()
    most = now + WHOLE * (deadline - now) if len(bits(wrong)) > 1 else deadline
    whole = search_whole(cases, wrong, most)
    if not whole and (same := repeated(cases, wrong, deadline)):
        return same, 0
    whole = (
        whole
        or search_beyond(cases, wrong, deadline)
        or search_recomputed(cases, wrong, half(deadline))
    )
    if whole:
        return [Accepted(whole[0], tuple(whole[1:]))], 0
    best: tuple[list[Accepted], int] = ([], wrong)
    if bugs <= 1:
        return best
    for leaf in nearest_to_loss(cases[0], wrong):
        for chosen in partial(cases, leaf, wrong, deadline)[:BRANCHES]:
            after = [c.on(m) for c, m in zip(cases, chosen.best.mutations, strict=True)]
            left = all_wrong(after)
            if left & ~wrong or left == wrong:
                continue
            rest, still = explain(after, left, deadline, bugs - 1) if left else ([], 0)
            if not still:
                return [chosen, *rest], 0
            if len(bits(still)) < len(bits(best[1])):
                best = ([chosen, *rest], still)
        if time.thread_time() > deadline:
            break
        if best[0]:
            break
    if not best[0]:
        alone = search_confined(cases, wrong, deadline)
        return ([Accepted(alone[0], tuple(alone[1:]))], 0) if alone else best
    return best


def all_wrong(cases: Sequence[Case]) -> int:
    """Bit mask of the leaves that are unexplained at any point."""
    mask = 0
    for case in cases:
        mask |= case.wrong()
    return mask


def partial(cases: list[Case], leaf: int, wrong: int, deadline: float) -> list[Accepted]:
    """Bugs that explain one leaf and touch no right one; those that explain more come first."""
    found = search(
        cases, FAMILIES, OTHERS, lambda reach: bool(reach >> leaf & 1), 1 << leaf, wrong, deadline
    )
    ranked: dict[int, list[Match]] = {}
    for match in found:
        ranked.setdefault(explained_by(cases, match, wrong), []).append(match)
    order = sorted(ranked, key=lambda mask: -len(bits(mask)))
    return [Accepted(ranked[mask][0], tuple(ranked[mask][1:])) for mask in order]


def explained_by(cases: list[Case], match: Match, wrong: int) -> int:
    """Wrong leaves that come out right at every point under a match."""
    mask = wrong
    for case, mutation in zip(cases, match.mutations, strict=True):
        change = shift(case.base, mutation)
        for i in bits(wrong):
            if not explains(case, change, 1 << i):
                mask &= ~(1 << i)
    return mask


def search_whole(cases: list[Case], wrong: int, deadline: float) -> list[Match]:
    """Single bugs at sites that reach every wrong leaf and no other."""
    right = _right(cases, wrong)

    def strict(reach: int) -> bool:
        return not (wrong & ~reach or reach & right)

    return search(cases, FAMILIES, OTHERS, strict, wrong, wrong, deadline)


def search_beyond(cases: list[Case], wrong: int, deadline: float) -> list[Match]:
    """Single bugs that explain every wrong leaf, at sites that reach right ones as well."""
    right = _right(cases, wrong)

    def loose(reach: int) -> bool:
        return bool(not wrong & ~reach and reach & right)

    return search(cases, FAMILIES, (), loose, wrong, wrong, deadline)


def search_recomputed(cases: list[Case], wrong: int, deadline: float) -> list[Match]:
    """Single slips in the forward pass, under rules that are all right."""
    if cases[0].base.mutation:
        return []
    return search(cases, Families((), ()), LAST, lambda reach: True, wrong, wrong, deadline)


def half(deadline: float) -> float:
    """The time at which half of what is left until the deadline will be over."""
    return (time.thread_time() + deadline) / 2


def _right(cases: list[Case], wrong: int) -> int:
    return (1 << len(cases[0].hand)) - 1 & ~wrong


def repeated(cases: list[Case], wrong: int, deadline: float) -> list[Accepted]:
    """The same slip at each of several leaves, such as every bias averaged; else nothing.

    Only what concerns one leaf alone is tried, which takes little time.
    """
    found: list[Accepted] = []
    for leaf in bits(wrong) if len(bits(wrong)) > 1 else ():
        goal = 1 << leaf
        matches = search(cases, FAMILIES, (), lambda r, goal=goal: r == goal, goal, goal, deadline)
        if not matches or (found and not _alike(matches[0], found[0].best)):
            return []
        found.append(Accepted(matches[0], tuple(matches[1:])))
    return found


def _alike(one: Match, other: Match) -> bool:
    """Do two matches say the same, wherever it is?"""
    said = [(m.name.words, m.name.text.split(" at ")[0]) for m in (one, other)]
    return said[0] == said[1]


def search_confined(cases: list[Case], wrong: int, deadline: float) -> list[Match]:
    """Single bugs that explain every wrong leaf and would touch others, too.

    The caller may compute the others another way, or have set them by hand.
    """
    found = search(cases, FAMILIES, OTHERS, lambda reach: not wrong & ~reach, wrong, -1, deadline)
    return [match._replace(leaves=match.leaves & wrong) for match in found]


def _finding(accepted: Accepted, cases: list[Case], names: list[str]) -> Finding:
    best = accepted.best
    words = [*best.name.words]
    for other in accepted.others:
        words += other.name.words
    if all(not np.any(case.hand[i]) for case in cases for i in bits(best.leaves)):
        words = ["zero_leaf", *words] if len(bits(best.leaves)) == 1 else [*words, "zero_leaf"]
    words = list(dict.fromkeys(words))
    words += nearby.words(cases[0].tape, best.where, tuple(words))
    leaves = tuple(names[i] for i in bits(best.leaves))
    said = re.sub(
        r"leaf number (\d+)", lambda n: f"the parameter {names[int(n[1])]}", best.name.text
    )
    text = f"{', '.join(leaves)}: {said}."
    return Finding(words[0], tuple(words[1:]), leaves, text, best.residual)


def merged(findings: list[Finding]) -> list[Finding]:
    """Findings that say the same about several leaves, as one."""
    groups: dict[tuple, list[Finding]] = {}
    for finding in findings:
        said = finding.explanation.split(": ", 1)[-1]
        key = (finding.cause, said.split(" at ")[0])
        groups.setdefault(key, []).append(finding)
    return [_together(same) for same in groups.values()]


def _together(same: list[Finding]) -> Finding:
    first = same[0]
    if len(same) == 1:
        return first
    leaves = tuple(dict.fromkeys(leaf for finding in same for leaf in finding.leaves))
    shared = [w for w in first.equivalent if all(w in f.equivalent for f in same)]
    said = first.explanation.split(": ", 1)[-1]
    return Finding(
        first.cause,
        tuple(shared),
        leaves,
        f"{', '.join(leaves)}: {said}",
        max(f.residual for f in same),
    )
