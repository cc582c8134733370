"""Wrong gradients fail, of JAX and of NumPy losses, and at other batch sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck
from tests.gradcheck.logistic import W, X, Y, grad, loss, numpy_grad, numpy_loss, verdict

WRONG = {
    "factor": lambda w, x, y: np.float32(1.001) * grad(w, x, y),
    "sign": lambda w, x, y: -grad(w, x, y),
    "sum for mean": lambda w, x, y: x.T @ (jax.nn.sigmoid(x @ w) - y),
    "one entry, a little": lambda w, x, y: grad(w, x, y).at[1].multiply(1.0001),
    "not a number": lambda w, x, y: grad(w, x, y).at[1].set(jnp.nan),
    "infinite": lambda w, x, y: grad(w, x, y) / jnp.asarray([0.0, 1.0, 0.0], w.dtype),
    "zero": lambda w, x, y: jnp.zeros_like(w),
    "in NumPy": lambda w, x, y: numpy_grad(w, x, y) * 1.001,
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_wrong_gradients_fail(case):
    assert verdict(loss, WRONG[case], W, X, Y) == "FAIL"


def test_wrong_gradients_of_numpy_losses_fail():
    assert verdict(numpy_loss, lambda *a: 1.00001 * numpy_grad(*a), W, X, Y) == "FAIL"
    assert verdict(loss, WRONG["factor"], W, X, Y, oracle="fd") == "FAIL"


@pytest.mark.parametrize(
    ("factor", "cause"),
    [(lambda x: 2.0, ["scale"]), (lambda x: len(x), ["batch_mean_missing"])],
)
def test_several_leaves_of_a_numpy_loss_are_diagnosed(factor, cause):
    def both(p, x, y):
        return numpy_loss(p["w"], x, y) + 0.5 * float(p["c"] ** 2) / len(x)

    def by_hand(p, x, y):
        right = {"w": numpy_grad(p["w"], x, y), "c": p["c"] / len(x)}
        return {name: factor(x) * leaf for name, leaf in right.items()}

    params = {"w": W, "c": np.float32(0.4)}
    report = gradcheck.check(both, by_hand, params, X, Y, batch_argnums=(0, 1), oracle="fd")
    assert [finding.cause for finding in report.findings] == cause
    assert set(report.findings[0].leaves) == {"w", "c"}


def test_a_numpy_loss_too_large_for_every_entry():
    w = np.linspace(-1.0, 1.0, 300)

    def squares(w):
        return np.sum(w**2) / 2

    assert verdict(squares, lambda w: w, w, budget_s=1e-4) == "PASS"
    assert verdict(squares, lambda w: np.where(np.arange(300) == 7, 0, w), w, budget_s=1e-4) == (
        "FAIL"
    )


def test_a_bias_penalty_shows_only_where_biases_are_not_zero():
    params = {"w": W, "b": np.zeros(1, np.float32)}

    def value(p, x):
        return jnp.sum(jnp.tanh(x @ p["w"] + p["b"]))

    def by_hand(p, x):
        d = 1 - jnp.tanh(x @ p["w"] + p["b"]) ** 2
        return {"w": x.T @ d, "b": d.sum(keepdims=True) + 0.1 * p["b"]}

    assert verdict(value, by_hand, params, X) == "FAIL"
    report = gradcheck.check(value, by_hand, params, X, points="given")
    assert report.verdict == "PASS"
    assert any("penalty on b" in line for line in report.adequacy)


def test_a_gradient_that_knows_one_batch_size_fails_at_another():
    def by_hand(w, x, y):
        return grad(w, x, y) * (len(y) / 4)

    assert verdict(loss, by_hand, W, X, Y) == "PASS"
    assert verdict(loss, by_hand, W, X, Y, batch_argnums=(0, 1)) == "FAIL"


def test_a_gradient_that_uses_a_value_of_a_trace_that_is_over_raises():
    def leaking(w, x, y):
        @jax.custom_vjp
        def twice(u):
            return 2 * u

        twice.defvjp(lambda u: (2 * u, None), lambda _, ct: (ct * w[0],))  # w is a tracer
        return jnp.sum(twice(x @ w) - y)

    report = gradcheck.check(loss, jax.grad(leaking), W, X, Y)
    assert report.verdict == "FAIL" and report.findings[0].cause == "raises", report
    assert "UnexpectedTracerError" in report.findings[0].explanation
