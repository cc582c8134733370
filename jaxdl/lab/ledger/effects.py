"""What a card shows of its comparisons: tabs by protocol, a dot for every problem."""

import dataclasses
import math
from typing import Any

import numpy as np

from jaxdl.lab.ledger import curves, words

WIDTH, HEIGHT = 1000, 36
MARGIN = 80
"""On both sides, for infinite differences: where only one of the two arms arrived."""
STEP = 8
"""From a dot to its neighbour."""
STACK = (0, 5, -5, 10, -10)
"""Where dots go that share a bin: around the middle, then over each other."""


LABELS = {
    "tuned": "each tuned, equal budgets",
    "same": "both at one setting",
    "default": "both at their defaults",
    "": "the run",
}
"""Protocols in words; others are shown by their own name."""


@dataclasses.dataclass(frozen=True)
class Row:
    """The problems of one family: paths of dots by who is better, and a count in words."""

    family: str
    dots: dict[str, str]
    counts: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One arm against another under one protocol."""

    better: str
    than: str
    primary: bool
    numbers: list[tuple[str, str]]
    rows: list[Row]
    reach: str
    infinite: bool


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A tab: how the arms' settings were chosen, the comparisons made so, and the curves."""

    name: str
    comparisons: list[Comparison]
    panels: list[curves.Panel]


def protocols(result: dict[str, Any]) -> list[Protocol]:
    """The tabs of a card, in the order in which the result names them."""
    effects, drawn = result.get("effects", ()), result.get("curves", ())
    names = dict.fromkeys(str(each.get("protocol", "")) for each in (*effects, *drawn))

    def of(name, items):
        return [each for each in items if str(each.get("protocol", "")) == name]

    return [
        Protocol(
            LABELS.get(name, name),
            [comparison(e) for e in of(name, effects)],
            curves.panels(of(name, drawn)),
        )
        for name in names
    ]


def comparison(effect: dict[str, Any]) -> Comparison:
    """A comparison's numbers and its strips of dots."""
    numbers = [
        (label, words.percents(effect[key]))
        for key, label in (("problem_poi", "of problems"), ("run_poi", "of runs"))
        if effect.get(key)
    ]
    if effect.get("effect"):
        numbers.append((effect["effect"].get("name", "effect"), words.estimate(effect["effect"])))
    differences = np.array([words.number(d) for d in effect.get("differences", ())])
    families = np.array([str(f) for f in effect.get("families", ())] or [""] * len(differences))
    limit = _limit(differences)
    rows = [
        _row(family, differences[families == family], limit) for family in dict.fromkeys(families)
    ]
    return Comparison(
        str(effect.get("better", "")),
        str(effect.get("than", "")),
        bool(effect.get("primary")),
        numbers,
        rows,
        words.figure(float(f"{limit:.3g}")),
        bool(np.isinf(differences).any()),
    )


def _limit(differences: np.ndarray) -> float:
    """How far the strip reaches on both sides: all of it, or 95 % where a few lie far out."""
    finite = np.abs(differences[np.isfinite(differences)])
    if not finite.size or not finite.max():
        return 1.0
    most = float(np.quantile(finite, 0.95))
    return float(finite.max()) if finite.max() <= 1.6 * most or not most else most


def _row(family: str, differences: np.ndarray, limit: float) -> Row:
    known = differences[~np.isnan(differences)]
    side = np.sign(known)
    dots = {
        name: _dots(known[side == sign], limit)
        for sign, name in ((1, "better"), (0, "tie"), (-1, "than"))
    }
    counts = f"{int((side > 0).sum())} of {len(known)}"
    beyond = int(np.isinf(known).sum())
    return Row(family, dots, counts + (f", {beyond} at ∞" if beyond else ""))


def _dots(differences: np.ndarray, limit: float) -> str:
    """One path with a point for each problem; those in the same place are stacked."""
    finite = differences[np.isfinite(differences)]
    inner = WIDTH / 2 + np.clip(finite / limit, -1, 1) * (WIDTH / 2 - MARGIN - STEP)
    path = _stacked(np.sort(inner))
    for sign, edge in ((1, WIDTH - STEP), (-1, STEP)):
        path += _columns(int(np.isinf(differences[np.sign(differences) == sign]).sum()), edge, sign)
    return path


def _stacked(places: np.ndarray) -> str:
    taken: dict[int, int] = {}
    path = []
    for x in places:
        level = taken.get(bin_ := math.floor(x / STEP), 0)
        taken[bin_] = level + 1
        path.append(_dot(x, level))
    return "".join(path)


def _columns(count: int, edge: int, sign: int) -> str:
    """Infinite differences beside each other in the margin, from the edge inwards."""
    room = MARGIN // STEP
    places = (divmod(i, len(STACK)) for i in range(count))
    return "".join(_dot(edge - sign * STEP * (column % room), level) for column, level in places)


def _dot(x: float, level: int) -> str:
    return f"M{x:.0f} {HEIGHT // 2 + STACK[level % len(STACK)]}h0"
