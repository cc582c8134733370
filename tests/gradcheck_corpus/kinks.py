"""Correct gradients on kinks: ReLU at exactly zero, tied maxima, |0|, clips, and dead units."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from .case import control, numpy_style

# --- ReLU at exactly zero, with relu'(0) = 0, 1/2 and 1


@functools.cache
def relu_with(slope):
    """relu whose derivative at 0 is `slope`, for the oracle."""

    @jax.custom_jvp
    def relu(z):
        return jnp.maximum(z, 0)

    @relu.defjvp
    def _(primals, tangents):
        (z,), (t,) = primals, tangents
        return relu(z), t * jnp.where(z > 0, 1.0, jnp.where(z == 0, slope, 0.0))

    return relu


def relu_net_loss(params, x, y, relu=jax.nn.relu):
    a = relu(x @ params["w1"] + params["b1"])
    return 0.5 * ((a @ params["w2"] - y) ** 2).mean()


@numpy_style
def relu_net_grad(params, x, y, slope=0.0):
    z = x @ params["w1"] + params["b1"]
    a = np.maximum(z, 0)
    do = (a @ params["w2"] - y) / len(y)
    mask = np.where(z > 0, 1, np.where(z == 0, slope, 0)).astype(z.dtype)
    dz = np.outer(do, params["w2"]) * mask
    return {"w1": x.T @ dz, "b1": dz.sum(0), "w2": a.T @ do}


def relu_at_zero():
    rng = np.random.default_rng(0)
    w1, w2, x, y = (
        rng.normal(size=(4, 5)), rng.normal(size=5), rng.normal(size=(7, 4)), rng.normal(size=7)
    )  # fmt: skip
    dead = {"w1": w1, "b1": np.array([0.1, -50, 0.2, -50, 0.0]), "w2": w2}
    all_dead = {"w1": w1, "b1": np.full(5, -50.0), "w2": w2}
    x0 = x.copy()
    x0[2] = 0  # with b = 0 every unit of this example sits on the kink
    kink = {"w1": w1, "b1": np.zeros(5), "w2": w2}
    column = {"w1": w1 * (np.arange(5) != 1), "b1": np.zeros(5), "w2": w2}
    found = [
        control("dead-units", "numpy rows", relu_net_loss, relu_net_grad, dead, x, y, batch=(0, 1)),
        control("all-dead", "numpy rows", relu_net_loss, relu_net_grad, all_dead, x, y,
                batch=(0, 1)),
    ]  # fmt: skip
    for slope in (0.0, 0.5, 1.0):
        for label, params, inputs in (("example", kink, x0), ("unit", column, x)):
            found.append(control(
                f"relu-at-zero-{label}-{slope}", "numpy rows", relu_net_loss,
                functools.partial(relu_net_grad, slope=slope), params, inputs, y, batch=(0, 1),
                reference=functools.partial(relu_net_loss, relu=relu_with(slope)),
            ))  # fmt: skip
    return found


# --- absolute values, maxima and clips on their kinks


def l1_loss(w, x, y):
    return abs(x @ w - y).mean() + 0.1 * abs(w).sum()


def l1_loss_sign(w, x, y):
    """The same value; the slope of |v| at 0 is sign(0) = 0, where jax takes 1."""
    r = x @ w - y
    flat = jax.lax.stop_gradient
    return (r * flat(jnp.sign(r))).mean() + 0.1 * (w * flat(jnp.sign(w))).sum()


@numpy_style
def l1_grad(w, x, y):
    return np.sign(x @ w - y) @ x / len(y) + w.dtype.type(0.1) * np.sign(w)


def max_pool_loss(w, x):
    """Maximum over the last axis."""
    return ((x * w).max(1) ** 2).mean()


@numpy_style
def max_first(w, x):
    """The first of tied winners takes the whole gradient."""
    z = x * w
    winner = z.argmax(1)
    dw = np.zeros_like(w)
    np.add.at(dw, winner, 2 * z.max(1) * x[np.arange(len(x)), winner] / len(x))
    return dw


@numpy_style
def max_shared(w, x):
    """Tied winners share it."""
    z = x * w
    top = z.max(1, keepdims=True)
    share = (z == top) / (z == top).sum(1, keepdims=True)
    return (2 * top * share * x / len(x)).sum(0).astype(w.dtype)


def max_first_loss(w, x):
    z = x * w
    top = jnp.take_along_axis(z, z.argmax(1)[:, None], 1)
    return (top**2).mean()


def clip_loss(w, x):
    return (jnp.clip(x @ w, -1, 1) ** 3).sum()


@numpy_style
def clip_grad(w, x):
    z = x @ w
    return (3 * np.clip(z, -1, 1) ** 2 * (abs(z) < 1)) @ x


def margin_loss(w, x, y):
    return jnp.maximum(0, 1 - y * (x @ w)).sum()


@numpy_style
def margin_grad(w, x, y):
    return ((y * (x @ w) < 1) * -y) @ x


def kinks():
    rng = np.random.default_rng(1)
    w, x, y = rng.normal(size=5), rng.normal(size=(8, 5)), rng.normal(size=8)
    tied = np.repeat(rng.normal(size=(6, 2)), 2, axis=1)
    sparse = w * np.array([1, 0, 1, 0, 1])
    return [
        control("l1", "numpy rows", l1_loss, l1_grad, w, x, y, batch=(0, 1)),
        control("l1-at-zero", "numpy rows", l1_loss, l1_grad, sparse, x, y, batch=(0, 1),
                reference=l1_loss_sign),
        control("max", "numpy rows", max_pool_loss, max_first, w, x, batch=(0,)),
        control("max-tied-first", "numpy rows", max_pool_loss, max_first, np.ones(4), tied,
                batch=(0,), reference=max_first_loss),
        control("max-tied-shared", "numpy rows", max_pool_loss, max_shared, np.ones(4), tied,
                batch=(0,)),
        control("clip", "numpy rows", clip_loss, clip_grad, w, x),
        control("hinge-sum", "numpy rows", margin_loss, margin_grad, 0.3 * w, x, np.sign(y)),
    ]  # fmt: skip


CASES = [*relu_at_zero(), *kinks()]
