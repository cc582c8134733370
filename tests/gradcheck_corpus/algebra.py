"""Losses of linear algebra: determinants, solves, quadratic forms, traces, Gaussian processes."""

import jax.numpy as jnp
import numpy as np

from .case import build, numpy_style

# --- quadratic form with a matrix that need not be symmetric


def quadratic_loss(p):
    return p["x"] @ p["A"] @ p["x"] - p["b"] @ p["x"]


@numpy_style
def quadratic_grad(p, bug=""):
    A, x, b = p["A"], p["x"], p["b"]
    dx = {"one_side": A @ x, "other_side": A.T @ x, "twice_A": 2 * A @ x}.get(bug, (A + A.T) @ x)
    return {
        "A": np.outer(x, x),
        "x": dx + b if bug == "b_sign" else dx - b,
        "b": x if bug == "b_leaf_sign" else -x,
    }


def quadratic_draw(rng):
    return ({"A": rng.normal(size=(4, 4)), "x": rng.normal(size=4), "b": rng.normal(size=4)},)


# --- log-determinant of A Aᵀ + I


def logdet_loss(A, weight):
    return weight * jnp.linalg.slogdet(A @ A.T + jnp.eye(len(A), dtype=A.dtype))[1] + jnp.sum(A**2)


@numpy_style
def logdet_grad(A, weight, bug=""):
    inverse = np.linalg.inv(A @ A.T + np.eye(len(A), dtype=A.dtype))
    factor = 1 if bug == "one_factor" else 2
    main = factor * weight * (A if bug == "no_inverse" else inverse @ A)
    if bug == "inverse_transposed_A":
        main = factor * weight * inverse @ A.T
    if bug == "no_logdet":
        main = 0 * main
    return main + (A if bug == "half_norm" else 2 * A)


def logdet_draw(rng):
    return rng.normal(size=(4, 4)), np.asarray(1.7)


# --- a linear system inside the loss


def solve_loss(p, target):
    x = jnp.linalg.solve(p["A"], p["b"])
    return 0.5 * jnp.sum((x - target) ** 2)


@numpy_style
def solve_grad(p, target, bug=""):
    x = np.linalg.solve(p["A"], p["b"])
    adjoint = np.linalg.solve(p["A"] if bug == "no_transpose" else p["A"].T, x - target)
    dA = -np.outer(adjoint, x)
    if bug == "A_sign":
        dA = -dA
    if bug == "A_transposed":
        dA = dA.T
    if bug == "A_forgotten":
        dA = 0 * dA
    return {"A": dA, "b": adjoint}


def solve_draw(rng):
    return {"A": 3 * np.eye(4) + rng.normal(size=(4, 4)), "b": rng.normal(size=4)}, rng.normal(
        size=4
    )


# --- trace of a product, and Frobenius distance


def trace_loss(p, B):
    return jnp.trace(p["X"] @ B @ p["Y"]) + 0.5 * jnp.sum((p["X"] - p["Y"].T) ** 2)


def trace_grad(p, B, bug=""):
    X, Y = p["X"], p["Y"]
    gap = X - Y.T
    dX = (B @ Y if bug == "X_not_transposed" else (B @ Y).T) + gap
    dY = (X @ B).T - gap.T
    if bug == "gap_sign":
        dY = (X @ B).T + gap.T
    if bug == "no_distance":
        dX = (B @ Y).T
    if bug == "double_gap":
        dX = dX + gap
    return {"X": dX, "Y": dY}


def trace_draw(rng):
    return {"X": rng.normal(size=(4, 4)), "Y": rng.normal(size=(4, 4))}, rng.normal(size=(4, 4))


# --- Gaussian process marginal likelihood in log length, log amplitude, log noise


def process_kernel(theta, x, xp):
    square = (x[:, None] - x[None, :]) ** 2
    shape = xp.exp(-0.5 * square * xp.exp(-2 * theta["log_length"]))
    return square, xp.exp(2 * theta["log_amplitude"]) * shape


def process_loss(theta, x, y):
    _, K = process_kernel(theta, x, jnp)
    K = K + jnp.exp(2 * theta["log_noise"]) * jnp.eye(len(x), dtype=x.dtype)
    return 0.5 * y @ jnp.linalg.solve(K, y) + 0.5 * jnp.linalg.slogdet(K)[1]


