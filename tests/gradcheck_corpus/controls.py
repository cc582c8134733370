"""Correct gradients that careless checkers reject: big logits, odd dtypes, odd trees, keys."""

import collections

import jax
import jax.numpy as jnp
import numpy as np

from .activations import sigmoid, softmax
from .case import build, control, numpy_style, single
from .mlp import Net, draw_of, gradient_of, loss_of

# --- networks of every activation and loss, one seed each, several batch sizes, dtypes


def networks():
    found = []
    for act in ("tanh", "relu", "leaky_relu", "sigmoid", "softplus", "gelu", "elu"):
        for loss, k in (("mse", 2), ("ce", 4), ("bce", 1)):
            net = Net((5, 7, 6, k), act, loss, m=8, l2=0.2)
            found += build(
                f"net-{act}-{loss}", "controls", "numpy rows",
                loss=loss_of(net), grad=gradient_of(net), draw=draw_of(net),
            )  # fmt: skip
    for act in ("relu", "tanh"):
        net = Net((4, 6, 3), act, "ce", m=1)
        found += build(
            f"one-example-{act}", "controls", "numpy rows",
            loss=loss_of(net), grad=gradient_of(net), draw=draw_of(net),
        )  # fmt: skip
        net = Net((4, 6, 3), act, "ce", m=9)
        params, x, y = draw_of(net)(np.random.default_rng(5))
        found.append(control(f"float32-{act}", "numpy rows", loss_of(net), gradient_of(net),
                             single(params), single(x), y, batch=(0, 1)))  # fmt: skip
        found.append(control(f"int32-labels-{act}", "numpy rows", loss_of(net), gradient_of(net),
                             single(params), single(x), np.int32(y), batch=(0, 1)))  # fmt: skip
    return found


# --- cross entropies in several forms, at logits of ±50


def ce_loss(w, x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(x @ w), y[:, None], 1).mean()


def ce_shifted(w, x, y):
    z = x @ w
    z = z - jax.lax.stop_gradient(z.max(1, keepdims=True))
    return (jnp.log(jnp.exp(z).sum(1)) - z[jnp.arange(len(y)), y]).mean()


def ce_onehot(w, x, y):
    z = x @ w
    return (jax.nn.logsumexp(z, 1) - (z * jax.nn.one_hot(y, 3, dtype=z.dtype)).sum(1)).mean()


@numpy_style
def ce_grad(w, x, y):
    p = softmax(x @ w)
    p[np.arange(len(y)), y] -= 1
    return x.T @ p / len(y)


def ce_grad_jax(w, x, y):
    z = x @ w
    p = jnp.exp(z - jax.nn.logsumexp(z, 1)[:, None])
    return jnp.einsum("mi,mk->ik", x, p.at[jnp.arange(len(y)), y].add(-1)) / len(y)


def bce_loss(w, x, y):
    z = x @ w
    return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-abs(z)))).mean()


def bce_softplus(w, x, y):
    z = x @ w
    return -(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z)).mean()


@numpy_style
def bce_grad(w, x, y):
    return (sigmoid(x @ w) - y) @ x / len(y)


def cross_entropies():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(9, 4))
    y, t = rng.integers(0, 3, 9), rng.integers(0, 2, 9).astype(float)
    found = []
    for size in (1.0, 50.0):
        w, v = rng.normal(size=(4, 3)), rng.normal(size=4)
        w, v = w * size / abs(x @ w).max(), v * size / abs(x @ v).max()
        for loss in (ce_loss, ce_shifted, ce_onehot):
            for grad, style in ((ce_grad, "numpy rows"), (ce_grad_jax, "jax")):
                found.append(control(f"{loss.__name__}-{grad.__name__}-{size:.0f}", style, loss,
                                     grad, w, x, y, batch=(0, 1)))  # fmt: skip
        for loss in (bce_loss, bce_softplus):
            found.append(control(f"{loss.__name__}-{size:.0f}", "numpy rows", loss, bce_grad,
                                 v, x, t, batch=(0, 1)))  # fmt: skip
            found.append(control(f"{loss.__name__}-{size:.0f}-float32", "numpy rows", loss,
                                 bce_grad, *single((v, x, t)), batch=(0, 1)))  # fmt: skip
    return found


