"""Hypotheses: what may be wrong, and the test that it gives the caller's gradient to rounding.

A family looks at one node and proposes variants of its backward rule. A selector says at which
nodes at once: all repetitions of one line for one set of leaves, all of one line, all nodes of
one primitive. A hypothesis is a selector with a variant; the same hypothesis can be built at
every point, so it is tested at every point.
"""

import time
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jaxdl.gradcheck.coefficients import close, is_simple
from jaxdl.gradcheck.replay.backward import Mutation, Rule, Sweep, shift, sweep
from jaxdl.gradcheck.replay.tape import Node, Tape
from jaxdl.gradcheck.selectors import COSTS, Selector, selectors


@dataclass
class Case:
    """One point, ready for hypotheses.

    Attributes:
        label: of the point.
        tape: the loss as executed here.
        base: backward pass; right at first, later with an accepted first bug in it.
        hand: the caller's gradient, one array per leaf.
        tolerance: per leaf.
        size: number of examples, if known.
    """

    label: str
    tape: Tape
    base: Sweep
    hand: list[np.ndarray]
    tolerance: list[float]
    size: int | None
    memo: dict[Any, Any] = field(default_factory=dict)

    def rest(self) -> list[np.ndarray]:
        """Per leaf, what the base does not explain: hand − base."""
        if "rest" not in self.memo:
            pairs = zip(self.hand, self.base.grads(), strict=True)
            self.memo["rest"] = [h - g for h, g in pairs]
        return self.memo["rest"]

    def wrong(self) -> int:
        """Bit mask of the leaves that the base does not explain."""
        mask = 0
        for i, (r, tol) in enumerate(zip(self.rest(), self.tolerance, strict=True)):
            mask |= (1 << i) if not np.all(np.abs(r) <= tol) else 0
        return mask

    def on(self, mutation: Mutation) -> "Case":
        """This case with further rules replaced for good."""
        merged = {**self.base.mutation, **mutation}
        base = sweep(self.tape, merged, self.base.seeds)
        return Case(self.label, self.tape, base, self.hand, self.tolerance, self.size)


class Variant(NamedTuple):
    """One way in which a node's backward rule can be wrong.

    `rule(c)` makes the rule; without `fitted` c is ignored. With `fitted`, c multiplies what
    the variant is about, is found by least squares, and `name` turns the coefficients found at
    the points into words, or into None if they make no sense together.
    """

    rule: Callable[[float], Rule]
    reach: int
    words: tuple[str, ...] = ()
    text: str = ""
    cost: float = 1.0
    fitted: bool = False
    name: Callable[[Sequence[float], Sequence[int | None]], "Name | None"] | None = None
    guesses: tuple[float, ...] = ()


class Name(NamedTuple):
    """A cause in words."""

    words: tuple[str, ...]
    text: str
    cost: float


Family = Callable[[Case, Node], dict[Hashable, Variant]]


class Families(NamedTuple):
    """The families to try, and those whose bugs may sit in a function used at many places.

    `first` are hypotheses about many nodes at once that are few, so that they come before all;
    `many` are families of so many variants that listing them takes a while: one by one, after the
    others.
    """

    every: tuple[Family, ...]
    everywhere: tuple[Family, ...]
    many: tuple[Family, ...] = ()
    first: tuple[Callable, ...] = ()

    def staged(self) -> list["Families"]:
        """What is tried one after the other."""
        few = tuple(family for family in self.everywhere if family not in self.many)
        many = (Families((f,), (f,) if f in self.everywhere else ()) for f in self.many)
        return [Families(self.every, few), *many]


class Match(NamedTuple):
    """A hypothesis that holds at every point."""

    name: Name
    mutations: list[Mutation]  # one per case
    leaves: int  # bit mask of the leaves it changes
    explained: int  # bit mask of the wrong leaves it makes right
    residual: float
    where: Node


def propose(case: Case, family: Family, node: Node) -> dict[Hashable, Variant]:
    """A family's variants at a node, remembered; none where an array has no entries.

    A family that fails takes no other's names with it.
    """
    key = (family, node.index)
    if key not in case.memo:
        full = all(np.size(case.tape.values[v]) for v in (*node.ins, *node.outs))
        try:
            case.memo[key] = family(case, node) if full else {}
        except Exception as error:
            what = f"{family.__module__}.{family.__name__} at {node.prim}"
            text = (
                f"gradcheck could not try {what}, {type(error).__name__}: {error}; please report it"
            )
            warnings.warn(text, RuntimeWarning, stacklevel=2)
            case.memo[key] = {}
    return case.memo[key]


