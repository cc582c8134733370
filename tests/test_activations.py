import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxdl import activations

NAMES = sorted(activations.ACTIVATIONS)


@pytest.mark.parametrize("name", NAMES)
def test_derivative_by_hand_equals_autodiff(name, x64):
    g, prime = activations.get(name)
    z = jnp.concatenate([jnp.linspace(-50, 50, 401), jnp.array([0.0, -0.0, 1e-300, -1e-300])])
    auto = jax.vmap(jax.grad(g))(z)
    np.testing.assert_allclose(prime(z), auto, rtol=0, atol=4e-15)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_finite_in_the_dtype_it_came_in_over_the_whole_range(name, dtype):
    largest = float(jnp.finfo(dtype).max)
    z = jnp.array([-largest, -1e4, -30, -1, 0, 1, 30, 1e4, largest], dtype)
    for f in activations.get(name):
        out = f(z)
        assert out.dtype == z.dtype
        assert np.all(np.isfinite(np.asarray(out, np.float64)))


@given(st.floats(-700, 700))
def test_sigmoid_derivative_keeps_its_relative_accuracy(z):
    with jax.enable_x64(True):
        exact = np.exp(-abs(z)) / (1 + np.exp(-abs(z))) ** 2
        assert float(activations.sigmoid_prime(jnp.float64(z))) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("z", [0.5, 5.0, 20.0, 100.0, 300.0])
def test_tanh_derivative_keeps_its_relative_accuracy(z, x64):
    exact = 4 * np.exp(-2 * z) / (1 + np.exp(-2 * z)) ** 2
    assert float(activations.tanh_prime(jnp.float64(z))) == pytest.approx(exact, rel=1e-13)


def test_worked_example():
    # σ(0) = 1/2, σ'(0) = 1/4; tanh'(0) = 1; leaky(-2) = -0.02, slope 0.01.
    assert float(activations.sigmoid(0.0)) == 0.5
    assert float(activations.sigmoid_prime(0.0)) == 0.25
    assert float(activations.tanh_prime(0.0)) == 1.0
    assert float(activations.leaky_relu(-2.0)) == pytest.approx(-0.02)
    assert float(activations.leaky_relu_prime(-2.0)) == pytest.approx(0.01)


def test_at_the_kink_we_take_the_slope_from_the_left_as_autodiff_does():
    for g, prime, left in [
        (activations.relu, activations.relu_prime, 0.0),
        (activations.leaky_relu, activations.leaky_relu_prime, activations.LEAK),
    ]:
        assert float(prime(0.0)) == float(jax.grad(g)(0.0)) == pytest.approx(left)
        assert float(prime(-0.0)) == float(jax.grad(g)(-0.0)) == pytest.approx(left)


@pytest.mark.parametrize("name", NAMES)
def test_a_nan_stays_a_nan(name):
    assert np.isnan(activations.get(name).value(jnp.nan))


@pytest.mark.parametrize("name", NAMES)
def test_integers_are_refused(name):
    with pytest.raises(TypeError, match=r"int32.*astype"):
        activations.get(name).value(jnp.arange(3))


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"'rellu'\. Did you mean 'relu'"):
        activations.get("rellu")
    with pytest.raises(ValueError, match="Did you mean 'leaky_relu'"):
        activations.get("LeakyReLU")


def test_a_lone_function_is_refused():
    with pytest.raises(TypeError, match="derivative"):
        activations.get(jnp.sin)
    assert activations.get((jnp.sin, jnp.cos)).prime is jnp.cos
