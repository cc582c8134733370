"""Factor models and mixtures: shared weights, latent variables, kernels."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import softmax
from .case import build, numpy_style

# --- matrix factorisation with biases on observed entries


def ratings_loss(p, rows, cols, value):
    guess = (p["u"][rows] * p["v"][cols]).sum(1) + p["bu"][rows] + p["mean"]
    penalty = (p["u"] ** 2).sum() + (p["v"] ** 2).sum()
    return 0.5 * ((guess - value) ** 2).mean() + 0.05 * penalty


@numpy_style
def ratings_grad(p, rows, cols, value, bug=""):
    g = {name: np.zeros_like(leaf) for name, leaf in p.items()}
    count = 1 if bug == "sum" else len(value)
    seen = len(value) - 1 if bug == "last_rating" else len(value)
    for i, j, r in zip(rows[:seen], cols[:seen], value[:seen], strict=True):
        error = (p["u"][i] @ p["v"][j] + p["bu"][i] + p["mean"] - r) / count
        other = p["u"][i] if bug == "own_factor" else p["v"][j]
        if bug == "user_overwritten":
            g["u"][i] = error * other
        else:
            g["u"][i] += error * other
        g["v"][j] += error * p["u"][i]
        g["bu"][i] += error
        g["mean"] += error
    strength = 0.1 if bug != "l2_half" else 0.05
    g["u"] += strength * p["u"]
    if bug != "no_l2_v":
        g["v"] += strength * p["v"]
    if bug == "l2_bias":
        g["bu"] += strength * p["bu"]
    return g


def ratings_draw(rng):
    p = {
        "u": rng.normal(size=(5, 3)), "v": rng.normal(size=(4, 3)), "bu": rng.normal(size=5),
        "mean": np.asarray(0.4),
    }  # fmt: skip
    return p, rng.integers(0, 5, 14), rng.integers(0, 4, 14), rng.normal(size=14)


# --- autoencoder with tied weights


def autoencoder_loss(p, x):
    h = jnp.tanh(x @ p["w"] + p["b"])
    return 0.5 * jnp.mean(jnp.sum((h @ p["w"].T + p["c"] - x) ** 2, 1))


@numpy_style
def autoencoder_grad(p, x, bug=""):
    h = np.tanh(x @ p["w"] + p["b"])
    r = (h @ p["w"].T + p["c"] - x) / len(x)
    if bug == "twice":
        r = r / len(x)
    dz = r @ p["w"]
    if bug != "no_tanh":
        dz = dz * (1 - h**2)
    decoder, encoder = r.T @ h, x.T @ dz
    if bug == "encoder_of_output":
        encoder = (h @ p["w"].T + p["c"]).T @ dz
    w = {"decoder_only": decoder, "encoder_only": encoder, "difference": decoder - encoder}
    return {"w": w.get(bug, decoder + encoder), "b": dz.sum(0), "c": r.sum(0)}


def autoencoder_draw(rng):
    p = {"w": rng.normal(size=(6, 4)) / 2, "b": rng.normal(size=4), "c": rng.normal(size=6)}
    return p, rng.normal(size=(9, 6))


# --- the same weight in three layers


def repeated_loss(w, x, y):
    h = x
    for _ in range(3):
        h = jnp.tanh(h @ w)
    return jnp.sum((h - y) ** 2) / len(x)


@numpy_style
def repeated_grad(w, x, y, bug=""):
    h = [x]
    for _ in range(3):
        h.append(np.tanh(h[-1] @ w))
    d = 2 * (h[3] - y) / len(x)
    if bug == "half":
        d = d / 2
    uses = []
    for layer in (2, 1, 0):
        dz = d * (1 - h[layer + 1] ** 2)
        uses.append((h[0] if bug == "first_input" else h[layer]).T @ dz)
        d = dz @ (w if bug == "not_transposed" else w.T)
    kept = {"top_only": uses[:1], "bottom_missing": uses[:2], "middle_missing": uses[::2]}
    return sum(kept.get(bug, uses))


def repeated_draw(rng):
    return 0.7 * rng.normal(size=(5, 5)), rng.normal(size=(8, 5)), rng.normal(size=(8, 5))


# --- Gaussian mixture, diagonal covariances


def mixture_loss(p, x):
    log_weight = jax.nn.log_softmax(p["logit"])
    s = p["log_scale"]
    z = (x[:, None] - p["mean"]) * jnp.exp(-s)
    log_density = -0.5 * (z**2).sum(2) - s.sum(1)
    return -jnp.mean(jax.nn.logsumexp(log_weight + log_density, axis=1))


@numpy_style
def mixture_grad(p, x, bug=""):
    s = p["log_scale"]
    inverse = np.exp(-s)
    z = (x[:, None] - p["mean"]) * inverse
    weight = softmax(p["logit"])
    joint = np.log(weight) - 0.5 * (z**2).sum(2) - s.sum(1)
    if bug == "uniform_prior":
        joint = joint - np.log(weight)
    post = softmax(joint)
    if bug == "hard":
        post = (joint == joint.max(1, keepdims=True)).astype(x.dtype)
    post = post / (1 if bug == "sum" else len(x))
    mean = -np.einsum("mk,mkd->kd", post, z if bug == "scale_once" else z * inverse)
    square = np.einsum("mk,mkd->kd", post, z**2)
    spread = -square if bug == "no_determinant" else post.sum(0)[:, None] - square
    logit = weight * post.sum() - post.sum(0)
    if bug == "logit_not_normalised":
        logit = -post.sum(0)
    if bug == "mean_sign":
        mean = -mean
    return {"logit": logit, "mean": mean, "log_scale": spread}


def mixture_draw(rng):
    p = {
        "logit": rng.normal(size=3),
        "mean": rng.normal(size=(3, 2)),
        "log_scale": 0.3 * rng.normal(size=(3, 2)),
    }
    return p, rng.normal(size=(13, 2))


# --- radial basis functions with learned centres and width


def rbf_loss(p, x, y):
    square = ((x[:, None] - p["centre"]) ** 2).sum(2)
    phi = jnp.exp(-square * jnp.exp(p["log_precision"]))
    return 0.5 * jnp.mean((phi @ p["w"] - y) ** 2)


@numpy_style
def rbf_grad(p, x, y, bug=""):
    gap = x[:, None] - p["centre"]
    precision = np.exp(p["log_precision"])
    square = (gap**2).sum(2)
    phi = np.exp(-square * precision)
    r = (phi @ p["w"] - y) / len(x)
    dphi = np.outer(r, p["w"])
    dsquare = -dphi * (1 if bug == "no_phi" else phi) * precision
    centre = -2 * np.einsum("mk,mkd->kd", dsquare, gap)
    if bug == "gap_sign":
        centre = -centre
    if bug == "no_two":
        centre = centre / 2
    dlog = -(dphi * phi * square).sum() * (1 if bug == "chain_forgotten" else precision)
    return {"centre": centre, "log_precision": np.asarray(dlog), "w": phi.T @ r}


def rbf_draw(rng):
    p = {
        "centre": rng.normal(size=(4, 2)),
        "log_precision": np.asarray(-0.5),
        "w": rng.normal(size=4),
    }
    return p, rng.normal(size=(10, 2)), rng.normal(size=10)


CASES = [
    *build(
        "ratings", "factors", "loops",
        loss=ratings_loss, grad=ratings_grad, draw=ratings_draw, batch=(0, 1, 2),
        bugs={
            "sum": "batch_mean_missing", "last_rating": "examples_dropped",
            "own_factor": "stale_operand",
            "user_overwritten": "examples_dropped shared_weight_missed",
            "l2_half": "l2_scaled", "no_l2_v": "l2_missing", "l2_bias": "l2_on_bias",
        },
        leaf=("entry 2",),
    ),
    *build(
        "tied-autoencoder", "factors", "numpy rows",
        loss=autoencoder_loss, grad=autoencoder_grad, draw=autoencoder_draw, batch=(0,),
        bugs={
            "twice": "batch_mean_doubled", "no_tanh": "activation_derivative_missing",
            "encoder_of_output": "stale_operand",
            "decoder_only": "shared_weight_missed path_dropped",
            "encoder_only": "shared_weight_missed path_dropped", "difference": "sign",
        },
    ),
    *build(
        "repeated-layer", "factors", "numpy rows",
        loss=repeated_loss, grad=repeated_grad, draw=repeated_draw,
        bugs={
            "half": "scale", "first_input": "stale_operand", "not_transposed": "transpose",
            "top_only": "shared_weight_missed", "bottom_missing": "shared_weight_missed",
            "middle_missing": "shared_weight_missed",
        },
        leaf=("transpose 0",),
    ),
    *build(
        "mixture", "factors", "numpy rows",
        loss=mixture_loss, grad=mixture_grad, draw=mixture_draw, batch=(0,),
        bugs={
            "uniform_prior": "unknown", "hard": "unknown", "sum": "batch_mean_missing",
            "scale_once": "unknown", "no_determinant": "path_dropped",
            "logit_not_normalised": "path_dropped", "mean_sign": "sign",
        },
    ),
    *build(
        "rbf", "factors", "numpy rows",
        loss=rbf_loss, grad=rbf_grad, draw=rbf_draw,
        bugs={
            "no_phi": "activation_derivative_missing", "gap_sign": "sign", "no_two": "scale",
            "chain_forgotten": "activation_derivative_missing unknown",
        },
    ),
]  # fmt: skip
