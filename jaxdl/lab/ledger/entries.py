"""The findings that the ledger shows: result files of two folders, the larger size first."""

import dataclasses
import json
import pathlib
import re
from typing import Any

from jaxdl.lab.ledger import parts, words

SIZES = ("default", "full")
"""From small to large; a smoke run concludes nothing and is never shown."""

SHARE = re.compile(r"\b(share|probability|fraction|proportion|poi)\b", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Entry:
    """A finding: its result, its chart, where both lie, and a run of another size beside it."""

    result: dict[str, Any]
    chart: dict[str, Any] | None
    source: str
    other: dict[str, Any] | None = None
    anchor: str = ""

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
        entries.append(Entry(result, chart, source, found[1][0] if found[1:] else None))
    return _anchored(sorted(entries, key=_order)), unreadable


def _anchored(entries: list[Entry]) -> list[Entry]:
    """Each with the address of its card: by number, by name where it has none or it is taken."""
    taken: set[str] = set()
    found = []
    for entry in entries:
        number = entry.result.get("number")
        anchor = words.slug(f"claim {number}") if number else words.slug(entry.name)
        anchor = words.slug(entry.name) if anchor in taken else anchor
        taken.add(anchor)
        found.append(dataclasses.replace(entry, anchor=anchor))
    return found


def _folder(folder: pathlib.Path, unreadable: list[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith((".chart.json", ".smoke.json")):
            continue
        result = _json(path, unreadable)
        if isinstance(result, dict) and "verdict" in result and result.get("size") in SIZES:
            found[path.stem] = result
    return found


def _chart(path: pathlib.Path, unreadable: list[str]) -> dict[str, Any] | None:
    return _json(path, unreadable) if path.exists() else None


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
