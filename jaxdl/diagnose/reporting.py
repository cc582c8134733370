"""`report`: the findings of a run in words, tables and charts."""

import os
import pathlib
from typing import Any, NamedTuple

import numpy as np

from jaxdl.diagnose import charts, checks
from jaxdl.diagnose.bias import BiasVariance
from jaxdl.diagnose.evidence import Evidence, gather
from jaxdl.diagnose.findings import Finding, findings
from jaxdl.diagnose.watch import Run

WIDTH = 100
TEXT, CHART = "diagnosis.txt", "diagnosis.html"


class Report(NamedTuple):
    """What is wrong with a run, causes first; `str(report)` is the whole as plain text.

    `findings[i].name` is for programs. `bias_variance` is None without a dev part, or if the run
    diverged. `evidence` is what was measured.
    """

    run: Run
    findings: tuple[Finding, ...]
    evidence: Evidence

    @property
    def bias_variance(self) -> BiasVariance | None:
        """The avoidable bias and the variance of the trained model."""
        return self.evidence.bias_variance

    def __str__(self) -> str:
        return _plain(self)


def report(
    run: Run,
    *,
    optimal_error: float = 0.0,
    folder: str | os.PathLike | None = None,
    show: bool = True,
    seed: int = 0,
) -> Report:
    """Judge a run: look for each known pathology, and say what was seen, why, and what to do.

    Besides what the run recorded it trains one small batch by heart, asks trees about the data,
    and, if the run looks as if it needed that, trains again with smaller steps.

    Args:
        run: of `observe`.
        optimal_error: what no model can beat, for the avoidable bias: a share of wrong answers,
            or a squared error in the targets' units.
        folder: where to write `diagnosis.txt` and `diagnosis.html` (a chart that needs no
            network); None writes nothing.
        show: print the report on the terminal.
        seed: of the trees and folds that look at the data.

    Returns:
        A `Report`. Its findings are empty for a run with nothing wrong.

    Raises:
        TypeError: for anything that is not a `Run`.
    """
    if not isinstance(run, Run):
        raise TypeError(f"report takes the Run that diagnose.observe returns; got {type(run)}.")
    evidence = gather(run, optimal_error, seed)
    found = Report(run, findings(run, evidence), evidence)
    if folder is not None:
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TEXT).write_text(str(found), encoding="utf-8")
        charts.chart(run, _headline(found)).save(folder / CHART, inline=True)
    if show:
        from rich.console import Console

        render(found, Console(highlight=False))
    return found


def chart(found: Report) -> Any:
    """The altair chart of a report: costs, and each layer through time."""
    return charts.chart(found.run, _headline(found))


def _plain(found: Report) -> str:
    import io

    from rich.console import Console

    out = io.StringIO()
    render(found, Console(file=out, width=WIDTH, color_system=None, highlight=False))
    return out.getvalue()


def _headline(found: Report) -> str:
    names = ", ".join(f.name.replace("_", " ") for f in found.findings)
    return f"Found: {names}" if names else "No pathology found"


def render(found: Report, console: Any) -> None:
    """Print the report on a rich console."""
    console.print()
    console.print(f"[bold]{_headline(found)}[/]")
    console.print(_summary(found), style="dim")
    for i, finding in enumerate(found.findings, 1):
        console.print()
        console.print(_words(i, finding))
    console.print()
    console.print(_checks(found))
    if found.run.layers.blocks:
        console.print()
        console.print(_layers(found.run))
    if found.bias_variance is not None:
        console.print()
        first = "Repair what was found first; as it is: " if found.findings else ""
        console.print(f"[bold]Bias and variance[/]  {first}{found.bias_variance.sentence}")
    console.print()


def _summary(found: Report) -> str:
    run = found.run
    dev = "no dev part" if run.dev is None else f"{len(run.dev.y):,} for dev"
    return (
        f"{run.train.name or 'data'}: {len(run.train.y):,} examples to train, {dev}; "
        f"{run.epochs} epochs, batches of {run.batch_size}."
    )


