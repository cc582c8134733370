"""`jaxdl predict RUN DATA`: one prediction a row on standard output, and nothing else there."""

import dataclasses
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from jaxdl import data, models, recipe
from jaxdl.data import table
from jaxdl.run import config, folder, problem, tables


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict with a trained model: one line a row, on standard output."""

    run: str
    """The folder that `jaxdl train` or `jaxdl recipe` wrote."""
    data: str
    """A .csv, .parquet or .npz file with the same features, or a built-in data set."""


def command(options: Predict) -> int:
    """Print the predictions; returns the exit status. What is odd goes to standard error.

    Raises:
        ValueError, OSError: with a sentence for the terminal.
    """
    path = pathlib.Path(options.run)
    if not (path / folder.CONFIG).is_file():
        raise FileNotFoundError(f"{path} is not the folder of a run: it has no {folder.CONFIG}.")
    model, facts = load(path)
    encoder = model.preparation.encoder
    n = len(model.preparation.scaler.shift) if encoder is None else len(encoder)
    cells = _cells(options.data, tuple(facts["features"]), n)
    for sentence in table.surprises(encoder, cells) if encoder is not None else ():
        print(f"jaxdl: {sentence}", file=sys.stderr)
    outputs = recipe.mean_outputs(model.networks, model.preparation.features(cells))
    scaler = model.preparation.target_scaler
    lines = problem.answers(outputs, facts["loss"], facts["classes"], scaler)
    sys.stdout.write("".join(line + "\n" for line in lines))
    return 0


def load(path: pathlib.Path) -> tuple[recipe.Model, dict[str, Any]]:
    """The model of a run folder and the facts of its configuration.

    Raises:
        FileNotFoundError: if the run has not ended.
        ValueError: if a file is damaged.
    """
    facts = config.read_facts(path / folder.CONFIG)
    saved = folder.read_model(path / folder.MODEL)
    networks = _networks(facts, saved.params)
    encoder = table.from_json(facts["columns"]) if "columns" in facts else None
    ready = recipe.Preparation(encoder, saved.scaler, saved.target_scaler, tuple(facts["classes"]))
    return recipe.Model(networks, ready), facts


def _networks(facts, params) -> tuple[recipe.Network, ...]:
    """Those that the facts list; `jaxdl train` leaves one, without an axis of members."""
    if "networks" not in facts:
        sizes, activation = tuple(facts["sizes"]), facts["activation"]
        alone = folder.unnamed(params, _shapes(sizes))
        return (recipe.Network(sizes, jax.tree.map(lambda a: a[None], alone), activation),)
    listed = [(tuple(n["sizes"]), n["members"]) for n in facts["networks"]]
    found = folder.unnamed(params, [_shapes(*network) for network in listed])
    return tuple(recipe.Network(n[0], p) for n, p in zip(listed, found, strict=True))


def _shapes(sizes, members=None):
    """The parameters of a network, or of `members` stacked, as shapes."""
    init, key = models.mlp(sizes).init, jax.random.key(0)
    if members is None:
        return jax.eval_shape(init, key)
    return jax.eval_shape(jax.vmap(init), jax.random.split(key, members))


def _cells(name, names, n) -> np.ndarray:
    if not tables.is_file(name):
        cells = data.load(name).x
    else:
        cells = tables.columns(tables.existing(name), names)
    if cells.shape[1] != n:
        raise ValueError(f"The model takes {n} features a row, {name} has {cells.shape[1]}.")
    return cells
