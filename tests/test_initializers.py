import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import initializers

EXPECTED_STD = {
    "zeros": lambda n_in, n_out: 0.0,
    "normal": lambda n_in, n_out: 0.01,
    "xavier": lambda n_in, n_out: np.sqrt(1 / n_in),
    "glorot": lambda n_in, n_out: np.sqrt(2 / (n_in + n_out)),
    "he": lambda n_in, n_out: np.sqrt(2 / n_in),
}


def test_every_initializer_has_an_expectation():
    assert set(EXPECTED_STD) == set(initializers.INITIALIZERS)


@pytest.mark.parametrize("shape", [(50, 2000), (400, 250)])
@pytest.mark.parametrize("name", sorted(EXPECTED_STD))
def test_the_notes_numbers_are_standard_deviations(name, shape):
    w = np.asarray(initializers.get(name)(jax.random.key(0), shape))
    std = EXPECTED_STD[name](*shape)
    # The sample standard deviation of 100,000 normals is within 1 % at four sigma; had the number
    # been the variance, as the notes say, it would be off by a factor of five and more.
    assert w.std() == pytest.approx(std, rel=0.01)
    assert abs(w.mean()) <= 4 * std / np.sqrt(w.size)


def test_worked_example():
    # He with 8 inputs: √(2/8) = 1/2 of the same standard normal draws.
    key = jax.random.key(3)
    np.testing.assert_array_equal(
        initializers.he(key, (8, 2)), 0.5 * jax.random.normal(key, (8, 2))
    )


def test_fan_in_counts_all_axes_but_the_last():
    w = initializers.he(jax.random.key(0), (3, 3, 16, 700))
    assert float(w.std()) == pytest.approx(np.sqrt(2 / 144), rel=0.02)


def test_dtype_follows_the_precision_in_force():
    assert initializers.he(jax.random.key(0), (2, 2)).dtype == jnp.float32
    assert initializers.he(jax.random.key(0), (2, 2), dtype=jnp.bfloat16).dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert initializers.he(jax.random.key(0), (2, 2)).dtype == jnp.float64


@pytest.mark.parametrize("name", ["xavier", "glorot", "he"])
@pytest.mark.parametrize("shape", [(5,), (0, 3), ()])
def test_shapes_without_a_fan_are_refused(name, shape):
    with pytest.raises(ValueError, match="n_in"):
        initializers.get(name)(jax.random.key(0), shape)


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'xavier'"):
        initializers.get("xaver")
    with pytest.raises(TypeError, match="name or a function"):
        initializers.get(0.01)
