"""From scores to a verdict: what may be concluded, by rules that are fixed before the run.

    supported     the interval of the share of problems in which the claim holds lies at or above γ
    depends       two strata of a declared moderator, or two protocols, lie on either side of ½
    equivalent    differences are shown to lie within the margin
    contradicted  the interval lies below γ
    inconclusive  none of these

in this order. Strata are judged at a level that is corrected for their number (Bonferroni), so
that looking at many of them does not find dependence where there is none.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdl import stats
from jaxdl.stats.effect import median

LEVEL = 0.95
FEWEST = 5
"""Strata of fewer problems are neither shown nor judged."""


class Evidence(NamedTuple):
    """Paired differences, positive where the claim holds, of every problem under one protocol.

    Args:
        differences: (problems, seeds); ±inf where one of the two never arrives.
        families: (problems,) names.
        strata: moderator to (problems,) names; "" where a problem belongs to no stratum.
    """

    differences: np.ndarray
    families: np.ndarray
    strata: Mapping[str, np.ndarray] = {}


class Stratum(NamedTuple):
    """Share of the problems of a stratum in which the claim holds."""

    by: Mapping[str, str]
    n: int
    share: Any


class Decision(NamedTuple):
    """A verdict, the share that decides, the strata, and the two that disagree, if any."""

    verdict: str
    share: Any
    strata: list[Stratum]
    split: tuple[Stratum, Stratum] | None


def decide(evidence: Mapping[str, Evidence], gamma: float, margin: float | None = None) -> Decision:
    """The verdict on "in a share γ of problems or more, the difference is positive".

    Args:
        evidence: by protocol; the first decides, the others can make the verdict depend.
        gamma: the share that the claim's word stands for.
        margin: half width of the region of practical equivalence; None for no such test.
    """
    first = next(iter(evidence.values()))
    share = share_of(first, LEVEL)
    strata = _strata(evidence)
    split = _split(strata)
    return Decision(_word(first, share, split, gamma, margin), share, strata, split)


def share_of(evidence: Evidence, level: float) -> Any:
    """Share of problems whose median difference is positive, families weighing equally."""
    typical = median(evidence.differences)
    return stats.stratified_wilson((np.sign(typical) + 1) / 2, evidence.families, level)


def _word(first, share, split, gamma, margin):
    if share.low >= gamma:
        return "supported"
    if split is not None:
        return "depends"
    if margin is not None and _equivalent(first, margin):
        return "equivalent"
    return "contradicted" if share.high < gamma else "inconclusive"


def _equivalent(evidence, margin):
    return bool(stats.equivalence(median(evidence.differences), margin).equivalent)


def _strata(evidence: Mapping[str, Evidence]) -> list[Stratum]:
    """One for each family, level of a moderator and protocol, at the corrected level."""
    first = next(iter(evidence.values()))
    parts = [
        ({name: str(level)}, first, column == level)
        for name, column in {"family": first.families, **first.strata}.items()
        for level in _in_order(column)
    ]
    if len(evidence) > 1:
        parts += [
            ({"protocol": name}, e, np.ones(len(e.families), bool)) for name, e in evidence.items()
        ]
    parts = [part for part in parts if part[2].sum() >= FEWEST]
    level = 1 - (1 - LEVEL) / max(len(parts), 1)
    return [Stratum(by, int(rows.sum()), share_of(_only(e, rows), level)) for by, e, rows in parts]


def _in_order(column: np.ndarray) -> list[str]:
    """Levels in the order in which they first appear once sorted as numbers where they are."""
    levels = sorted(set(column.tolist()) - {""})
    try:
        return sorted(levels, key=float)
    except ValueError:
        return levels


def _only(evidence, rows):
    return Evidence(evidence.differences[rows], evidence.families[rows])


def _split(strata: Sequence[Stratum]) -> tuple[Stratum, Stratum] | None:
    """The two strata of one moderator that lie on either side of ½ and farthest apart."""
    found = [
        (high.share.value - low.share.value, high, low)
        for high in strata
        for low in strata
        if set(high.by) == set(low.by) and high.share.low > 0.5 > low.share.high
    ]
    return max(found, key=lambda pair: pair[0])[1:] if found else None
