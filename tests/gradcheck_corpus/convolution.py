"""Convolution and pooling by hand: 1-D signals, 2-D images, strides, padding, max and average."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import softmax
from .case import build, numpy_style

# --- 1-D: correlate, relu, average over time, linear


def signal_loss(p, x, y):
    z = jax.lax.conv_general_dilated(
        x[:, None, :], p["k"], (1,), "VALID", dimension_numbers=("NCH", "OIH", "NCH")
    )
    a = jax.nn.relu(z + p["b"][:, None])
    return 0.5 * jnp.mean((a.mean(2) @ p["v"] - y) ** 2)


@numpy_style
def signal_grad(p, x, y, bug=""):
    width = p["k"].shape[2]
    m, steps = len(x), x.shape[1] - width + 1
    windows = np.stack([x[:, s : s + width] for s in range(steps)], axis=1)
    z = np.einsum("msw,ow->mos", windows, p["k"][:, 0]) + p["b"][:, None]
    a = np.maximum(z, 0)
    pooled = a.mean(2)
    r = (pooled @ p["v"] - y) / m
    if bug == "sum":
        r = r * m
    da = np.outer(r, p["v"])[:, :, None] * np.ones_like(a) / (1 if bug == "pool_sum" else steps)
    dz = da if bug == "no_relu" else da * (z > 0)
    dk = np.einsum("mos,msw->ow", dz, windows)
    if bug == "flipped":
        dk = dk[:, ::-1]
    if bug == "shifted":
        dk = np.roll(dk, 1, axis=1)
    if bug == "first_window":
        dk = np.einsum("mo,mw->ow", dz[:, :, 0], windows[:, 0])
    db = dz.sum((0, 2))
    if bug == "b_time_mean":
        db = dz.sum(0).mean(1)
    return {"k": dk[:, None], "b": db, "v": pooled.T @ r}


def signal_draw(rng):
    p = {
        "k": rng.normal(size=(4, 1, 3)),
        "b": 0.3 * rng.normal(size=4),
        "v": rng.normal(size=4),
    }
    return p, rng.normal(size=(6, 11)), rng.normal(size=6)


# --- 2-D, loops over kernel offsets, stride and padding


def image_loss(stride, pad, pool):
    def loss(p, x, label):
        layout = ("NHWC", "HWIO", "NHWC")
        z = jax.lax.conv_general_dilated(
            x, p["k"], (stride, stride), [(pad, pad)] * 2, dimension_numbers=layout
        )
        z = jnp.tanh(z + p["b"])
        if pool == "max":
            z = jax.lax.reduce_window(z, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        if pool == "mean":
            m, h, w, c = z.shape
            z = z.reshape(m, h // 2, 2, w // 2, 2, c).mean((2, 4))
        logits = z.reshape(len(x), -1) @ p["v"]
        return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(len(x)), label])

    return loss


def patches(x, k, stride, pad):
    """Padded input, and a view of it for each kernel offset."""
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    h, w = ((n - k) // stride + 1 for n in padded.shape[1:3])
    views = {
        (i, j): padded[:, i : i + stride * h : stride, j : j + stride * w : stride]
        for i in range(k)
        for j in range(k)
    }
    return views, (h, w)


def unpool(dout, a, pool, bug):
    if not pool:
        return dout
    m, h, w, c = dout.shape
    blocks = a.reshape(m, h, 2, w, 2, c)
    spread = np.broadcast_to(dout[:, :, None, :, None], blocks.shape)
    if pool == "mean":
        return (spread if bug == "pool_not_divided" else spread / 4).reshape(a.shape)
    winner = blocks == blocks.max((2, 4), keepdims=True)
    if bug == "pool_everywhere":
        winner = np.ones_like(winner)
    if bug == "pool_minimum":
        winner = blocks == blocks.min((2, 4), keepdims=True)
    return (spread * winner).reshape(a.shape)


def image_grad(stride, pad, pool):
    @numpy_style
    def grad(p, x, label, bug=""):
        k = p["k"].shape[0]
        views, _ = patches(x, k, stride, pad)
        z = sum(view @ p["k"][ij] for ij, view in views.items()) + p["b"]
        a = np.tanh(z)
        pooled = pool_forward(a, pool)
        flat = pooled.reshape(len(x), -1)
        dz = softmax(flat @ p["v"])
        dz[np.arange(len(x)), label] -= 1
        dz = dz / len(x)
        if bug == "last_image":
            dz[-1] = 0
        da = unpool((dz @ p["v"].T).reshape(pooled.shape), a, pool, bug)
        dc = da * (1 if bug == "no_tanh" else 1 - a**2)
        if bug == "padding_off":
            views, _ = patches(np.roll(x, 1, axis=1), k, stride, pad)
        if bug == "channels_mixed":
            views = {ij: view[..., ::-1] for ij, view in views.items()}
        dk = np.zeros_like(p["k"])
        for (i, j), view in views.items():
            dk[i, j] = np.einsum("mhwi,mhwo->io", view, dc)
        if bug == "rotated":
            dk = dk[::-1, ::-1]
        if bug == "kernel_transposed":
            dk = dk.swapaxes(0, 1)
        db = dc.mean((0, 1, 2)) if bug == "b_mean" else dc.sum((0, 1, 2))
        return {"k": dk, "b": db, "v": flat.T @ dz}

    return grad


def pool_forward(a, pool):
    if not pool:
        return a
    m, h, w, c = a.shape
    blocks = a.reshape(m, h // 2, 2, w // 2, 2, c)
    return blocks.max((2, 4)) if pool == "max" else blocks.mean((2, 4))


def image_draw(size, stride, pad, pool):
    def draw(rng):
        out = (size + 2 * pad - 3) // stride + 1
        out = out // 2 if pool else out
        p = {
            "k": 0.5 * rng.normal(size=(3, 3, 2, 4)),
            "b": 0.3 * rng.normal(size=4),
            "v": rng.normal(size=(out * out * 4, 3)) / 3,
        }
        return p, rng.normal(size=(5, size, size, 2)), rng.integers(0, 3, 5)

    return draw


IMAGE_WORDS = {
    "last_image": "examples_dropped",
    "no_tanh": "activation_derivative_missing",
    "padding_off": "padding_or_stride_shift",
    # Of two channels: to read them in reverse is to flip the kernel along them.
    "channels_mixed": "unknown stale_operand conv_flip",
    "rotated": "conv_flip",
    "kernel_transposed": "transpose",
    "b_mean": "bias_reduction_wrong",
    "pool_not_divided": "scale unknown",
    "pool_everywhere": "unknown relu_mask_wrong activation_derivative_missing",
    "pool_minimum": "unknown relu_mask_wrong activation_derivative_wrong",
}


def image(name, size, stride, pad, pool, bugs, leaf=()):
    return build(
        name, "convolution", "numpy loops",
        loss=image_loss(stride, pad, pool), grad=image_grad(stride, pad, pool),
        draw=image_draw(size, stride, pad, pool),
        bugs={bug: IMAGE_WORDS[bug] for bug in bugs.split()}, leaf=leaf,
    )  # fmt: skip


# --- two convolutions: the gradient with respect to the inner image needs the kernel flipped


def double_loss(p, x):
    z = jnp.stack([jnp.convolve(row, p["first"], mode="valid") for row in x])
    z = jnp.tanh(z)
    z = jnp.stack([jnp.convolve(row, p["second"], mode="valid") for row in z])
    return 0.5 * jnp.mean(jnp.sum(z**2, 1))


@numpy_style
def double_grad(p, x, bug=""):
    g = {"first": np.zeros_like(p["first"]), "second": np.zeros_like(p["second"])}
    for row in x:
        a = np.tanh(np.convolve(row, p["first"], mode="valid"))
        dz = np.convolve(a, p["second"], mode="valid") / len(x)
        g["second"] += np.correlate(a, dz, mode="valid")[::-1]
        kernel = p["second"] if bug == "inner_flip" else p["second"][::-1]
        da = np.convolve(dz, kernel, mode="full")
        if bug == "inner_shift":
            da = np.roll(da, 1)
        dc = da * (1 - a**2)
        part = np.correlate(row, dc, mode="valid")
        g["first"] += part if bug == "outer_flip" else part[::-1]
    return g


def double_draw(rng):
    return {"first": rng.normal(size=4), "second": rng.normal(size=3)}, rng.normal(size=(7, 12))


CASES = [
    *build(
        "signal", "convolution", "einsum",
        loss=signal_loss, grad=signal_grad, draw=signal_draw,
        bugs={
            "sum": "batch_mean_missing", "pool_sum": "scale",
            "no_relu": "activation_derivative_missing relu_mask_wrong", "flipped": "conv_flip",
            "shifted": "padding_or_stride_shift",
            "first_window": "shared_weight_missed timesteps_truncated",
            "b_time_mean": "bias_reduction_wrong scale",
        },
        leaf=("zero 0",),
    ),
    *image("image-valid", 6, 1, 0, "max", "last_image no_tanh rotated pool_everywhere b_mean"),
    *image("image-same", 6, 1, 1, "mean", "padding_off kernel_transposed pool_not_divided"),
    *image("image-strided", 7, 2, 1, "", "rotated channels_mixed padding_off", ("entry 1",)),
    *image("image-max", 5, 1, 1, "", "last_image rotated", ("double 1",)),
    *image("image-pool-min", 8, 1, 0, "max", "pool_minimum"),
    *build(
        "two-convolutions", "convolution", "loops",
        loss=double_loss, grad=double_grad, draw=double_draw, batch=(0,),
        bugs={
            "inner_flip": "conv_flip", "outer_flip": "conv_flip",
            "inner_shift": "padding_or_stride_shift",
        },
    ),
]  # fmt: skip