class Hypothesis(NamedTuple):
    """A selector with a variant, to be built at any point."""

    selector: Selector
    family: Family
    variant: Hashable

    def build(self, case: Case) -> list[tuple[int, Variant]]:
        """(node, variant) pairs here; nodes without this variant keep their rule."""
        found = []
        for index in self.selector.nodes(case.tape):
            variants = propose(case, self.family, case.tape.nodes[index])
            if self.variant in variants:
                found.append((index, variants[self.variant]))
        return found


FITTED = 0.5
"""What the description of a fitted coefficient usually costs."""


def likeliest(
    case: Case, families: Families, fits: Callable[[int], bool], deadline: float
) -> list[Hypothesis]:
    """Hypotheses whose reach satisfies `fits`, the cheapest description first: time may run out."""
    found = []
    for cost, hypothesis in costed(case, families, fits):
        found.append((cost + COSTS[hypothesis.selector.level], hypothesis))
        if time.thread_time() > deadline:
            break
    return [hypothesis for _, hypothesis in sorted(found, key=lambda pair: pair[0])]


def hypotheses_of(
    case: Case, families: Families, fits: Callable[[int], bool]
) -> Iterator[Hypothesis]:
    """Hypotheses whose reach satisfies `fits`, in order of level."""
    return (hypothesis for _, hypothesis in costed(case, families, fits))


def costed(
    case: Case, families: Families, fits: Callable[[int], bool]
) -> Iterator[tuple[float, Hypothesis]]:
    """(cost of its variant, hypothesis), in order of level."""
    tape = case.tape
    telling = ends(tape)
    for selector in selectors(tape):
        nodes = [tape.nodes[i] for i in selector.nodes(tape) if i in telling]
        for family in families.everywhere if selector.level == "kind" else families.every:
            keys: dict[Hashable, tuple[float, int]] = {}
            for node in nodes:
                for key, variant in propose(case, family, node).items():
                    cost, reach = keys.get(key, (FITTED if variant.fitted else variant.cost, 0))
                    keys[key] = cost, reach | variant.reach
            yield from (
                (cost, Hypothesis(selector, family, key))
                for key, (cost, reach) in keys.items()
                if fits(reach)
            )


def ends(tape: Tape) -> set[int]:
    """The first and the last repetition of every line: what can be wrong at all shows at these."""
    if "ends" not in tape.memo:
        tape.memo["ends"] = {n for nodes in tape.groups.values() for n in (nodes[0], nodes[-1])}
    return tape.memo["ends"]


def mutation_of(built: list[tuple[int, Variant]], c: float) -> Mutation:
    """The rules of a built hypothesis."""
    return {index: variant.rule(c) for index, variant in built}


def coefficient(case: Case, change: dict[int, np.ndarray], leaves: int) -> float | None:
    """Least squares c such that base + (1 − c) · change is the caller's gradient."""
    top = bottom = 0.0
    for i, d in change.items():
        if leaves >> i & 1:
            weight = 1 / case.tolerance[i] ** 2 if case.tolerance[i] else 1.0
            top += weight * np.vdot(d, case.rest()[i]).real
            bottom += weight * np.vdot(d, d).real
    return None if not bottom > 0 else float(1 - top / bottom)


def explains(case: Case, change: dict[int, np.ndarray], leaves: int) -> bool:
    """Does base + change equal the caller's gradient on these leaves?"""
    for i, r in enumerate(case.rest()):
        if leaves >> i & 1:
            left = r - change[i] if i in change else r
            if not np.all(np.abs(left) <= case.tolerance[i]):
                return False
    return True


def residual(case: Case, change: dict[int, np.ndarray], leaves: int) -> float:
    """Largest |h − ĥ| on these leaves, relative to the largest entry of the leaf."""
    worst = 0.0
    for i, r in enumerate(case.rest()):
        if leaves >> i & 1 and r.size:
            scale = max(np.max(np.abs(case.hand[i])), np.max(np.abs(r)), 1e-300)
            worst = max(worst, float(np.max(np.abs(r - change.get(i, 0.0))) / scale))
    return worst


