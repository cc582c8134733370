"""Augmentation of images: pure functions of a key, compiled with the training step.

Images are floats, (m, h, w) or (m, h, w, c); every example draws its own transformation, and one
key gives one result. `compose` chains them, `augmented` puts them in front of an objective:

    distort = augment.compose(partial(augment.shift, pixels=2), partial(augment.rotate, degrees=10))
    J = augment.augmented(losses.objective(model, loss), distort, image_shape=(28, 28))

Source: notes, "Other regularization methods": flips, random rotations and distortions.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.scipy.ndimage import map_coordinates

from jaxdl.types import Array, Key

Augmentation = Callable[..., Array]
"""`f(x, *, key) -> x`, of the same shape."""


def flip(x: Array, *, key: Key, probability: float = 0.5, axis: int = 2) -> Array:
    """Mirror each image with this probability, left to right (axis 2) or top to bottom (axis 1)."""
    x = _images(x)
    _require("probability", probability, 0, 1)
    chosen = jax.random.bernoulli(key, probability, (len(x),) + (1,) * (x.ndim - 1))
    return jnp.where(chosen, jnp.flip(x, axis=axis), x)


def shift(x: Array, pixels: int, *, key: Key, fill: float = 0.0) -> Array:
    """Move each image by whole pixels, uniform in −pixels..pixels down and across."""
    x = _images(x)
    _require("pixels", pixels, 0)
    offset = jax.random.randint(key, (len(x), 2), -pixels, pixels + 1).astype(x.dtype)
    return _warp(x, _grid(x)[None] - offset[:, :, None, None], fill)


def rotate(x: Array, degrees: float, *, key: Key, fill: float = 0.0) -> Array:
    """Turn each image about its centre by an angle uniform in ±degrees, bilinearly."""
    x = _images(x)
    angle = jax.random.uniform(key, (len(x), 1, 1), x.dtype, -degrees, degrees) * (jnp.pi / 180)
    return _warp(x, _turned(x, angle), fill)


def elastic(x: Array, alpha: float, sigma: float, *, key: Key, fill: float = 0.0) -> Array:
    """Distort each image by a smooth random displacement of its pixels.

    Uniform(−1, 1) displacements, smoothed by a Gaussian of `sigma` pixels and scaled by `alpha`
    (Simard, Steinkraus and Platt 2003, whose values for handwritten digits are alpha = 34 and
    sigma = 4). At the border the Gaussian is renormalised over the image.
    """
    x = _images(x)
    _require("sigma", sigma, 1e-3)
    m, h, w = x.shape[:3]
    field = jax.random.uniform(key, (m, 2, h, w), x.dtype, -1, 1)
    smooth = jnp.einsum(
        "ij,mdjk,lk->mdil", _blur(h, sigma, x.dtype), field, _blur(w, sigma, x.dtype)
    )
    return _warp(x, _grid(x)[None] + alpha * smooth, fill)


def noise(x: Array, scale: float, *, key: Key) -> Array:
    """Add Gaussian noise of standard deviation `scale`; for arrays of any shape."""
    x = jnp.asarray(x)
    return x + scale * jax.random.normal(key, x.shape, x.dtype)


def compose(*augmentations: Augmentation) -> Augmentation:
    """One after another; the i-th gets `fold_in(key, i)`."""

    def composed(x: Array, *, key: Key) -> Array:
        for i, augmentation in enumerate(augmentations):
            x = augmentation(x, key=jax.random.fold_in(key, i))
        return x

    return composed


def augmented(
    objective: Callable, augmentation: Augmentation, image_shape: tuple[int, ...] | None = None
) -> Callable:
    """`objective` on augmented examples in training, that is exactly when a key is given.

    Works on anything called as (params, x, y, key, weights): a cost, or a `value_and_grad`. The
    examples are constants to the gradient, so its hand-derived form stays the same.

    Args:
        objective: function of (params, x, y, key=None, weights=None).
        augmentation: f(x, *, key).
        image_shape: (h, w) or (h, w, c) of the rows of a flat x; None if x holds images.
    """

    def wrapped(params, x, y, key: Key | None = None, weights=None):
        if key is not None:
            here, key = jax.random.split(key)
            x = jnp.asarray(x)
            images = x if image_shape is None else x.reshape(len(x), *image_shape)
            x = augmentation(images, key=here).reshape(x.shape)
        return objective(params, x, y, key, weights)

    return wrapped


def _require(name: str, value, low: float, high: float = float("inf")) -> None:
    """Refuse a concrete value outside [low, high]; traced ones pass."""
    if not isinstance(value, Tracer) and not low <= value <= high:
        raise ValueError(f"Expected {name} between {low} and {high}, got {value}.")


def _images(x: Array) -> Array:
    x = jnp.asarray(x)
    if x.ndim not in (3, 4):
        raise ValueError(
            f"Expected images (m, h, w) or (m, h, w, c), got {x.shape}. Reshape rows with the data "
            "set's image_shape."
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"Expected float images, got {x.dtype}: convert with x.astype('float32').")
    return x


def _grid(x: Array) -> Array:
    """(2, h, w): the row and the column of every pixel."""
    return jnp.indices(x.shape[1:3]).astype(x.dtype)


def _turned(x: Array, angle: Array) -> Array:
    """(m, 2, h, w): the grid turned about its centre by the angles (m, 1, 1), in radians."""
    centre = (jnp.array(x.shape[1:3], x.dtype)[:, None, None] - 1) / 2
    down, across = (d[None] for d in _grid(x) - centre)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    turned = jnp.stack([cos * down - sin * across, sin * down + cos * across], axis=1)
    return turned + centre[None]


def _blur(n: int, sigma: float, dtype) -> Array:
    """(n, n) matrix that smooths a line of n pixels; its rows have sum 1."""
    distance = (jnp.arange(n)[:, None] - jnp.arange(n)[None]).astype(dtype)
    weights = jnp.exp(-((distance / sigma) ** 2) / 2)
    return weights / weights.sum(axis=1, keepdims=True)


def _warp(x: Array, coordinates: Array, fill: float) -> Array:
    """Each image read at its (2, h, w) coordinates, bilinearly; `fill` outside."""

    def read(plane: Array, at: Array) -> Array:
        return map_coordinates(plane, list(at), order=1, mode="constant", cval=fill)

    per_channel = jax.vmap(read, in_axes=(2, None), out_axes=2) if x.ndim == 4 else read
    return jax.vmap(per_channel)(x, coordinates)
