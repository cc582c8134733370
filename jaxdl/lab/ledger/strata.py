"""The moderators of a claim: the share in which it holds, level by level, or two at a time."""

import dataclasses
from typing import Any

from jaxdl.lab.ledger import effects, words


@dataclasses.dataclass(frozen=True)
class Level:
    """One level of a moderator."""

    name: str
    n: int
    share: dict[str, float]
    shown: str


@dataclasses.dataclass(frozen=True)
class Moderator:
    """One thing that was declared before the run, level by level."""

    name: str
    levels: list[Level]


@dataclasses.dataclass(frozen=True)
class Heatmap:
    """Two moderators crossed; cells are by (row, column)."""

    rows_name: str
    columns_name: str
    rows: list[str]
    columns: list[str]
    cells: dict[tuple[str, str], Level]


def split(strata: list[dict[str, Any]]) -> tuple[list[Moderator], list[Heatmap]]:
    """Strata by one moderator as lists, strata by two as tables."""
    single: dict[str, list[Level]] = {}
    double: dict[tuple[str, ...], dict[tuple[str, str], Level]] = {}
    for stratum in strata:
        names = tuple(str(name) for name in stratum["by"])
        levels = tuple(_words(*by) for by in stratum["by"].items())
        level = _level(" · ".join(levels), stratum)
        if len(names) == 2:
            double.setdefault(names, {})[levels[0], levels[1]] = level
        else:
            single.setdefault(" · ".join(names), []).append(level)
    moderators = [Moderator(name, levels) for name, levels in single.items()]
    return moderators, [_heatmap(names, cells) for names, cells in double.items()]


def _words(name: str, level: Any) -> str:
    return effects.LABELS.get(level, str(level)) if name == "protocol" else str(level)


def _level(name: str, stratum: dict[str, Any]) -> Level:
    share = {end: words.number(stratum[end]) for end in ("value", "low", "high")}
    return Level(name, stratum["n"], share, words.percents(share))


def _heatmap(names: tuple[str, ...], cells: dict[tuple[str, str], Level]) -> Heatmap:
    rows = list(dict.fromkeys(row for row, _ in cells))
    columns = list(dict.fromkeys(column for _, column in cells))
    return Heatmap(names[0], names[1], rows, columns, cells)
