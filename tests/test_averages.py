"""Exponentially weighted averages against their sum, and what bias correction repairs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import averages
from tests.compiling import once


def test_three_days_by_hand():
    # β = 0.9, θ = 40, 49, 45: v₁ = 4, v₂ = 0.9·4 + 4.9 = 8.5, v₃ = 0.9·8.5 + 4.5 = 12.15;
    # over 0.1, 0.19, 0.271: 40, 44.74, 44.83.
    theta = jnp.array([40.0, 49.0, 45.0])
    np.testing.assert_allclose(averages.ewa(theta, 0.9, debias=False), [4, 8.5, 12.15], rtol=1e-6)
    np.testing.assert_allclose(averages.ewa(theta, 0.9), [40, 8.5 / 0.19, 12.15 / 0.271], rtol=1e-5)


plain = once(partial(averages.ewa, debias=False))
corrected = once(averages.ewa)


@settings(max_examples=25, deadline=None)
@given(beta=st.floats(0, 0.999), seed=st.integers(0, 99))
def test_the_average_is_the_weighted_sum(beta, seed):
    with jax.enable_x64(True):
        theta = np.random.default_rng(seed).standard_normal((20, 2))
        weights = (1 - beta) * beta ** np.arange(20)
        expected = weights[::-1] @ theta
        np.testing.assert_allclose(plain(theta, beta)[-1], expected, atol=1e-12)
        np.testing.assert_allclose(corrected(theta, beta)[-1], expected / weights.sum(), rtol=1e-9)
        np.testing.assert_allclose(averages.weights(beta, 20), weights, atol=1e-15)


def test_a_constant_series_is_its_own_average():
    theta = jnp.full((50, 3), 7.0)
    np.testing.assert_allclose(averages.ewa(theta, 0.98), theta, rtol=1e-5)
    assert float(averages.ewa(theta, 0.98, debias=False)[0, 0]) == pytest.approx(0.14, rel=1e-5)


@pytest.mark.parametrize(("beta", "window"), [(0.5, 2), (0.9, 10), (0.98, 50)])
def test_the_window_is_where_the_weight_has_fallen_to_a_third(beta, window):
    assert averages.effective_window(beta) == pytest.approx(window)
    weights = averages.weights(beta, window + 1)
    # β^(1/(1−β)) tends to 1/e = 0.368 from below.
    assert 0.25 <= float(weights[window] / weights[0]) <= 0.37


def test_beta_may_be_traced_and_mapped():
    theta, betas = jnp.arange(1.0, 9.0), jnp.array([0.0, 0.5, 0.9])
    swept = jax.jit(jax.vmap(lambda beta: averages.ewa(theta, beta)))(betas)
    np.testing.assert_allclose(swept[0], theta)
    for row, beta in zip(swept, [0.0, 0.5, 0.9], strict=True):
        np.testing.assert_allclose(row, averages.ewa(theta, beta), rtol=1e-4)


def test_one_number_of_memory_per_series():
    jaxpr = jax.make_jaxpr(lambda theta: averages.ewa(theta, 0.9))(jnp.ones((1000, 4)))
    (scan,) = [eqn for eqn in jaxpr.eqns if eqn.primitive.name == "scan"]
    carried = scan.params["jaxpr"].in_avals[scan.params["num_consts"] :][: scan.params["num_carry"]]
    assert [aval.shape for aval in carried] == [(4,)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: averages.ewa(jnp.ones(3), 1.0),
            ValueError,
            r"beta must be one number in \[0, 1\)",
        ),
        (lambda: averages.ewa(jnp.ones(3), -0.1), ValueError, "got -0.1"),
        (lambda: averages.ewa(jnp.float32(1), 0.9), ValueError, "got a single number"),
        (lambda: averages.ewa(jnp.arange(3), 0.9), TypeError, "got int32"),
        (lambda: averages.weights(0.9, 0), ValueError, "got 0"),
        (lambda: averages.effective_window(float("nan")), ValueError, "got nan"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
