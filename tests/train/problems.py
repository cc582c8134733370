"""Small problems that the tests of training share, so that they share compiled programs too."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import layers, losses, models

SIZES = (3, 5, 4)


def classes(m=10, seed=0):
    """m points of 3 features in 4 classes."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, SIZES[0])), np.arange(m) % SIZES[-1]


def network(keep_prob=1.0, l2=0.0, dtype=None):
    """(model, objective, params) of a small classifier."""
    model = models.mlp(SIZES, "tanh", keep_prob=keep_prob)
    params = model.init(jax.random.key(1))
    if dtype is not None:
        params = jax.tree.map(lambda a: a.astype(dtype), params)
    return model, losses.objective(model, "softmax_cross_entropy", l2=l2), params


def accuracy(model):
    def metric(params, x, y):
        hits = layers.apply(model, params, x).argmax(axis=1).astype(y.dtype) == y
        return jnp.mean(hits.astype(jnp.float32))

    return metric


def assert_close(a, b, tol):
    """Per leaf max|a − b| ≤ tol · max(max|b|, 1)."""
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert np.max(np.abs(x - y)) <= tol * max(np.max(np.abs(y)), 1.0)
