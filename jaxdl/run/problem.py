"""From a data set and options to what is trained: scaled parts, a network, a loss, its scores."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxdl import activations, data, errors, layers, losses, metrics, models
from jaxdl.data import table
from jaxdl.data.dataset import is_classes
from jaxdl.run.config import Train

PARTS = ("train", "dev", "test")
DEFAULT_HIDDEN = (64, 32)


class Problem(NamedTuple):
    """Everything that the data and the options decide before the first step.

    `encoder` is None for a table of numbers without gaps. `scaler` and `target_scaler` are (shift,
    scale); the latter is None for classes. `parts` maps
    "train", "dev" and "test" to scaled pairs (x, y); a part without examples is missing.
    """

    kind: str  # "classes" or "numbers"
    sizes: tuple[int, ...]
    model: layers.Layer
    loss: str
    score: str
    encoder: table.Encoder | None
    scaler: Any
    target_scaler: Any
    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    indices: dict[str, np.ndarray]
    baseline: dict[str, float]


def build(dataset: data.Dataset, config: Train) -> Problem:
    """Split, scale by the training part, and fit the ends of the network to the data.

    Raises:
        ValueError: for layers that do not fit the data, unknown names, or parts without examples.
    """
    errors.lookup("activation", config.activation, activations.ACTIVATIONS)
    kind = "classes" if is_classes(dataset.y) else "numbers"
    split = data.split(dataset, config.split, seed=config.seed)
    raw = {name: getattr(split, name) for name in PARTS if len(getattr(split, name).y)}
    if "train" not in raw:
        raise ValueError(f"--split {config.split} leaves nothing to train on.")
    outputs = len(dataset.target_names) if kind == "classes" else 1
    encoder, raw = _encoded(raw, dataset.feature_names, config.keep_row_numbers)
    sizes = _sizes(config.layers, raw["train"].x.shape[1], outputs)
    loss = _loss(kind, sizes)
    scaler = (
        data.standardize.fit(raw["train"].x, dataset.feature_names)
        if encoder is None
        else table.scaler(encoder, raw["train"].x)
    )
    y_train = data.column(raw["train"].y)
    target_scaler = data.standardize.fit(y_train) if kind == "numbers" else None
    parts = {}
    for name, part in raw.items():
        x = data.standardize.apply(scaler, part.x).astype(np.float32)
        parts[name] = (x, _targets(part.y, loss, target_scaler))
    model = models.mlp(sizes, config.activation, keep_prob=config.keep_prob)
    score = "accuracy" if kind == "classes" else "r2"
    return Problem(
        kind, sizes, model, loss, score, encoder, scaler, target_scaler, parts, split.indices,
        _baseline(kind, raw),
    )  # fmt: skip


def scores(problem: Problem) -> dict[str, Any]:
    """The metric of `train.fit`: accuracy, or R² of the scaled targets (the same number)."""
    measure = getattr(metrics, problem.score)

    def score(params, x, y):
        return measure(layers.apply(problem.model, params, x), y)

    return {problem.score: score}


def objectives(problem: Problem, config: Train) -> tuple[Any, Any]:
    """(what is minimised, what is reported on the dev set: without penalties)."""
    penalised = losses.objective(problem.model, problem.loss, l2=config.l2, l1=config.l1)
    return penalised, losses.objective(problem.model, problem.loss)


def answers(outputs: np.ndarray, loss: str, classes: list[str], target_scaler: Any) -> list[str]:
    """The network's outputs as what the target column holds: class names, or numbers."""
    if loss == "squared_error":
        values = data.standardize.invert(target_scaler, np.asarray(outputs))
        return [str(np.float32(v)) for v in values[:, 0]]
    hard = (outputs[:, 0] > 0).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)
    return [classes[i] for i in hard]


def _encoded(raw, names, row_numbers):
    """Text, dates and gaps as numbers, by what the training part holds; plain numbers stay."""
    if all(table.is_plain(part.x) for part in raw.values()):
        return None, raw
    encoder = table.fit(raw["train"].x, names, row_numbers)
    return encoder, {k: part._replace(x=table.apply(encoder, part.x)) for k, part in raw.items()}


def _sizes(given, n_in, n_out):
    if not given:
        return (n_in, *DEFAULT_HIDDEN, n_out)
    ends = {n_out, 1} if n_out == 2 else {n_out}
    if len(given) < 2 or given[0] != n_in or given[-1] not in ends:
        raise ValueError(
            f"--layers must go from the {n_in} features to the {n_out} outputs, for instance "
            f"{n_in} 64 {n_out}, got {' '.join(map(str, given))}."
        )
    return given


def _loss(kind, sizes):
    if kind == "numbers":
        return "squared_error"
    return "binary_cross_entropy" if sizes[-1] == 1 else "softmax_cross_entropy"


def _targets(y, loss, target_scaler):
    if loss == "softmax_cross_entropy":
        return y.astype(np.int32)
    column = data.column(y).astype(np.float32)
    return column if target_scaler is None else data.standardize.apply(target_scaler, column)


def _baseline(kind, raw):
    """The score of always giving the training part's commonest class, or its mean."""
    if kind == "classes":
        common = np.bincount(raw["train"].y).argmax()
        return {name: float((part.y == common).mean()) for name, part in raw.items()}
    mean = raw["train"].y.mean()
    return {
        name: float(metrics.r2(jnp.full((len(p.y), 1), mean), jnp.asarray(data.column(p.y))))
        for name, p in raw.items()
    }
