"""Perturbed points keep what code may rely on; what no point shows is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import gradcheck
from jaxdl.gradcheck import points

A = np.random.default_rng(0).normal(size=(4, 4))
X = np.random.default_rng(1).normal(size=(5, 4))
SYMMETRIC, LOWER, DIAGONAL = A @ A.T, np.tril(A), np.eye(4)


@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.3, 0.03]))
@settings(max_examples=50, deadline=None)
def test_perturbed_points_keep_structure(seed, size):
    leaves = [A, SYMMETRIC, LOWER, LOWER.T, DIAGONAL, np.zeros(3), np.array([0.0, 2.0, 1e-6])]
    moved = points.perturbed(leaves, size, seed)
    assert all(np.all(m != 0) for m in (moved[0], moved[5]))
    assert np.array_equal(np.sign(moved[0]), np.sign(A))
    for symmetric in (moved[1], moved[4]):
        np.testing.assert_array_equal(symmetric, symmetric.T)
    assert not np.triu(moved[2], 1).any() and not np.tril(moved[3], -1).any()
    assert np.all(np.linalg.eigvalsh(moved[4]) > 0)
    assert np.all(moved[6] >= 0)


@given(m=st.integers(1, 200))
@settings(deadline=None)
def test_batch_sizes_tell_factors_apart(m):
    first, second = points.sub_batch_sizes(m, avoid=[3, 7])
    assert len({m, first, second}) == 3 and min(first, second) >= 3
    rows = points.rows_of(m, first, seed=0)
    assert len(rows) == first and rows.max() < m
    assert len(set(rows)) == min(first, m)


def value(p, x):
    return jnp.sum(jnp.tanh(x @ p["w"]) ** 2)


def by_hand(p, x):
    a = jnp.tanh(x @ p["w"])
    return {"w": x.T @ (2 * a * (1 - a**2))} | {k: jnp.zeros_like(p[k]) for k in p if k != "w"}


def adequacy(params, *args, value=value, by_hand=by_hand, **options):
    report = gradcheck.check(value, by_hand, params, *args, **options)
    assert report.verdict == "PASS"
    return "\n".join(report.adequacy)


def test_blind_spots_are_named():
    assert "pass batch_argnums" in adequacy({"w": A}, X)
    assert adequacy({"w": A}, X, batch_argnums=0) == ""
    assert "A transposed w" in adequacy({"w": SYMMETRIC}, X)
    assert "Anything about unused" in adequacy({"w": A, "unused": np.ones(2)}, X)


def test_dead_units():
    def relu(p, x):
        return jnp.sum(jax.nn.relu(x @ p["w"] + p["b"][None, :]))

    def hand(p, x):
        d = (x @ p["w"] + p["b"][None, :] > 0).astype(x.dtype)
        return {"w": x.T @ d, "b": d.sum(0)}

    params = {"w": A, "b": np.array([0.0, 0.0, -50.0, 0.0])}
    assert "1 of 4 units of b" in adequacy(params, X, value=relu, by_hand=hand)


def test_a_penalty_that_hides_the_data():
    def heavy(p, x):
        return value(p, x) + 1e9 * jnp.sum(p["w"] ** 2)

    def hand(p, x):
        return {"w": by_hand(p, x)["w"] + 2e9 * p["w"]}

    assert "The data term in w" in adequacy({"w": A}, X, value=heavy, by_hand=hand)


@pytest.mark.parametrize(("keep_prob", "idle"), [(1.0, True), (0.5, False)])
def test_dropout_that_is_off(keep_prob, idle):
    def mask(key, x):
        return jax.random.bernoulli(key, keep_prob, x.shape).astype(x.dtype) / keep_prob

    found = adequacy(
        {"w": A},
        X,
        jax.random.key(0),
        value=lambda p, x, key: value(p, x * mask(key, x)),
        by_hand=lambda p, x, key: by_hand(p, x * mask(key, x)),
    )
    assert ("another key gives the same loss" in found) == idle


def test_no_other_batch_size_where_an_argument_counts_the_examples():
    def mean(p, x, m):
        return value(p, x) / m

    report = gradcheck.check(
        mean, lambda p, x, m: {"w": by_hand(p, x)["w"] / len(x)}, {"w": A}, X, 5, batch_argnums=0
    )
    assert report.verdict == "PASS"
    assert any("number of examples" in note for note in report.notes)
