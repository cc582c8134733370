"""The caller's own precision: narrow dtypes in the code, overflow, lost digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import gradcheck
from jaxdl.gradcheck import tracing
from tests.gradcheck.logistic import W, X, Y, grad, loss, numpy_grad, numpy_loss, verdict

PRECISION = {
    "hard casts": (
        lambda w: loss(w.astype(jnp.float32), X, Y),
        lambda w: grad(w.astype(jnp.float32), X, Y),
    ),
    "bfloat16 arithmetic": (
        lambda w: jnp.sum(jnp.tanh(w.astype(jnp.bfloat16))).astype(jnp.float32),
        lambda w: (1 - jnp.tanh(w.astype(jnp.bfloat16)) ** 2).astype(jnp.float32),
    ),
    "a float32 carry": (
        lambda w: lax.scan(lambda h, _: (h * w, None), jnp.ones(3, jnp.float32), None, 3)[0].sum(),
        lambda w: 3 * w**2,
    ),
    "float32 constants scaled in NumPy": (
        lambda w: jnp.sum(Y[:3] * w**2 / (Y.sum() + np.float32(0.1))),
        lambda w: 2 * w * (Y[:3] / (Y.sum() + np.float32(0.1))),
    ),
    "float32 in NumPy": (
        lambda w: loss(w, X, Y),
        lambda w: np.asarray(numpy_grad(np.asarray(w, np.float32), X, Y), np.float32),
    ),
    "float32 loss in NumPy": (
        lambda w: numpy_loss(np.asarray(w, np.float32), X, Y),
        lambda w: numpy_grad(np.asarray(w, np.float32), X, Y),
    ),
}


@pytest.mark.parametrize("case", PRECISION, ids=str)
def test_code_that_insists_on_a_narrow_dtype_passes(case):
    value, by_hand = PRECISION[case]
    assert verdict(value, by_hand, W) == "PASS"
    assert verdict(value, lambda w: by_hand(w) * np.float32(1.01), W) == "FAIL"


WEIGHTS = np.array([0.1, 0.5, 0.9])
"""An array in float64 that both functions find in their module."""


def weighed(w):
    return jnp.sum(jnp.maximum(WEIGHTS * w, (WEIGHTS - 1) * w))


def weighed_grad(w):
    return WEIGHTS - jnp.where(w > 0, jnp.zeros_like(w), jnp.ones_like(w))


@pytest.mark.parametrize("by_hand", [weighed_grad, jax.jit(weighed_grad)], ids=["plain", "jit"])
def test_constants_in_float64_pass_without_float64(by_hand):
    assert verdict(weighed, by_hand, np.array([0.3, -2.0, 1.5])) == "PASS"


def test_code_is_traced_with_constants_of_the_precision_in_force():
    w = np.array([0.3, -2.0, 1.5], np.float32)
    with jax.enable_x64(True):
        wide = jax.make_jaxpr(weighed_grad)(w.astype(float))  # JAX keeps the constant with it
    (g,) = tracing.as_written(lambda theta, data: weighed_grad(theta[0]), [w], [])([w], [])
    assert wide.consts[0].dtype == np.float64 and g.dtype == np.float32


def test_code_that_cannot_run_in_the_callers_precision_passes(monkeypatch):
    monkeypatch.setattr(tracing, "_in_force", lambda const: const)
    assert verdict(weighed, weighed_grad, np.array([0.3, -2.0, 1.5])) == "PASS"


def test_overflow_in_the_callers_precision_fails():
    def by_hand(w, x, y):
        e = jnp.exp(x @ w)
        return x.T @ (e / (1 + e) - y) / len(y)

    assert verdict(loss, by_hand, W, X, Y) == "PASS"
    report = gradcheck.check(loss, by_hand, 100 * W, X, Y)
    assert [finding.cause for finding in report.findings] == ["not_a_number"]


def test_lost_digits_are_a_note():
    def value(w):
        return jnp.sum(jnp.logaddexp(0.0, w))

    def cancelling(w):
        return ((w + 1e4) - 1e4) * 0 + (1e4 + jax.nn.sigmoid(w)) - 1e4

    report = gradcheck.check(value, cancelling, W)
    assert report.verdict == "PASS"
    assert any("digits are lost" in note for note in report.notes)


@pytest.mark.parametrize("container", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("x64", [False, True])
def test_a_bug_is_named_whatever_holds_the_numbers(container, dtype, x64):
    """Where float64 is off, a JAX array made of the diagnosis's numbers would round them."""

    def squared(w, x, y):
        return jnp.sum((jnp.tanh(x @ w) - y) ** 2)

    def without_slope(w, x, y):
        return 2 * x.T @ (jnp.tanh(x @ w) - y)

    with jax.enable_x64(x64):
        given = [container(np.asarray(v, dtype)) for v in (W, X, Y)]
        report = gradcheck.check(squared, without_slope, *given)
    found = [finding.cause for finding in report.findings]
    assert found == ["activation_derivative_missing"], report
