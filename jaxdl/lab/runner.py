"""Find experiments, run them with progress, write their results, and say what was found."""

import dataclasses
import importlib
import importlib.util
import pathlib
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, Literal, TypeAlias

from jaxdl import errors
from jaxdl.lab import page, record

Size: TypeAlias = Literal["smoke", "default", "full"]


def names(package: ModuleType) -> list[str]:
    """The experiments in a package: its modules without a leading underscore."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


def config_of(module: ModuleType, size: Size) -> Any:
    """The experiment's configuration of that size."""
    return {"smoke": module.SMOKE, "default": module.Config(), "full": module.FULL}[size]


def run_one(module: ModuleType, size: Size, folder: pathlib.Path) -> dict[str, Any]:
    """Run, judge, write `<claim>.json` and `<claim>.html`; returns the result.

    Args:
        module: an experiment (see CONTRIBUTING, "Add an experiment").
        size: which of its configurations.
        folder: where the files go.
    """
    config = config_of(module, size)
    start = time.perf_counter()
    measured = module.run(config)
    judgement = module.judge(config, measured)
    seconds = time.perf_counter() - start
    result = record.build(module, config, size, measured, judgement, seconds)
    chart = page.spec(module.chart(config, measured))
    record.write(result, chart, folder)
    page.write(module, result, chart, folder)
    return result


@dataclasses.dataclass(frozen=True)
class Failure:
    """An experiment that raised."""

    name: str
    error: str


def run_many(
    modules: Sequence[ModuleType], size: Size, folder: pathlib.Path
) -> list[dict[str, Any] | Failure]:
    """Run one after another with a progress bar; one that raises does not stop the others."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed

    outcomes: list[dict[str, Any] | Failure] = []
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, MofNCompleteColumn(), Elapsed(), transient=True) as progress:
        task = progress.add_task("", total=len(modules))
        for module in modules:
            progress.update(task, description=module.CLAIM.title)
            try:
                outcomes.append(run_one(module, size, folder))
            except KeyboardInterrupt:
                progress.console.print("Interrupted; what had finished is written.")
                break
            except Exception as error:  # one broken experiment must not lose the others
                progress.console.print(traceback.format_exc(), style="red", markup=False)
                outcomes.append(Failure(module.CLAIM.name, f"{type(error).__name__}: {error}"))
            progress.advance(task)
    return outcomes


STYLES = {
    "supported": "bold green",
    "exact": "bold green",
    "contradicted": "bold red",
    "smoke run": "dim",
}


def print_table(outcomes: Sequence[dict[str, Any] | Failure], folder: pathlib.Path) -> None:
    """The findings, one row each, and where the pages are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Experiments", title_justify="left", show_lines=True)
    table.add_column("experiment", no_wrap=True)
    table.add_column("what was found", ratio=1)
    for outcome in outcomes:
        if isinstance(outcome, Failure):
            name = Text.assemble(outcome.name, "\n", ("failed", "bold red"))
            table.add_row(name, Text(outcome.error))
            continue
        verdict = outcome.get("verdict", "smoke run")
        sentence = outcome.get("sentence", "It runs; a smoke run concludes nothing.")
        style = STYLES.get(verdict, "bold yellow")
        seconds = (f"   {outcome['seconds']:.1f} s", "dim")
        table.add_row(
            Text.assemble(outcome["claim"], "\n", (verdict, style), seconds), Text(sentence)
        )
    console = Console()
    console.print(table)
    written = [o for o in outcomes if not isinstance(o, Failure)]
    if written:
        name = record.file_name(written[0]) if len(written) == 1 else "NAME"
        where = f"Numbers and charts: {folder}/{name}.json, {folder}/{name}.html"
        console.print(where, highlight=False, soft_wrap=True)


def print_list(modules: Sequence[ModuleType]) -> None:
    """What there is to run."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Experiments", title_justify="left")
    table.add_column("experiment", no_wrap=True)
    table.add_column("what it asks", ratio=1)
    table.add_column("section of the notes", ratio=1)
    for module in modules:
        table.add_row(module.CLAIM.name, module.CLAIM.title, module.CLAIM.section)
    Console().print(table)


def main_of_package(package: ModuleType, arguments: Sequence[str] | None = None) -> int:
    """`python -m experiments`: list or run what the package holds; returns the exit code."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        """Run experiments: without names all of them, each with a table row and a page."""

        names: Annotated[
            tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME ...]")
        ] = ()
        """Which experiments; all if none is named. --list shows what there is."""
        size: Size = "default"
        """How much to run; a smoke run only shows that it works."""
        list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Only list what there is."""
        out: pathlib.Path = pathlib.Path("results")
        """Where results are written."""

    chosen = tyro.cli(Arguments, prog="python -m experiments", args=arguments)
    known = names(package)
    for name in chosen.names:
        if name not in known:
            print(errors.unknown_name("experiment", name, known), file=sys.stderr)
            return 2
    wanted = [importlib.import_module(f"{package.__name__}.{n}") for n in chosen.names or known]
    if chosen.list:
        print_list(wanted)
        return 0
    return _run_and_tell(wanted, chosen.size, chosen.out)


def main(name: str, arguments: Sequence[str] | None = None) -> int:
    """`python experiments/NAME.py [--size SIZE] [--out FOLDER]`; call it with `__name__`."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        size: Size = "default"
        """How much to run; a smoke run only shows that it works."""
        out: pathlib.Path = pathlib.Path("results")
        """Where results are written."""

    module = sys.modules[name]
    summary = (module.__doc__ or "").split("\n\n")[0]
    chosen = tyro.cli(Arguments, description=summary, args=arguments)
    return _run_and_tell([module], chosen.size, chosen.out)


def _run_and_tell(modules: Sequence[ModuleType], size: Size, folder: pathlib.Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"Results cannot be written to {folder}: {error.strerror}. Choose another --out.",
            file=sys.stderr,
        )
        return 2
    outcomes = run_many(modules, size, folder)
    print_table(outcomes, folder)
    finished = len(outcomes) == len(modules)
    return 0 if finished and not any(isinstance(o, Failure) for o in outcomes) else 1
