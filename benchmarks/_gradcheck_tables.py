"""What a benchmark of gradient checks shows: tables with the target, and whether it is met."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

COLUMNS = {
    "found_float64": "bugs found\nfloat64",
    "found_float32": "bugs found\nfloat32",
    "false_alarms": "false\nalarms",
    "inconclusive": "incon-\nclusive",
    "cause_right": "cause\nright",
    "cause_wrong": "cause\nwrong",
}


class Target(NamedTuple):
    """What a measured number is held against."""

    text: str
    met: Callable[[float], bool]


RATES = {
    "found_float64": Target("≥ 99.5 %", lambda share: share >= 0.995),
    "found_float32": Target("≥ 98 %", lambda share: share >= 0.98),
    "false_alarms": Target("0", lambda share: share == 0),
    "inconclusive": Target("≤ 2 %", lambda share: share <= 0.02),
    "cause_right": Target("≥ 95 %", lambda share: share >= 0.95),
    "cause_wrong": Target("≤ 1 %", lambda share: share <= 0.01),
}
"""Shares of the cases; the target for the first cause is that of the development corpus."""

SMALL = Target("≤ 1.5 s", lambda seconds: seconds <= 1.5)


def met(target: Target, value: float | None) -> str:
    """A yes or no for the last column of a table."""
    return "–" if value is None else "yes" if target.met(value) else "NO"


def cell(r: dict) -> str:
    return f"{r['hits']}/{r['n']}" if r["n"] else "–"


def percent(r: dict) -> str:
    if not r["n"]:
        return "–"
    return f"{100 * r['hits'] / r['n']:.1f} % [{100 * r['low']:.1f}, {100 * r['high']:.1f}]"


def titled(title: str, headings: Sequence[str], right: Sequence[str] = ()):
    """An empty table; the headings named in `right` are those of numbers."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left")
    return table


def show(result: dict, console, title: str) -> None:
    """The table per family, the totals with intervals and targets, and the misses by name."""
    numbers = [*COLUMNS.values(), "median\ns", "max\ns"]
    table = titled(title, ["family", *numbers], right=numbers)
    for name, row in result["families"].items():
        table.add_row(name, *(cell(row[key]) for key in COLUMNS), *times(row))
    total = result["total"]
    table.add_section()
    table.add_row("all", *(cell(total[key]) for key in COLUMNS), *times(total), style="bold")
    console.print(table)

    rates = titled("Rates, with 95 % Wilson intervals", ["", "measured", "target", "met"])
    for key, heading in COLUMNS.items():
        label = heading.replace("-\n", "").replace("\n", " ")
        r, target = total[key], RATES[key]
        share = r["hits"] / r["n"] if r["n"] else None
        rates.add_row(label, percent(r), target.text, met(target, share))
    hidden = cell(total["hidden_found"])
    rates.add_row("invisible at the point: found or warned of", hidden, "", "")
    small = total["small_median_s"]
    label = "median of small cases, diagnosis included"
    rates.add_row(label, f"{small:.2f} s", SMALL.text, met(SMALL, small))
    console.print(rates)
    show_misses(result["misses"], console)


def times(row: dict) -> tuple[str, str]:
    return f"{row['median_s']:.2f}", f"{row['max_s']:.2f}"


def show_misses(found: Sequence[dict], console) -> None:
    if not found:
        console.print("No misses.")
        return
    table = titled(f"Misses ({len(found)})", ["what", "precision", "case", "said", "truth"])
    for column in table.columns:
        column.overflow, column.max_width = "fold", 34
    rows: dict[tuple, list[str]] = {}
    for miss in sorted(found, key=lambda m: (m["kind"], m["name"])):
        said, truth = ", ".join(miss["said"]), ", ".join(miss["truth"]) or "correct"
        rows.setdefault((miss["kind"], miss["name"], said, truth), []).append(miss["precision"])
    for (kind, name, said, truth), precisions in rows.items():
        table.add_row(kind, " ".join(precisions), name, said, truth)
    console.print(table)