def changed(case: Case, change: dict[int, np.ndarray]) -> int:
    """Bit mask of the leaves that a change moves beyond the tolerance."""
    mask = 0
    for i, d in change.items():
        mask |= (1 << i) if not np.all(np.abs(d) <= case.tolerance[i]) else 0
    return mask


def tried_here(case: Case, built: list[tuple[int, Variant]], goal: int, seen: int = -1):
    """(coefficient, mutation, change) if the hypothesis explains the goal leaves here.

    Only leaves in the bit mask `seen` are computed.
    """
    if not built:
        return None
    variant = built[0][1]
    if not variant.fitted:
        mutation = mutation_of(built, 0.0)
        change = shift(case.base, mutation, seen)
        return (0.0, mutation, change) if explains(case, change, goal) else None
    change = shift(case.base, mutation_of(built, 0.0), seen)
    c = coefficient(case, change, goal)
    if c is None:
        return None
    linear = {i: (1 - c) * d for i, d in change.items()}
    if explains(case, linear, goal):
        c = 0.0 if abs(c) < 1e-9 else c
        mutation = mutation_of(built, c)
        if len(built) == 1 or c == 0:
            return c, mutation, linear
        change = shift(case.base, mutation)
        return (c, mutation, change) if explains(case, change, goal) else None
    if len(built) > 1:
        return guessed(case, built, goal)
    return None


def guessed(case: Case, built: list[tuple[int, Variant]], goal: int):
    """For nested sites, where the gradient is no line in c: try likely coefficients."""
    for c in likely(case, built[0][1]):
        mutation = mutation_of(built, c)
        change = shift(case.base, mutation)
        if explains(case, change, goal):
            return c, mutation, change
    return None


def likely(case: Case, variant: Variant) -> list[float]:
    """Coefficients that a person may have put there, other than 1."""
    sizes = () if case.size is None else (float(case.size), 1 / case.size)
    return [c for c in (-1.0, 2.0, 0.5, *sizes, *variant.guesses) if not close(c, 1.0)]


def is_silent(case: Case, built: list[tuple[int, Variant]], goal: int) -> bool:
    """Is nothing wrong at this point, and nothing changed by the hypothesis?

    A penalty on biases that are zero, say: such a point speaks neither for nor against.
    """
    if case.wrong() & goal:
        return False
    return not changed(case, shift(case.base, mutation_of(built, 0.0)))


def verify(cases: Sequence[Case], hypothesis: Hypothesis, goal: int, only: int) -> Match | None:
    """Test a hypothesis at every point.

    Args:
        cases: the points, the most telling one first.
        hypothesis: what to test.
        goal: leaves that must come out right.
        only: leaves that may change at all.
    """
    cs, sizes, mutations, worst, moved = [], [], [], 0.0, 0
    for case in cases:
        built = hypothesis.build(case)
        if case is not cases[0] and is_silent(case, built, goal):
            mutations.append({})
            continue
        found = tried_here(case, built, goal)
        if found is None or changed(case, found[2]) & ~only:
            return None
        c, mutation, change = found
        cs.append(c)
        sizes.append(case.size)
        mutations.append(mutation)
        worst = max(worst, residual(case, change, goal))
        moved |= changed(case, change)
    index, variant = hypothesis.build(cases[0])[0]
    name = Name(variant.words, variant.text, variant.cost)
    if variant.name is not None:
        name = variant.name(cs, sizes)
        if name is None:
            return None
    if moved == 0 or (variant.fitted and fits_anything(cases, goal, cs)):
        return None
    name = name._replace(cost=name.cost + COSTS[hypothesis.selector.level])
    return Match(name, mutations, moved, moved & goal, worst, cases[0].tape.nodes[index])


def fits_anything(cases: Sequence[Case], goal: int, cs: Sequence[float]) -> bool:
    """Was one coefficient fitted to one number, and is it none that a person would write?"""
    if len(cs) > 1 or sum(h.size for i, h in enumerate(cases[0].hand) if goal >> i & 1) > 1:
        return False
    return not (is_simple(cs[0]) or (cases[0].size and close(cs[0], 1 / cases[0].size)))
