"""The ledger's further pages: errata, the kill matrix, the index of concepts."""

import dataclasses
import pathlib
import re
from typing import Any

from jaxdl.lab.ledger import parts, words
from jaxdl.lab.ledger.entries import Entry

CONCEPTS = pathlib.Path(__file__).parents[3] / "docs" / "concepts.md"
"""In a clone; an installed package goes without the index."""


@dataclasses.dataclass(frozen=True)
class Formula:
    """A formula of the notes as printed; `erratum` is empty where it holds."""

    section: str
    printed: str
    erratum: str
    error: str
    error_corrected: str


def formulas(entries: list[Entry]) -> tuple[list[Formula], list[Formula]]:
    """Formulas that fail as printed, and those that hold, from the formula audit."""
    rows = _data(entries, "formula_audit").get("formulas", [])
    all_of_them = [
        Formula(
            row["section"],
            row["printed"],
            row["erratum"],
            _distance(row["error"]),
            _distance(row["error corrected"]),
        )
        for row in rows
    ]
    return [f for f in all_of_them if f.erratum], [f for f in all_of_them if not f.erratum]


def _distance(value: Any) -> str:
    """A relative distance from the truth; infinite where the shapes do not even fit."""
    if value is None:
        return "–"
    distance = words.number(value)
    if distance == float("inf"):
        return "∞"
    return "0" if distance == 0 else f"{distance:.0e}" if distance < 0.01 else f"{distance:.2g}"


@dataclasses.dataclass(frozen=True)
class KillMatrix:
    """What finds which bug: `rows` are (bug, found by each detector, cause that was named)."""

    detectors: list[str]
    rows: list[tuple[str, list[bool], str]]
    totals: list[str]


def kill_matrix(entries: list[Entry]) -> KillMatrix | None:
    """The table of the kill matrix, the correct backprop first; None where it has not run."""
    data = _data(entries, "kill_matrix")
    found = {bug: row for bug, row in data.items() if isinstance(row, dict) and "found" in row}
    if not found:
        return None
    detectors = list(next(iter(found.values()))["found"])
    rows = [
        (bug, [bool(row["found"].get(d)) for d in detectors], row.get("cause") or "–")
        for bug, row in found.items()
    ]
    bugs = [hits for bug, hits, _ in rows if bug != "no bug"]
    totals = [words.percent(sum(hits) / len(bugs)) for hits in zip(*bugs, strict=True)]
    return KillMatrix(detectors, rows, totals)


def _data(entries: list[Entry], name: str) -> dict[str, Any]:
    for entry in entries:
        if entry.name == name and isinstance(entry.result["data"], dict):
            return entry.result["data"]
    return {}


@dataclasses.dataclass(frozen=True)
class Concept:
    """A section of the notes; without functions, `functions` says why."""

    section: str
    part: parts.Part
    functions: list[str]
    tests: list[str]
    experiments: list[str]
    why_none: str


def concepts(path: pathlib.Path = CONCEPTS) -> list[Concept]:
    """The rows of the concept index, in the order of the course; none where it is not there."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    found = [
        Concept(
            section,
            parts.part_of(section),
            *(re.findall(r"`([^`]+)`", cell) for cell in (functions, tests, experiments)),
            why_none="" if "`" in functions else functions,
        )
        for section, functions, tests, experiments in rows
    ]
    return sorted(found, key=lambda concept: parts.PARTS.index(concept.part))
