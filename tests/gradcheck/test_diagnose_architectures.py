"""Bugs in recurrent, convolutional, normalising and attending networks, each named.

Each network is a loss; its wrong gradients are true gradients of a loss with one path cut or
one part replaced (`stop_gradient` and the like), which no tape of the loss itself contains.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck.replay.backward import sweep
from jaxdl.gradcheck.replay.trace import trace
from tests.compiling import once
from tests.gradcheck.diagnosis import causes

stop = jax.lax.stop_gradient


def recurrent(p, x, y, bug=""):
    def step(h, xt):
        before = stop(h) if bug == "carry" else h
        w = p["w"]
        z = xt @ p["u"] + before @ (w.T + stop(w - w.T) if bug == "transposed" else w)
        h = jnp.tanh(z)
        if bug == "slope":
            h = stop(h) + z - stop(z)
        if bug == "at_output":
            h = stop(h) + stop(1 - jnp.tanh(jnp.tanh(z)) ** 2) * (z - stop(z))
        return h, None

    h, _ = jax.lax.scan(step, jnp.zeros((x.shape[0], p["w"].shape[0])), x.swapaxes(0, 1))
    out = jnp.sum((h @ p["v"] - y) ** 2) / x.shape[0]
    return out * x.shape[0] + stop(out * (1 - x.shape[0])) if bug == "summed" else out


def covariances(p, x, y, bug=""):
    """The spread of a linear system; what it starts from is used once, what follows twice."""
    spread, total = jnp.diag(jnp.exp(p["start"])), 0.0
    for t in range(len(x)):
        before = stop(spread) if bug == "spread" else spread
        spread = p["a"] @ before @ p["a"].T + jnp.diag(jnp.exp(p["noise"]))
        seen = x[t] @ spread @ x[t]
        total = total + y[t] ** 2 / seen + jnp.log(seen)
    return total


def convolution(p, x, y, bug=""):
    numbers = ("NHWC", "HWIO", "NHWC")
    z = jax.lax.conv_general_dilated(x, p["k"], (1, 1), "SAME", dimension_numbers=numbers)
    z = z + p["b"][None, None, None, :]
    a = jax.nn.relu(z)
    if bug == "relu":
        a = stop(a) + z - stop(z)
    if bug == "leaky":
        a = stop(a) + jnp.where(z > 0, 1, 0.1) * z - stop(jnp.where(z > 0, 1, 0.1) * z)
    pooled = jax.lax.reduce_window(a, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    flat = pooled.reshape(x.shape[0], -1)
    return jnp.mean(jnp.sum((flat @ p["w"] - y) ** 2, axis=1))


def normalised(p, x, y, bug=""):
    z = x @ p["w"]
    mean = z.mean(axis=1, keepdims=True)
    variance = jnp.mean((z - mean) ** 2, axis=1, keepdims=True)
    if bug in ("mean", "both"):
        mean = stop(mean)
    if bug in ("variance", "both"):
        variance = stop(variance)
    hat = (z - mean) / jnp.sqrt(variance + 1e-3)
    shown = stop(z) + hat - stop(hat) if bug == "gain_of_z" else hat
    gained = hat * p["g"][None, :]
    if bug == "gain_of_z":
        gained = stop(shown) * p["g"][None, :] + hat * stop(p["g"])[None, :]
        gained = gained - stop(gained) + stop(hat * p["g"][None, :])
    return jnp.mean(jnp.sum((jnp.tanh(gained + p["b"][None, :]) - y) ** 2, axis=1))


def attention(p, x, y, bug=""):
    q, k, v = x @ p["q"], x @ p["k"], x @ p["v"]
    q = stop(q) if bug == "query" else q
    scores = q @ k.swapaxes(1, 2)
    root = jnp.sqrt(jnp.asarray(q.shape[-1], x.dtype))
    scaled = stop(scores / root) + (scores - stop(scores)) if bug == "unscaled" else scores / root
    shares = jax.nn.softmax(scaled, axis=-1)
    if bug == "diagonal":
        shares = stop(shares) + stop(shares * (1 - shares)) * (scaled - stop(scaled))
    return jnp.mean(jnp.sum((shares @ v - y) ** 2, axis=(1, 2)))


def masked(p, x, y, bug=""):
    """Causal attention: the scaling lies between the product and a mask that is fixed."""
    scores = (x @ p["q"]) @ (x @ p["k"]).swapaxes(1, 2)
    root = jnp.sqrt(jnp.asarray(p["q"].shape[-1], x.dtype))
    scaled = stop(scores / root) + (scores - stop(scores)) if bug == "unscaled" else scores / root
    before = jnp.tril(jnp.ones(scores.shape[1:], bool))
    shares = jax.nn.softmax(jnp.where(before, scaled, -1e9), axis=-1)
    return jnp.mean(jnp.sum((shares @ (x @ p["v"]) - y) ** 2, axis=(1, 2)))


def two_convolutions(p, x, y, bug=""):
    def conv(x, k, padding=((1, 1), (1, 1))):
        return jax.lax.conv_general_dilated(x, k, (1, 1), padding)

    a = jnp.tanh(conv(x, p["k"]))
    z = conv(stop(a) if bug == "crop" else a, p["l"])
    if bug == "crop":  # the way back to a cuts the padded gradient from its corner
        other = conv(a, stop(p["l"]), ((0, 2), (0, 2)))
        z = z + other - stop(other)
    return jnp.mean(jnp.sum((z - y) ** 2, axis=(1, 2, 3)))


def exposed(p, x, y, bug=""):
    """Poisson regression; the number of trials of each row is data."""
    rate = jnp.exp(x[:, 1:] @ p["w"] + p["b"])
    mean = x[:, 0] * rate
    terms, plain = mean - y * jnp.log(mean), rate - y * jnp.log(rate)
    return jnp.mean(stop(terms) + plain - stop(plain) if bug == "unexposed" else terms)


def draws():
    rng = np.random.default_rng(1)
    n = rng.normal

    def parameters(**shapes):
        return {name: 0.6 * n(size=shape) for name, shape in shapes.items()}

    return {
        recurrent: (parameters(u=(3, 4), w=(4, 4), v=(4, 2)), n(size=(7, 5, 3)), n(size=(7, 2))),
        covariances: (parameters(a=(3, 3), start=3, noise=3), n(size=(4, 3)), n(size=4)),
        convolution: (
            parameters(k=(3, 3, 1, 2), b=2, w=(8, 2)), n(size=(5, 4, 4, 1)), n(size=(5, 2)),
        ),
        normalised: (parameters(w=(3, 6), g=6, b=6), n(size=(7, 3)), n(size=(7, 6))),
        attention: (
            parameters(q=(3, 4), k=(3, 4), v=(3, 2)), n(size=(7, 5, 3)), n(size=(7, 5, 2)),
        ),
        masked: (
            parameters(q=(3, 3), k=(3, 3), v=(3, 2)), n(size=(5, 4, 3)), n(size=(5, 4, 2)),
        ),
        two_convolutions: (
            parameters(k=(2, 1, 3, 3), l=(1, 2, 3, 3)), n(size=(5, 1, 4, 4)), n(size=(5, 1, 4, 4)),
        ),
        exposed: (parameters(w=2, b=()), 1.5 + rng.random((7, 3)), n(size=7)),
    }  # fmt: skip


DRAWS = draws()


def flipped(g):
    return g | {"k": g["k"][::-1, ::-1]}


def shifted(g):
    return g | {"k": np.roll(g["k"], 1, axis=0)}


def averaged(g):
    return g | {"b": g["b"] / 16}


TABLE = [
    (recurrent, "carry", None, "timesteps_truncated"),
    (recurrent, "transposed", None, "transpose"),
    (recurrent, "slope", None, "activation_derivative_missing"),
    (recurrent, "at_output", None, "activation_derivative_wrong"),
    (recurrent, "summed", None, "batch_mean_missing"),
    (covariances, "spread", None, "path_dropped"),
    (convolution, "relu", None, "activation_derivative_missing"),
    (convolution, "leaky", None, "activation_derivative_wrong"),
    (convolution, "", flipped, "conv_flip"),
    (convolution, "", shifted, "padding_or_stride_shift"),
    (convolution, "", averaged, "bias_reduction_wrong"),
    (normalised, "mean", None, "path_dropped"),
    (normalised, "variance", None, "path_dropped"),
    (normalised, "both", None, "path_dropped"),
    (normalised, "gain_of_z", None, "stale_operand"),
    (attention, "query", None, "zero_leaf"),
    (attention, "unscaled", None, "scale"),
    (attention, "diagonal", None, "softmax_jacobian_diagonal"),
    (masked, "unscaled", None, "scale"),
    (two_convolutions, "crop", None, "padding_or_stride_shift"),
    (exposed, "unexposed", None, "unknown"),
]


@pytest.mark.parametrize("loss, bug, change, cause", TABLE)
def test_the_bug_is_named(loss, bug, change, cause):
    params, *args = DRAWS[loss]
    derivative = once(jax.grad(lambda *a: loss(*a, bug=bug)))

    def grad(*a):
        g = jax.tree.map(np.asarray, derivative(*a))
        return g if change is None else change(g)

    batch = None if loss is covariances else (0, 1)
    assert causes(loss, grad, params, args, batch=batch) == [cause]


@pytest.mark.parametrize("loss", DRAWS)
def test_the_tape_gives_the_gradient_of_jax(loss):
    params, *args = DRAWS[loss]
    with jax.enable_x64(True):
        expected = jax.tree.leaves(once(jax.grad(loss))(params, *args))
        expected = [np.asarray(g) for g in expected]
    for ours, theirs in zip(sweep(trace(loss, params, tuple(args))).grads(), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * max(1, np.abs(theirs).max()))
