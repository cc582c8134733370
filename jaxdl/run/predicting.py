"""`jaxdl predict RUN DATA`: one prediction a row on standard output, and nothing else."""

import dataclasses
import pathlib
import sys

import jax.numpy as jnp
import numpy as np

from jaxdl import data, layers, models
from jaxdl.run import config, folder, problem, tables


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict with a trained model: one line a row, on standard output."""

    run: str
    """The folder that `jaxdl train` wrote."""
    data: str
    """A .csv, .parquet or .npz file with the same features, or a built-in data set."""


def command(options: Predict) -> int:
    """Print the predictions; returns the exit status.

    Raises:
        ValueError, OSError: with a sentence for the terminal.
    """
    path = pathlib.Path(options.run)
    if not (path / folder.CONFIG).is_file():
        raise FileNotFoundError(f"{path} is not the folder of a run: it has no {folder.CONFIG}.")
    trained, facts = config.read(path / folder.CONFIG)
    saved = folder.read_model(path / folder.MODEL)
    x = _features(options.data, tuple(facts["features"]), facts["sizes"][0])
    scaled = data.standardize.apply(saved.scaler, x).astype(np.float32)
    model = models.mlp(tuple(facts["sizes"]), trained.activation)
    params = folder.unnamed(saved.params, _shapes(model))
    outputs = np.asarray(layers.apply(model, params, jnp.asarray(scaled)))
    lines = problem.answers(outputs, facts["loss"], facts["classes"], saved.target_scaler)
    sys.stdout.write("".join(line + "\n" for line in lines))
    return 0


def _shapes(model):
    import jax

    return jax.eval_shape(model.init, jax.random.key(0))


def _features(name, names, n):
    if not tables.is_file(name):
        x = data.load(name).x
    else:
        x = tables.columns(tables.existing(name), names)
    if x.shape[1] != n:
        raise ValueError(f"The model takes {n} features a row, {name} has {x.shape[1]}.")
    return x