@numpy_style
def process_grad(theta, x, y, bug=""):
    square, signal = process_kernel(theta, x, np)
    noise = np.exp(2 * theta["log_noise"]) * np.eye(len(x), dtype=x.dtype)
    inverse = np.linalg.inv(signal + noise)
    alpha = inverse @ y
    outer = np.outer(alpha, alpha)
    weight = {"no_logdet": -outer, "no_data": inverse, "sign": outer - inverse}.get(
        bug, inverse - outer
    )
    slopes = {
        "log_length": signal * square * np.exp(-2 * theta["log_length"]),
        "log_amplitude": signal if bug == "amplitude_once" else 2 * signal,
        "log_noise": 2 * noise,
    }
    if bug == "length_not_scaled":
        slopes["log_length"] = signal * square
    return {k: np.asarray(0.5 * np.sum(weight * slope), x.dtype) for k, slope in slopes.items()}


def process_draw(rng):
    theta = {"log_length": -0.2, "log_amplitude": 0.3, "log_noise": -0.7}
    theta = {k: np.asarray(v + 0.1 * rng.normal()) for k, v in theta.items()}
    return theta, rng.normal(size=7), rng.normal(size=7)


# --- Gaussian log-likelihood through a Cholesky factor


def precision_loss(p, x):
    L = jnp.tril(p["L"], -1) + jnp.diag(jnp.exp(jnp.diag(p["L"])))
    z = (x - p["mean"]) @ L
    return 0.5 * jnp.mean(jnp.sum(z**2, 1)) - jnp.sum(jnp.diag(p["L"]))


@numpy_style
def precision_grad(p, x, bug=""):
    diagonal = np.exp(np.diag(p["L"]))
    L = np.tril(p["L"], -1) + np.diag(diagonal)
    gap = x - p["mean"]
    dz = gap @ L / (1 if bug == "sum" else len(x))
    full = gap.T @ dz
    d_diagonal = np.diag(full) * (1 if bug == "exp_forgotten" else diagonal)
    if bug != "no_logdet":
        d_diagonal = d_diagonal - 1
    lower = full if bug == "not_lower" else np.tril(full, -1)
    d_L = lower - np.diag(np.diag(lower)) + np.diag(d_diagonal)
    mean = -(dz @ (L if bug == "L_not_transposed" else L.T)).sum(0)
    return {"L": d_L, "mean": -mean if bug == "mean_sign" else mean}


def precision_draw(rng):
    return {"L": 0.5 * rng.normal(size=(3, 3)), "mean": rng.normal(size=3)}, rng.normal(size=(8, 3))


CASES = [
    *build(
        "quadratic", "linear algebra", "numpy",
        loss=quadratic_loss, grad=quadratic_grad, draw=quadratic_draw, batch=None,
        bugs={
            "one_side": "path_dropped shared_weight_missed",
            "other_side": "path_dropped shared_weight_missed", "twice_A": "transpose unknown",
            "b_sign": "sign", "b_leaf_sign": "sign",
        },
    ),
    *build(
        "logdet", "linear algebra", "numpy",
        loss=logdet_loss, grad=logdet_grad, draw=logdet_draw, batch=None,
        bugs={
            "one_factor": "scale unknown shared_weight_missed path_dropped",
            "no_inverse": "unknown activation_derivative_missing",
            "inverse_transposed_A": "transpose", "no_logdet": "path_dropped unknown",
            "half_norm": "l2_scaled scale",
        },
    ),
    *build(
        "solve", "linear algebra", "numpy",
        loss=solve_loss, grad=solve_grad, draw=solve_draw, batch=None,
        bugs={
            "no_transpose": "transpose", "A_sign": "sign", "A_transposed": "transpose",
            "A_forgotten": "zero_leaf path_dropped",
        },
    ),
    *build(
        "trace", "linear algebra", "jax",
        loss=trace_loss, grad=trace_grad, draw=trace_draw, batch=None,
        bugs={
            "X_not_transposed": "transpose", "gap_sign": "sign", "no_distance": "path_dropped",
            "double_gap": "scale l2_scaled",
        },
        leaf=("swap 0 1",),
    ),
    *build(
        "gaussian-process", "linear algebra", "numpy",
        loss=process_loss, grad=process_grad, draw=process_draw, batch=None,
        bugs={
            "no_logdet": "path_dropped", "no_data": "path_dropped", "sign": "sign",
            "amplitude_once": "scale", "length_not_scaled": "activation_derivative_missing unknown",
        },
    ),
    *build(
        "cholesky-precision", "linear algebra", "numpy",
        loss=precision_loss, grad=precision_grad, draw=precision_draw, batch=(0,),
        bugs={
            "sum": "batch_mean_missing", "exp_forgotten": "activation_derivative_missing",
            "no_logdet": "path_dropped", "not_lower": "unknown", "L_not_transposed": "transpose",
            "mean_sign": "sign",
        },
    ),
]  # fmt: skip
