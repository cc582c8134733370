"""Layers: three pure functions each, with the backward pass derived by hand.

Notes: "Forward and backward propagation", "Dropout Regularization".

The notes stack examples in columns, Z = W A + b with W of shape (n_out, n_in). Here examples are
rows, so every formula is the transpose of theirs: Z = X W + b with W of shape (n_in, n_out).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxdl import activations, errors, initializers
from jaxdl.activations import Activation
from jaxdl.types import ArrayLike, Key, Params, PyTree, Scalar


class Layer(NamedTuple):
    """A differentiable function with parameters, and its derivative.

    - `init(key)` → params
    - `forward(params, x, key=None)` → (y, residuals); a key means training mode (dropout on).
      Residuals are the arrays that backward needs.
    - `backward(params, residuals, dy)` → (dparams, dx): given dy = ∂J/∂y, the chain rule.
    """

    init: Callable[[Key], Params]
    forward: Callable[..., tuple[Array, PyTree]]
    backward: Callable[[Params, PyTree, Array], tuple[Params, Array]]


def apply(layer: Layer, params: Params, x: ArrayLike, key: Key | None = None) -> Array:
    """The layer's output alone. Without a key dropout is off."""
    return layer.forward(params, x, key)[0]


def _linear(n_in: int, n_out: int, init: str | initializers.Initializer) -> Layer:
    """z = x w + b."""
    initializer = initializers.get(init)

    def init_fn(key):
        w = initializer(key, (n_in, n_out))
        return {"w": w, "b": jnp.zeros((n_out,), w.dtype)}

    def forward(params: Params, x: Float[Array, "m n_in"], key: Key | None = None):
        del key
        x = errors.floating("x", x)
        errors.shaped("x", x, ("m", n_in), f"dense({n_in}, {n_out}) takes one row per example.")
        _check_dense_params(params)
        errors.shaped("w", params["w"], (n_in, n_out), "Weights are (n_in, n_out).")
        errors.shaped("b", params["b"], (n_out,), "Biases are (n_out,).")
        return x @ params["w"] + params["b"][None, :], x

    def backward(params, x, dz):
        return {"w": x.T @ dz, "b": dz.sum(axis=0)}, dz @ params["w"].T

    return Layer(init_fn, forward, backward)


def _check_dense_params(params: Any) -> None:
    if not isinstance(params, Mapping) or not {"w", "b"} <= set(params):
        found = f"keys {sorted(params)}" if isinstance(params, Mapping) else repr(type(params))
        raise ValueError(f'dense expects params as a dict with "w" and "b"; got {found}.')


def activation(g: str | Activation | tuple[Callable, Callable]) -> Layer:
    """The activation g as a layer without parameters: a = g(z), dz = da ∗ g′(z)."""
    value, prime = activations.get(g)

    def forward(params, z, key=None):
        del params, key
        return value(z), z

    def backward(params, z, da):
        del params
        return (), da * prime(z)

    return Layer(lambda key: (), forward, backward)


def check_keep_prob(keep_prob: Scalar) -> None:
    """Complain about a keep probability that is not one number, or concrete and outside (0, 1].

    Raises:
        ValueError: quoting the value.
        TypeError: for what is not a number.
    """
    errors.scalar("keep_prob", keep_prob)
    if errors.is_concrete(keep_prob):
        p = np.asarray(keep_prob)
        valid = bool(np.all((p > 0) & (p <= 1)))
        errors.within("keep_prob", keep_prob, valid, "in (0, 1], the chance of keeping a unit")


def dropout(keep_prob: Scalar) -> Layer:
    """Inverted dropout: keep each unit with probability p and divide by p.

        d = (u < p) / p,  u uniform on [0, 1);   a ← a ∗ d;   da ← da ∗ d

    so that the expected activation is unchanged and evaluation (no key) needs no factor. Backward
    uses the very mask of the forward pass, kept as the residual.

    Args:
        keep_prob: p in (0, 1], a number, traced or not. It is the probability of keeping.

    Raises:
        ValueError: for a concrete p outside (0, 1].

    Source: notes, "Dropout Regularization" ("inverted dropouts").
    """
    check_keep_prob(keep_prob)

    def forward(params, a, key=None):
        del params
        a = errors.floating("a", a)
        if key is None:
            return a, None
        # Drawn in at least float32: half precision has too few uniforms below a small p.
        p = jnp.asarray(keep_prob, a.dtype if a.dtype.itemsize >= 4 else jnp.float32)
        keep = jax.random.bernoulli(key, p, a.shape)
        scaled_mask = jnp.where(keep, 1 / p, 0).astype(a.dtype)
        return a * scaled_mask, scaled_mask

    def backward(params, scaled_mask, da):
        del params
        return (), da if scaled_mask is None else da * scaled_mask

    return Layer(lambda key: (), forward, backward)


