"""The findings that the ledger shows: result files of two folders, the larger size first."""

import dataclasses
import json
import pathlib
import re
from typing import Any

from jaxdl.lab import record
from jaxdl.lab.ledger import parts, shape, words

SIZES = ("default", "full")
"""From small to large; a smoke run concludes nothing and is never shown."""

PAGES = (
    "top", "filters", "search", "shown", "clear",
    "overview", "claims", "explorers", "errata", "kills", "concepts",
)  # fmt: skip
"""Addresses that the page itself uses."""

SHARE = re.compile(r"\b(share|probability|fraction|proportion|poi)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A finding: its result, its chart, where both lie; a run of another size beside it.

    `again` are the findings of the same size on other draws of the problems.
    """

    result: dict[str, Any]
    chart: dict[str, Any] | None
    source: str
    other: dict[str, Any] | None = None
    again: tuple[dict[str, Any], ...] = ()
    anchor: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The claim's name."""
        return self.result["claim"]

    @property
    def part(self) -> parts.Part:
        """The week of the course that it belongs to."""
        return parts.part_of(self.result["section"])

    @property
    def share(self) -> dict[str, Any] | None:
        """The share of problems that decides; see `share_of`."""
        return share_of(self.result)


def shown(result: dict[str, Any]) -> str:
    """The deciding number in words: a share in percent, also one without an interval."""
    share, estimate = share_of(result), result["estimate"]
    if share:
        return words.percents(share)
    if SHARE.search(estimate["name"]) and estimate["low"] == estimate["high"] <= 1:
        return words.percent(words.number(estimate["value"]))
    return words.estimate(estimate)


def share_of(result: dict[str, Any]) -> dict[str, Any] | None:
    """The share of problems in which a claim holds; None where another number decides.

    It is the estimate if that is called a share and has an interval, else the primary
    comparison's; a share without an interval is a count over a fixed list, no estimate.
    """
    if result.get("gamma") is None:
        return None
    primary = [e.get("problem_poi") for e in result.get("effects", ()) if e.get("primary")]
    estimate = result["estimate"]
    for candidate in ([estimate] if SHARE.search(estimate["name"]) else []) + primary:
        if candidate and _is_share(candidate):
            return candidate
    return None


def _is_share(value: dict[str, Any]) -> bool:
    low, middle, high = (words.number(value.get(end)) for end in ("low", "value", "high"))
    return 0 <= low <= middle <= high <= 1 and low < high


def read(results: pathlib.Path, evidence: pathlib.Path | None) -> tuple[list[Entry], list[str]]:
    """All findings in the order of the course, and the names of files that could not be read.

    Args:
        results: the folder of the reader's own runs.
        evidence: the folder of committed full-size runs; None leaves it out.
    """
    unreadable: list[str] = []
    own = _folder(results, unreadable)
    committed = _folder(evidence, unreadable) if evidence else {}
    draws = [
        draw
        for folder in (results, evidence)
        for path in (sorted(folder.glob(record.AGAIN.format("*"))) if folder else ())
        if (draw := _folder(path, unreadable))
    ]
    entries = []
    for name in own.keys() | committed.keys():
        found = [
            (folder[name], path, source)
            for folder, path, source in (
                (own, results, "run on this machine"),
                (committed, evidence, "committed evidence"),
            )
            if name in folder and path is not None
        ]
        found.sort(key=lambda each: SIZES.index(each[0]["size"]), reverse=True)
        result, path, source = found[0]
        chart = _chart(path / f"{name}.chart.json", unreadable)
        other = found[1][0] if found[1:] else None
        again = [d[name] for d in draws if name in d and d[name]["size"] == result["size"]]
        entries.append(Entry(result, chart, source, other, _by_draw(again)))
    return _anchored(sorted(entries, key=_order)), unreadable


def _by_draw(again: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """One of each draw, the reader's own first."""
    own = {result["draw"]: result for result in reversed(again) if result.get("draw")}
    return tuple(own[draw] for draw in sorted(own))


def _anchored(entries: list[Entry]) -> list[Entry]:
    """Each with the address of its card: by number, by name where it has none or it is taken.

    A claim of several numbers, "31/47", is found under each of them too.
    """
    taken: set[str] = set(PAGES)

    def first_free(*addresses: str) -> str:
        address = next(a for a in addresses if a not in taken)
        taken.add(address)
        return address

    found = []
    for i, entry in enumerate(entries):
        number, name = entry.result.get("number"), words.slug(entry.name)
        by_number = [words.slug(f"claim {number}")] if number else []
        anchor = first_free(*by_number, name, f"{name}-{i}")
        found.append(dataclasses.replace(entry, anchor=anchor))
    return [dataclasses.replace(entry, aliases=_aliases(entry, taken)) for entry in found]


def _aliases(entry: Entry, taken: set[str]) -> tuple[str, ...]:
    numbers = re.findall(r"\d+", entry.result.get("number") or "")
    free = [a for a in dict.fromkeys(f"claim-{number}" for number in numbers) if a not in taken]
    taken.update(free)
    return tuple(free)


def _folder(folder: pathlib.Path, unreadable: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith((".chart.json", ".smoke.json")):
            continue
        result = _json(path, unreadable)
        if not (isinstance(result, dict) and "verdict" in result and result.get("size") in SIZES):
            continue
        if shape.fits(result) and result["claim"] == path.stem:
            found[path.stem] = result
        else:
            unreadable.append(path.name)
    return found


def _chart(path: pathlib.Path, unreadable: list[str]) -> dict[str, Any] | None:
    chart = _json(path, unreadable) if path.exists() else None
    if chart is not None and not isinstance(chart, dict):
        unreadable.append(path.name)
    return chart if isinstance(chart, dict) else None


def _json(path: pathlib.Path, unreadable: list[str]) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        unreadable.append(path.name)
        return None


def _order(entry: Entry) -> tuple:
    digits = re.match(r"\d+", entry.result.get("number") or "")
    place = int(digits.group()) if digits else 1000
    return parts.PARTS.index(entry.part), place, entry.result["title"]