# --- dtypes, keys, closures, jit


def regression_loss(w, x, y):
    return ((x @ w - y) ** 2).mean()


def regression_grad(w, x, y):
    return 2 * jnp.tensordot(x, x @ w - y, ((0,), (0,))) / len(y)


def dropout_loss(params, x, y, key):
    keep = jax.random.bernoulli(key, 0.7, (len(x), params["v"].shape[0]))
    a = jnp.tanh(x @ params["w"]) * keep / 0.7
    return 0.5 * ((a @ params["v"] - y) ** 2).mean()


def dropout_grad(params, x, y, key):
    keep = jax.random.bernoulli(key, 0.7, (len(x), params["v"].shape[0]))
    t = jnp.tanh(x @ params["w"])
    a = t * keep / 0.7
    do = (a @ params["v"] - y) / len(y)
    dz = do[:, None] * params["v"] * keep / 0.7 * (1 - t**2)
    return {"w": x.T @ dz, "v": a.T @ do}


def noise_loss(w, x, key):
    return jnp.sum(jnp.sin(x * w + jax.random.normal(key, x.shape, w.dtype)))


def noise_grad(w, x, key):
    return (x * jnp.cos(x * w + jax.random.normal(key, x.shape, w.dtype))).sum(0)


def gather_loss(w, index, y):
    return ((w[index] - y) ** 2).sum()


@numpy_style
def gather_grad(w, index, y):
    g = np.zeros_like(w)
    for i, target in zip(index, y, strict=True):
        g[i] += 2 * (w[i] - target)
    return g


def dtypes():
    rng = np.random.default_rng(3)
    w, x, y = rng.normal(size=5), rng.normal(size=(8, 5)), rng.normal(size=8)
    low = [jnp.asarray(v, jnp.bfloat16) for v in (w, x, y)]
    half = [jnp.asarray(v, jnp.float16) for v in (w, x, y)]
    key, old_key = jax.random.key(7), jax.random.PRNGKey(3)
    net = {"w": rng.normal(size=(5, 6)), "v": rng.normal(size=6)}

    def closed_loss(params):
        return regression_loss(params, jnp.asarray(x, params.dtype), jnp.asarray(y, params.dtype))

    def closed_grad(params):
        xs, ys = np.asarray(x, params.dtype), np.asarray(y, params.dtype)
        return 2 * xs.T @ (xs @ np.asarray(params) - ys) / len(ys)

    jitted = jax.jit(regression_loss), jax.jit(regression_grad)
    index = rng.integers(0, 5, 11)
    return [
        control("bfloat16", "jax", regression_loss, regression_grad, *low, batch=(0, 1)),
        control("float16", "jax", regression_loss, regression_grad, *half, batch=(0, 1)),
        control("float64", "jax", regression_loss, regression_grad, w, x, y, batch=(0, 1)),
        control("jitted", "jax", *jitted, w, x, y, batch=(0, 1)),
        control("jitted-float32", "jax", *jitted, *single((w, x, y)), batch=(0, 1)),
        control("closure", "numpy rows", closed_loss, closed_grad, w),
        control("closure-float32", "numpy rows", closed_loss, closed_grad, single(w)),
        control("dropout-key", "jax", dropout_loss, dropout_grad, net, x, y, key),
        control("dropout-old-key", "jax", dropout_loss, dropout_grad, net, x, y, old_key),
        control("dropout-key-float32", "jax", dropout_loss, dropout_grad,
                single(net), single(x), single(y), key),
        control("noise-key", "jax", noise_loss, noise_grad, w, x, key),
        control("integer-index", "loops", gather_loss, gather_grad, w, index, rng.normal(size=11)),
        control("zero-gradient", "numpy rows", lambda p, x: (x * 2).sum() + 0 * p.sum(),
                lambda p, x: np.zeros_like(p), w, x),
        control("perfect-fit", "jax", regression_loss, regression_grad, w, x, x @ w),
        control("tiny-scale", "jax", regression_loss, regression_grad, 1e-6 * w, x, 1e-6 * y),
        control("huge-scale", "jax", regression_loss, regression_grad, 1e6 * w, x, 1e6 * y),
    ]  # fmt: skip


