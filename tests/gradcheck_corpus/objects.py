"""Networks as layer classes: forward fills a cache, backward empties it."""

import jax
import jax.numpy as jnp
import numpy as np

from .activations import softmax
from .case import build, numpy_style


class Affine:
    def __init__(self, W, b, bug=""):
        self.W, self.b, self.bug = W, b, bug

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        x = self.x[::-1] if self.bug == "reversed_batch" else self.x
        self.dW = x.T @ dout
        self.db = dout.sum(axis=0)
        if self.bug == "db_batch_mean":
            self.db = dout.mean(axis=0)
        return dout @ (self.W if self.bug == "affine_not_transposed" else self.W.T)

    def gradients(self):
        return {"W": self.dW, "b": self.db}


class LeakyReLU:
    def __init__(self, slope, bug=""):
        self.slope, self.bug = slope, bug

    def forward(self, x):
        self.mask = x > 0
        self.out = np.where(self.mask, x, self.slope * x)
        return self.out

    def backward(self, dout):
        if self.bug == "dead_side":
            return dout * self.mask
        if self.bug == "upside_down":
            return np.where(self.mask, self.slope * dout, dout)
        if self.bug == "mask_of_gradient":
            return np.where(dout > 0, dout, self.slope * dout)
        return np.where(self.mask, dout, self.slope * dout)


class Swish:
    def __init__(self, bug=""):
        self.bug = bug

    def forward(self, x):
        self.x, self.s = x, 1 / (1 + np.exp(-x))
        return self.x * self.s

    def backward(self, dout):
        if self.bug == "no_product_rule":
            return dout * self.s
        if self.bug == "first_half_only":
            return dout * self.x * self.s * (1 - self.s)
        return dout * (self.s + self.x * self.s * (1 - self.s))


class Scale:
    """A learned gain per feature."""

    def __init__(self, gain, bug=""):
        self.gain, self.bug = gain, bug

    def forward(self, x):
        self.x = x
        return x * self.gain

    def backward(self, dout):
        self.dgain = (dout * self.x).sum(0)
        if self.bug == "gain_of_output":
            self.dgain = (dout * self.x * self.gain).sum(0)
        if self.bug == "gain_mean":
            self.dgain = (dout * self.x).mean(0)
        return dout if self.bug == "gain_not_applied" else dout * self.gain

    def gradients(self):
        return {"gain": self.dgain}


class Residual:
    """y = x + layers(x)."""

    def __init__(self, *layers, bug=""):
        self.layers, self.bug = layers, bug

    def forward(self, x):
        out = x
        for layer in self.layers:
            out = layer.forward(out)
        return x + out

    def backward(self, dout):
        inner = dout
        for layer in reversed(self.layers):
            inner = layer.backward(inner)
        if self.bug == "skip_forgotten":
            return inner
        return dout if self.bug == "branch_forgotten" else dout + inner

    def gradients(self):
        return [layer.gradients() for layer in self.layers if hasattr(layer, "gradients")]


class SoftmaxLoss:
    def __init__(self, bug=""):
        self.bug = bug

    def forward(self, z, y):
        self.p, self.y = softmax(z), y

    def backward(self):
        p = self.p.copy()
        p[np.arange(len(p)), self.y] -= 1
        if self.bug == "loss_not_averaged":
            return p
        if self.bug == "averaged_over_classes":
            return p / p.size
        return p / len(p)


def network_loss(params, x, y):
    first, block, gain, last = params
    h = jax.nn.leaky_relu(x @ first["W"] + first["b"], 0.2)
    for inner in block:
        h = h + jax.nn.silu(h @ inner["W"] + inner["b"])
    z = (h * gain["gain"]) @ last["W"] + last["b"]
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1))


@numpy_style
def network_grad(params, x, y, bug=""):
    first, block, gain, last = params
    layers = [
        Affine(**first, bug=bug if bug == "reversed_batch" else ""),
        LeakyReLU(0.2, bug),
        *(
            Residual(Affine(**inner, bug=bug if i == 0 else ""), Swish(bug), bug=bug)
            for i, inner in enumerate(block)
        ),
        Scale(gain["gain"], bug),
        Affine(**last),
    ]
    out = x
    for layer in layers:
        out = layer.forward(out)
    loss = SoftmaxLoss(bug)
    loss.forward(out, y)
    dout = loss.backward()
    for layer in reversed(layers):
        dout = layer.backward(dout)
    grads = [layer.gradients() for layer in layers if hasattr(layer, "gradients")]
    return [grads[0], [blocks[0] for blocks in grads[1:-2]], *grads[-2:]]


def network_draw(n_in, n, k, depth, m):
    def affine(rng, a, b):
        return {"W": rng.normal(size=(a, b)) / np.sqrt(a), "b": 0.3 * rng.normal(size=b)}

    def draw(rng):
        block = [affine(rng, n, n) for _ in range(depth)]
        params = [
            affine(rng, n_in, n), block, {"gain": 1 + 0.3 * rng.normal(size=n)}, affine(rng, n, k)
        ]  # fmt: skip
        return params, rng.normal(size=(m, n_in)), rng.integers(0, k, m)

    return draw


WORDS = {
    "reversed_batch": "unknown stale_operand",
    "db_batch_mean": "bias_reduction_wrong batch_mean_doubled",
    "affine_not_transposed": "transpose",
    "dead_side": "activation_derivative_wrong relu_mask_wrong",
    "upside_down": "activation_derivative_wrong relu_mask_wrong",
    "mask_of_gradient": "relu_mask_wrong",
    "no_product_rule": "activation_derivative_wrong path_dropped",
    "first_half_only": "activation_derivative_wrong path_dropped",
    "gain_of_output": "stale_operand",
    "gain_mean": "batch_mean_doubled bias_reduction_wrong",
    "gain_not_applied": "unknown activation_derivative_missing",
    "skip_forgotten": "path_dropped",
    "branch_forgotten": "path_dropped",
    "loss_not_averaged": "batch_mean_missing",
    "averaged_over_classes": "scale",
}


def network(name, sizes, bugs, leaf=()):
    return build(
        name, "layer classes", "classes",
        loss=network_loss, grad=network_grad, draw=network_draw(*sizes),
        bugs={bug: WORDS[bug] for bug in bugs.split()}, leaf=leaf,
    )  # fmt: skip


CASES = [
    *network("residual1", (4, 6, 3, 1, 10), "reversed_batch dead_side skip_forgotten gain_mean"),
    *network("residual2", (5, 7, 4, 2, 9), "db_batch_mean affine_not_transposed no_product_rule "
             "branch_forgotten loss_not_averaged", ("swap 3 5",)),
    *network("residual0", (6, 5, 2, 0, 12), "upside_down mask_of_gradient gain_not_applied "
             "gain_of_output averaged_over_classes", ("row 2",)),
    *network("residual3", (3, 5, 3, 3, 7), "first_half_only skip_forgotten", ("zero 4",)),
]  # fmt: skip
