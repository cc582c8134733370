"""Gradients of maxima whose operand fused code computes twice, rounded in two ways."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck
from jaxdl.gradcheck import host, programs, tracing
from jaxdl.gradcheck.hostrules import Unsupported

# Quickly compiled programs hardly fuse.
pytestmark = pytest.mark.usefixtures("as_users_do")

RNG = np.random.default_rng(2)
K, C = RNG.normal(size=(2, 2, 4)), RNG.normal(size=4)
X = RNG.normal(size=(6, 5, 5))


def features(k, c, x) -> jax.Array:
    taps = [
        x[:, i : i + 4, j : j + 4, None] * k[i, j][None, None, None]
        for i in range(2)
        for j in range(2)
    ]
    return (c[None, None, None] + sum(taps)).reshape(-1, 2, 2, 2, 2, 4)


def pooled(p, x):
    return jnp.mean(features(p[0], p[1], x).max((2, 4)) ** 2)


def pooled_grad(p, x):
    z, pull = jax.vjp(lambda k, c: features(k, c, x), *p)
    top = z.max((2, 4), keepdims=True)
    dz = jnp.where(z == top, 2 * top / (z.size / 4), jnp.zeros_like(z))
    return list(pull(dz))


@pytest.fixture
def compiled(monkeypatch):
    """Small programs are compiled, too."""

    def refuse(*args, **options):
        raise Unsupported("anything")

    monkeypatch.setattr(host, "Program", refuse)


def test_a_maximum_of_what_is_computed_passes(compiled):
    p = [K.astype(np.float32), C.astype(np.float32)]
    report = gradcheck.check(pooled, pooled_grad, p, X.astype(np.float32))
    assert report.verdict == "PASS" and not report.notes


def test_fused_gradients_are_taken_apart_before_autodiff_is_blamed(compiled, monkeypatch):
    monkeypatch.setattr(programs, "APART", {})  # as on a backend without this option
    value, by_hand = lambda p, x: pooled(p, x), lambda p, x: pooled_grad(p, x)  # never compiled
    report = gradcheck.check(value, by_hand, [K, C], X)
    assert report.verdict == "PASS"
    assert any("operation by operation" in note for note in report.notes)


def test_only_programs_that_compare_arrays_are_not_fused():
    def options(f, *leaves):
        closed = jax.make_jaxpr(f)(*leaves)
        return programs.quick_options(tracing.Traced(closed, None)) or {}

    assert programs.APART.items() <= options(jax.grad(pooled), [K, C], X).items()
    assert programs.APART.items() <= options(jax.grad(lambda x: jnp.max(jnp.tanh(x))), C).items()
    relu = jax.grad(lambda x: jnp.sum(jax.nn.relu(x * x - 0.1)))
    assert not programs.APART.keys() & options(relu, C).keys()
