"""The bugs that people plant in the backward pass of a multilayer perceptron, each named.

Two hidden layers (tanh, ReLU), a fixed dropout mask, softmax cross-entropy and an L2 penalty:
every line of the gradient has its mistakes, and the table says what each must be called.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings

N, H, K, M = 4, 6, 3, 11
KEEP, LAMBDA = 0.8, 0.3
WEIGHTS, BIASES = ("W1", "W2", "W3"), ("b1", "b2", "b3")


def loss(p, x, y, mask):
    m = x.shape[0]
    a1 = jnp.tanh(x @ p["W1"] + p["b1"][None, :])
    a2 = jax.nn.relu(a1 @ p["W2"] + p["b2"][None, :])
    z3 = (a2 * mask / KEEP) @ p["W3"] + p["b3"][None, :]
    data = -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z3), axis=-1))
    return data + LAMBDA / (2 * m) * sum(jnp.sum(p[k] ** 2) for k in WEIGHTS)


def gradient(p, x, y, mask, bug=""):
    """The right gradient, line by line, with a wrong alternative to each line."""

    def pick(right, **wrong):
        return wrong.get(bug, right)

    m = x.shape[0]
    z1 = x @ p["W1"] + p["b1"]
    a1 = np.tanh(z1)
    z2 = a1 @ p["W2"] + p["b2"]
    a2 = np.maximum(z2, 0)
    d2 = a2 * mask / KEEP
    e = np.exp(d2 @ p["W3"] + p["b3"])
    s = e / e.sum(1, keepdims=True)
    dz3 = (s - y) / m
    dz3 = pick(dz3, summed=s - y, averaged_twice=dz3 / m, negated=-dz3, jacobian=dz3 * s * (1 - s))
    dW3 = pick(d2.T @ dz3, W3_of_a2=a2.T @ dz3, W3_double=2 * d2.T @ dz3)
    db3 = pick(dz3.sum(0), b3_mean=dz3.mean(0), b3_negated=-dz3.sum(0))
    dd2 = dz3 @ p["W3"].T
    da2 = dd2 * mask / KEEP
    da2 = pick(da2, no_mask=dd2 / KEEP, no_keep=dd2 * mask, no_dropout=dd2)
    slopes = {"relu_missing": 1.0, "relu_of_da": da2 > 0, "relu_of_a1": a1 > 0}
    slopes |= {"relu_leaky": np.where(z2 > 0, 1, 0.01), "relu_inverted": z2 < 0}
    dz2 = da2 * slopes.get(bug, z2 > 0)
    dW2 = pick(
        a1.T @ dz2, W2_of_z1=z1.T @ dz2, W2_of_da2=a1.T @ da2, W2_transposed=(a1.T @ dz2).T,
        W2_lost_example=a1[:-1].T @ dz2[:-1], W2_first_half=a1[: m // 2].T @ dz2[: m // 2],
    )  # fmt: skip
    db2 = pick(dz2.sum(0), b2_scalar=np.full(H, dz2.sum()))
    da1 = dz2 @ p["W2"].T
    da1 = pick(da1, no_transpose=dz2 @ p["W2"], stale=da2 @ p["W2"].T, unlearned=0.1 * da1)
    slopes = {"tanh_missing": 1.0, "tanh_of_z": 1 - z1**2, "tanh_as_sigmoid": a1 * (1 - a1)}
    slopes |= {"tanh_unsquared": 1 - a1, "tanh_at_output": 1 - np.tanh(a1) ** 2}
    dz1 = da1 * slopes.get(bug, 1 - a1**2)
    grads = {"W1": x.T @ dz1, "W2": dW2, "W3": dW3, "b1": dz1.sum(0), "b2": db2, "b3": db3}
    lam = (
        LAMBDA / m * {"l2_missing": 0, "l2_double": 2, "l2_per_batch": m, "l2_sign": -1}.get(bug, 1)
    )
    for k in WEIGHTS:
        grads[k] = grads[k] + (0 if bug == "l2_lost_W2" and k == "W2" else lam) * p[k]
    return spoilt(grads, p, lam, bug)


def spoilt(grads, p, lam, bug):
    """Mistakes that show in finished leaves."""
    g = dict(grads)
    if bug == "b1_zero":
        g["b1"] = 0 * g["b1"]
    if bug == "one_entry":
        g["W1"][1, 2] += 0.1
    if bug == "one_row":
        g["W1"][1] = 0.5
    if bug == "l2_on_biases":
        g |= {k: g[k] + lam * p[k] for k in BIASES}
    if bug == "swapped":
        g["b1"], g["b2"] = g["b2"], g["b1"]
    if bug == "nan":
        g["W2"][0, 0] = np.nan
    if bug == "noise":
        g["W1"] = g["W1"] + np.sin(np.arange(N * H).reshape(N, H))
    return g


def point():
    rng = np.random.default_rng(0)
    shapes = {"W1": (N, H), "b1": H, "W2": (H, H), "b2": H, "W3": (H, K), "b3": K}
    params = {k: rng.normal(size=s) * (0.3 if k in BIASES else 1.0) for k, s in shapes.items()}
    x = rng.normal(size=(M, N))
    y = np.eye(K)[rng.integers(0, K, M)]
    return params, (x, y, (rng.random((M, H)) < KEEP) * 1.0)


UP_TO_2 = ("W1", "W2", "b1", "b2")
TABLE = {
    "summed": ("batch_mean_missing", (*WEIGHTS, *BIASES)),
    "averaged_twice": ("batch_mean_doubled", (*WEIGHTS, *BIASES)),
    "negated": ("sign", (*WEIGHTS, *BIASES)),
    "jacobian": ("activation_derivative_wrong", (*WEIGHTS, *BIASES)),
    "W3_of_a2": ("stale_operand", ("W3",)),
    "W3_double": ("scale", ("W3",)),
    "b3_mean": ("bias_reduction_wrong", ("b3",)),
    "b3_negated": ("sign", ("b3",)),
    "no_mask": ("dropout_mask_missing", UP_TO_2),
    "no_keep": ("dropout_scale_missing", UP_TO_2),
    "no_dropout": ("dropout_mask_missing", UP_TO_2),
    "relu_missing": ("activation_derivative_missing", UP_TO_2),
    "relu_of_da": ("relu_mask_wrong", UP_TO_2),
    "relu_of_a1": ("relu_mask_wrong", UP_TO_2),
    "relu_inverted": ("relu_mask_wrong", UP_TO_2),
    "relu_leaky": ("activation_derivative_wrong", UP_TO_2),
    "W2_of_z1": ("stale_operand", ("W2",)),
    "W2_of_da2": ("activation_derivative_missing", ("W2",)),
    "W2_transposed": ("transpose", ("W2",)),
    "W2_lost_example": ("examples_dropped", ("W2",)),
    "W2_first_half": ("examples_dropped", ("W2",)),
    "b2_scalar": ("bias_reduction_wrong", ("b2",)),
    "no_transpose": ("transpose", ("W1", "b1")),
    "stale": ("activation_derivative_missing", ("W1", "b1")),
    "unlearned": ("scale", ("W1", "b1")),
    "tanh_missing": ("activation_derivative_missing", ("W1", "b1")),
    "tanh_of_z": ("activation_derivative_wrong", ("W1", "b1")),
    "tanh_as_sigmoid": ("activation_derivative_wrong", ("W1", "b1")),
    "tanh_unsquared": ("activation_derivative_wrong", ("W1", "b1")),
    "tanh_at_output": ("activation_derivative_wrong", ("W1", "b1")),
    "l2_missing": ("l2_missing", WEIGHTS),
    "l2_double": ("l2_scaled", WEIGHTS),
    "l2_per_batch": ("l2_scaled", WEIGHTS),
    "l2_sign": ("l2_scaled", WEIGHTS),
    "l2_lost_W2": ("l2_missing", ("W2",)),
    "l2_on_biases": ("l2_on_bias", BIASES),
    "b1_zero": ("zero_leaf", ("b1",)),
    "one_entry": ("wrong_entry", ("W1",)),
    "one_row": ("wrong_entry", ("W1",)),
    "swapped": ("leaves_swapped", ("b1", "b2")),
    "nan": ("not_a_number", ("W2",)),
    "noise": ("unknown", ("W1",)),
}


def diagnosed(bug):
    params, args = point()
    return findings(loss, lambda *a: gradient(*a, bug=bug), params, args, batch=(0, 1, 2))


@pytest.mark.parametrize("bug", TABLE)
def test_one_bug_is_one_finding_with_the_right_cause_and_leaves(bug):
    cause, leaves = TABLE[bug]
    (found,) = diagnosed(bug)
    assert found.cause == cause, found
    assert set(found.leaves) == set(leaves)
    if cause not in ("unknown", "wrong_entry", "not_a_number"):
        assert found.residual < 1e-9


def test_the_right_gradient_has_no_finding():
    assert diagnosed("") == ()


def test_two_bugs_on_different_leaves_are_two_findings():
    params, args = point()

    def grad(*a):
        g = gradient(*a)
        return g | {"W3": 2 * g["W3"], "b1": -g["b1"]}

    found = findings(loss, grad, params, args, batch=(0, 1, 2))
    assert {(f.cause, f.leaves) for f in found} == {("scale", ("W3",)), ("sign", ("b1",))}


def test_a_bug_below_another_is_found_on_top_of_it():
    params, args = point()

    def grad(*a):
        g = gradient(*a, bug="relu_missing")
        return g | {"b2": -g["b2"]}

    found = findings(loss, grad, params, args, batch=(0, 1, 2))
    assert {f.cause for f in found} == {"activation_derivative_missing", "sign"}
