"""Pullbacks, custom rules and Hessian-vector products."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]], np.float32)
W = np.array([[0.3, -0.2], [0.5, 0.1], [-0.4, 0.9]], np.float32)


def layer(x, w):
    return jnp.tanh(x @ w)


def pullback(x, w, v):
    d = v * (1 - jnp.tanh(x @ w) ** 2)
    return d @ w.T, x.T @ d


def test_a_right_pullback_passes():
    assert gradcheck.check_vjp(layer, pullback, (X, W)).verdict == "PASS"


def test_one_argument_needs_no_tuple():
    assert gradcheck.check_vjp(jnp.sin, lambda x, v: v * jnp.cos(x), (X,)).verdict == "PASS"


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        (lambda x, w, v: pullback(x, w, jnp.ones_like(v)), "cotangent_ignored"),
        (lambda x, w, v: pullback(x, w, v * jnp.abs(v)), "not_linear"),
    ],
)
def test_wrong_pullbacks_fail(wrong, cause):
    report = gradcheck.check_vjp(layer, wrong, (X, W), diagnose=False)
    assert report.verdict == "FAIL"
    assert report.findings[0].cause == cause


def custom_sine(slope):
    @jax.custom_jvp
    def sine(x):
        return jnp.sin(x)

    sine.defjvp(lambda primals, tangents: (sine(*primals), slope(*primals) * tangents[0]))
    return sine


def custom_scale(factor):
    @functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
    def scale(x, c, labels):
        return c * x

    def forward(x, c, labels):
        return scale(x, c, labels), None

    scale.defvjp(forward, lambda c, residual, v: (factor * c * v, None))
    return scale


def test_custom_rules():
    labels = np.arange(2)
    assert gradcheck.check_rule(custom_sine(jnp.cos), X).verdict == "PASS"
    assert gradcheck.check_rule(custom_scale(1.0), X, 2.0, labels).verdict == "PASS"
    wrong = gradcheck.check_rule(custom_scale(1.5), X, 2.0, labels)
    assert [(f.cause, f.equivalent) for f in wrong.findings] == [("scale", ())]
    assert "multiplied by 1.5" in wrong.findings[0].explanation
    assert wrong.title == "GRADCHECK RULE"


def test_rules_inside_a_function():
    def function(sine):
        return lambda x: jnp.sum(sine(x) * x)

    assert gradcheck.check_rule(function(custom_sine(jnp.cos)), X).verdict == "PASS"
    wrong = gradcheck.check_rule(function(custom_sine(jnp.sin)), X, diagnose=False)
    assert wrong.verdict == "FAIL"


def quartic(p, x):
    return jnp.sum(jnp.tanh(x @ p)) + jnp.sum(p**4)


def hvp(p, v, x):
    return jax.jvp(lambda p: jax.grad(quartic)(p, x), (p,), (v,))[1]


def test_hessian_vector_products():
    assert gradcheck.check_hvp(quartic, hvp, W, X).verdict == "PASS"
    report = gradcheck.check_hvp(quartic, lambda p, v, x: hvp(p, v, x) * p, W, X, diagnose=False)
    assert report.verdict == "FAIL"
    assert report.findings[0].cause == "not_symmetric"
