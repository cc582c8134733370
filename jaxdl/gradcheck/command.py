"""`jaxdl gradcheck MODULE:LOSS --grad MODULE:GRAD --at MODULE:ARGS`.

Exit code 0: the gradient passed. 1: it failed. 2: inconclusive. 3: the command could not be run.
"""

import dataclasses
import importlib
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro  # this module is imported by the command alone

from jaxdl.gradcheck.report import Report

EXIT = {"PASS": 0, "FAIL": 1, "INCONCLUSIVE": 2}
USAGE = 3

_NAME = tyro.conf.arg(metavar="MODULE:NAME")


@dataclasses.dataclass(frozen=True)
class Options:
    """Check a hand-derived gradient; on failure, say what is wrong with it.

    Exit code 0: passed, 1: failed, 2: inconclusive, 3: could not be run.
    """

    loss: Annotated[tyro.conf.Positional[str], _NAME]
    """The loss: a function (params, *args) -> scalar. A module may be given as FILE.py, too."""
    grad: Annotated[str, _NAME]
    """The gradient to check: a function (params, *args) -> tree like params."""
    at: Annotated[str, _NAME]
    """The point: the tuple (params, *args), or a function that returns it."""
    batch_argnums: tuple[int, ...] = ()
    """Which args hold one example per row; the first one after params is 0."""
    batch_axis: int = 0
    """The axis of the examples."""
    oracle: Literal["auto", "ad+fd", "ad", "fd"] = "auto"
    """What to compare with; fd for a loss that JAX cannot trace."""
    diagnose: bool = True
    """Name the bug when the check fails."""
    seed: int = 0
    """Seed of the random points and directions."""
    json: bool = False
    """Print the report as JSON."""
    html: Path | None = None
    """Write the report to this file as a web page, too."""


class UsageError(Exception):
    """The command cannot be run as it was given."""


def command(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        The exit code.
    """
    try:
        options = tyro.cli(Options, args=arguments, prog="jaxdl gradcheck")
        report = _checked(options)
    except SystemExit as stop:  # 0 after --help, anything else is a usage error
        return USAGE if stop.code else 0
    except UsageError as error:
        print(f"jaxdl gradcheck: {error}", file=sys.stderr)
        return USAGE
    _show(report, options)
    return EXIT[report.verdict]


def _checked(options: Options) -> Report:
    from jaxdl.gradcheck.compare import check

    loss, grad, at = (load(name) for name in (options.loss, options.grad, options.at))
    for name, function in ((options.loss, loss), (options.grad, grad)):
        if not callable(function):
            kind = type(function).__name__
            raise UsageError(f"Expected a function at {name}, got a {kind}.")
    try:
        point = at() if callable(at) else at
    except Exception as error:
        raise UsageError(f"{options.at} raises {type(error).__name__}: {error}") from error
    params, *args = point if isinstance(point, tuple) else (point,)
    try:
        return check(
            loss,
            grad,
            params,
            *args,
            batch_argnums=options.batch_argnums or None,
            batch_axis=options.batch_axis,
            oracle=options.oracle,
            diagnose=options.diagnose,
            seed=options.seed,
        )
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from error


def load(name: str) -> Any:
    """The object that MODULE:NAME or FILE.py:NAME names; NAME may have dots.

    Raises:
        UsageError: if there is no such module, file or name, or if importing it fails.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise UsageError(f"Expected MODULE:NAME or FILE.py:NAME, got {name!r}.")
    found = _module(place)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise UsageError(f"{place} has no {attribute!r}.")
        found = getattr(found, part)
    return found


def _module(place: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise UsageError(f"Cannot import {place}: {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> Any:
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path.resolve()):
        return known
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _show(report: Report, options: Options) -> None:
    if options.html is not None:
        page = f"<!doctype html><meta charset='utf-8'><title>{report.title}</title>"
        options.html.write_text(page + report._repr_html_())
    if options.json:
        print(json.dumps(report.to_dict(), indent=1))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console().print(report)
    else:
        print(report)
