"""Batch normalisation (training mode) and layer normalisation, with the layers around them."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import sigmoid
from .case import build, numpy_style

EPS = 1e-3


# --- batch norm between two dense layers


def batch_norm_loss(p, x, y):
    z = x @ p["w"]
    h = (z - z.mean(0)) / jnp.sqrt(z.var(0) + EPS)
    a = jax.nn.relu(p["gamma"] * h + p["beta"])
    return 0.5 * jnp.mean((a @ p["v"] - y) ** 2)


@numpy_style
def batch_norm_grad(p, x, y, bug=""):
    m = len(x)
    z = x @ p["w"]
    centred, root = z - z.mean(0), np.sqrt(z.var(0) + x.dtype.type(EPS))
    h = centred / root
    s = p["gamma"] * h + p["beta"]
    a = np.maximum(s, 0)
    r = (a @ p["v"] - y) / (1 if bug == "sum" else m)
    ds = np.outer(r, p["v"])
    ds = ds if bug == "no_relu" else ds * (s > 0)
    dh = ds if bug == "gamma_forgotten" else ds * p["gamma"]
    dz = batch_norm_backward(dh, h, centred, root, bug)
    return {
        "w": x.T @ dz,
        "gamma": (ds * (z if bug == "raw_input" else h)).sum(0),
        "beta": ds.mean(0) if bug == "beta_mean" else ds.sum(0),
        "v": a.T @ r,
    }


def batch_norm_backward(dh, h, centred, root, bug):
    if bug == "no_statistics":
        return dh / root
    if bug == "no_mean":
        return (dh - h * (dh * h).mean(0)) / root
    if bug == "no_variance":
        return (dh - dh.mean(0)) / root
    if bug == "eps_ignored":
        root = np.sqrt(root**2 - dh.dtype.type(EPS))
        h = centred / root
    return (dh - dh.mean(0) - h * (dh * h).mean(0)) / root


def batch_norm_draw(rng):
    p = {
        "w": rng.normal(size=(4, 6)),
        "gamma": 1 + 0.3 * rng.normal(size=6),
        "beta": 0.5 * rng.normal(size=6),
        "v": rng.normal(size=6),
    }
    return p, rng.normal(size=(11, 4)), rng.normal(size=11)


# --- batch norm step by step, as in course notes, bias before it


def staged_loss(p, x, y):
    z = x @ p["w"] + p["b"]
    mu = z.sum(0) / len(z)
    var = ((z - mu) ** 2).sum(0) / len(z)
    out = p["gamma"] * (z - mu) * (var + EPS) ** -0.5 + p["beta"]
    return ((jnp.tanh(out) - y) ** 2).sum() / len(x)


@numpy_style
def staged_grad(p, x, y, bug=""):
    n = len(x)
    z = x @ p["w"] + p["b"]
    centred = z - z.sum(0) / n
    var = (centred**2).sum(0) / n
    inverse = (var + x.dtype.type(EPS)) ** -0.5
    hat = centred * inverse
    t = np.tanh(p["gamma"] * hat + p["beta"])
    dout = 2 * (t - y) / n * (1 - t if bug == "tanh_slope" else 1 - t**2)
    dhat = dout * p["gamma"]
    dinverse = (dhat * centred).sum(0)
    power = -0.5 if bug == "variance_power" else -1.5
    dvar = dinverse * -0.5 * (var + x.dtype.type(EPS)) ** power
    dcentred = dhat * inverse
    if bug != "variance_forgotten":
        dcentred = dcentred + (1 if bug == "variance_half" else 2) * centred * dvar / n
    dz = dcentred if bug == "mean_forgotten" else dcentred - dcentred.sum(0) / n
    db = np.zeros_like(p["b"])  # the mean takes any shift out again
    if bug == "b_shifts":
        db = dhat.sum(0) * inverse
    dgamma = (dout * hat).sum(0)
    return {"w": x.T @ dz, "b": db, "gamma": dgamma, "beta": dout.sum(0)}


def staged_draw(rng):
    p = {
        "w": rng.normal(size=(5, 3)), "b": rng.normal(size=3),
        "gamma": 1 + 0.3 * rng.normal(size=3), "beta": 0.5 * rng.normal(size=3),
    }  # fmt: skip
    return p, rng.normal(size=(8, 5)), rng.normal(size=(8, 3))


# --- layer norm, gain and shift, then a logistic unit


def layer_norm_loss(p, x, y):
    mu = x @ p["w"]
    h = mu - mu.mean(-1, keepdims=True)
    h = h / jnp.sqrt((h**2).mean(-1, keepdims=True) + EPS)
    score = (h * p["gain"] + p["shift"]) @ p["v"]
    return jnp.mean(jax.nn.softplus(score) - y * score)


@numpy_style
def layer_norm_grad(p, x, y, bug=""):
    z = x @ p["w"]
    centred = z - z.mean(1, keepdims=True)
    root = np.sqrt((centred**2).mean(1, keepdims=True) + x.dtype.type(EPS))
    h = centred / root
    out = h * p["gain"] + p["shift"]
    r = (sigmoid(out @ p["v"]) - y) / (len(x) ** (2 if bug == "twice" else 1))
    if bug == "last":
        r[-1] = 0
    dout = np.outer(r, p["v"])
    dh = dout * p["gain"]
    axis = 0 if bug == "batch_axis" else 1
    mean_path = dh.mean(axis, keepdims=True)
    variance_path = h * (dh * h).mean(axis, keepdims=True)
    if bug == "no_mean":
        mean_path = 0
    if bug == "no_variance":
        variance_path = 0
    dz = (dh - mean_path - variance_path) / root
    gain = (dout * h).mean(0) if bug == "gain_mean" else (dout * h).sum(0)
    return {"w": x.T @ dz, "gain": gain, "shift": dout.sum(0), "v": out.T @ r}


def layer_norm_draw(rng):
    p = {
        "w": rng.normal(size=(4, 5)),
        "gain": 1 + 0.3 * rng.normal(size=5),
        "shift": 0.4 * rng.normal(size=5),
        "v": rng.normal(size=5),
    }
    return p, rng.normal(size=(9, 4)), rng.integers(0, 2, 9).astype(float)


# --- rows scaled to unit length (cosine similarity)


def cosine_loss(w, x, y):
    z = x @ w
    unit = z / jnp.linalg.norm(z, axis=1, keepdims=True)
    return 1 - jnp.mean(jnp.sum(unit * y, 1))


def cosine_grad(w, x, y, bug=""):
    z = x @ w
    length = jnp.sqrt(jnp.sum(z**2, 1, keepdims=True))
    unit = z / length
    dunit = -y / len(x)
    projected = dunit - unit * jnp.sum(dunit * unit, 1, keepdims=True)
    if bug == "not_projected":
        projected = dunit
    if bug == "sign":
        projected = -projected
    return x.T @ (projected if bug == "not_divided" else projected / length)


def cosine_draw(rng):
    y = rng.normal(size=(10, 3))
    return rng.normal(size=(5, 3)), rng.normal(size=(10, 5)), y / np.linalg.norm(y, axis=1)[:, None]


CASES = [
    *build(
        "batch-norm", "normalisation", "numpy rows",
        loss=batch_norm_loss, grad=batch_norm_grad, draw=batch_norm_draw,
        bugs={
            "sum": "batch_mean_missing",
            "no_relu": "activation_derivative_missing relu_mask_wrong",
            "gamma_forgotten": "unknown activation_derivative_missing",
            "raw_input": "stale_operand",
            "beta_mean": "bias_reduction_wrong batch_mean_doubled",
            "no_statistics": "path_dropped", "no_mean": "path_dropped",
            "no_variance": "path_dropped", "eps_ignored": "clip_or_eps_ignored",
        },
    ),
    *build(
        "batch-norm-staged", "normalisation", "numpy rows",
        loss=staged_loss, grad=staged_grad, draw=staged_draw,
        bugs={
            "tanh_slope": "activation_derivative_wrong",
            "variance_power": "unknown activation_derivative_wrong",
            "variance_forgotten": "path_dropped", "variance_half": "scale unknown",
            "mean_forgotten": "path_dropped", "b_shifts": "path_dropped unknown",
        },
        leaf=("swap 0 2",),
    ),
    *build(
        "layer-norm", "normalisation", "numpy rows",
        loss=layer_norm_loss, grad=layer_norm_grad, draw=layer_norm_draw,
        bugs={
            "twice": "batch_mean_doubled", "last": "examples_dropped", "batch_axis": "unknown",
            "no_mean": "path_dropped", "no_variance": "path_dropped",
            "gain_mean": "bias_reduction_wrong batch_mean_doubled",
        },
        leaf=("double 1",),
    ),
    *build(
        "cosine", "normalisation", "jax",
        loss=cosine_loss, grad=cosine_grad, draw=cosine_draw,
        bugs={
            "not_projected": "path_dropped", "sign": "sign",
            "not_divided": "unknown activation_derivative_missing",
        },
    ),
]  # fmt: skip
