"""Find experiments, run them with progress, write their results, and say what was found."""

import dataclasses
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, Literal, TypeAlias

from jaxdl import devices, errors, vega
from jaxdl.lab import compiling, ledger, record, screen

Size: TypeAlias = Literal["smoke", "default", "full"]


def names(package: ModuleType) -> list[str]:
    """The experiments in a package: its modules without a leading underscore."""
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_")


APART = 10_000
"""How far apart the root seeds of two draws lie: an experiment may use so many from there on."""


def config_of(module: ModuleType, size: Size, draw: int = 0) -> Any:
    """The experiment's configuration of that size; its draw 1, 2, ... has other problems."""
    config = {"smoke": module.SMOKE, "default": module.Config(), "full": module.FULL}[size]
    if not hasattr(config, "seed"):  # nothing in it is random
        return config
    return dataclasses.replace(config, seed=config.seed + APART * draw)


def folder_of(out: pathlib.Path, draw: int) -> pathlib.Path:
    """Where the findings of a draw lie: other draws never replace those of the first."""
    return out / record.AGAIN.format(draw) if draw else out


def run_one(module: ModuleType, size: Size, folder: pathlib.Path, draw: int = 0) -> dict[str, Any]:
    """Run, judge, write `<claim>.json` and `<claim>.chart.json`; returns the result.

    Args:
        module: an experiment (see CONTRIBUTING, "Add an experiment").
        size: which of its configurations.
        folder: where the files go.
        draw: which draw of its problems; 0 is that of the committed evidence.
    """
    config = config_of(module, size, draw)
    with compiling.watched() as compiled:
        start = time.perf_counter()
        measured = module.run(config)
        judgement = module.judge(config, measured)
        times = (time.perf_counter() - start, compiled())
    result = record.build(module, config, size, measured, judgement, times, draw)
    chart = vega.spec(module.chart(config, measured))
    record.write(result, chart, folder)
    return result


@dataclasses.dataclass(frozen=True)
class Failure:
    """An experiment that raised."""

    name: str
    error: str


def run_many(
    modules: Sequence[ModuleType],
    size: Size,
    folder: pathlib.Path,
    again: bool = False,
    draw: int = 0,
) -> list[dict[str, Any] | Failure]:
    """Run one after another, each finding shown as it comes; one that raises stops no other.

    Args:
        modules: the experiments.
        size: which of their configurations.
        folder: where the files go. A finding that lies there, from the same specification, code
            and versions, is kept and not measured again, so that a run that was interrupted
            goes on where it stopped.
        again: whether to measure all of them again.
        draw: which draw of their problems.
    """
    outcomes: list[dict[str, Any] | Failure] = []
    with screen.progress(len(modules)) as (console, move):
        for module in modules:
            move(0, module.CLAIM.title)
            try:
                config = config_of(module, size, draw)
                kept = None if again else record.kept(module, config, size, folder)
                result = kept or run_one(module, size, folder, draw)
                outcomes.append(result)
                screen.show(console, result, from_before=kept is not None)
            except KeyboardInterrupt:
                console.print(
                    "Interrupted. What had finished is written; the same command goes on."
                )
                break
            except Exception as error:  # one broken experiment must not lose the others
                console.print(traceback.format_exc(), style="red", markup=False)
                failure = Failure(module.CLAIM.name, f"{type(error).__name__}: {error}")
                outcomes.append(failure)
                screen.show_failure(console, failure.name, failure.error)
            move(1, "")
    return outcomes


def main_of_package(package: ModuleType, arguments: Sequence[str] | None = None) -> int:
    """`python -m experiments`: list or run what the package holds; returns the exit code."""
    import tyro

    @dataclasses.dataclass(frozen=True)
    class Arguments:
        """Run experiments, show each finding as it comes, and write the ledger."""

        names: Annotated[
            tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[NAME ...]")
        ] = ()
        """Which experiments; the headline claims if none is named. --list shows what there is."""
        all: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Run every experiment."""
        size: Size = "default"
        """How much to run; a smoke run only shows that it works."""
        list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Only list what there is."""
        again: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
        """Measure again what is already in the folder."""
        draw: int = 0
        """Which draw of the problems: 1, 2, ... are others than those of record, kept apart."""
        out: pathlib.Path = pathlib.Path("results")
        """Where results are written."""

    chosen = tyro.cli(Arguments, prog="python -m experiments", args=arguments)
    known = names(package)
    for name in chosen.names:
        if name not in known:
            print(errors.unknown_name("experiment", name, known), file=sys.stderr)
            return 2
    if chosen.draw < 0:
        print(f"--draw must be 0 or more; got {chosen.draw}.", file=sys.stderr)
        return 2
    wanted, faults = _load(package, chosen.names or known)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults and chosen.names:
        return 2
    if chosen.list:
        screen.show_list(wanted)
        return 2 if faults else 0
    if not chosen.names and not chosen.all:
        wanted = [module for module in wanted if module.CLAIM.headline]
    evidence = pathlib.Path(package.__path__[0]) / "evidence"
    code = _run_and_tell(wanted, chosen.size, chosen.out, chosen.again, evidence, chosen.draw)
    return code or (2 if faults else 0)


def _load(package: ModuleType, wanted: Sequence[str]) -> tuple[list[ModuleType], list[str]]:
    """The experiments that can be run, and a sentence on each that cannot."""
    found, faults = [], []
    for name in wanted:
        try:
            module = importlib.import_module(f"{package.__name__}.{name}")
            claim = module.CLAIM
        except Exception as error:  # somebody's own file: whatever it raises, the others still run
            faults.append(f"{name}.py is left out: {type(error).__name__}: {error}")
            continue
        if claim.name != name:  # a copied file would overwrite the findings of the first
            faults.append(
                f"{name}.py is left out: CLAIM.name is {claim.name!r}; write {name!r}, the file's "
                "name, under which results are kept."
            )
            continue
        found.append(module)
    return found, faults


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
    evidence = pathlib.Path(inspect.getfile(module)).parent / "evidence"
    return _run_and_tell([module], chosen.size, chosen.out, True, evidence)


def _run_and_tell(
    modules: Sequence[ModuleType],
    size: Size,
    folder: pathlib.Path,
    again: bool,
    evidence: pathlib.Path,
    draw: int = 0,
) -> int:
    lies = folder_of(folder, draw)
    try:
        lies.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"Results cannot be written to {folder}: {error.strerror}. Choose another --out.",
            file=sys.stderr,
        )
        return 2
    devices.keep_compiled_programs()
    outcomes = run_many(modules, size, lies, again, draw)
    finished = len(outcomes) == len(modules)
    if size != "smoke" and any(isinstance(o, dict) for o in outcomes):
        try:
            screen.show_ledger(ledger.write(folder, evidence if evidence.is_dir() else None))
        except KeyboardInterrupt:
            finished = False
            command = f"python -m jaxdl.lab.ledger --results {folder}"
            print(f"Interrupted before the ledger was written; {command} writes it.")
    return 0 if finished and not any(isinstance(o, Failure) for o in outcomes) else 1
