"""`check` on trees of any kind, with keys, integers and complex numbers among their leaves."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import gradcheck
from tests.gradcheck.logistic import W, X, Y, grad, loss, verdict


class Params(NamedTuple):
    w: np.ndarray
    b: float


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Weights:
    w: np.ndarray
    b: float


@pytest.mark.parametrize("kind", [Params, Weights], ids=["NamedTuple", "dataclass"])
def test_any_pytree(kind):
    def affine(p, x):
        return jnp.sum(jnp.tanh(x @ p.w + p.b))

    def by_hand(p, x):
        d = 1 - jnp.tanh(x @ p.w + p.b) ** 2
        return kind(x.T @ d, d.sum())

    assert verdict(affine, by_hand, kind(W, 0.1), X, batch_argnums=0) == "PASS"


def test_leaves_that_are_not_differentiated_pass_through():
    params = {"w": W, "n": 3, "labels": np.arange(3), "nothing": None}

    def by_hand(p, x, name):
        return {"w": x.sum(0) * p["n"], "n": None, "labels": None, "nothing": None}

    def linear(p, x, name):
        assert name == "kept"
        return jnp.sum(x @ p["w"]) * p["n"]

    assert verdict(linear, by_hand, params, X, "kept") == "PASS"


@pytest.mark.parametrize("other", ["a word", True, None])
def test_what_numpy_code_returns_for_other_leaves_is_not_looked_at(other):
    def loss(p):
        return jnp.sum(p["w"] ** 2) * p["n"]

    def grad(p):
        return {"w": 2 * np.asarray(p["w"]) * p["n"], "n": other}

    assert verdict(loss, grad, {"w": W, "n": 3}) == "PASS"


def test_integer_arrays_among_parameters_beside_a_batch():
    def scaled(p, x, y):
        return loss(p["w"], x, y) * p["n"]

    def by_hand(p, x, y):
        return {"w": grad(p["w"], x, y) * p["n"]}

    params = {"w": W, "n": np.int32(3)}
    assert verdict(scaled, by_hand, params, X, Y, batch_argnums=(0, 1)) == "PASS"


def test_a_typed_key_beside_a_batch():
    def dropped(w, x, y, key):
        return loss(w * jax.random.bernoulli(key, 0.7, w.shape), x, y)

    def by_hand(w, x, y, key):
        mask = jax.random.bernoulli(key, 0.7, w.shape)
        return mask * grad(w * mask, x, y)

    key = jax.random.key(1)
    assert verdict(dropped, by_hand, W, X, Y, key, batch_argnums=(0, 1)) == "PASS"


@pytest.mark.parametrize(
    ("change", "cause"), [(np.conj, "unknown"), (lambda g: -g, "sign"), (lambda g: 3 * g, "scale")]
)
def test_complex_gradients_are_diagnosed_leaf_by_leaf(change, cause):
    z = np.array([1 + 2j, 3 - 1j])
    report = gradcheck.check(
        lambda z: jnp.sum(jnp.abs(z) ** 2), lambda z: change(2 * np.conj(z)), z
    )
    assert [finding.cause for finding in report.findings] == [cause]
    assert ("conjugate" in report.findings[0].explanation) == (cause == "unknown")


@pytest.mark.parametrize("key", [jax.random.key(0), jax.random.PRNGKey(0)], ids=["key", "raw"])
def test_keys(key):
    def mask(key, x):
        return jax.random.bernoulli(key, 0.5, x.shape).astype(x.dtype)

    def dropped(w, x, key):
        return jnp.sum((x * mask(key, x)) @ w)

    assert verdict(dropped, lambda w, x, key: (x * mask(key, x)).sum(0), W, X, key) == "PASS"
