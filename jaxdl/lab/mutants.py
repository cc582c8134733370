"""A network in NumPy with its backprop by hand, and the bugs that people make in it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

SIZES = {"square": (13, 6, 6, 3), "rectangular": (13, 6, 5, 3)}
"""Inputs, hidden units and classes; some bugs show only where layers are not square."""

L2 = 0.3
"""λ of the penalty."""

RATE = 0.3
"""Learning rate of the step that is taken too early."""

BUGS = {
    "sum over the batch": "no 1/m",
    "1/m twice": "divided by m once more",
    "sign of dz": "y − a for a − y",
    "factor 2": "the square's 2, left over",
    "no tanh′": "the derivative of the first layer left out",
    "1 + a² for tanh′": "a wrong sign in 1 − a²",
    "1 − a for tanh′": "the square forgotten",
    "tanh′ at a": "the derivative taken at a instead of z",
    "sigmoid′ for tanh′": "a(1 − a)",
    "no relu′": "the mask left out",
    "relu mask of dz": "the mask from the gradient's sign",
    "relu mask of x": "the mask of the layer below",
    "W₂ not transposed": "dz W for dz Wᵀ in a square layer",
    "dW₂ transposed": "the gradient of a square layer transposed",
    "dW₂ from z₁": "the pre-activation for the activation",
    "dW₃ from a₁": "the activations of the layer below",
    "db averaged": "a mean over the batch where the cost already has it",
    "db of the first example": "one example's dz for the sum",
    "db one number": "the sum over units too",
    "db of the layer above": "b₁ gets the gradient of b₂",
    "no L2": "the penalty forgotten",
    "L2 doubled": "λ for λ/2 differentiated",
    "L2 without 1/m": "λ W for λ/m W",
    "L2 subtracted": "its sign",
    "L2 on biases": "biases shrunk too",
    "first example missing": "a loop that starts at 1",
    "last example missing": "a loop that ends too early",
    "W₁ frozen": "a gradient of zeros",
    "softmax′ diagonal": "p(1 − p) for the whole Jacobian",
    "one entry": "a single wrong number",
    "1/(m − 1) for 1/m": "the divisor of a sample variance",
    "b₂ frozen": "one bias forgotten",
    "dW₁ from dz₂": "the error of the layer above",
    "tanh′ twice": "applied in the loop and once more",
    "leaky relu′": "0.01 where z is negative, from another network",
    "L2 missing in W₁": "the penalty forgotten in one layer",
    "L1 for L2": "sign(W) for W",
    "labels one too high": "classes counted from 1",
    "x in another order": "shuffled after the forward pass",
    "W₃ already updated": "a step taken before the error went through W₃",
}
"""Name of a bug, and what it is."""


def loss(params, x, y):
    """Softmax cross-entropy of tanh-relu-linear, with the penalty λ/2m ‖W‖²."""
    a = jnp.tanh(x @ params["W1"] + params["b1"][None, :])
    a = jax.nn.relu(a @ params["W2"] + params["b2"][None, :])
    logits = a @ params["W3"] + params["b3"][None, :]
    cross_entropy = -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean()
    penalty = sum((params[w] ** 2).sum() for w in ("W1", "W2", "W3"))
    return cross_entropy + L2 / (2 * len(x)) * penalty


def backprop(bug):
    """The gradient of `loss` by hand, in NumPy, with one bug; "" for none."""

    def either(right, **wrong):
        return wrong.get(KEYS.get(bug, ""), right)

    def gradient(params, x, y):
        p = {name: np.asarray(value) for name, value in params.items()}
        x, m = np.asarray(x), len(x)
        z1 = x @ p["W1"] + p["b1"]
        a1 = np.tanh(z1)
        z2 = a1 @ p["W2"] + p["b2"]
        a2 = np.maximum(z2, 0)
        e = np.exp((z := a2 @ p["W3"] + p["b3"]) - z.max(axis=1, keepdims=True))
        probability = e / e.sum(axis=1, keepdims=True)
        classes = probability.shape[1]
        target = np.eye(classes)[either(np.asarray(y), shifted=(np.asarray(y) + 1) % classes)]
        difference = probability - target
        diagonal = -target / np.maximum(probability, 1e-12) * probability * (1 - probability)
        dz3 = either(difference, sign=-difference, twice=2 * difference, diagonal=diagonal)
        keep = np.ones((m, 1))
        keep[:1] = either(1.0, not_first=0.0)
        keep[-1:] = either(1.0 * keep[-1:], not_last=0.0)
        dz3 = dz3 * keep / either(m, no_mean=1, mean_twice=m * m, sample=m - 1)
        da2 = dz3 @ either(p["W3"], updated=p["W3"] - RATE * a2.T @ dz3).T
        mask, leaky = z2 > 0, np.where(z2 > 0, 1, 0.01)
        dz2 = da2 * either(mask, no_relu=1.0, relu_of_dz=da2 > 0, relu_of_x=z1 > 0, leaky=leaky)
        da1 = dz2 @ either(p["W2"].T, untransposed=p["W2"])
        slope = either(
            1 - a1**2, no_tanh=1.0, plus=1 + a1**2, no_square=1 - a1,
            at_a=1 - np.tanh(a1) ** 2, sigmoid=a1 * (1 - a1), tanh_twice=(1 - a1**2) ** 2,
        )  # fmt: skip
        dz1 = da1 * slope
        grads = {
            "W1": either(x, reordered=x[::-1]).T
            @ either(dz1, dz_above=dz2)
            * either(1.0, frozen=0.0),
            "W2": either(a1, from_z=z1).T @ dz2,
            "W3": either(a2, from_below=a1).T @ dz3,
            **{f"b{i}": _bias(dz, either) for i, dz in ((1, dz1), (2, dz2), (3, dz3))},
        }
        grads["W2"] = either(grads["W2"], dw_transposed=grads["W2"].T)
        grads["b1"] = either(grads["b1"], b_above=grads["b2"])
        grads["b2"] = either(grads["b2"], b2_frozen=np.zeros_like(grads["b2"]))
        grads["W2"][0, 0] += either(0.0, one_entry=0.01)
        weight = either(L2 / m, no_l2=0.0, l2_twice=2 * L2 / m, l2_sum=L2, l2_sign=-L2 / m)
        decayed = ("W1", "W2", "W3", *either((), l2_bias=("b1", "b2", "b3")))
        decayed = either(decayed, l2_not_first=("W2", "W3"))
        slopes = {k: either(p[k], l1=np.sign(p[k])) for k in decayed}
        return {k: g + weight * slopes[k] if k in decayed else g for k, g in grads.items()}

    return gradient


KEYS = dict(zip(BUGS, (
    "no_mean", "mean_twice", "sign", "twice", "no_tanh", "plus", "no_square", "at_a", "sigmoid",
    "no_relu", "relu_of_dz", "relu_of_x", "untransposed", "dw_transposed", "from_z", "from_below",
    "b_mean", "b_first", "b_one", "b_above", "no_l2", "l2_twice", "l2_sum", "l2_sign", "l2_bias",
    "not_first", "not_last", "frozen", "diagonal", "one_entry", "sample", "b2_frozen",
    "dz_above", "tanh_twice", "leaky", "l2_not_first", "l1", "shifted", "reordered", "updated",
), strict=True))  # fmt: skip


def _bias(dz, either):
    total = dz.sum(axis=0)
    return either(total, b_mean=dz.mean(axis=0), b_first=dz[0], b_one=np.full_like(total, dz.sum()))


def start(seed, sizes):
    """Weights at He's scale and biases that are not zero, or bugs in them could not be seen."""
    rng = np.random.default_rng(seed)
    params = {}
    for i, (n, k) in enumerate(itertools.pairwise(sizes), start=1):
        params[f"W{i}"] = rng.normal(size=(n, k)) * np.sqrt(2 / n)
        params[f"b{i}"] = rng.normal(size=k) * 0.3
    return params
