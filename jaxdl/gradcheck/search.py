"""Search: every hypothesis is screened, and what passes is tested exactly, at every point.

Where the rules of a hypothesis do not depend on one another, it is screened by duality along
random directions, without a pass; the others, as in loops, wait and take one pass together.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from jaxdl.gradcheck.hypotheses import (
    Case,
    Families,
    Hypothesis,
    Match,
    Variant,
    coefficient,
    explains,
    likeliest,
    likely,
    mutation_of,
    tried_here,
    verify,
)
from jaxdl.gradcheck.replay.probe import LOOSE, Probe, probe, projection
from jaxdl.gradcheck.replay.together import shifts

SLACK = 1e-8
"""Error of a probe, relative to the terms that it sums."""

TOGETHER = 64
"""So many hypotheses that no probe can screen wait for one another."""


def search(
    cases: Sequence[Case],
    families: Families,
    others: Sequence[Callable],
    fits: Callable[[int], bool],
    goal: int,
    only: int,
    deadline: float,
) -> list[Match]:
    """All hypotheses of these families that hold at every point, cheapest first."""
    case, screen = cases[0], cheapest(cases[0], goal)
    early, late = ([more(case, fits) for more in some] for some in (families.first, others))
    middle = (likeliest(case, some, fits, deadline) for some in families.staged())
    every = itertools.chain(*early, itertools.chain.from_iterable(middle), *late)
    passed = screened(case, every, goal, screen, deadline)
    found = (verify(cases, hypothesis, goal, only) for hypothesis in passed)
    return sorted((m for m in found if m is not None), key=lambda match: match.name.cost)


def screened(
    case: Case, hypotheses: Iterator[Hypothesis], goal: int, screen: int, deadline: float
) -> Iterator[Hypothesis]:
    """Those that give the caller's gradient on one leaf of the most telling point."""
    waiting: list[tuple[Hypothesis, list[tuple[int, Variant]]]] = []
    for hypothesis in hypotheses:
        if time.thread_time() > deadline:
            break
        built = hypothesis.build(case)
        if built and (not probes_of(case, goal) or case.tape.nested([i for i, _ in built])):
            waiting.append((hypothesis, built))
            if len(waiting) == TOGETHER:
                yield from fitting(case, waiting, screen)
                waiting = []
        elif survives(case, built, goal) and tried_here(case, built, screen, screen) is not None:
            yield hypothesis
    yield from fitting(case, waiting, screen)


def fitting(
    case: Case, waiting: list[tuple[Hypothesis, list[tuple[int, Variant]]]], screen: int
) -> list[Hypothesis]:
    """Those of several hypotheses that may explain the screening leaf, tried together."""
    tries = [
        (k, c)
        for k, (_, built) in enumerate(waiting)
        for c in (0.0, *(likely(case, built[0][1]) if built[0][1].fitted else ()))
    ]
    changes = shifts(case.base, [mutation_of(waiting[k][1], c) for k, c in tries], screen)
    good = set()
    for (k, c), change in zip(tries, changes, strict=True):
        if c == 0.0 and waiting[k][1][0][1].fitted:
            fit = coefficient(case, change, screen)
            change = {} if fit is None else {i: (1 - fit) * d for i, d in change.items()}
        if explains(case, change, screen):
            good.add(k)
    return [waiting[k][0] for k in sorted(good)]


def cheapest(case: Case, goal: int) -> int:
    """The smallest of the goal leaves that are wrong at this point, as a bit mask."""
    wrong = case.wrong() & goal or goal
    sizes = {i: h.size for i, h in enumerate(case.hand) if wrong >> i & 1}
    return 1 << min(sizes, key=lambda i: sizes[i])


def survives(case: Case, built: list[tuple[int, Variant]], goal: int) -> bool:
    """A cheap necessary condition: the hypothesis fits along two random directions."""
    probes = probes_of(case, goal)
    if not built or not probes:
        return False
    with np.errstate(all="ignore"):
        change, size = projection(case.base, dict(mutation_of(built, 0.0)), probes)
    target = _targets(case, probes, goal)
    if not np.all(np.isfinite(change)):
        return False
    if built[0][1].fitted:
        lead = int(np.argmax(np.abs(change)))
        if not abs(change[lead]) > 0:
            return False
        factor = target[lead] / change[lead]
        change, size = factor * change, abs(factor) * size
    return bool(np.all(np.abs(change - target) <= LOOSE * np.abs(target) + SLACK * size))


def _targets(case: Case, probes: list[Probe], goal: int) -> np.ndarray:
    """What the base leaves unexplained, along each probe."""
    key = ("targets", goal)
    if key not in case.memo:
        case.memo[key] = np.array([p.along(case.rest()) for p in probes])
    return case.memo[key]


def probes_of(case: Case, goal: int) -> list[Probe]:
    """Two random directions on the goal leaves; none where a mutation is already in the base."""
    if case.base.mutation:
        return []
    key = ("probes", goal)
    if key not in case.memo:
        found = [probe(case.base, goal, seed) for seed in (0, 1)]
        case.memo[key] = [p for p in found if p is not None] if None not in found else []
    return case.memo[key]
