"""The result of a check, as a person reads it: plain text, terminal table, HTML, dictionary."""

import html
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jaxdl.gradcheck.problem import Finding

WIDTH = 100
"""Plain text is wrapped here."""


class GradientError(AssertionError):
    """Raised by `Report.raise_if_failed`; the message is the report."""


@dataclass(frozen=True)
class Leaf:
    """One leaf of the gradient in the report.

    Attributes:
        path: of the parameter.
        shape: of the parameter.
        size: largest |g| at the point named, in float64.
        error: largest |h − g| over all points, and where.
        relative: error / size.
        worst: index of that entry.
        point: label of that point.
        verdict: "ok", "WRONG", "kink" or "rounded".
        tolerance: the error that still counts as right there, absolute.
    """

    path: str
    shape: tuple[int, ...]
    size: float
    error: float
    relative: float
    worst: tuple[int, ...]
    point: str
    verdict: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        verdict: "PASS", "FAIL" or "INCONCLUSIVE".
        leaves: one row per leaf.
        findings: what is wrong, named; empty unless the verdict is FAIL.
        doubts: why nothing can be said; empty unless the verdict is INCONCLUSIVE.
        notes: what else a reader should know.
        adequacy: what this check could not have seen.
        referee: what finite differences say about autodiff.
        points: labels of the points where both gradients were compared.
        precision: of the comparison.
        parameters: how many numbers were checked.
        seconds: how long the check took, diagnosis included.
        seed: what random choices were made from.
    """

    verdict: str
    leaves: tuple[Leaf, ...] = ()
    findings: tuple[Finding, ...] = ()
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    adequacy: tuple[str, ...] = ()
    referee: str = ""
    points: tuple[str, ...] = ()
    precision: str = "float64"
    parameters: int = 0
    seconds: float = 0.0
    seed: int = 0
    title: str = field(default="GRADCHECK", repr=False)

    @property
    def passed(self) -> bool:
        """Whether the verdict is PASS."""
        return self.verdict == "PASS"

    def raise_if_failed(self) -> "Report":
        """The report itself, or an AssertionError that shows it.

        Raises:
            GradientError: if the verdict is not PASS.
        """
        if not self.passed:
            raise GradientError(f"\n{self}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, strings and numbers, ready for `json.dumps`; what is not finite is None."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def __rich__(self) -> Any:
        from jaxdl.gradcheck import terminal

        return terminal.render(self)

    def _repr_html_(self) -> str:
        return _html(self)


HEADINGS = ("leaf", "shape", "|g|", "max err", "rel", "worst", "at", "verdict")

SHOWN = 12
"""Rows that are right are summed up in one line when there are more than this."""


def rows(report: Report) -> tuple[list[tuple[str, ...]], int]:
    """The table's rows as text, and how many rows that are "ok" are left out."""
    good = [i for i, leaf in enumerate(report.leaves) if leaf.verdict == "ok"]
    odd = len(report.leaves) - len(good)
    room = len(good) if len(report.leaves) <= SHOWN else max(SHOWN - odd, 0)
    hidden = set(good[room:])
    kept = [_cells(leaf) for i, leaf in enumerate(report.leaves) if i not in hidden]
    return kept, len(hidden)


def _cells(leaf: Leaf) -> tuple[str, ...]:
    wrong = leaf.verdict != "ok"
    return (
        leaf.path,
        str(tuple(leaf.shape)).replace(" ", ""),
        f"{leaf.size:.1e}",
        _number(leaf.error),
        _number(leaf.relative),
        "[" + ",".join(map(str, leaf.worst)) + "]" if wrong and leaf.worst else "",
        leaf.point if wrong else "",
        leaf.verdict,
    )


def _number(x: float) -> str:
    return f"{x:.1e}" if math.isfinite(x) else str(x)


def summary(report: Report) -> str:
    """The first line after the verdict."""
    n = len(report.leaves)
    leaves = f"{n} leaf" if n == 1 else f"{n} leaves"
    count = f"{report.parameters:,} parameter" + "s" * (report.parameters != 1)
    return f"{leaves}, {count}, {report.precision}   {report.seconds:.1f} s"


def sections(report: Report) -> list[tuple[str, list[str]]]:
    """The text below the table: heading and paragraphs, empty sections left out."""
    found = [_finding(i, finding) for i, finding in enumerate(report.findings, start=1)]
    parts = [
        ("FOUND", found),
        ("CANNOT TELL", list(report.doubts)),
        ("NOTES", list(report.notes)),
        ("This check could NOT have seen", list(report.adequacy)),
    ]
    return [(heading, lines) for heading, lines in parts if lines]


def _finding(i: int, finding: Finding) -> str:
    link = "nearest" if finding.cause == "unknown" else "or"
    also = f" ({link}: {', '.join(finding.equivalent)})" if finding.equivalent else ""
    return f"{i}. {finding.cause}{also}: {finding.explanation.removeprefix(': ')}"


def _lines(report: Report) -> list[str]:
    lines = [f"{report.title} {report.verdict}   {summary(report)}"]
    lines += _table(report)
    if report.points:
        lines.append(f" points: {', '.join(report.points)}")
    if report.referee:
        lines.append(f" autodiff: {report.referee}")
    for heading, paragraphs in sections(report):
        lines.append(heading)
        lines += [line for text in paragraphs for line in _wrapped(text)]
    return lines


def _table(report: Report) -> list[str]:
    cells, hidden = rows(report)
    if not cells:
        return []
    keep = [j for j in range(len(HEADINGS)) if j not in (5, 6) or any(row[j] for row in cells)]
    table = [[row[j] for j in keep] for row in (HEADINGS, *cells)]
    widths = [max(len(row[j]) for row in table) for j in range(len(keep))]
    lines = [
        " " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    return lines + ([f" ... {hidden} more ok"] if hidden else [])


def _wrapped(text: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text, WIDTH, initial_indent="  ", subsequent_indent="     ", break_long_words=False
    )


COLOURS = {"PASS": "#1a7f37", "FAIL": "#cf222e", "INCONCLUSIVE": "#9a6700"}


def _html(report: Report) -> str:
    cells, hidden = rows(report)
    head = "".join(f"<th style='text-align:left'>{html.escape(h)}</th>" for h in HEADINGS)
    body = "".join(_html_row(row) for row in cells)
    more = f"<p>... {hidden} more ok</p>" if hidden else ""
    colour = COLOURS[report.verdict]
    parts = [
        f"<p><b style='color:{colour}'>{report.title} {report.verdict}</b> "
        f"{html.escape(summary(report))}</p>",
        f"<table><tr>{head}</tr>{body}</table>{more}" if cells else "",
        f"<p>autodiff: {html.escape(report.referee)}</p>" if report.referee else "",
    ]
    for heading, paragraphs in sections(report):
        items = "".join(f"<li>{html.escape(text)}</li>" for text in paragraphs)
        parts.append(f"<b>{html.escape(heading)}</b><ul style='margin-top:0'>{items}</ul>")
    return "<div>" + "".join(parts) + "</div>"


def _html_row(row: Sequence[str]) -> str:
    colour = {"ok": "", "WRONG": f"color:{COLOURS['FAIL']};font-weight:bold"}
    style = colour.get(row[-1], f"color:{COLOURS['INCONCLUSIVE']}")
    cells = "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row)
    return f"<tr style='{style}'>{cells}</tr>"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
