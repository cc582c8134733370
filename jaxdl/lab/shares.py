"""In what share of problems does a statement hold, where does it not, and what follows from it."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxdl import stats


class Decision(NamedTuple):
    """The verdict, the share of problems in which the statement holds, and that by stratum.

    `split` holds the two strata on either side of ½, the higher first, if there are such.
    """

    verdict: str
    share: stats.Estimate
    strata: list[dict[str, Any]]
    split: tuple[dict[str, Any], dict[str, Any]] | None = None


def decide(
    holds: Sequence | np.ndarray,
    gamma: float | None,
    moderators: Mapping[str, Sequence | np.ndarray] | None = None,
    families: Sequence | np.ndarray | None = None,
    protocols: Mapping[str, Sequence | np.ndarray] | None = None,
    equivalent: bool = False,
) -> Decision:
    """The verdict on "this holds in a share of at least γ of the problems".

        supported      low ≥ γ, and by chance at a share of γ in at most 2.5 %
        depends        otherwise, two strata of one moderator, or two protocols, lie on either side
                       of ½, each interval wholly, at a level that allows for their number
                       (Bonferroni)
        equivalent     otherwise, the differences were shown to be of no practical importance
        contradicted   otherwise, high < γ, and by chance at a share of γ in at most 2.5 %
        inconclusive   otherwise

    The interval alone would be wrong too often near 0 and 1: of 50 problems in which a claim holds
    with a chance of exactly 0.99, it would call it contradicted in 9 % of cases. So the binomial
    distribution must agree; of sums of independent answers with a mean share of γ it is the one
    that varies most (Hoeffding 1956), so families that differ do no harm.

    Of few problems not even all can support a high share: 13 are needed for 0.75, 36 for 0.90,
    381 for 0.99.

    Args:
        holds: (n,) 1 where the statement holds in a problem, 0 where not, ½ for a tie.
        gamma: the share that the quantifier of the claim stands for.
        moderators: name → (n,) levels, declared before the run.
        families: (n,) labels that weigh equally; None is one family.
        protocols: name → (n,) where the statement holds under other ways to compare; they are
            strata of the moderator "protocol".
        equivalent: whether a test has shown that the differences lie within their margin.

    Raises:
        ValueError: without γ: an exact statement is no matter of shares.
    """
    if gamma is None:
        raise ValueError("gamma is None: give the claim a quantifier in lab.claim.GAMMA.")
    holds, moderators = np.asarray(holds, float), moderators or {}
    share = stats.stratified_wilson(holds, families)
    count = sum(len(set(map(str, labels))) for labels in moderators.values()) + len(protocols or {})
    strata, strict = (
        by_level(holds, moderators, level) + _by_protocol(protocols or {}, families, level)
        for level in (0.95, 1 - 0.05 / max(count, 1))
    )
    places = _either_side(strict)
    pair = None if places is None else (strata[places[0]], strata[places[1]])
    above, below = _chances(share.value * len(holds), len(holds), gamma)
    if share.low >= gamma and above <= 0.025:
        verdict = "supported"
    elif pair is not None:
        verdict = "depends"
    elif equivalent:
        verdict = "equivalent"
    else:
        surely = share.high < gamma and below <= 0.025
        verdict = "contradicted" if surely else "inconclusive"
    return Decision(verdict, share, strata, pair)


def _chances(successes: float, n: int, gamma: float) -> tuple[float, float]:
    """Of at least, and of at most, so many successes among n of chance gamma; halves widen both."""
    from scipy.special import bdtr, bdtrc

    low, high = np.floor(successes + 1e-9), np.ceil(successes - 1e-9)
    return float(bdtrc(low - 1, n, gamma)) if low > 0 else 1.0, float(bdtr(high, n, gamma))


def by_level(
    holds: Sequence | np.ndarray,
    moderators: Mapping[str, Sequence | np.ndarray],
    level: float = 0.95,
) -> list[dict[str, Any]]:
    """One row for each level of each moderator: {"by", "n", "value", "low", "high"}.

    A problem whose level is "" belongs to no stratum of that moderator. Levels come by their
    first number if all have one, else as they were met.
    """
    holds = np.asarray(holds, float)
    rows = []
    for name, labels in moderators.items():
        labels = np.asarray(labels).astype(str)
        for label in _in_order(labels):
            rows.append(_row({name: label}, holds[labels == label], None, level))
    return rows


def crossed(
    holds: Sequence | np.ndarray,
    one: tuple[str, Sequence | np.ndarray],
    other: tuple[str, Sequence | np.ndarray],
) -> list[dict[str, Any]]:
    """One row for each pair of levels of two moderators that has problems, as `by_level`.

    Args:
        holds: (n,) as in `decide`.
        one: name and (n,) levels.
        other: name and (n,) levels.
    """
    holds = np.asarray(holds, float)
    (first, rows), (second, columns) = ((n, np.asarray(v).astype(str)) for n, v in (one, other))
    return [
        _row({first: row, second: column}, holds[both], None, 0.95)
        for row, column in itertools.product(_in_order(rows), _in_order(columns))
        if (both := (rows == row) & (columns == column)).any()
    ]


def _in_order(labels: np.ndarray) -> list[str]:
    known = [label for label in dict.fromkeys(labels.tolist()) if label]
    numbers = [re.findall(r"\d[\d,]*\.?\d*", label)[:1] for label in known]
    if not all(numbers):
        return known
    places = {k: float(n[0].replace(",", "")) for k, n in zip(known, numbers, strict=True)}
    return sorted(known, key=lambda label: places[label])


def _by_protocol(protocols, families, level):
    return [
        _row({"protocol": name}, np.asarray(holds, float), families, level)
        for name, holds in protocols.items()
    ]


def _row(by, holds, families, level):
    estimate = stats.stratified_wilson(holds, families, level)
    return {"by": by, "n": len(holds), **estimate._asdict()}


def _either_side(strata: list[dict[str, Any]]) -> tuple[int, int] | None:
    """Places of the strata of one moderator that lie on either side of ½, farthest apart."""
    found = [
        (high["value"] - low["value"], i, j)
        for i, high in enumerate(strata)
        for j, low in enumerate(strata)
        if set(high["by"]) == set(low["by"]) and high["low"] > 0.5 > low["high"]
    ]
    return max(found)[1:] if found else None


def percent(share: stats.Estimate | float) -> str:
    """ "97 %", with an interval "97 % [91 %, 99 %]", as the sentences write it.

    99.6 % and 0.4 % keep a digit: it is not all, and not none.
    """
    if isinstance(share, stats.Estimate):
        value, low, high = map(percent, share)
        return f"{value} [{low}, {high}]"
    near = min(share, 1 - share)
    return f"{100 * share:.{int(0 < near < 0.01)}f} %"
