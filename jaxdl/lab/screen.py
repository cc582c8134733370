"""What a person sees in the terminal while experiments run."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    "supported": "bold green",
    "exact": "bold green",
    "contradicted": "bold red",
    "smoke run": "dim",
}


@contextlib.contextmanager
def progress(total: int) -> Iterator[tuple["Console", Callable[[int, str], None]]]:
    """A bar on the terminal; gives the console above it and a function that moves it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, MofNCompleteColumn(), Elapsed(), transient=True) as bar:
        task = bar.add_task("", total=total)
        yield (
            bar.console,
            lambda done, title: bar.update(task, advance=done, description=title),
        )


def show(console: "Console", result: dict[str, Any], from_before: bool = False) -> None:
    """One finding: claim, verdict, seconds, and the sentence with its numbers."""
    from rich.padding import Padding
    from rich.text import Text

    verdict = result.get("verdict", "smoke run")
    sentence = result.get("sentence", "It runs; a smoke run concludes nothing.")
    number = f"{result['number']}  " if result.get("number") else ""
    title = Text.assemble(
        (verdict.upper(), STYLES.get(verdict, "bold yellow")),
        ("  " + number, "dim"),
        (result["title"], "bold"),
        (f"  {result['claim']}, {_seconds(result, from_before)}", "dim"),
    )
    console.print(title)
    console.print(Padding(Text(sentence), (0, 0, 1, 2)))


def _seconds(result: dict[str, Any], from_before: bool) -> str:
    seconds = f"{result['seconds']:.1f} s"
    if result.get("compile_seconds"):
        seconds += f", {result['compile_seconds']:.1f} s of them compiling"
    return "kept from before" if from_before else seconds


def show_failure(console: "Console", name: str, error: str) -> None:
    """An experiment that raised."""
    from rich.text import Text

    console.print(Text.assemble(("FAILED", "bold red"), f"  {name}\n  {error}\n"))


def show_list(modules: Sequence[ModuleType]) -> None:
    """What there is to run."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Experiments; those with a star are the headline claims")
    table.title_justify = "left"
    table.add_column("claim", no_wrap=True)
    table.add_column("experiment", no_wrap=True)
    table.add_column("what it asks", ratio=1)
    table.add_column("section of the notes", ratio=1)
    for module in modules:
        claim = module.CLAIM
        star = " *" if claim.headline else ""
        table.add_row(claim.number + star, claim.name, claim.title, claim.section)
    Console().print(table)


def show_ledger(path: pathlib.Path) -> None:
    """Where the page with all findings is."""
    from rich.console import Console

    Console().print(f"The ledger: {path}", highlight=False, soft_wrap=True)
