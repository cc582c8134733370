"""Finite differences against derivatives known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.gradcheck import numerical, relative_difference


def exponential(theta):
    return float(np.sum(np.exp(theta[0])))


THETA = [np.array([0.3, -0.7, 1.1])]
U = [np.array([1.0, -2.0, 0.5])]


def test_worked_example():
    # f(x) = x³ at 2 with h = 0.1: (2.1³ − 1.9³) / 0.2 = (9.261 − 6.859) / 0.2 = 12.01;
    # with h = 0.05: 12.0025; extrapolated (4 · 12.0025 − 12.01) / 3 = 12.
    def cube(theta):
        return float(theta[0] ** 3)

    two, one = [np.array(2.0)], [np.array(1.0)]
    assert numerical.central(cube, two, one, 0.1) == pytest.approx(12.01, abs=1e-12)
    assert numerical.central(cube, two, one, 0.05) == pytest.approx(12.0025, abs=1e-12)
    assert numerical.directional(cube, two, one, 0.1).value == pytest.approx(12.0, abs=1e-12)


@pytest.mark.parametrize("step", [1e-1, 1e-2, 1e-3, 1e-4])
def test_the_error_estimate_bounds_the_error(step):
    d = numerical.directional(exponential, THETA, U, step)
    exact = float(np.exp(THETA[0]) @ U[0])
    assert abs(d.value - exact) <= d.error
    assert d.error <= max(10 * step**4, 1e-8)


def test_noise_is_measured():
    rng = np.random.default_rng(0)

    def noisy(theta):
        return exponential(theta) + 1e-7 * rng.standard_normal()

    assert 3e-8 < numerical.value_noise(noisy, THETA, U, 1e-6) < 3e-7
    assert numerical.value_noise(exponential, THETA, U, 1e-6) < 1e-14


def test_kinks_by_the_slope_of_one_sided_differences():
    steps = np.geomspace(1e-2, 1e-4, 5)
    zero, one = [np.zeros(1)], [np.ones(1)]

    def relu(theta):
        return float(np.maximum(theta[0], 0).sum())

    assert numerical.kink_slope(relu, zero, one, steps) == pytest.approx(0.0, abs=0.02)
    assert numerical.kink_slope(exponential, zero, one, steps) == pytest.approx(1.0, abs=0.02)
    left, right, error = numerical.sides(relu, zero, one, 1e-3)
    assert (left, right) == pytest.approx((0.0, 1.0))
    assert error < 1e-9


@pytest.mark.parametrize(
    ("dtype", "order", "tolerance"), [(np.float64, 2, 1e-9), (np.float64, 4, 1e-11)]
)
def test_every_component(dtype, order, tolerance):
    with jax.enable_x64(True):
        params = {"a": np.linspace(-1, 1, 7, dtype=dtype), "b": np.ones((3, 2), dtype)}

        def f(p):
            return jnp.sum(jnp.exp(p["a"])) * jnp.sum(jnp.sin(p["b"]))

        found = numerical.gradient(f, params, order=order, chunk=4)
        exact = jax.grad(f)(params)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_float32_has_a_step_of_its_own():
    found = numerical.gradient(lambda x: jnp.sum(x**3), np.array([0.5, 2.0], np.float32))
    np.testing.assert_allclose(found, [0.75, 12.0], rtol=1e-3)
    assert numerical.best_step(np.float32) == pytest.approx(4.9e-3, rel=0.01)
    assert numerical.best_step(np.float64) == pytest.approx(6.06e-6, rel=0.01)


def test_components_without_jax():
    values, errors = numerical.components(exponential, THETA)
    np.testing.assert_allclose(values[0], np.exp(THETA[0]), rtol=1e-9)
    assert np.all(np.abs(values[0] - np.exp(THETA[0])) <= errors[0])


def test_orders_other_than_two_and_four():
    with pytest.raises(ValueError, match="order 2 or 4, got 3"):
        numerical.gradient(jnp.sum, np.ones(2, np.float32), order=3)


def test_relative_difference():
    # ‖(3, 4) − (3, 3)‖ / (5 + √18) = 1 / 9.2426
    a, b = {"x": np.array([3.0, 4.0])}, {"x": np.array([3.0, 3.0])}
    assert relative_difference(a, b) == pytest.approx(1 / (5 + 18**0.5))
    assert relative_difference(a, a) == 0.0
    assert relative_difference({"x": np.zeros(2)}, {"x": np.zeros(2)}) == 0.0
    assert relative_difference(a, {"x": -a["x"]}) == 1.0
    assert numerical.GREAT == 1e-7 and numerical.SUSPICIOUS == 1e-5


@pytest.mark.parametrize("other", [{"y": np.ones(2)}, {"x": np.ones(3)}])
def test_relative_difference_of_trees_that_differ(other):
    with pytest.raises(ValueError, match="one structure with equal shapes"):
        relative_difference({"x": np.ones(2)}, other)


def test_leaves_without_entries_and_single_numbers():
    with jax.enable_x64(True):
        params = {"none": np.zeros((0, 3)), "one": np.float64(2.0), "plain": 0.5}

        def f(p):
            return p["one"] ** 3 * p["plain"] + jnp.sum(p["none"])

        found = numerical.gradient(f, params, order=4)
    assert found["none"].shape == (0, 3)
    assert (float(found["one"]), float(found["plain"])) == pytest.approx((6.0, 8.0), rel=1e-9)
