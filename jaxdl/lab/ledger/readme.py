"""The README's table of verdicts, made from the committed evidence."""

import pathlib

from jaxdl.lab.ledger import entries, words

START, END = "<!-- verdicts -->", "<!-- end of verdicts -->"


def readme_table(evidence: pathlib.Path) -> str:
    """A Markdown table of claim, verdict and numbers; empty where there is no evidence.

    Args:
        evidence: the folder of committed full-size runs.
    """
    found, _ = entries.read(evidence, None)
    if not found:
        return ""
    rows = [
        f"| {_cell(_name(entry))} | {entry.result['verdict']} | {_cell(_numbers(entry))} "
        f"| {_cell(_again(entry))} |"
        for entry in found
    ]
    head = "| claim | verdict | numbers | on other problems |"
    return "\n".join([head, "| --- | --- | --- | --- |", *rows])


def _name(entry: entries.Entry) -> str:
    number = entry.result.get("number")
    return (f"{number} · " if number else "") + entry.result["title"]


def _numbers(entry: entries.Entry) -> str:
    result = entry.result
    if entry.share:
        asked = f"; “{result['quantifier']}” asks for {words.percent(result['gamma'])}"
        return f"{entries.shown(result)} of {result['n_problems']:,} problems{asked}"
    return f"{result['estimate']['name']}: {entries.shown(result)}"


def _again(entry: entries.Entry) -> str:
    return "; ".join(f"{r['verdict']}, {entries.shown(r)}" for r in entry.again)


def _cell(text: str) -> str:
    """Text that cannot end a cell or start markup."""
    text = " ".join(text.split())
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def with_table(readme: str, table: str) -> str:
    """A README whose part between the two markers is that table.

    Raises:
        ValueError: if the markers are not there, each on its own.
    """
    before, start, rest = readme.partition(START)
    _, end, after = rest.partition(END)
    if not (start and end):
        raise ValueError(f"The README needs {START!r} and, later, {END!r}; add both lines.")
    return f"{before}{START}\n{table}{chr(10) * bool(table)}{END}{after}"
