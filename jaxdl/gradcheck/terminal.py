"""A report in a terminal, in colour."""

from typing import Any

from jaxdl.gradcheck.report import HEADINGS, Report, rows, sections, summary

STYLES = {"PASS": "bold green", "FAIL": "bold red", "INCONCLUSIVE": "bold yellow"}
ROWS = {"ok": "", "WRONG": "bold red", "kink": "yellow", "rounded": "yellow"}


def render(report: Report) -> Any:
    """The report as something that rich prints."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    head = Text.assemble(
        (f"{report.title} {report.verdict}", STYLES[report.verdict]), "   ", summary(report)
    )
    parts: list[Any] = [head]
    cells, hidden = rows(report)
    if cells:
        parts.append(_table(cells))
    if hidden:
        parts.append(Text(f"   ... {hidden} more ok", style="dim"))
    if report.points:
        parts.append(Text(f" points: {', '.join(report.points)}", style="dim"))
    if report.referee:
        parts.append(Text(f" autodiff: {report.referee}", style="dim"))
    for heading, paragraphs in sections(report):
        parts.append(Text(heading, style="bold"))
        parts += [Padding(Text(text), (0, 0, 0, 2)) for text in paragraphs]
    return Group(*parts)


def _table(cells: list[tuple[str, ...]]) -> Any:
    from rich import box
    from rich.table import Table

    keep = [j for j in range(len(HEADINGS)) if j not in (5, 6) or any(row[j] for row in cells)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for j in keep:
        table.add_column(HEADINGS[j], justify="right" if j in (2, 3, 4) else "left")
    for row in cells:
        table.add_row(*(row[j] for j in keep), style=ROWS.get(row[-1], ""))
    return table
