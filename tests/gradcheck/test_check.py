"""`check` passes right gradients, whatever they look like."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck
from tests.gradcheck.logistic import W, X, Y, grad, loss, numpy_grad, numpy_loss, verdict

A = np.array([[4.0, 1.0, 0.3], [0.2, 3.0, -0.5], [0.1, 0.7, 5.0]])


S = A @ A.T


def test_worked_example():
    # L(w) = w² x at x = 3: dL/dw = 2 · 0.5 · 3 = 3.
    report = gradcheck.check(lambda w, x: w**2 * x, lambda w, x: 2 * w * x, 0.5, 3.0)
    assert report.verdict == "PASS"
    assert report.leaves[0].size == 3.0 or report.leaves[0].point != "given"


RIGHT = {
    "float32": (loss, grad, W, X, Y),
    "jitted": (jax.jit(loss), jax.jit(grad), W, X, Y),
    "bfloat16": (
        loss,
        lambda w, x, y: x.T @ (jax.nn.sigmoid(x @ w) - y) / jnp.asarray(len(y), y.dtype),
        *(jnp.asarray(a, jnp.bfloat16) for a in (W, X, Y)),
    ),
    "logits beyond 50": (loss, grad, W * 60, X, Y),
    "NumPy gradient": (loss, numpy_grad, W, X, Y),
    "NumPy loss and gradient": (numpy_loss, numpy_grad, W, X, Y),
    "closure over float32": (lambda w: loss(w, X, Y), lambda w: grad(w, X, Y), W),
    "loss 1e12": (lambda *a: 1e12 * loss(*a), lambda *a: 1e12 * grad(*a), W, X, Y),
    "loss 1e-12": (lambda *a: 1e-12 * loss(*a), lambda *a: 1e-12 * grad(*a), W, X, Y),
    "loss with an offset": (lambda *a: 1e6 + loss(*a), grad, W, X, Y),
    "complex": (
        lambda w: jnp.sum(jnp.abs(w) ** 2),
        lambda w: 2 * jnp.conj(w),
        np.array([1 + 2j, 0.3 - 1j], np.complex64),
    ),
    "log determinant of a symmetric matrix": (
        lambda s: jnp.linalg.slogdet(s)[1],
        jnp.linalg.inv,  # right where the matrix is symmetric, and only there
        S,
    ),
    "log determinant by Cholesky": (
        lambda s: 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(s)))),
        jnp.linalg.inv,
        S,
    ),
    "a domain near its edge": (
        lambda p: -jnp.sum(jnp.log(1 - p)),
        lambda p: 1 / (1 - p),
        np.array([0.9, 0.99, 0.999]),
    ),
}


@pytest.mark.parametrize("case", RIGHT, ids=str)
def test_right_gradients_pass(case):
    assert verdict(*RIGHT[case]) == "PASS"


@pytest.mark.parametrize("m", [1, 2, 4])
def test_right_gradients_pass_at_every_batch_size(m):
    report = gradcheck.check(loss, grad, W, X[:m], Y[:m], batch_argnums=(0, 1), diagnose=False)
    assert report.verdict == "PASS"
    assert any(point.startswith("batch 1") for point in report.points)


def test_examples_in_columns():
    def columns(p, x, y):
        return jnp.sum((jnp.tanh(p["w"] @ x) - y) ** 2) / (2 * x.shape[1])

    def by_hand(p, x, y):
        a = jnp.tanh(p["w"] @ x)
        return {"w": (a - y) * (1 - a**2) @ x.T / x.shape[1]}

    params = {"w": np.array([[0.3, -0.2, 0.5], [0.1, 0.7, -0.4]])}
    y = np.ones((2, 4))
    assert verdict(columns, by_hand, params, X.T, y, batch_argnums=(0, 1), batch_axis=1) == "PASS"


class Net:
    """A layer that keeps what its backward pass needs, as course code does."""

    def __init__(self, np):
        self.np = np

    def forward(self, p, x):
        self.x, self.h = x, self.np.tanh(x @ p["w"])
        return self.h

    def backward(self, dh):
        return {"w": self.x.T @ (dh * (1 - self.h**2))}


@pytest.mark.parametrize("library", [np, jnp], ids=["numpy", "jax"])
@pytest.mark.parametrize("runs_forward", [True, False], ids=["forward first", "after the loss"])
def test_layers_with_caches(library, runs_forward):
    net = Net(library)

    def squares(p, x):
        return library.sum(net.forward(p, x) ** 2)

    def by_hand(p, x):
        return net.backward(2 * (net.forward(p, x) if runs_forward else net.h))

    assert verdict(squares, by_hand, {"w": A[:, :2]}, X.astype(np.float64)) == "PASS"


def test_control_flow_in_python():
    def branching(w, x, y):
        value = loss(w, x, y)
        return value * 2 if value > 100 else value

    assert verdict(branching, grad, W, X, Y) == "PASS"
