"""Linear models and generalised linear models: per-example loops, columns, and array code."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import sigmoid, softmax
from .case import build, numpy_style

# --- linear regression, examples in rows, ridge


def ridge_loss(params, x, y):
    m = len(x)
    error = x @ params["w"] + params["b"] - y
    return (error**2).sum() / (2 * m) + 0.6 / (2 * m) * (params["w"] ** 2).sum()


@numpy_style
def ridge_grad(params, x, y, bug=""):
    m = len(x)
    error = x @ params["w"] + params["b"] - y
    if bug == "half":
        error = error / 2
    if bug == "sign":
        error = -error
    scale = {"sum": 1, "twice": m * m}.get(bug, m)
    lam = {"no_l2": 0, "l2_double": 1.2, "l2_no_m": 0.6 * m}.get(bug, 0.6)
    dw = x.T @ error / scale + lam / m * params["w"]
    db = error.sum() / scale + (0.6 / m * params["b"] if bug == "l2_bias" else 0)
    return {"w": dw, "b": np.asarray(db, x.dtype)}


def ridge_draw(rng):
    return {"w": rng.normal(size=5), "b": np.asarray(rng.normal())}, *pairs(rng, 9, 5)


def pairs(rng, m, n):
    return rng.normal(size=(m, n)), rng.normal(size=m)


# --- logistic regression, one example at a time


def logistic_loss(params, x, y):
    z = x @ params[0] + params[1]
    return jnp.mean(jnp.log1p(jnp.exp(-abs(z))) + jnp.maximum(z, 0) - y * z)


@numpy_style
def logistic_loop(params, x, y, bug=""):
    w, b = params
    dw, db = np.zeros_like(w), np.zeros_like(b)
    m = len(x)
    for i in range(m - 1 if bug == "last" else m):
        a = sigmoid(np.dot(w, x[i]) + b)
        dz = a - y[i]
        if bug == "derivative":
            dz = dz * a * (1 - a)
        dw = dz * x[i] if bug == "assign" else dw + dz * x[i]
        db = db + dz
    if bug == "sum":
        return dw, db
    if bug == "bias_sum":
        return dw / m, db
    if bug == "twice":
        return dw / m / m, db / m / m
    return dw / m, db / m


def logistic_draw(rng):
    x, _ = pairs(rng, 8, 5)
    return (rng.normal(size=5), np.asarray(rng.normal())), x, rng.integers(0, 2, 8).astype(float)


# --- softmax regression, examples in columns: W (K, n), X (n, m), Y one-hot (K, m)


def softmax_columns_loss(params, X, Y):
    z = params["W"] @ X + params["b"]
    m = X.shape[1]
    data = -(Y * jax.nn.log_softmax(z, axis=0)).sum() / m
    return data + 0.8 / (2 * m) * (params["W"] ** 2).sum()


@numpy_style
def softmax_columns_grad(params, X, Y, bug=""):
    W, b = params["W"], params["b"]
    m = X.shape[1]
    P = softmax(W @ X + b, axis=1 if bug == "axis" else 0)
    dZ = P - Y
    if bug == "sign":
        dZ = Y - P
    if bug == "product":
        dZ = (P - Y) * P * (1 - P)
    dW = dZ @ X.T / m
    db = dZ.sum(axis=1, keepdims=True) / m
    if bug == "no_keepdims":
        db = np.full_like(b, dZ.sum() / m)
    if bug == "sum":
        dW, db = dW * m, db * m
    if bug != "no_l2":
        dW = dW + (1.6 if bug == "l2_double" else 0.8) / m * W
    return {"W": dW, "b": db}


def softmax_columns_draw(rng):
    X = rng.normal(size=(6, 13))
    Y = np.eye(4)[rng.integers(0, 4, 13)].T
    return {"W": rng.normal(size=(4, 6)), "b": rng.normal(size=(4, 1))}, X, Y


# --- squared error on softmax probabilities: the whole Jacobian matters


def brier_loss(w, x, y):
    return ((jax.nn.softmax(x @ w) - y) ** 2).sum() / len(x)


@numpy_style
def brier_grad(w, x, y, bug=""):
    p = softmax(x @ w)
    dp = 2 * (p - y) / len(x)
    if bug == "half":
        dp = dp / 2
    if bug == "diagonal":
        return x.T @ (dp * p * (1 - p))
    if bug == "no_jacobian":
        return x.T @ dp
    if bug == "first_term":
        return x.T @ (dp * p)
    return x.T @ (p * (dp - (dp * p).sum(1, keepdims=True)))


def brier_draw(rng):
    return rng.normal(size=(5, 4)), rng.normal(size=(11, 5)), np.eye(4)[rng.integers(0, 4, 11)]


# --- the same Jacobian, one example at a time, as a matrix


@numpy_style
def brier_loop(w, x, y, bug=""):
    dw = np.zeros_like(w)
    for xi, yi in zip(x, y, strict=True):
        p = softmax(xi @ w)
        jacobian = np.diag(p) - np.outer(p, p)
        if bug == "diagonal":
            jacobian = np.diag(np.diag(jacobian))
        dw += np.outer(xi, jacobian @ (2 * (p - yi)))
    return dw / (1 if bug == "sum" else len(x))


# --- Poisson regression in jax.numpy, log link, an offset


def poisson_loss(beta, x, counts, offset):
    eta = x @ beta["slope"] + beta["intercept"] + offset
    return jnp.mean(jnp.exp(eta) - counts * eta)


def poisson_grad(beta, x, counts, offset, bug=""):
    eta = x @ beta["slope"] + beta["intercept"] + (0 if bug == "offset" else offset)
    rate = jnp.exp(eta)
    residual = rate - counts
    if bug == "sign":
        residual = counts - rate
    if bug == "link":
        residual = rate * (rate - counts)
    if bug == "no_exp":
        residual = eta - counts
    n = 1 if bug == "sum" else len(x)
    return {"intercept": residual.sum() / n, "slope": jnp.einsum("mn,m->n", x, residual) / n}


def poisson_draw(rng):
    x = 0.5 * rng.normal(size=(10, 4))
    beta = {"slope": rng.normal(size=4), "intercept": np.asarray(0.3)}
    return beta, x, rng.poisson(2.0, 10).astype(float), 0.3 * rng.normal(size=10)


# --- linear SVM: hinge and squared hinge


def hinge_loss(w, x, y):
    return 0.5 * 0.1 * w @ w + jnp.maximum(0, 1 - y * (x @ w)).mean()


@numpy_style
def hinge_grad(w, x, y, bug=""):
    margin = y * (x @ w)
    active = margin < 1
    if bug == "mask":
        active = margin > 1
    if bug == "no_mask":
        active = np.ones_like(active)
    coefficient = np.where(active, -y, 0).astype(x.dtype)
    penalty = {"no_l2": 0, "l2_double": 2}.get(bug, 1) * 0.1 * w
    return penalty + coefficient @ x / (1 if bug == "sum" else len(x))


def hinge_draw(rng):
    return rng.normal(size=6), rng.normal(size=(14, 6)), rng.choice([-1.0, 1.0], 14)


# --- Huber regression with a clip


def huber_loss(w, x, y, delta):
    r = abs(x @ w - y)
    return jnp.where(r <= delta, 0.5 * r**2, delta * (r - 0.5 * delta)).mean()


@numpy_style
def huber_grad(w, x, y, delta, bug=""):
    r = x @ w - y
    g = np.clip(r, -delta, delta)
    if bug == "no_clip":
        g = r
    if bug == "unit_clip":
        g = np.clip(r, -1, 1)
    return g @ x / (len(x) ** 2 if bug == "twice" else len(x))


def huber_draw(rng):
    return rng.normal(size=5), *pairs(rng, 12, 5), np.asarray(0.7)


# --- cross entropy on clipped probabilities


def clipped_loss(w, x, y):
    p = jnp.clip(jax.nn.sigmoid(x @ w), 0.1, 0.9)
    return -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


@numpy_style
def clipped_grad(w, x, y, bug=""):
    s = sigmoid(x @ w)
    p = np.clip(s, 0.1, 0.9)
    inside = ((s > 0.1) & (s < 0.9)).astype(x.dtype)
    if bug == "ignored":
        return x.T @ (s - y) / len(x)
    if bug == "straight_through":
        inside = np.ones_like(inside)
    dp = (p - y) / (p * (1 - p))
    return x.T @ (dp * inside * s * (1 - s)) / len(x)


def clipped_draw(rng):
    return 1.5 * rng.normal(size=5), rng.normal(size=(12, 5)), rng.integers(0, 2, 12).astype(float)


CASES = [
    *build(
        "ridge", "linear models", "numpy rows",
        loss=ridge_loss, grad=ridge_grad, draw=ridge_draw,
        bugs={
            "half": "scale", "sign": "sign", "sum": "batch_mean_missing",
            "twice": "batch_mean_doubled", "no_l2": "l2_missing", "l2_double": "l2_scaled",
            "l2_no_m": "l2_scaled", "l2_bias": "l2_on_bias",
        },
    ),
    *build(
        "logistic", "linear models", "loops",
        loss=logistic_loss, grad=logistic_loop, draw=logistic_draw,
        bugs={
            "last": "examples_dropped", "derivative": "activation_derivative_wrong unknown",
            "assign": "examples_dropped",
            "sum": "batch_mean_missing", "bias_sum": "batch_mean_missing",
            "twice": "batch_mean_doubled",
        },
        leaf=("zero 1",),
    ),
    *build(
        "softmax", "linear models", "columns",
        loss=softmax_columns_loss, grad=softmax_columns_grad, draw=softmax_columns_draw, axis=1,
        bugs={
            "axis": "unknown", "sign": "sign",
            "product": "activation_derivative_wrong unknown",
            "no_keepdims": "bias_reduction_wrong", "sum": "batch_mean_missing",
            "no_l2": "l2_missing", "l2_double": "l2_scaled",
        },
    ),
    *build(
        "brier", "linear models", "numpy rows",
        loss=brier_loss, grad=brier_grad, draw=brier_draw,
        bugs={
            "half": "scale", "diagonal": "softmax_jacobian_diagonal",
            "no_jacobian": "activation_derivative_missing", "first_term": "unknown",
        },
    ),
    *build(
        "brier-loop", "linear models", "loops",
        loss=brier_loss, grad=brier_loop, draw=brier_draw,
        bugs={"diagonal": "softmax_jacobian_diagonal", "sum": "batch_mean_missing"},
    ),
    *build(
        "poisson", "linear models", "jax",
        loss=poisson_loss, grad=poisson_grad, draw=poisson_draw, batch=(0, 1, 2),
        bugs={
            "offset": "activation_derivative_wrong stale_operand unknown", "sign": "sign",
            "link": "activation_derivative_wrong unknown",
            "no_exp": "unknown", "sum": "batch_mean_missing",
        },
        leaf=("entry 1",),
    ),
    *build(
        "svm", "linear models", "numpy rows",
        loss=hinge_loss, grad=hinge_grad, draw=hinge_draw,
        bugs={
            "mask": "relu_mask_wrong", "no_mask": "activation_derivative_missing relu_mask_wrong",
            "no_l2": "l2_missing", "l2_double": "l2_scaled", "sum": "batch_mean_missing",
        },
    ),
    *build(
        "huber", "linear models", "numpy rows",
        loss=huber_loss, grad=huber_grad, draw=huber_draw,
        bugs={
            "no_clip": "clip_or_eps_ignored",
            "unit_clip": "unknown clip_or_eps_ignored activation_derivative_wrong",
            "twice": "batch_mean_doubled",
        },
    ),
    *build(
        "clipped-bce", "linear models", "numpy rows",
        loss=clipped_loss, grad=clipped_grad, draw=clipped_draw,
        bugs={
            "ignored": "clip_or_eps_ignored",
            "straight_through": "clip_or_eps_ignored activation_derivative_missing",
        },
        leaf=("row 0",),
    ),
]  # fmt: skip