def sequential(*layers: Layer) -> Layer:
    """Layers one after another, itself a Layer; backward walks them in reverse.

    Its params are a list with one entry per layer, `()` where a layer has none; layer i gets the
    key `jax.random.fold_in(key, i)`, in `init` and in `forward`.

    Raises:
        TypeError: for anything that is not a Layer; on a call, ValueError for params of another
            length.
    """
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"sequential(layer, layer, ...) takes Layers; got {layer!r}.")

    def init(key):
        return [layer.init(jax.random.fold_in(key, i)) for i, layer in enumerate(layers)]

    def forward(params, x, key=None):
        _check_params_list(params, len(layers))
        residuals = []
        for i, (layer, p) in enumerate(zip(layers, params, strict=True)):
            x, saved = layer.forward(p, x, None if key is None else jax.random.fold_in(key, i))
            residuals.append(saved)
        return x, residuals

    def backward(params, residuals, dy):
        grads = []
        for layer, p, saved in zip(layers[::-1], params[::-1], residuals[::-1], strict=True):
            dparams, dy = layer.backward(p, saved, dy)
            grads.append(dparams)
        grads = grads[::-1]
        return tuple(grads) if isinstance(params, tuple) else grads, dy

    return Layer(init, forward, backward)


def _check_params_list(params: Any, n: int) -> None:
    if not isinstance(params, Sequence) or len(params) != n:
        found = f"{len(params)} entries" if isinstance(params, Sequence) else repr(type(params))
        raise ValueError(f"sequential expects params as a list of {n} entries; got {found}.")


def dense(
    n_in: int,
    n_out: int,
    activation: str | Activation | tuple[Callable, Callable] = "identity",
    init: str | initializers.Initializer = "he",
    keep_prob: Scalar = 1.0,
) -> Layer:
    """One block of a network: linear map, activation, inverted dropout.

        forward    z = x w + b          a = g(z)            y = a ∗ d
        backward   da = dy ∗ d          dz = da ∗ g′(z)
                   dw = xᵀ dz           db = Σᵢ dzᵢ         dx = dz wᵀ

    Derivation, for one example: zⱼ = Σᵢ xᵢ wᵢⱼ + bⱼ, so ∂J/∂wᵢⱼ = xᵢ dzⱼ, ∂J/∂bⱼ = dzⱼ and
    ∂J/∂xᵢ = Σⱼ dzⱼ wᵢⱼ; parameters are shared by all examples, so theirs are summed over rows.

    Args:
        n_in: inputs per example; x is (m, n_in).
        n_out: units; w is (n_in, n_out), b is (n_out,), the output is (m, n_out).
        activation: a name in `activations.ACTIVATIONS`, or a pair (g, g′).
        init: a name in `initializers.INITIALIZERS`, or a function (key, shape) → w; b starts at 0.
        keep_prob: probability of keeping a unit when a key is given; see `dropout`.

    Raises:
        ValueError: for unknown names, sizes below 1, keep_prob outside (0, 1]; on a call, for x,
            w or b of another shape.
        TypeError: on a call, for x that is not floating-point.

    Source: notes, "Forward and backward propagation". Theirs is dZ = dA ∗ g′(Z),
    dW = (1/m) dZ Aᵀ, db = (1/m) Σ dZ, dA = Wᵀ dZ; the 1/m is in our dz already, because the cost
    is a mean (`losses.objective`), and rows instead of columns transpose each product.
    """
    for name, n in (("n_in", n_in), ("n_out", n_out)):
        errors.within(name, n, isinstance(n, (int, np.integer)) and n >= 1, "a positive integer")
    linear = _linear(n_in, n_out, init)
    g = activations.get(activation)
    drop = dropout(keep_prob)

    def forward(params, x, key=None):
        z, x = linear.forward(params, x)
        a = g.value(z)
        if isinstance(keep_prob, (int, float)) and keep_prob == 1:
            return a, (x, z, None)
        y, mask = drop.forward((), a, key)
        return y, (x, z, mask)

    def backward(params, residuals, dy):
        x, z, mask = residuals
        _, da = drop.backward((), mask, dy)
        return linear.backward(params, x, da * g.prime(z))

    return Layer(linear.init, forward, backward)