# --- trees of every kind

Point = collections.namedtuple("Point", "scale shift rest")


def tree_loss(p, x):
    z = x * p.scale + p.shift
    return (z**2).mean() + jnp.sin(p.rest["a"][0]).sum() * p.rest["a"][1] + p.rest["b"] ** 3


@numpy_style
def tree_grad(p, x):
    z = x * p.scale + p.shift
    s, t = p.rest["a"]
    rest = {"a": (np.cos(s) * t, np.sin(s).sum()), "b": 3 * p.rest["b"] ** 2}
    return Point((2 * z * x).mean(0) / x.shape[1], 2 * z.mean(0) / x.shape[1], rest)


def scalar_loss(theta, t):
    return jnp.exp(-theta * t).sum()


@numpy_style
def scalar_grad(theta, t):
    return np.asarray(-(t * np.exp(-theta * t)).sum(), t.dtype)


def none_loss(p, x):
    return (p["w"] * x).sum() ** 2


@numpy_style
def none_grad(p, x):
    return {"w": 2 * (p["w"] * x).sum() * x, "b": None, "empty": ()}


def trees():
    rng = np.random.default_rng(4)
    v = [rng.normal(size=3) for _ in range(4)]
    rest = {"a": (v[2], np.asarray(0.7)), "b": np.asarray(-1.2)}
    x = rng.normal(size=(6, 3))
    return [
        control("namedtuple", "numpy rows", tree_loss, tree_grad, Point(v[0], v[1], rest), x),
        control("namedtuple-float32", "numpy rows", tree_loss, tree_grad,
                single(Point(v[0], v[1], rest)), single(x)),
        control("scalar", "numpy rows", scalar_loss, scalar_grad, np.asarray(0.8), v[0]),
        control("none-leaves", "numpy rows", none_loss, none_grad,
                {"w": v[0], "b": None, "empty": ()}, v[1]),
    ]  # fmt: skip


# --- stop_gradient where it belongs


def target_loss(p, x):
    """Semi-gradient of a value function: the target is held fixed."""
    target = 1 + 0.9 * jax.lax.stop_gradient(jnp.tanh(x[1:] @ p))
    return ((jnp.tanh(x[:-1] @ p) - target) ** 2).mean()


@numpy_style
def target_grad(p, x):
    v = np.tanh(x @ p)
    error = v[:-1] - 1 - 0.9 * v[1:]
    return 2 * (error * (1 - v[:-1] ** 2)) @ x[:-1] / len(error)


def frozen_loss(p, x):
    return (x @ jax.lax.stop_gradient(p["frozen"]) * (x @ p["free"])).sum()


@numpy_style
def frozen_grad(p, x):
    return {"frozen": np.zeros_like(p["frozen"]), "free": (x @ p["frozen"]) @ x}


def stops():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(7, 4))
    p = {"frozen": rng.normal(size=4), "free": rng.normal(size=4)}
    return [
        control("semi-gradient", "numpy rows", target_loss, target_grad, rng.normal(size=4), x),
        control("frozen-leaf", "numpy rows", frozen_loss, frozen_grad, p, x),
    ]


CASES = [*networks(), *cross_entropies(), *dtypes(), *trees(), *stops()]
