"""Gradients that are not even numbers, not the same twice, or wrong only away from this point."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import sigmoid
from .case import build, numpy_style
from .mlp import Net, draw_of, gradient_of, loss_of

# --- saturated sigmoid units written without care


def saturated_loss(w, x, y):
    z = x @ w
    return jnp.mean(jax.nn.softplus(z) - y * z)


@numpy_style
def saturated_grad(w, x, y, bug=""):
    with np.errstate(all="ignore"):
        a = sigmoid(x @ w)
        if bug == "divided":  # −y/a + (1 − y)/(1 − a) is 0/0 where a is 0 or 1
            da = (a - y) / (a * (1 - a))
            return x.T @ (da * a * (1 - a)) / len(x)
        if bug == "ratio_of_exponentials":
            e = np.exp(40 * (x @ w))
            a = e / (1 + e)
        return x.T @ (a - y) / len(x)


def saturated_draw(rng):
    return 90 * rng.normal(size=4), rng.normal(size=(9, 4)), rng.integers(0, 2, 9).astype(float)


# --- a norm at the origin, with ε under the root


def norm_loss(p, x):
    return jnp.sqrt(jnp.sum(p["u"] ** 2) + 1e-6) + jnp.mean((x @ p["v"]) ** 2)


@numpy_style
def norm_grad(p, x, bug=""):
    eps = p["u"].dtype.type(0 if bug == "no_eps" else 1e-6)
    with np.errstate(all="ignore"):
        return {
            "u": p["u"] / np.sqrt((p["u"] ** 2).sum() + eps),
            "v": 2 * x.T @ (x @ p["v"]) / len(x),
        }


def norm_draw(rng):
    return {"u": np.zeros(3), "v": rng.normal(size=4)}, rng.normal(size=(6, 4))


# --- dropout whose backward pass draws again, and other broken promises


def noisy_loss(p, x, y, mask):
    a = jnp.tanh(x @ p["w"]) * mask / 0.75
    return 0.5 * jnp.mean((a @ p["v"] + p["c"] - y) ** 2)


@numpy_style
def noisy_grad(p, x, y, mask, bug=""):
    if bug == "centred_in_place":
        x -= x.mean(0)
    t = np.tanh(x @ p["w"])
    a = t * mask / x.dtype.type(0.75)
    r = (a @ p["v"] + p["c"] - y) / len(x)
    if bug == "fresh_mask":
        mask = (np.random.default_rng().random(mask.shape) < 0.75).astype(x.dtype)
    if bug == "fresh_examples":
        keep = np.random.default_rng().random(len(x)) < 0.5
        r = r * keep * 2
    dz = np.outer(r, p["v"]) * mask / x.dtype.type(0.75) * (1 - t**2)
    g = {"w": x.T @ dz, "v": a.T @ r, "c": np.asarray(r.sum())}
    if bug == "column_vector":
        g["v"] = g["v"][:, None]
    if bug == "not_reduced":
        g["c"] = r
    if bug == "leaf_lost":
        del g["c"]
    if bug == "wrong_product":
        g["w"] = x @ dz
    return g


def noisy_draw(rng):
    p = {"w": rng.normal(size=(5, 6)), "v": rng.normal(size=6), "c": np.asarray(0.4)}
    mask = (rng.random((9, 6)) < 0.75).astype(float)
    return p, rng.normal(size=(9, 5)), rng.normal(size=9), mask


# --- bugs that this very point cannot show


def at(net, change):
    """`draw_of(net)` with the parameters changed."""

    def draw(rng):
        params, *args = draw_of(net)(rng)
        return change(params), *args

    return draw


def zero_biases(params):
    return [layer | {"b": np.zeros_like(layer["b"])} for layer in params]


def zero_output(params):
    return [*params[:-1], params[-1] | {"w": np.zeros_like(params[-1]["w"])}]


def symmetric(params):
    return [
        layer | {"w": (layer["w"] + layer["w"].T) / 2}
        if layer["w"].shape[0] == layer["w"].shape[1]
        else layer
        for layer in params
    ]


def hidden(name, net, change, bugs):
    return build(
        name, "blind spots", "numpy rows",
        loss=loss_of(net), grad=gradient_of(net), draw=at(net, change), bugs=bugs,
    )  # fmt: skip


CASES = [
    *build(
        "saturated", "hazards", "numpy rows",
        loss=saturated_loss, grad=saturated_grad, draw=saturated_draw,
        bugs={"divided": "not_a_number", "ratio_of_exponentials": "not_a_number"},
    ),
    *build(
        "norm-at-origin", "hazards", "numpy rows",
        loss=norm_loss, grad=norm_grad, draw=norm_draw, batch=(0,),
        bugs={"no_eps": "not_a_number clip_or_eps_ignored"},
    ),
    *build(
        "dropout", "hazards", "numpy rows",
        loss=noisy_loss, grad=noisy_grad, draw=noisy_draw, batch=(0, 1, 2),
        bugs={
            "fresh_mask": "nondeterministic", "fresh_examples": "nondeterministic",
            "column_vector": "shape", "not_reduced": "shape bias_reduction_wrong",
            "leaf_lost": "structure", "wrong_product": "raises",
            "centred_in_place": "input_mutated raises",
        },
    ),
    *hidden("biases-are-zero", Net((4, 5, 3), "tanh", "ce", l2=0.6), zero_biases,
            {"l2_bias": "~l2_on_bias", "l2_bias_all": "~l2_on_bias"}),
    *hidden("output-is-zero", Net((4, 6, 2), "tanh", "mse"), zero_output,
            {"no_derivative": "~activation_derivative_missing",
             "wrong_derivative": "~activation_derivative_wrong"}),
    *hidden("weights-are-symmetric", Net((5, 5, 5, 2), "relu", "mse"), symmetric,
            {"no_transpose": "~transpose"}),
    *hidden("no-weights-yet", Net((4, 5, 3), "relu", "ce", l2=0.6), zero_output,
            {"no_l2": "~l2_missing"}),
]  # fmt: skip
