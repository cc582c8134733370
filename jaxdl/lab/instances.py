"""Problems drawn from the real tables that scikit-learn ships, all of one shape.

Families of one shape run in one compiled program, with the family as a traced number.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import data
from jaxdl.types import Array, Key, Scalar

TABLES = ("iris", "wine", "breast_cancer", "digits")


class Tables(NamedTuple):
    """F tables padded to one shape: x (F, M, d), y (F, M); table f has m[f] rows."""

    x: np.ndarray
    y: np.ndarray
    m: np.ndarray


def tables(features: int = 16, most: int = 600, names: tuple[str, ...] = TABLES) -> Tables:
    """The named tables as their leading principal components, of mean variance 1.

    Columns are standardised first; a table with fewer columns than `features` gets columns of
    zeros, which no gradient sees. Rows are shuffled once and at most `most` kept.
    """
    x, y = np.zeros((len(names), most, features)), np.zeros((len(names), most), np.int32)
    m = np.zeros(len(names), np.int32)
    for f, name in enumerate(names):
        table = data.load(name)
        z = data.standardize.apply(data.standardize.fit(table.x), np.float64(table.x))
        u, s, _ = np.linalg.svd(z, full_matrices=False)
        z = (u * s)[:, :features]
        order = np.random.default_rng(0).permutation(len(z))[:most]
        m[f] = len(order)
        x[f, : m[f], : z.shape[1]] = (z / np.sqrt((z**2).mean()))[order]
        y[f, : m[f]] = table.y[order]
    return Tables(x, y, m)


def draw(given: Tables, family: Scalar, key: Key, n: int) -> tuple[Array, Array]:
    """n different rows of one table: x (n, d) in the default float dtype, y (n,). Traceable."""
    x, y, m = jax.tree.map(lambda a: jnp.asarray(a)[family], given)
    order = jnp.where(jnp.arange(len(y), dtype=m.dtype) < m, jax.random.uniform(key, y.shape), 2.0)
    rows = jnp.argsort(order)[:n]
    return x[rows].astype(jnp.result_type(float)), y[rows]


def entropy(y: Array, classes: int) -> Array:
    """−Σₖ pₖ log pₖ in nats, pₖ the share of label k: the least cost of a constant prediction."""
    share = jnp.bincount(y, length=classes) / len(y)
    return -jax.scipy.special.xlogy(share, share).sum()