def _words(i: int, finding: Finding) -> Any:
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    table.add_column(style="dim", justify="right", no_wrap=True)
    table.add_column()
    table.add_row(f"{i}.", f"[bold red]{finding.name}[/]")
    table.add_row("seen", finding.seen)
    table.add_row("why", finding.why)
    table.add_row("do", f"[bold]{finding.advice}[/]")
    for effect in finding.consequences:
        table.add_row("hence", f"{effect.name}: {effect.seen}")
    return table


def _checks(found: Report) -> Any:
    from rich.table import Table

    table = Table(title="Checks", title_justify="left", title_style="bold", box=None)
    for column in ("", "check", "found", "should be"):
        table.add_column(column, no_wrap=column in ("", "check"))
    table.padding = (0, 2, 0, 0)
    for ok, *cells in _rows(found.run, found.evidence, {f.name for f in _all(found.findings)}):
        table.add_row("[green]✓[/]" if ok else "[red]✗[/]", *cells)
    return table


def _all(found: tuple[Finding, ...]):
    for finding in found:
        yield finding
        yield from finding.consequences


def _rows(run: Run, e: Evidence, names: set[str]):
    """(fine?, check, found, should be)."""
    last = f"{run.last_cost:.3g}" if np.isfinite(run.last_cost) else "no number"
    yield e.first_loss.ok, "first loss", f"{run.first_cost:.3g}", f"about {run.blind_cost:.3g}"
    well = bool(run.last_cost < run.constant_cost)
    yield well, "last cost", last, f"below {run.constant_cost:.3g} (a constant)"
    if e.by_heart is not None:
        b = e.by_heart
        yield (
            b.ok,
            f"{b.n} examples by heart",
            f"{b.losses[-1]:.2g}",
            f"below {checks.BY_HEART * b.constant:.2g}",
        )
    s = e.scales
    fine = "unscaled_inputs" not in names
    text = f"{s.largest:.3g}" if fine else f"{s.largest:.3g}, {s.feature}"
    yield fine, "largest feature (rms)", text, "about 1"
    if s.targets:
        yield "unscaled_targets" not in names, "targets (rms)", f"{s.targets:.3g}", "about 1"
    if e.telling:
        t = e.telling[0]
        text = f"{t.feature} {t.skill:.2f}, the next {t.others:.2f}"
        yield (
            "leaked_feature" not in names,
            "skill of one feature",
            text,
            "not nearly 1",
        )
    if e.opinion.doubtful is not None:
        d = e.opinion.doubtful
        text = f"{100 * d.value:.1f} % ({100 * d.low:.1f} to {100 * d.high:.1f})"
        yield "label_noise" not in names, "contradicted easy labels", text, "about 0 %"
    if e.shift is not None:
        text = f"AUC {e.shift.auc:.2f}, p = {e.shift.p_value:.2g}"
        yield "dev_mismatch" not in names, "telling dev from train", text, "AUC about 0.5"


def _layers(run: Run) -> Any:
    from rich.table import Table

    table = Table(title="Layers, from the start to the end", title_justify="left", box=None)
    table.title_style, table.padding = "bold", (0, 1, 0, 0)
    for column in ("layer", "units", "g", "output", "gradient", "step/weight", "dead", "flat"):
        table.add_column(column, justify="left" if column == "g" else "right", no_wrap=True)
    ratios = charts.update_ratios(run)
    v = run.layers.values
    for i, block in enumerate(run.layers.blocks):
        ratio = ratios.get(block.path)
        table.add_row(
            block.path,
            str(_units(run, block.path)),
            block.activation or "?",
            *(_pair(v[name][:, i], ".2g") for name in ("activation_rms", "delta_rms")),
            "" if ratio is None else _pair(ratio, ".0e"),
            *(_pair(v[name][:, i], ".0%") for name in ("dead", "saturated")),
        )
    return table


def _units(run: Run, path: str) -> int:
    part = run.start
    for key in path.split("."):
        part = part[int(key)]
    return part["w"].shape[1]


def _pair(series: np.ndarray, form: str) -> str:
    ends = [format(x, form) if np.isfinite(x) else "—" for x in series[[0, -1]]]
    return ends[0] if ends[0] == ends[1] else " → ".join(ends)
