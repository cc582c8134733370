"""Activations in NumPy beside their derivatives, and the same functions of jax for losses."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def sigmoid(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def softmax(z, axis=-1):
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _gelu_inner(z):
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)


def gelu(z):
    return 0.5 * z * (1 + np.tanh(_gelu_inner(z)))


def d_gelu(z):
    t = np.tanh(_gelu_inner(z))
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * slope


def elu(z):
    return np.where(z > 0, z, np.expm1(np.minimum(z, 0)))


VALUE = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "leaky_relu": lambda z: np.where(z > 0, z, 0.1 * z),
    "sigmoid": sigmoid,
    "softplus": lambda z: np.logaddexp(0, z).astype(z.dtype),
    "gelu": gelu,
    "elu": elu,
}
DERIVATIVE = {
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "relu": lambda z: (z > 0).astype(z.dtype),
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.1).astype(z.dtype),
    "sigmoid": lambda z: sigmoid(z) * (1 - sigmoid(z)),
    "softplus": sigmoid,
    "gelu": d_gelu,
    "elu": lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))).astype(z.dtype),
}
# A slip of the pen for each derivative.
WRONG_DERIVATIVE = {
    "tanh": lambda z: 1 - np.tanh(z),
    "relu": lambda z: (z > 0) * z,
    "leaky_relu": lambda z: np.where(z > 0, 1, 0.01).astype(z.dtype),
    "sigmoid": lambda z: 1 - sigmoid(z) ** 2,
    "softplus": np.tanh,
    "gelu": lambda z: 0.5 * (1 + np.tanh(_gelu_inner(z))),
    "elu": lambda z: np.where(z > 0, 1, elu(z)).astype(z.dtype),
}
JAX = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": lambda z: jnp.where(z > 0, z, 0.1 * z),
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
}
