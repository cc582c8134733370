"""In what share of problems does a statement hold, where does it not, and what follows from it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdl import stats


class Decision(NamedTuple):
    """The verdict, the share of problems in which the statement holds, and that by stratum."""

    verdict: str
    share: stats.Estimate
    strata: list[dict[str, Any]]


def decide(
    holds: Sequence | np.ndarray,
    gamma: float | None,
    moderators: Mapping[str, Sequence | np.ndarray] | None = None,
    families: Sequence | np.ndarray | None = None,
) -> Decision:
    """The verdict on "this holds in a share of at least γ of the problems".

        supported      low ≥ γ
        depends        otherwise, two strata of one moderator lie on either side of ½, each
                       interval wholly, at a level that allows for their number (Bonferroni)
        contradicted   otherwise, high < γ
        inconclusive   otherwise

    Args:
        holds: (n,) 1 where the statement holds in a problem, 0 where not, ½ for a tie.
        gamma: the share that the quantifier of the claim stands for.
        moderators: name → (n,) levels, declared before the run.
        families: (n,) labels that weigh equally; None is one family.

    Raises:
        ValueError: without γ: an exact statement is no matter of shares.
    """
    if gamma is None:
        raise ValueError("gamma is None: give the claim a quantifier in lab.claim.GAMMA.")
    holds, moderators = np.asarray(holds, float), moderators or {}
    share = stats.stratified_wilson(holds, families)
    strata = by_level(holds, moderators)
    strict = by_level(holds, moderators, level=1 - 0.05 / max(len(strata), 1))
    if share.low >= gamma:
        verdict = "supported"
    elif any(_either_side(strict, name) for name in moderators):
        verdict = "depends"
    else:
        verdict = "contradicted" if share.high < gamma else "inconclusive"
    return Decision(verdict, share, strata)


def by_level(
    holds: Sequence | np.ndarray,
    moderators: Mapping[str, Sequence | np.ndarray],
    level: float = 0.95,
) -> list[dict[str, Any]]:
    """One row for each level of each moderator: {"by", "n", "value", "low", "high"}."""
    holds = np.asarray(holds, float)
    rows = []
    for name, labels in moderators.items():
        labels = np.asarray(labels).astype(str)
        for label in dict.fromkeys(labels.tolist()):
            chosen = holds[labels == label]
            estimate = stats.stratified_wilson(chosen, level=level)
            rows.append({"by": {name: label}, "n": len(chosen), **estimate._asdict()})
    return rows


def _either_side(strata: list[dict[str, Any]], name: str) -> bool:
    rows = [row for row in strata if name in row["by"]]
    return any(row["low"] > 0.5 for row in rows) and any(row["high"] < 0.5 for row in rows)


def percent(estimate: stats.Estimate) -> str:
    """ "97 % [91 %, 99 %]", as the sentences write it."""
    value, low, high = (f"{100 * number:.0f} %" for number in estimate)
    return f"{value} [{low}, {high}]"
