"""Activation functions, each beside its derivative, derived by hand.

All take the pre-activation z of any shape, in a floating dtype, and work entry by entry.
Notes: "Activation functions" and "Derivatives of activation functions".
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdl import errors

LEAK = 0.01
"""Slope of leaky ReLU left of zero, as in the notes."""


class Activation(NamedTuple):
    """A function g and its derivative g′, both entry by entry and both of z (not of g(z))."""

    value: Callable[[Array], Array]
    prime: Callable[[Array], Array]


def identity(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The linear activation, g(z) = z."""
    return errors.floating("z", z)


def identity_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """g′(z) = 1."""
    return jnp.ones_like(errors.floating("z", z))


def sigmoid(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """σ(z) = 1 / (1 + e⁻ᶻ), between 0 and 1, without overflow for any z (notes 3.18)."""
    return lax.logistic(errors.floating("z", z))


def sigmoid_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """σ′(z) = σ(z) (1 − σ(z)), computed as σ(z) σ(−z) (notes 3.25).

        d/dz (1 + e⁻ᶻ)⁻¹ = e⁻ᶻ (1 + e⁻ᶻ)⁻² = σ(z) · e⁻ᶻ / (1 + e⁻ᶻ) = σ(z) σ(−z)

    since 1 − σ(z) = σ(−z). The notes' form rounds to 0 where σ(z) rounds to 1; this one keeps
    its relative accuracy.
    """
    return sigmoid(z) * sigmoid(-z)


def tanh(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """tanh(z) = (eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ), between −1 and 1 (notes 3.19, 3.26)."""
    return jnp.tanh(errors.floating("z", z))


def tanh_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """tanh′(z) = 1 − tanh²(z), computed as 4 σ(2z) σ(−2z) (notes 3.27).

    From tanh(z) = 2σ(2z) − 1: tanh′(z) = 4σ′(2z). The notes' form loses every digit where
    tanh(z) rounds to ±1; this one keeps them.
    """
    return 4 * sigmoid_prime(2 * z)


def relu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Rectified linear unit, max(0, z) (notes 3.22).

    Written as a choice, so that `jax.grad` gives 0 at z = 0 as `relu_prime` does (it gives ½ for
    `jnp.maximum`), and so that a NaN stays a NaN.
    """
    z = errors.floating("z", z)
    return jnp.where(z <= 0, jnp.zeros_like(z), z)


def relu_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0 for z ≤ 0, 1 for z > 0. The notes leave z = 0 undefined; we choose 0."""
    z = errors.floating("z", z)
    return jnp.where(z <= 0, jnp.zeros_like(z), jnp.ones_like(z))


def leaky_relu(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """max(0.01 z, z) (notes 3.23)."""
    z = errors.floating("z", z)
    return jnp.where(z <= 0, LEAK * z, z)


def leaky_relu_prime(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """0.01 for z ≤ 0, 1 for z > 0. The notes leave z = 0 undefined; we choose 0.01."""
    z = errors.floating("z", z)
    return jnp.where(z <= 0, jnp.full_like(z, LEAK), jnp.ones_like(z))


ACTIVATIONS = {
    "identity": Activation(identity, identity_prime),
    "sigmoid": Activation(sigmoid, sigmoid_prime),
    "tanh": Activation(tanh, tanh_prime),
    "relu": Activation(relu, relu_prime),
    "leaky_relu": Activation(leaky_relu, leaky_relu_prime),
}


def get(activation: str | tuple[Callable, Callable]) -> Activation:
    """The activation of that name, or the given pair (g, g′) as an `Activation`.

    Raises:
        ValueError: for an unknown name, with the nearest known one.
        TypeError: for a lone function: the hand-derived backward pass needs g′ as well.
    """
    if isinstance(activation, str):
        return errors.lookup("activation", activation, ACTIVATIONS)
    if isinstance(activation, tuple) and len(activation) == 2 and all(map(callable, activation)):
        return Activation(*activation)
    raise TypeError(
        f"An activation is a name or a pair (g, g_prime) of functions of z; got {activation!r}. "
        "Give the derivative too: the backward pass is derived by hand, not by autodiff."
    )
