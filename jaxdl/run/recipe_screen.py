"""What `jaxdl recipe` shows on the terminal, and keeps in log.txt."""

import contextlib
import dataclasses
import shlex
import time
from typing import Any

from jaxdl.recipe import Move, Round
from jaxdl.run.screen import escape

TITLES = {
    "linear": "linear model",
    "network": "a network",
    "bigger": "a bigger network",
    "longer": "longer training",
    "regularise": "L2 and dropout",
    "augment": "distorted images",
    "refine": "around the best",
}


def console() -> Any:
    """A rich console on standard output that remembers what it printed."""
    from rich.console import Console

    return Console(record=True, highlight=False)


def opening(console: Any, dataset: Any, options: Any, out: Any, said: list[str]) -> None:
    """The data as they came."""
    classes = len(dataset.target_names)
    what = f"{classes} classes" if classes else "one number"
    m, n = dataset.x.shape[0], dataset.x[0].size
    console.print()
    _line(console, "data", f"{escape(dataset.name)}: {m:,} rows, {n} columns; target: {what}")
    if classes > 2 and all(name.lstrip("-").isdigit() for name in dataset.target_names):
        _line(console, "", "[dim]whole numbers taken as classes; --task regression if amounts[/]")
    for sentence in said:
        _line(console, "", f"[yellow]{escape(sentence)}[/]")
    _line(console, "seed", f"{options.seed}")
    _line(console, "folder", f"{escape(str(out))}")


@contextlib.contextmanager
def watching(console: Any, options: Any):
    """Yields what `recipe.run` calls: prints rounds, and says what is being tried meanwhile."""
    started, classes = time.monotonic(), True
    with console.status("[dim]reading the table …[/]") as status:

        def watch(event: Any) -> None:
            nonlocal classes
            if isinstance(event, Move):
                gone = time.monotonic() - started
                limit = "" if options.rounds else f" of {options.seconds:.0f}"
                title = TITLES[event.name]
                status.update(f"[dim]trying: {title} … ({gone:.0f}{limit} s gone)[/]")
            elif isinstance(event, Round):
                _round(console, event, classes)
            else:
                classes = event.classes
                _problem(console, event)

        yield watch


def closing(console: Any, result: Any, options: Any, out: Any) -> None:
    """Which model is kept and why, its estimate on the test part, and how to repeat the run."""
    console.print()
    _line(console, "ended", escape(result.ended))
    _line(console, "kept", _kept(result))
    _line(console, "", f"[dim]{escape(result.why)}[/]")
    if result.more_data:
        _line(console, "more data", escape(result.more_data))
    if result.test is not None:
        console.print()
        console.print(_scores(result.test))
    again = _again(options, result.counts)
    console.print(f"[dim]the same run again:[/] {escape(again)}", soft_wrap=True)
    console.print(f"[dim]predict new rows:[/]   jaxdl predict {escape(str(out))} NEW.csv")


def _again(options: Any, counts: Any) -> str:
    """The command that repeats the run: every option that was changed, and the rounds."""
    words = ["jaxdl recipe", shlex.quote(options.data)]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        chosen = field.name == "seed" or value != field.default
        if chosen and field.name not in ("data", "seconds", "rounds", "out"):
            flag = isinstance(value, bool)  # its name alone says it
            values = value if isinstance(value, tuple) else () if flag else (value,)
            words += ["--" + field.name.replace("_", "-"), *(shlex.quote(str(v)) for v in values)]
    return " ".join([*words, "--rounds", *map(str, counts)])


def _problem(console: Any, problem: Any) -> None:
    m, n = problem.x.shape
    rows = problem.rows
    test = 0 if problem.test is None else len(problem.test[1])
    judged = (
        f"judged by {rows.folds} folds" if rows.folds > 1 else f"{len(rows.dev[0]):,} of them judge"
    )
    _line(console, "split", f"{m:,} rows to learn from, {judged}; {test:,} held out to the end")
    _line(console, "features", f"{n} after encoding")
    for note in problem.notes:
        _line(console, "", f"[yellow]{escape(note)}[/]")


def _round(console: Any, r: Round, classes: bool) -> None:
    hidden = " → ".join(map(str, r.move.family.hidden)) or "no hidden layer"
    configurations = f"{r.count} configurations" if r.count > 1 else "1 configuration"
    console.print()
    console.print(
        f"[bold cyan]round {r.number}[/]  [bold]{TITLES[r.move.name]}[/]  "
        f"[dim]{hidden}, {configurations}, {r.seconds:.1f} s[/]"
    )
    _line(console, "why", escape(r.move.why))
    train, dev = (_error(e, classes) for e in (r.best.train_error, r.best.error))
    _line(console, "best", f"train {train}, dev [bold]{dev}[/]; loss {r.best.score:.4f}")
    if r.number > 1:
        _line(console, "", _verdict(r))
    _line(console, "diagnosis", escape(str(r.diagnosis)))


def _verdict(r: Round) -> str:
    size = f"{abs(r.gain):.4f} ± {r.noise:.4f}"
    if r.better:
        return f"[green]better than all before[/] [dim](loss lower by {size})[/]"
    if r.gain > -r.noise:
        return f"[yellow]no better than before, within noise[/] [dim](loss differs by {size})[/]"
    return f"[red]worse than the best before[/] [dim](loss higher by {size})[/]"


def _kept(result: Any) -> str:
    members = sum(network.members for network in result.model.networks)
    shapes = {n.sizes[1:-1] for n in result.model.networks}
    if shapes == {()}:
        return "[bold]the linear model[/]"
    named = [" → ".join(map(str, s)) or "linear" for s in sorted(shapes, key=len)]
    return f"[bold]the average of {members} networks[/] ({', '.join(named)})"


def _scores(test: Any) -> Any:
    from rich.table import Table

    title = f"test part, {test.rows:,} rows, looked at once"
    table = Table(title=title, title_style="bold", header_style="bold", padding=(0, 2))
    for column in ("score", "estimate", "95 % interval", "baseline"):
        table.add_column(column, justify="left" if column == "score" else "right")
    for i, (name, e) in enumerate(test.scores.items()):
        value, low, high, baseline = (_shown(name, v) for v in (*e, test.baseline))
        table.add_row(
            name, f"[bold]{value}[/]", f"{low} to {high}", f"[dim]{baseline}[/]" if i == 0 else ""
        )
    return table


def _shown(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if "accuracy" in name else f"{value:.4g}"


def _error(error: Any, classes: bool) -> str:
    mean = float(error.mean())
    return f"{100 * mean:.1f} % wrong" if classes else f"R² {1 - mean:.3f}"


def _line(console: Any, label: str, text: str) -> None:
    from rich.padding import Padding
    from rich.table import Table

    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=10, style="cyan", no_wrap=True)
    grid.add_column()
    grid.add_row(label, text)
    console.print(Padding(grid, (0, 0, 0, 1)))
