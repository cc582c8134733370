"""The model that a recipe ends with: the mean of several networks, and all that feeds them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import data, layers, models
from jaxdl.data import table
from jaxdl.types import Array, Params


class Preparation(NamedTuple):
    """What turns cells into features and outputs into answers, fitted on the training part.

    `encoder` is None for plain numbers, `target_scaler` for classes, whose names are `classes`.
    """

    encoder: table.Encoder | None
    scaler: data.AffineState
    target_scaler: data.AffineState | None
    classes: tuple[str, ...]

    def features(self, cells: np.ndarray) -> np.ndarray:
        """Cells (m, c) as scaled features (m, n) float32."""
        x = np.asarray(cells)
        if self.encoder is not None:
            x = table.apply(self.encoder, x)
        elif not table.is_plain(x):
            x = table.filled(x, self.scaler.shift)
        return data.standardize.apply(self.scaler, x).astype(np.float32)

    def scaled_targets(self, y: np.ndarray) -> np.ndarray:
        """Classes as (m,) int32; numbers as (m, 1) float32 in standard deviations."""
        if self.target_scaler is None:
            return y.astype(np.int32)
        return data.standardize.apply(self.target_scaler, data.column(y)).astype(np.float32)


class Network(NamedTuple):
    """Networks of one shape: `params` is that of an `mlp`, members stacked on axis 0."""

    sizes: tuple[int, ...]
    params: Params
    activation: str = "relu"

    @property
    def members(self) -> int:
        """How many networks there are."""
        return len(jax.tree.leaves(self.params)[0])


class Model(NamedTuple):
    """The mean of the outputs of all members; one member is an ordinary network."""

    networks: tuple[Network, ...]
    preparation: Preparation

    def outputs(self, cells: Any) -> np.ndarray:
        """Logits (m, K), or numbers (m, 1) in the target's own unit.

        Args:
            cells: a table with the columns of the training data: an array or a DataFrame.
        """
        cells = cells.to_numpy() if hasattr(cells, "columns") else np.asarray(cells)
        cells = cells.reshape(len(cells), -1) if cells.ndim > 2 else cells
        scaled = mean_outputs(self.networks, self.preparation.features(cells))
        if self.preparation.target_scaler is None:
            return scaled
        return data.standardize.invert(self.preparation.target_scaler, scaled)

    def predict(self, cells: Any) -> np.ndarray:
        """One answer a row, (m,): the names of classes, or numbers."""
        outputs = self.outputs(cells)
        if self.preparation.target_scaler is None:
            return np.array(self.preparation.classes)[outputs.argmax(axis=1)]
        return outputs[:, 0]


def mean_outputs(networks: Sequence[Network], x: np.ndarray, rows: int = 4096) -> np.ndarray:
    """(m, K): the outputs of all members of all networks, averaged; `rows` at a time."""
    total, count = np.zeros(()), sum(network.members for network in networks)
    for network in networks:
        apply = jax.jit(_summed(network))
        padded = _padded(x, rows) if len(x) > rows else x[None]
        parts = [np.asarray(apply(network.params, jnp.asarray(part))) for part in padded]
        total = total + np.concatenate(parts)[: len(x)]
    return (total / count).astype(np.float32)


def _summed(network: Network):
    model = models.mlp(network.sizes, network.activation)

    def outputs(params: Params, x: Array) -> Array:
        def add(total, member):
            return total + layers.apply(model, member, x), None

        start = jnp.zeros((len(x), network.sizes[-1]), x.dtype)
        return jax.lax.scan(add, start, params)[0]

    return outputs


def _padded(x: np.ndarray, rows: int) -> np.ndarray:
    """(parts, rows, n): the last part filled up with zeros, so that all have one shape."""
    return np.pad(x, ((0, -len(x) % rows), (0, 0))).reshape(-1, rows, x.shape[1])
