"""The folder of a run: config.json, split.json, metrics.jsonl, model.npz, chart, checkpoints."""

import hashlib
import itertools
import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import data, tree

CONFIG, SPLIT, METRICS, MODEL = "config.json", "split.json", "metrics.jsonl", "model.npz"
CHART, CHECKPOINTS = "chart.html", "checkpoints"


class Model(NamedTuple):
    """What `model.npz` holds: parameters by path, and the scalers as (shift, scale)."""

    params: dict[str, np.ndarray]
    scaler: data.AffineState
    target_scaler: data.AffineState | None


def choose(out: str | None, name: str, resume: bool) -> pathlib.Path:
    """The run's folder; the next free `runs/NAME-N` if none is given.

    Raises:
        ValueError: if it already holds a run that is not to be resumed, or resume has no folder.
    """
    if out is None:
        if resume:
            raise ValueError("--resume needs --out, the folder of the run to go on with.")
        free = (pathlib.Path("runs", f"{name}-{i}") for i in itertools.count(1))
        return next(path for path in free if not path.exists())
    path = pathlib.Path(out)
    if (path / CONFIG).exists() and not resume:
        raise ValueError(
            f"{path} already holds a run: --resume goes on with it, another --out starts anew."
        )
    return path


def write_split(indices: dict[str, np.ndarray], dataset: data.Dataset, path: pathlib.Path) -> None:
    """`split.json`: the rows of each part, and the sha256 of the data they are rows of."""
    content = {name: rows.tolist() for name, rows in indices.items()}
    path.write_text(json.dumps({"data_sha256": fingerprint(dataset), **content}))


def check_split(indices: dict[str, np.ndarray], dataset: data.Dataset, path: pathlib.Path) -> None:
    """Refuses to resume on other data or another split.

    Raises:
        ValueError: saying which.
    """
    try:
        saved = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}.") from None
    if saved.get("data_sha256") != fingerprint(dataset):
        raise ValueError(f"The data have changed since this run began ({path}): start a new run.")
    if any(saved.get(name) != rows.tolist() for name, rows in indices.items()):
        raise ValueError(f"The split differs from the one this run began with ({path}).")


def fingerprint(dataset: data.Dataset) -> str:
    """sha256 of features and targets, with their shapes and dtypes."""
    digest = hashlib.sha256()
    for array in (dataset.x, dataset.y):
        digest.update(f"{array.shape} {array.dtype.str}".encode())
        if array.dtype == object:  # whose bytes are addresses
            digest.update("\x1f".join(map(str, array.ravel())).encode())
        else:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def append_rows(path: pathlib.Path, history: dict[str, np.ndarray], start: int, end: int) -> None:
    """One JSON line for each epoch from `start` (counted from 0) up to `end`."""
    with open(path, "a", encoding="utf-8") as stream:
        for row in range(start, end):
            values = {name: _number(column[row]) for name, column in history.items()}
            stream.write(json.dumps({"epoch": row + 1, **values}) + "\n")


def cut_rows(path: pathlib.Path, epochs: int) -> None:
    """Leaves the first `epochs` lines: what came after the checkpoint is done again."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    _replace(path, b"".join(lines[:epochs]))


def rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_model(model: Model, path: pathlib.Path) -> None:
    """`model.npz`, all at once."""
    arrays = {f"params/{name}": value for name, value in model.params.items()}
    arrays |= {f"x_{k}": v for k, v in model.scaler._asdict().items()}
    if model.target_scaler is not None:
        arrays |= {f"y_{k}": v for k, v in model.target_scaler._asdict().items()}
    partial = path.with_name(f".{path.name}")
    with open(partial, "wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    os.replace(partial, path)


def read_model(path: pathlib.Path) -> Model:
    """The model of a finished run.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no {path}: has the run ended?")
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        scalers = [
            data.AffineState(arrays[f"{axis}_shift"], arrays[f"{axis}_scale"])
            for axis in ("x", "y")
            if f"{axis}_shift" in arrays
        ]
        params = {n.removeprefix("params/"): a for n, a in arrays.items() if n[:7] == "params/"}
        return Model(params, scalers[0], scalers[1] if len(scalers) > 1 else None)
    except Exception as error:
        raise ValueError(f"{path} is damaged and cannot be used: {error}.") from None


def named(params: Any) -> dict[str, np.ndarray]:
    """Parameters as arrays under their paths."""
    leaves = zip(tree.paths(params), jax.tree.leaves(params), strict=True)
    return {name: np.asarray(leaf) for name, leaf in leaves}


def unnamed(params: dict[str, np.ndarray], like: Any) -> Any:
    """The parameters in the structure of `like`.

    Raises:
        ValueError: if names or shapes differ.
    """
    shapes = [tuple(leaf.shape) for leaf in jax.tree.leaves(like)]
    expected = dict(zip(tree.paths(like), shapes, strict=True))
    found = {name: a.shape for name, a in params.items()}
    if expected != found:
        raise ValueError(f"The model file holds {found}, its configuration needs {expected}.")
    leaves = [jnp.asarray(params[name]) for name in expected]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _number(value):
    return float(value) if math.isfinite(value) else None


def _replace(path, content):
    partial = path.with_name(f".{path.name}")
    partial.write_bytes(content)
    os.replace(partial, path)
