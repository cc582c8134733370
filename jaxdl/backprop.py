"""The hand-derived twin of `jax.value_and_grad`, and hand-derived rules for `jax.grad` to run.

Nothing here calls autodiff. Notes: "Forward and backward propagation".
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import errors, losses
from jaxdl.layers import Layer
from jaxdl.types import Array, Key, Params, Scalar


def value_and_grad(
    model: Layer,
    loss: str | losses.Loss,
    l2: Scalar = 0.0,
    l1: Scalar = 0.0,
    penalize: Any = None,
) -> Callable[..., tuple[Array, Params]]:
    """Cost and gradient by backpropagation, with the signature and result of `jax.value_and_grad`.

        dz_L  = (wᵢ / M) ∗ ∂Lᵢ/∂outputsᵢ            the notes' (a − y), and their 1/m
        dparams = model.backward(dz_L)               layer by layer, last to first
        dW   += λ₂/M W + λ₁/M sign W                 from λ₂/(2M) ‖W‖² + λ₁/M |W|

    Args:
        model: a Layer; its `backward` is what makes this possible.
        loss: a name in `losses.LOSSES` or a pair (value, grad).
        l2: λ₂ as in `losses.objective`.
        l1: λ₁; its subgradient at a weight of exactly 0 is 0.
        penalize: as in `losses.objective`.

    Returns:
        f(params, x, y, key=None, weights=None) → (cost, gradients), equal to
        `jax.value_and_grad(losses.objective(model, loss, l2, l1, penalize))`.

    Raises:
        TypeError: if the model is not a Layer.
        ValueError: as `losses.objective`.
    """
    if not isinstance(model, Layer):
        raise TypeError(
            f"backprop.value_and_grad needs a Layer, which has a backward function; got {model!r}. "
            "For any other model use jax.value_and_grad(losses.objective(model, loss))."
        )
    value, grad = losses.get(loss)
    losses.check_strength("l2", l2)
    losses.check_strength("l1", l1)

    def cost_and_grads(
        params: Params, x: Array, y: Array, key: Key | None = None, weights: Array | None = None
    ) -> tuple[Array, Params]:
        outputs, residuals = model.forward(params, x, key)
        weights, total = losses.example_weights(weights, outputs)
        cost = (weights * losses.per_example(value(outputs, y), outputs)).sum() / total
        dz = grad(outputs, y)
        errors.shaped("loss gradient", dz, outputs.shape, "It has the shape of the outputs.")
        grads, _ = model.backward(params, residuals, dz * (weights / total)[:, None])
        if not (losses.is_off(l2) and losses.is_off(l1)):
            cost = cost + losses.penalty(params, total, l2, l1, penalize)
            grads = _add_penalty_grads(grads, params, total, l2, l1, penalize)
        return cost, _in_dtype_of(params, grads)

    return cost_and_grads


def _add_penalty_grads(grads, params, total, l2, l1, penalize):
    def add(g, w, on):
        if not on:
            return g
        g = g if losses.is_off(l2) else g + l2 / total * w
        return g if losses.is_off(l1) else g + l1 / total * jnp.sign(w)

    return jax.tree.map(add, grads, params, losses.penalized_leaves(params, penalize))


def _in_dtype_of(primals, cotangents):
    """A gradient has the dtype of what it is the gradient of, whatever it met on the way."""
    return jax.tree.map(lambda g, p: g.astype(jnp.result_type(p)), cotangents, primals)


def with_custom_vjp(layer: Layer) -> Callable[..., Array]:
    """The layer as a function whose derivative is the hand-derived rule.

    Args:
        layer: any Layer.

    Returns:
        apply(params, x, key=None) → y, on which `jax.grad` and `jax.vjp` run `layer.backward`
        instead of differentiating `layer.forward`.
    """

    def call(params, x, key=None):
        return layer.forward(params, x, key)[0]

    apply = jax.custom_vjp(call)

    def forward(params, x, key):
        y, residuals = layer.forward(params, x, key)
        return y, (params, jnp.zeros((), jnp.result_type(x)), residuals)

    def backward(saved, dy):
        params, x_like, residuals = saved
        dparams, dx = layer.backward(params, residuals, dy)
        return _in_dtype_of(params, dparams), _in_dtype_of(x_like, dx), None

    apply.defvjp(forward, backward)
    return apply
