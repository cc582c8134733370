"""What `jaxdl train` shows on the terminal."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

SCORES = {"accuracy": "accuracy", "r2": "R²"}


def console(quiet: bool = False) -> Any:
    """A rich console on standard output."""
    from rich.console import Console

    return Console(quiet=quiet, highlight=False)


def opening(
    console: Any,
    dataset: Any,
    task: Any,
    options: Any,
    out: Any,
    resuming: bool,
    said: Sequence[str] = (),
) -> None:
    """The data and what was `said` about it, the split, the network and the baseline to beat."""
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column()
    m, n = len(dataset.y), task.sizes[0]
    what = f"{len(dataset.target_names)} classes" if task.kind == "classes" else "one number"
    columns = f"{dataset.x.shape[1]} columns as " if task.encoder else ""
    table.add_row("data", f"{escape(dataset.name)}: {m:,} examples, {columns}{n} features, {what}")
    for note in [*map(escape, said), *_notes(dataset, task)]:
        table.add_row("", f"[yellow]{note}[/]")
    sizes = "  ".join(f"{name} {len(y):,}" for name, (_, y) in task.parts.items())
    table.add_row("split", f"{sizes}  [dim](seed {options.seed})[/]")
    weights = sum(a * b + b for a, b in zip(task.sizes, task.sizes[1:], strict=False))
    table.add_row("network", f"{' → '.join(map(str, task.sizes))}  [dim]{weights:,} parameters[/]")
    table.add_row("optimizer", _optimizer(options))
    table.add_row("baseline", _baseline(dataset, task))
    table.add_row("folder", f"{escape(str(out))}{'  [dim](resumed)[/]' if resuming else ''}")
    console.print()
    console.print(table)
    console.print()


@contextlib.contextmanager
def bar(console: Any, epochs: int, score: str) -> Any:
    """A progress bar with the latest numbers; yields the function that moves it."""
    from rich import progress
    from rich.table import Column

    columns = (
        progress.TextColumn("[bold]epoch"),
        progress.MofNCompleteColumn(),
        progress.BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4)),
        progress.TextColumn("{task.fields[numbers]}"),
        progress.TimeElapsedColumn(),
    )
    with progress.Progress(*columns, console=console, expand=True) as live:
        task = live.add_task("", total=epochs, numbers="[dim]compiling …[/]")

        def show(now):
            if now.epoch:
                numbers = _numbers({k: v[-1] for k, v in now.history.items()}, score)
                live.update(task, completed=now.epoch, numbers=numbers)

        yield show


def closing(
    console: Any, task: Any, ended: Any, epoch: int, results: dict, out: Any, why: str
) -> None:
    """The final table of the parameters after `epoch`, and where everything is."""
    from rich.table import Table

    name = SCORES[task.score]
    table = Table(title_style="bold", header_style="bold", padding=(0, 2))
    for column in ("part", "examples", "cost", name, "baseline"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, values in results.items():
        better = values[task.score] > task.baseline[part]
        color = "green" if better else "red"
        table.add_row(
            part,
            f"{len(task.parts[part][1]):,}",
            f"{values['cost']:.4f}",
            f"[bold {color}]{_score(values[task.score], task.score)}[/]",
            f"[dim]{_score(task.baseline[part], task.score)}[/]",
        )
    console.print()
    if results:
        console.print(table)
    if why:
        color = "red" if ended.ended == "diverged" else "yellow"
        console.print(f"[{color}]{why}[/]")
    console.print(_summary(ended, epoch))
    if results:
        console.print(f"[dim]model, metrics and chart:[/] {escape(str(out))}/", soft_wrap=True)


def _summary(ended, epoch):
    epochs = int(ended.result.epochs)
    text = f"{epochs} epoch{'s' * (epochs != 1)}, {ended.seconds:.1f} s of training here"
    if epoch + 1 < epochs:
        text += f"; kept and shown: epoch {epoch + 1}, the best on the dev part"
    return f"[dim]{text}.[/]"


def _notes(dataset, task):
    if task.encoder is not None:
        return [escape(column.note) for column in task.encoder if column.note]
    constant = int((np.ptp(dataset.x, axis=0) == 0).sum())
    return [f"{constant} of the features never vary and teach nothing"] * bool(constant)


def escape(text: str) -> str:
    """Text of the user's as rich prints it literally."""
    from rich.markup import escape

    return escape(text)


def _optimizer(options):
    parts = [f"{options.optimizer}, learning rate {options.lr:g}", f"batch {options.batch_size}"]
    if options.keep_prob < 1:
        parts.append(f"dropout keeps {options.keep_prob:g}")
    parts += [f"{name} {value:g}" for name in ("l2", "l1") if (value := getattr(options, name))]
    return ", ".join(parts)


def _baseline(dataset, task):
    part = "test" if "test" in task.baseline else "train"
    value = _score(task.baseline[part], task.score)
    if task.kind == "numbers":
        return f"always the mean: R² {value} [dim]on the {part} part[/]"
    common = dataset.target_names[int(np.bincount(_classes(task)).argmax())]
    return f"always “{escape(common)}”: {value} [dim]correct on the {part} part[/]"


def _classes(task):
    return np.asarray(task.parts["train"][1]).reshape(-1).astype(int)


def _numbers(latest, score):
    names = [("cost", "cost", ".4f"), ("dev_cost", "dev cost", ".4f")]
    shown = [f"{label} [bold]{latest[k]:{f}}[/]" for k, label, f in names if k in latest]
    if f"dev_{score}" in latest:
        shown.append(f"dev {SCORES[score]} [bold]{_score(latest[f'dev_{score}'], score)}[/]")
    return "  ".join(shown)


def _score(value, score):
    return f"{100 * value:.2f} %" if score == "accuracy" else f"{value:.4f}"
