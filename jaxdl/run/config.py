"""The options of `jaxdl train`: a dataclass that is the command line and the file of a run."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

from jaxdl import errors, optim

OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "gradient_descent": optim.gradient_descent,
    "sgd": optim.sgd,
    "momentum": optim.momentum,
    "rmsprop": optim.rmsprop,
    "adagrad": optim.adagrad,
    "adam": optim.adam,
    "adamw": optim.adamw,
    "nadam": optim.nadam,
    "amsgrad": optim.amsgrad,
    "lion": optim.lion,
}


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a network on a built-in data set or on a table of your own."""

    data: str
    """A built-in data set (digits, wine, ...), or a .csv, .parquet or .npz file."""
    target: str | None = None
    """The column to predict, for a file of your own (in an .npz: the array's name)."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """What the target is; auto decides by its values."""
    drop: tuple[str, ...] = ()
    """Columns to leave out."""
    keep_row_numbers: bool = False
    """Learn from columns that number the rows, too; they are left out otherwise."""
    layers: tuple[int, ...] = ()
    """Units of every layer, from the features to the outputs; default: n 64 32 K."""
    activation: str = "relu"
    """Of the hidden layers."""
    optimizer: str = "adam"
    """Update rule: adam, sgd, momentum, rmsprop, adamw, ..."""
    lr: float = 1e-3
    """Learning rate."""
    epochs: int = 50
    """Passes over the training data."""
    batch_size: int = 64
    """Examples a step; 0 for all of them."""
    keep_prob: float = 1.0
    """Of dropout in the hidden layers."""
    l2: float = 0.0
    """λ of the penalty λ/2m ‖W‖²."""
    l1: float = 0.0
    """λ of the penalty λ/m |W|."""
    patience: int | None = None
    """Stop after this many epochs without a better cost on the dev set."""
    split: str = "70/15/15"
    """Train, dev and test part of the examples."""
    seed: int = 0
    """Decides the split, the initial weights, the batches and the dropout masks."""
    out: str | None = None
    """Folder of the run; default: the next free runs/DATA-N."""
    resume: bool = False
    """Go on with the run in --out from its last checkpoint."""
    time_limit: float | None = None
    """Stop after about this many seconds of training, with a checkpoint."""
    save_seconds: float = 30.0
    """Seconds between checkpoints."""
    keep: int = 3
    """How many checkpoints stay."""
    tensorboard: bool = False
    """Write the metrics for TensorBoard too (needs `pip install tensorboard`)."""
    devices: int | None = None
    """Make the CPU count as so many devices and split every batch over them."""
    distributed: bool = False
    """Be one of several processes that share every batch; a cluster's manager is asked for the
    three values below, unless they are given."""
    coordinator_address: str | None = None
    """HOST:PORT of process 0."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """Which one this is, from 0."""


FREE_ON_RESUME = {
    "out", "resume", "epochs", "time_limit", "save_seconds", "keep", "tensorboard", "devices",
    "distributed", "coordinator_address", "num_processes", "process_id",
}  # fmt: skip
"""What may differ when a run is resumed: it changes how far and where, not what is computed."""


def check(config: Train) -> None:
    """Refuses values out of range before anything is loaded.

    Raises:
        ValueError: naming the option, its value and what it must be.
    """
    errors.lookup("optimizer", config.optimizer, OPTIMIZERS)
    rules = {
        "lr": (config.lr > 0, "positive"),
        "epochs": (config.epochs >= 1, "at least 1"),
        "batch-size": (config.batch_size >= 0, "at least 1, or 0 for all examples"),
        "keep-prob": (0 < config.keep_prob <= 1, "in (0, 1]"),
        "l2": (config.l2 >= 0, "at least 0"),
        "l1": (config.l1 >= 0, "at least 0"),
        "patience": (config.patience is None or config.patience >= 1, "at least 1"),
        "keep": (config.keep >= 1, "at least 1"),
        "seed": (0 <= config.seed < 2**32, "in [0, 2³²)"),
        "time-limit": (config.time_limit is None or config.time_limit > 0, "positive"),
        "save-seconds": (config.save_seconds >= 0, "at least 0"),
        "devices": (config.devices is None or config.devices >= 1, "at least 1"),
        "layers": (all(n >= 1 for n in config.layers), "positive"),
    }
    together = [config.coordinator_address, config.num_processes, config.process_id]
    if not config.distributed and any(value is not None for value in together):
        raise ValueError(
            "--coordinator-address, --num-processes and --process-id belong to --distributed: "
            "give that too."
        )
    for name, (holds, expected) in rules.items():
        if not holds:
            value = getattr(config, name.replace("-", "_"))
            raise ValueError(f"--{name} must be {expected}, got {value}.")


def write(config: Train, facts: dict[str, Any], path: pathlib.Path) -> None:
    """`config.json`, all at once: the options, and what was found out about the data."""
    content = {"options": dataclasses.asdict(config), "facts": facts}
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)


def to_resume(arguments: Sequence[str]) -> Train | None:
    """The options of the run that --resume goes on with, so that none has to be repeated.

    None without --resume, and where --out holds no run yet.

    Raises:
        ValueError: if the run's file is damaged.
    """
    words = [part for word in arguments for part in word.split("=", 1)]
    if "--resume" not in words or "--out" not in words[:-1]:
        return None
    path = pathlib.Path(words[words.index("--out") + 1], "config.json")
    if not path.is_file():
        return None
    fresh = {f.name: f.default for f in dataclasses.fields(Train) if f.name in FREE_ON_RESUME}
    kept = ("epochs", "save_seconds", "keep")
    return dataclasses.replace(read(path)[0], **{k: v for k, v in fresh.items() if k not in kept})


def read_facts(path: pathlib.Path) -> dict[str, Any]:
    """What `jaxdl predict` needs to know of a run, whichever command made it.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {"activation": content["options"].get("activation", "relu"), **content["facts"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged and cannot be used: {error}.") from None


def read(path: pathlib.Path) -> tuple[Train, dict[str, Any]]:
    """Options and facts of a run.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        options = content["options"]
        options |= {name: tuple(options[name]) for name in ("layers", "drop")}
        return Train(**options), content["facts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged and cannot be used: {error}.") from None


def check_same(new: Train, old: Train) -> None:
    """Refuses to resume a run with options that would make it another run.

    Raises:
        ValueError: naming the first option that differs, and both values.
    """
    for field in dataclasses.fields(Train):
        a, b = getattr(old, field.name), getattr(new, field.name)
        if field.name not in FREE_ON_RESUME and a != b:
            option = "--" + field.name.replace("_", "-")
            raise ValueError(
                f"This run was started with {option} {a}, now it is {b}: resume with the same "
                "options, or start another run with another --out."
            )
