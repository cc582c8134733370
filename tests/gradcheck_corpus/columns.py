"""Networks as courses write them: examples in columns, W1, b1, ... in a dict, a cache per layer."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import sigmoid
from .case import build, numpy_style

# --- L layers: relu hidden units, one sigmoid output, L2, inverted dropout


def deep_loss(lambd, keep):
    def loss(parameters, X, Y, *masks):
        m = X.shape[1]
        depth = len(parameters) // 2
        A, cost = X, 0.0
        for layer in range(1, depth + 1):
            W, b = parameters[f"W{layer}"], parameters[f"b{layer}"]
            Z = W @ A + b
            A = jax.nn.relu(Z) if layer < depth else Z
            if layer < depth and keep < 1:
                A = A * masks[layer - 1] / keep
            cost += lambd / (2 * m) * jnp.sum(jnp.square(W))
        return cost + jnp.sum(jax.nn.softplus(A) - Y * A) / m

    return loss


def forward_propagation(parameters, X, keep, masks):
    depth = len(parameters) // 2
    caches, A = [], X
    for layer in range(1, depth + 1):
        W, b = parameters[f"W{layer}"], parameters[f"b{layer}"]
        Z = np.dot(W, A) + b
        caches.append((A, W, Z))
        A = np.maximum(0, Z) if layer < depth else sigmoid(Z)
        if layer < depth and keep < 1:
            A = A * masks[layer - 1] / keep
    return A, caches


def linear_backward(dZ, cache, lambd, bug):
    A_prev, W, _ = cache
    m = A_prev.shape[1]
    dW = np.dot(dZ, A_prev.T) / m
    db = np.sum(dZ, axis=1, keepdims=True) / m
    if bug == "dW_sum":
        dW = np.dot(dZ, A_prev.T)
    if bug == "db_mean":
        db = np.mean(dZ, axis=1, keepdims=True) / m
    if bug == "db_total":
        db = np.sum(dZ) / m * np.ones_like(db)
    if bug == "dW_times_2":
        dW = 2 * dW
    if bug == "db_times_4":
        db = 4 * db
    if bug != "no_l2":
        dW = dW + (lambd if bug == "l2_no_m" else lambd / m) * W
    dA_prev = np.dot(W if bug == "no_transpose" else W.T, dZ)
    return dA_prev, dW, db


def deep_grad(lambd, keep, site):
    @numpy_style
    def backward_propagation(parameters, X, Y, *masks, bug=""):
        AL, caches = forward_propagation(parameters, X, keep, masks)
        dZ = Y - AL if bug == "sign" else AL - Y
        if bug == "last_column":
            dZ = dZ * (np.arange(X.shape[1]) < X.shape[1] - 1)
        if bug == "sigmoid_twice":
            dZ = dZ * AL * (1 - AL)
        grads = {}
        for layer in reversed(range(1, len(caches) + 1)):
            here = bug if layer == site or bug.startswith("no_l2") else ""
            dA, dW, db = linear_backward(dZ, caches[layer - 1], lambd, here)
            grads[f"dW{layer}"], grads[f"db{layer}"] = dW, db
            if layer > 1:
                dZ = relu_backward(dA, caches[layer - 2][2], here)
                if keep < 1:
                    dZ = dropout_backward(dZ, masks[layer - 2], keep, bug)
        return {name: grads["d" + name] for name in parameters}

    return backward_propagation


def relu_backward(dA, Z, bug):
    if bug == "relu_from_dA":
        return np.where(dA > 0, dA, 0)
    if bug == "relu_forgotten":
        return dA
    return np.where(Z > 0, dA, 0)


def dropout_backward(dZ, mask, keep, bug):
    if bug == "no_mask":
        return dZ / keep
    return dZ * mask if bug == "no_keep" else dZ * mask / keep


def deep_draw(sizes, m, keep):
    def draw(rng):
        parameters = {}
        for layer in range(1, len(sizes)):
            n_out, n_in = sizes[layer], sizes[layer - 1]
            parameters[f"W{layer}"] = rng.normal(size=(n_out, n_in)) * np.sqrt(2 / n_in)
            parameters[f"b{layer}"] = 0.2 * rng.normal(size=(n_out, 1))
        X, Y = rng.normal(size=(sizes[0], m)), rng.integers(0, 2, (sizes[-1], m)).astype(float)
        masks = [(rng.random((n, m)) < keep).astype(float) for n in sizes[1:-1] if keep < 1]
        return parameters, X, Y, *masks

    return draw


DEEP_WORDS = {
    "sign": "sign",
    "last_column": "examples_dropped",
    "sigmoid_twice": "activation_derivative_wrong unknown",
    "dW_sum": "batch_mean_missing",
    "db_mean": "bias_reduction_wrong batch_mean_doubled",
    "db_total": "bias_reduction_wrong",
    "dW_times_2": "scale",
    "db_times_4": "scale",
    "no_l2": "l2_missing",
    "l2_no_m": "l2_scaled",
    "no_transpose": "transpose",
    "relu_from_dA": "relu_mask_wrong",
    "relu_forgotten": "activation_derivative_missing",
    "no_mask": "dropout_mask_missing",
    "no_keep": "dropout_scale_missing",
}


def deep(name, sizes, bugs, m=9, lambd=0.0, keep=1.0, site=2):
    n_masks = len(sizes) - 2 if keep < 1 else 0
    return build(
        name, "courses", "columns",
        loss=deep_loss(lambd, keep), grad=deep_grad(lambd, keep, site),
        draw=deep_draw(sizes, m, keep), bugs={bug: DEEP_WORDS[bug] for bug in bugs.split()},
        batch=tuple(range(2 + n_masks)), axis=1,
    )  # fmt: skip


# --- one hidden tanh layer, planar data


def planar_loss(p, X, Y):
    z = p["W2"] @ jnp.tanh(p["W1"] @ X + p["b1"]) + p["b2"]
    return -jnp.mean(Y * jax.nn.log_sigmoid(z) + (1 - Y) * jax.nn.log_sigmoid(-z))


@numpy_style
def planar_grad(p, X, Y, bug=""):
    m = X.shape[1]
    Z1 = p["W1"] @ X + p["b1"]
    A1 = np.tanh(Z1)
    A2 = sigmoid(p["W2"] @ A1 + p["b2"])
    dZ2 = A2 - Y
    dW2 = dZ2 @ (Z1.T if bug == "Z1" else A1.T) / m
    db2 = dZ2.sum(1, keepdims=True) / m
    slope = {
        "one_minus_A": 1 - A1,
        "tanh_of_A": 1 - np.tanh(A1) ** 2,
        "sigmoid_slope": A1 * (1 - A1),
        "no_slope": np.ones_like(A1),
    }.get(bug, 1 - A1**2)
    dZ1 = p["W2"].T @ dZ2 * slope
    dW1, db1 = dZ1 @ X.T / m, dZ1.sum(1, keepdims=True) / m
    if bug == "swap_b":
        db1 = np.full_like(db1, db2.item())
    return {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}


def planar_draw(rng):
    p = {
        "W1": rng.normal(size=(4, 2)), "b1": rng.normal(size=(4, 1)),
        "W2": rng.normal(size=(1, 4)), "b2": rng.normal(size=(1, 1)),
    }  # fmt: skip
    return p, rng.normal(size=(2, 13)), rng.integers(0, 2, (1, 13)).astype(float)


CASES = [
    *deep("course-plain", (5, 4, 3, 1), "sign last_column sigmoid_twice dW_times_2 db_times_4"),
    *deep("course-square", (4, 4, 4, 1), "no_transpose relu_from_dA relu_forgotten dW_sum", m=11),
    *deep("course-l2", (6, 5, 2, 1), "no_l2 l2_no_m db_mean db_total", m=7, lambd=0.7),
    *deep("course-dropout", (5, 7, 6, 1), "no_mask no_keep relu_forgotten", m=8, keep=0.86),
    *deep("course-one-example", (3, 4, 1), "dW_times_2", m=1),
    *deep("course-two-outputs", (3, 6, 5, 2), "db_total sign", m=10, site=3),
    *build(
        "planar", "courses", "columns",
        loss=planar_loss, grad=planar_grad, draw=planar_draw, axis=1,
        bugs={
            "Z1": "stale_operand", "one_minus_A": "activation_derivative_wrong",
            "tanh_of_A": "activation_derivative_wrong",
            "sigmoid_slope": "activation_derivative_wrong",
            "no_slope": "activation_derivative_missing", "swap_b": "unknown",
        },
        leaf=("zero 3",),
    ),
]  # fmt: skip
