"""`jaxdl recipe`: the basic recipe on a table, from the command line to a run folder."""

import contextlib
import dataclasses
import json
import pathlib
from typing import Any, Literal

import numpy as np

from jaxdl import data, devices, recipe
from jaxdl.data import table
from jaxdl.run import folder, recipe_screen, tables

ROUNDS, LOG = "rounds.json", "log.txt"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The basic recipe: fit, diagnose, remedy, until bias and variance are low or time is up."""

    data: str
    """A .csv, .parquet or .npz file, or a built-in data set (digits, wine, ...)."""
    target: str | None = None
    """The column to predict, for a file of your own (in an .npz: the array's name)."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is; auto decides by its values."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    keep_row_numbers: bool = False
    """Learn from columns that number the rows, too; they are left out otherwise."""
    seconds: float = 90.0
    """Time to stay within, compiling included."""
    seed: int = 0
    """Decides the splits, the configurations, initial weights, batches and dropout masks."""
    rounds: tuple[int, ...] = ()
    """Configurations of each round, as an earlier run printed them: repeats that run exactly."""
    test: float = 0.2
    """Share of the rows held out for the final estimate."""
    image_shape: tuple[int, ...] = ()
    """Height and width (and channels) if every row is an image; it may then be distorted."""
    optimal_error: float = 0.0
    """The error that nothing can beat: share of wrong answers, or of the variance."""
    out: str | None = None
    """Folder of the run; default: the next free runs/DATA-N."""


def command(options: Recipe) -> int:
    """Run the recipe as the options say; returns the exit status, 0.

    Raises:
        ValueError, OSError: with a sentence for the terminal.
    """
    _check(options)
    with contextlib.suppress(RuntimeError):  # JAX was started before, by a caller
        devices.use_cpu_devices()
    out = folder.choose(options.out, tables.stem(options.data), resume=False)
    dataset, said = read(options)
    console = recipe_screen.console()
    recipe_screen.opening(console, dataset, options, out, said)
    with recipe_screen.watching(console, options) as watch:
        result = recipe.run(
            dataset,
            test=options.test,
            task=options.task,
            seconds=options.seconds,
            seed=options.seed,
            rounds=options.rounds or None,
            image_shape=options.image_shape or None,
            optimal_error=options.optimal_error,
            keep_row_numbers=options.keep_row_numbers,
            watch=watch,
        )
    recipe_screen.closing(console, result, options, out)
    _write(out, options, dataset, result)
    console.save_text(str(out / LOG))
    return 0


def _check(options: Recipe) -> None:
    rules = {
        "seconds": (options.seconds > 0, "positive"),
        "seed": (0 <= options.seed < 2**32, "in [0, 2³²)"),
        "rounds": (all(n >= 1 for n in options.rounds), "at least 1 configuration each"),
        "test": (0 < options.test < 1, "a share in (0, 1)"),
        "optimal-error": (0 <= options.optimal_error < 1, "a share in [0, 1)"),
    }
    for name, (holds, expected) in rules.items():
        if not holds:
            value = getattr(options, name.replace("-", "_"))
            raise ValueError(f"--{name} must be {expected}, got {value}.")


def read(options: Recipe) -> tuple[data.Dataset, list[str]]:
    """The data, and what was left out of it: rows without a target and their numbers."""
    path = pathlib.Path(options.data)
    if not tables.is_file(options.data) or path.suffix.lower() == ".npz":
        return tables.load(options.data, options.target, options.task, options.drop), []
    path = tables.existing(options.data)
    frame = tables.read(path)
    target = tables.known(options.target, list(frame), path)
    said: list[str] = []
    if not options.keep_row_numbers:
        frame = tables.without_row_numbers(frame, {target, *options.drop}, said.append)
    labelled = frame[target].notna().to_numpy()
    missing = int((~labelled).sum())
    said += [f"{missing:,} rows without {target!r} are left out"] if missing else []
    if not labelled.any():
        raise ValueError(f"{path}: the target {target!r} is empty in every row.")
    frame = frame[labelled].infer_objects().reset_index(drop=True)
    return tables.from_frame(frame, path, target, options.task, options.drop), said


def _write(out: pathlib.Path, options: Recipe, dataset: data.Dataset, result: recipe.Result):
    out.mkdir(parents=True, exist_ok=True)
    rows = np.setdiff1d(np.arange(len(dataset.y)), result.held)
    folder.write_split({"train": rows, "test": result.held}, dataset, out / folder.SPLIT)
    networks, ready = result.model.networks, result.model.preparation
    arrays = folder.named([network.params for network in networks])
    saved = folder.Model(arrays, ready.scaler, ready.target_scaler)
    folder.write_model(saved, out / folder.MODEL)
    facts: dict[str, Any] = {
        "networks": [{"sizes": n.sizes, "members": n.members} for n in networks],
        "loss": "softmax_cross_entropy" if ready.classes else "squared_error",
        "features": dataset.feature_names or [f"column {i + 1}" for i in range(len(dataset.x[0]))],
        "classes": ready.classes,
        "rounds": result.counts,
    }
    if ready.encoder is not None:
        facts["columns"] = table.to_json(ready.encoder)
    (out / ROUNDS).write_text(_json(_log(result)), encoding="utf-8")
    content = {"command": "recipe", "options": dataclasses.asdict(options), "facts": facts}
    (out / folder.CONFIG).write_text(_json(content), encoding="utf-8")


def _log(result: recipe.Result) -> dict[str, Any]:
    """Everything that was tried and why, and what came of it."""
    rounds = [
        {
            "round": r.number,
            "move": r.move.name,
            "why": r.move.why,
            "hidden": r.move.family.hidden,
            "configurations": r.count,
            "seconds": round(r.seconds, 2),
            "best": r.best.config,
            "train_error": float(r.best.train_error.mean()),
            "dev_error": float(r.best.error.mean()),
            "dev_loss": r.best.score,
            "gain": r.gain,
            "noise": r.noise,
            "diagnosis": str(r.diagnosis),
        }
        for r in result.rounds
    ]
    scores = {} if result.test is None else {k: v._asdict() for k, v in result.test.scores.items()}
    return {
        "seed": result.seed,
        "rounds": rounds,
        "ended": result.ended,
        "kept": result.why,
        "more_data": result.more_data,
        "test": scores,
        "notes": result.notes,
    }


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
