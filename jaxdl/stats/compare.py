"""Paired comparisons of two arms over many problems: estimates, intervals, tests.

A *problem* is one instance drawn from a *family*; both arms run on it with the same seeds. The
families are fixed and count equally; the problems within a family are a random sample, so the
intervals speak of other problems of the same families. Three numbers answer "is a better than b":

    problem   share of problems whose median paired difference favours a
    run       share of single runs in which a is better, a tie counting ½
    effect    Hodges–Lehmann estimate of the difference, in the units of the scores

Exchanging the arms mirrors every estimate and interval exactly: 1 − value, or −value.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxdl.stats.effect import hodges_lehmann, median
from jaxdl.stats.intervals import Estimate, bootstrap, plus_half, strata_of, wilson
from jaxdl.types import Key


class Spread(NamedTuple):
    """How much the families disagree about the problem-level probability of improvement.

    `families[name]` is the estimate within one family, `sd` the standard deviation between
    families beyond sampling noise, `p_value` that of "all families are alike" (Kruskal–Wallis).
    """

    families: dict[str, Estimate]
    sd: float
    p_value: float


class Comparison(NamedTuple):
    """What `compare` finds; values above ½, and effects above 0, favour the first arm."""

    problem: Estimate
    run: Estimate
    effect: Estimate
    spread: Spread
    n_problems: int
    n_seeds: int
    level: float


def compare(
    a,
    b,
    families: Sequence | np.ndarray | None = None,
    *,
    key: Key,
    larger_is_better: bool = True,
    level: float = 0.95,
    resamples: int = 10_000,
) -> Comparison:
    """Compare two arms that ran on the same problems with the same seeds.

    Args:
        a: scores of the first arm, (n_problems, n_seeds) or (n_problems,); ±inf stands for a
            run that never got there, and two of them tie.
        b: scores of the second arm, of the same shape.
        families: a label per problem; None is one family.
        key: of the bootstrap resamples.
        larger_is_better: False for times, steps and errors.
        level: of the intervals.
        resamples: of the bootstrap.

    Returns:
        Comparison: `problem` with a stratified Wilson interval, `run` with a bias-corrected
        bootstrap interval, `effect` with the interval of the signed-rank test.

    Raises:
        ValueError: for shapes that differ, NaN, or a family of fewer than two problems.
    """
    a, b = _scores(a, b)
    names, strata = strata_of(families, len(a))
    order = np.argsort(strata, kind="stable")
    d = differences(a, b, larger_is_better)[order]
    sizes = np.bincount(strata)
    typical = median(d)
    problem, run = np.sign(typical) / 2, (np.sign(d) / 2).mean(axis=1)
    return Comparison(
        problem=plus_half(wilson(problem, sizes, level)),
        run=plus_half(_run_interval(run, sizes, key, level, resamples)),
        effect=hodges_lehmann(typical, level=level),
        spread=_spread(names, problem, sizes, level),
        n_problems=len(a),
        n_seeds=a.shape[1],
        level=level,
    )


def differences(a, b, larger_is_better: bool = True) -> np.ndarray:
    """Paired differences, positive where a is better; equal scores, infinite ones too, give 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        d = np.where(a == b, 0.0, a - b)
    return d if larger_is_better else -d


def _scores(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = (np.asarray(arm, np.float64) for arm in (a, b))
    if a.shape != b.shape or a.ndim not in (1, 2) or a.size == 0:
        raise ValueError(
            "Expected paired scores, both of one shape (n_problems, n_seeds) or (n_problems,), "
            f"got {a.shape} and {b.shape}."
        )
    for name, arm in (("a", a), ("b", b)):
        if np.isnan(arm).any():
            where = tuple(int(i) for i in np.argwhere(np.isnan(arm))[0])
            raise ValueError(
                f"The scores {name} hold NaN at {where}. Write inf (or -inf where larger is "
                "better) for a run that never got there, or leave the problem out of both arms."
            )
    return a.reshape(len(a), -1), b.reshape(len(b), -1)


def _run_interval(centred: np.ndarray, sizes, key: Key, level: float, resamples: int) -> Estimate:
    """Bootstrap, but Wilson where fewer than five problems' worth of runs go against the rest.

    There the resamples hardly vary and their percentiles promise too much.
    """
    if min((0.5 - centred).sum(), (0.5 + centred).sum()) < 5:
        return wilson(centred, sizes, level)
    return bootstrap(centred, sizes, key, level, resamples)


def _spread(names: list[str], problem: np.ndarray, sizes: np.ndarray, level: float) -> Spread:
    from scipy.stats import kruskal

    groups = np.split(problem, np.cumsum(sizes)[:-1])
    families = {
        name: plus_half(wilson(group, np.array([len(group)]), level))
        for name, group in zip(names, groups, strict=True)
    }
    if len(groups) == 1 or np.ptp(problem) == 0:
        return Spread(families, 0.0, 1.0)
    noise = np.mean([group.var(ddof=1) / len(group) for group in groups])
    between = np.var([group.mean() for group in groups], ddof=1)
    return Spread(families, float(np.sqrt(max(between - noise, 0))), float(kruskal(*groups).pvalue))
