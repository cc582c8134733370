"""Multilayer perceptrons in NumPy, examples in rows: the workhorse with most of the switches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from .activations import DERIVATIVE, JAX, VALUE, WRONG_DERIVATIVE, sigmoid, softmax
from .case import build, numpy_style


@dataclasses.dataclass(frozen=True)
class Net:
    sizes: tuple[int, ...]
    act: str = "tanh"
    loss: str = "mse"
    m: int = 11
    l2: float = 0.0
    l1: float = 0.0
    keep: float = 1.0  # below 1: a mask for the first hidden layer is an argument
    weighted: bool = False  # example weights are the last argument
    site: int = 1  # the layer at which bugs are planted


LOSS = {
    "mse": lambda o, y: 0.5 * ((o - y) ** 2).sum(1),
    "bce": lambda o, y: (jax.nn.softplus(o) - y * o).sum(1),
    "ce": lambda o, y: jax.nn.logsumexp(o, 1) - jnp.take_along_axis(o, y[:, None], 1)[:, 0],
    "huber": lambda o, y: jnp.where(
        abs(o - y) < 1, 0.5 * (o - y) ** 2, abs(o - y) - 0.5
    ).sum(1),
    "hinge": lambda o, y: jnp.maximum(0, 1 - y * o).sum(1),
}  # fmt: skip


def output_grad(loss, o, y):
    if loss == "ce":
        return softmax(o) - np.eye(o.shape[1], dtype=o.dtype)[y]
    if loss == "bce":
        return sigmoid(o) - y
    if loss == "hinge":
        return np.where(1 - y * o > 0, -y, 0).astype(o.dtype)
    return np.clip(o - y, -1, 1) if loss == "huber" else o - y


def loss_of(net):
    def loss(params, x, y, *extra):
        a = x
        for i, layer in enumerate(params):
            z = a @ layer["w"] + layer["b"]
            a = JAX[net.act](z) if i < len(params) - 1 else z
            if i == 0 and net.keep < 1:
                a = a * extra[0] / net.keep
        weight = extra[-1] if net.weighted else jnp.ones_like(x[:, 0])
        cost = (weight * LOSS[net.loss](a, y)).sum() / weight.sum()
        for layer in params:
            cost += net.l2 / (2 * len(x)) * (layer["w"] ** 2).sum()
            cost += net.l1 / len(x) * abs(layer["w"]).sum()
        return cost

    return loss


def forward(net, params, x, extra):
    """Pre-activations z[i] and inputs a[i] of layer i; a[-1] is the output."""
    z, a = [], [x]
    for i, layer in enumerate(params):
        z.append(a[-1] @ layer["w"] + layer["b"])
        a.append(VALUE[net.act](z[-1]) if i < len(params) - 1 else z[-1])
        if i == 0 and net.keep < 1:
            a[-1] = a[-1] * extra[0] / net.keep
    return z, a


def output_delta(net, o, y, extra, bug):
    m = len(o)
    dz = output_grad(net.loss, o, y)
    if net.weighted and bug != "weights_ignored":
        dz = dz * extra[-1][:, None] / extra[-1].sum()
    else:
        dz = dz / (1 if bug == "sum" else m)
    if bug == "mean_twice":
        dz = dz / m
    if bug == "negated":
        dz = -dz
    if bug == "factor":
        dz = 2 * dz
    if bug == "last_example":
        dz = np.where(np.arange(m)[:, None] < m - 1, dz, 0)
    if bug == "first_examples":
        dz = np.where(np.arange(m)[:, None] >= 3, dz, 0)
    return dz


def penalty(net, layer, m, bug):
    """(dw, db) of the penalties; `bug` is planted here."""
    factor = {"no_l2": 0, "l2_double": 2, "l2_half": 0.5, "l2_sign": -1, "l2_no_m": m}.get(bug, 1)
    dw = factor * net.l2 / m * layer["w"]
    if bug != "no_l1":
        dw = dw + net.l1 / m * np.sign(layer["w"])
    return dw, net.l2 / m * layer["b"] if bug == "l2_bias" else 0


def leaf_gradients(net, bug, i, layer, dz, z, a):
    m = len(dz)
    a_in = a[i]
    if bug == "z_for_a":
        a_in = z[i - 1]
    if bug == "off_by_one":
        a_in = a[i - 1]
    dw, db = a_in.T @ dz, dz.sum(0)
    if bug == "db_mean":
        db = dz.mean(0)
    if bug == "db_scalar":
        db = np.full_like(db, dz.sum())
    if bug == "db_axis":
        db = dz.sum(1)
    if bug == "dw_transposed":
        dw = dw.T
    if bug == "dw_no_m":
        dw = dw * m
    if bug == "db_no_m":
        db = db * m
    more_w, more_b = penalty(net, layer, m, bug)
    return dw + more_w, db + more_b


def through_activation(net, bug, da, z, a):
    if bug == "no_derivative":
        return da
    if bug == "derivative_of_a":
        return da * DERIVATIVE[net.act](a)
    if bug == "wrong_derivative":
        return da * WRONG_DERIVATIVE[net.act](z)
    if bug == "mask_from_da":
        return da * (da > 0)
    if bug == "mask_flipped":
        return da * (z < 0)
    return da * DERIVATIVE[net.act](z)


def gradient_of(net):
    @numpy_style
    def grad(params, x, y, *extra, bug=""):
        z, a = forward(net, params, x, extra)
        dz = output_delta(net, a[-1], y, extra, bug)
        everywhere = bug.removesuffix("_all") if bug.endswith("_all") else ""
        grads = [None] * len(params)
        for i in reversed(range(len(params))):
            here = bug if i == net.site else everywhere
            dw, db = leaf_gradients(net, here, i, params[i], dz, z, a)
            grads[i] = {"w": dw, "b": db}
            if i == 0:
                break
            w = params[i]["w"]
            da = dz @ (w if here == "no_transpose" else w.T)
            if i == 1 and net.keep < 1:
                if bug != "mask_forgotten":
                    da = da * extra[0]
                if bug not in ("keep_forgotten", "mask_forgotten"):
                    da = da / net.keep
                if bug == "mask_forgotten":
                    da = da / net.keep
            dz = through_activation(net, here, da, z[i - 1], a[i])
        return grads

    return grad


def draw_of(net):
    def draw(rng):
        shapes = list(zip(net.sizes[:-1], net.sizes[1:], strict=True))
        params = [
            {"w": rng.normal(size=s) / np.sqrt(s[0]), "b": 0.3 * rng.normal(size=s[1])}
            for s in shapes
        ]
        k = net.sizes[-1]
        y = {
            "ce": lambda: rng.integers(0, k, net.m),
            "bce": lambda: rng.integers(0, 2, (net.m, k)).astype(float),
            "hinge": lambda: rng.choice([-1.0, 1.0], (net.m, k)),
        }.get(net.loss, lambda: 1.5 * rng.normal(size=(net.m, k)))()
        extra = []
        if net.keep < 1:
            extra.append((rng.random((net.m, net.sizes[1])) < net.keep).astype(float))
        if net.weighted:
            extra.append(rng.uniform(0.2, 2, net.m))
        return params, rng.normal(size=(net.m, net.sizes[0])), y, *extra

    return draw


WORDS = {
    "sum": "batch_mean_missing",
    "mean_twice": "batch_mean_doubled",
    "negated": "sign",
    "factor": "scale",
    "last_example": "examples_dropped",
    "first_examples": "examples_dropped",
    "weights_ignored": "unknown",
    "no_l2": "l2_missing",
    "no_l2_all": "l2_missing",
    "l2_double_all": "l2_scaled",
    "l2_half_all": "l2_scaled",
    "l2_sign": "l2_scaled",
    "l2_no_m_all": "l2_scaled",
    "l2_bias": "l2_on_bias",
    "l2_bias_all": "l2_on_bias",
    "no_l1_all": "unknown l2_missing",
    "z_for_a": "stale_operand",
    "off_by_one": "stale_operand",
    "db_mean": "bias_reduction_wrong batch_mean_doubled",
    "db_scalar": "bias_reduction_wrong",
    "db_axis": "bias_reduction_wrong",
    "dw_transposed": "transpose",
    "dw_no_m": "batch_mean_missing",
    "db_no_m": "batch_mean_missing",
    "no_transpose": "transpose",
    "no_derivative": "activation_derivative_missing",
    "no_derivative_all": "activation_derivative_missing",
    "derivative_of_a": "activation_derivative_wrong",
    "wrong_derivative": "activation_derivative_wrong",
    "wrong_derivative_all": "activation_derivative_wrong",
    "mask_from_da": "relu_mask_wrong",
    "mask_flipped": "relu_mask_wrong",
    "mask_forgotten": "dropout_mask_missing",
    "keep_forgotten": "dropout_scale_missing",
}


def mlp(name, net, bugs, leaf=(), words=None, **options):
    return build(
        name,
        "mlp",
        "numpy rows",
        loss=loss_of(net),
        grad=gradient_of(net),
        draw=draw_of(net),
        bugs={b: WORDS[b] for b in bugs.split()} | (words or {}),
        leaf=leaf,
        **({"batch": tuple(range(2 + (net.keep < 1) + net.weighted))} | options),
    )


CASES = [
    *mlp("tanh2", Net((4, 5, 3)), "sum mean_twice no_derivative derivative_of_a z_for_a db_mean"),
    *mlp(
        "tanh3-square",
        Net((6, 6, 6, 2), l2=0.7, m=7),
        "no_transpose dw_transposed off_by_one no_l2 l2_bias_all l2_sign negated",
        ("swap 1 3", "zero 2"),
    ),
    *mlp(
        "relu2-ce",
        Net((5, 8, 4), "relu", "ce", m=9, l2=0.3),
        "mask_from_da mask_flipped no_derivative no_l2_all l2_double_all db_scalar sum",
        ("entry 1",),
    ),
    *mlp(
        "relu3-dropout",
        Net((4, 7, 7, 1), "relu", "bce", m=13, keep=0.8, l2=0.5),
        "mask_forgotten keep_forgotten l2_half_all l2_no_m_all no_transpose last_example",
    ),
    *mlp(
        "sigmoid2-bce",
        Net((3, 6, 1), "sigmoid", "bce", m=10),
        "wrong_derivative derivative_of_a first_examples dw_no_m db_no_m",
    ),
    *mlp("leaky3", Net((5, 4, 4, 3), "leaky_relu", "ce", site=2), "wrong_derivative z_for_a"),
    *mlp("softplus2", Net((4, 5, 2), "softplus", "huber"), "wrong_derivative no_derivative"),
    *mlp(
        "gelu4",
        Net((3, 5, 5, 5, 2), "gelu", site=2),
        "off_by_one dw_no_m",
        words={"wrong_derivative": "activation_derivative_wrong path_dropped"},  # one of two terms
    ),
    *mlp("elu3", Net((4, 6, 5, 2), "elu", "mse", m=8), "wrong_derivative derivative_of_a"),
    *mlp("hinge-tanh", Net((5, 7, 1), "tanh", "hinge", m=12), "wrong_derivative factor"),
    *mlp(
        "weighted-ce",
        Net((4, 6, 3), "tanh", "ce", weighted=True, l2=0.4),
        "weights_ignored l2_bias no_derivative",
        ("half 0",),
    ),
    *mlp("l1-tanh", Net((4, 5, 2), l1=0.3), "no_l1_all db_mean", ("row 1",)),
    *mlp("square-batch", Net((4, 6, 6, 2), m=6), "db_axis", batch=None),
    *mlp("deep-dropout-tanh", Net((6, 9, 5, 4, 3), "tanh", "ce", keep=0.5, m=7, site=3),
         "mask_forgotten keep_forgotten no_derivative z_for_a"),
]  # fmt: skip
