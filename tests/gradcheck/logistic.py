"""Logistic regression on four examples, in JAX and in NumPy: what the tests of `check` look at."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import gradcheck

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.4, 0.8, 0.1], [0.9, -0.6, 1.1]], np.float32)


Y = np.array([0.0, 1.0, 1.0, 0.0], np.float32)


W = np.array([0.3, -0.2, 0.5], np.float32)


def loss(w, x, y):
    """Logistic regression: L = mean of log(1 + e^z) − y z, z = x w."""
    z = x @ w
    return jnp.mean(jnp.logaddexp(0.0, z) - y * z)


def grad(w, x, y):
    return x.T @ (jax.nn.sigmoid(x @ w) - y) / len(y)


def numpy_loss(w, x, y):
    z = np.dot(x, w)
    return np.mean(np.logaddexp(0.0, z) - y * z)


def numpy_grad(w, x, y):
    return np.dot(np.transpose(x), 1 / (1 + np.exp(-np.dot(x, w))) - y) / len(y)


def verdict(*args, **options):
    return gradcheck.check(*args, **{"diagnose": False, **options}).verdict
