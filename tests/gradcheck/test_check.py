"""The verdicts of `check` on right and wrong gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7], [-0.4, 0.8, 0.1], [0.9, -0.6, 1.1]], np.float32)
Y = np.array([0.0, 1.0, 1.0, 0.0], np.float32)
W = np.array([0.3, -0.2, 0.5], np.float32)


def loss(w, x, y):
    z = x @ w
    return jnp.mean(jnp.logaddexp(0.0, z) - y * z)


def grad(w, x, y):
    return x.T @ (jax.nn.sigmoid(x @ w) - y) / len(y)


def test_a_right_gradient_passes():
    report = gradcheck.check(loss, grad, W, X, Y, batch_argnums=(0, 1))
    assert report.verdict == "PASS"
    assert report.raise_if_failed() is report
    assert report.leaves[0].relative < 1e-14


@pytest.mark.parametrize("factor", [1.001, -1.0, 2.0, 4.0])
def test_a_wrong_gradient_fails(factor):
    report = gradcheck.check(
        loss, lambda w, x, y: np.float32(factor) * grad(w, x, y), W, X, Y, diagnose=False
    )
    assert report.verdict == "FAIL"
    with pytest.raises(gradcheck.GradientError, match="FAIL"):
        report.raise_if_failed()
