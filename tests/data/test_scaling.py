"""Scalers: fitted on one array, applied to any, undone exactly, never dividing by nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxdl import data

SCALERS = {"standardize": data.standardize, "min_max": data.min_max, "whiten": data.whiten}
each = pytest.mark.parametrize("scaler", SCALERS.values(), ids=SCALERS)


@each
@settings(deadline=None, max_examples=80)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
        elements=st.floats(-1e6, 1e6, width=32),
    )
)
def test_finite_and_invertible_whatever_the_columns(scaler, x):
    state = scaler.fit(x)
    z = scaler.apply(state, x)
    assert np.isfinite(z).all() and z.dtype == np.float32
    scale = np.abs(x).max() + 1
    np.testing.assert_allclose(scaler.invert(state, z), x, atol=1e-3 * scale)


def test_standardize_by_hand():
    # columns (1, 3, 5): mean 3, variance (4 + 0 + 4)/3; and a constant.
    x = np.array([[1.0, 7.0], [3.0, 7.0], [5.0, 7.0]])
    state = data.standardize.fit(x)
    np.testing.assert_allclose(state.shift, [3, 7])
    np.testing.assert_allclose(state.scale, [np.sqrt(8 / 3), 1])
    np.testing.assert_allclose(data.standardize.apply(state, [[3.0, 9.0]]), [[0, 2]])


def test_agrees_with_scikit_learn():
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    x = data.load("digits").x
    for ours, theirs in [(data.standardize, StandardScaler()), (data.min_max, MinMaxScaler())]:
        np.testing.assert_allclose(
            ours.apply(ours.fit(x), x), theirs.fit_transform(x.astype(np.float64)), atol=1e-5
        )


def test_only_the_training_part_speaks():
    train, dev = np.array([[0.0], [2.0]]), np.array([[4.0]])
    state = data.standardize.fit(train)
    assert data.standardize.apply(state, dev).item() == 3.0


@pytest.mark.parametrize("value", [0.1, 1e-30, 1e6, -3.3e7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each
def test_constant_columns_become_zero(scaler, value, dtype):
    x = np.column_stack([np.full(7, value), np.arange(7)]).astype(dtype)
    z = scaler.apply(scaler.fit(x), x)
    np.testing.assert_array_equal(z[:, 0], 0)
    assert np.abs(z[:, 1]).max() > 0.5


@pytest.mark.parametrize("magnitude", [1e-150, 1e150])
def test_squares_that_would_over_or_underflow(magnitude):
    x = np.array([[-1.0], [1.0]]) * magnitude
    np.testing.assert_allclose(data.standardize.fit(x).scale, [magnitude])


def test_whiten_decorrelates():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) * [1, 1e3, 1e-3, 1] + 5
    z = data.whiten.apply(data.whiten.fit(x), x)
    np.testing.assert_allclose(z.T @ z / 500, np.eye(4), atol=1e-9)


def test_whiten_with_fewer_examples_than_features():
    x = np.random.default_rng(0).normal(size=(5, 20))
    state = data.whiten.fit(x)
    z = data.whiten.apply(state, x)
    assert np.abs(z).max() < 10
    np.testing.assert_allclose(data.whiten.invert(state, z), x, atol=1e-9)


@each
def test_jax_arrays_inside_jit(scaler):
    x = data.load("wine").x
    state = scaler.fit(x)
    z = jax.jit(scaler.apply)(state, jnp.asarray(x))
    np.testing.assert_allclose(z, scaler.apply(state, x), atol=2e-3)
    assert z.dtype == jnp.float32
    np.testing.assert_allclose(scaler.invert(state, z), x, rtol=1e-3, atol=2e-2)


def test_images_are_scaled_pixel_by_pixel():
    x = np.random.default_rng(0).integers(0, 255, (9, 4, 4), np.uint8)
    z = data.standardize.apply(data.standardize.fit(x), x)
    assert z.shape == (9, 4, 4) and z.dtype == np.float32
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-5)


@each
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite_is_refused_with_its_place(scaler, value):
    x = np.zeros((4, 3))
    x[2, 1] = value
    with pytest.raises(ValueError, match=r"row 2, column 1 \(b\)"):
        scaler.fit(x, feature_names=("a", "b", "c"))
    with pytest.raises(ValueError, match="row 2, column 1"):
        scaler.apply(scaler.fit(np.eye(3)), x)


@each
def test_wrong_shapes_and_types(scaler):
    with pytest.raises(ValueError, match=r"got \(0, 3\)"):
        scaler.fit(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"shape \(3,\).*got \(2,\)"):
        scaler.apply(scaler.fit(np.eye(3)), np.zeros((5, 2)))
    with pytest.raises(TypeError, match="encode"):
        scaler.fit(np.array([["a"], ["b"]]))


def test_a_spread_too_small_for_the_dtype_is_a_constant_to_it():
    state = data.standardize.fit(np.array([[0.0, 1.0], [1e-50, 2.0]]))
    z = data.standardize.apply(state, jnp.array([[0.0, 1.0], [0.0, 2.0]], jnp.float32))
    np.testing.assert_array_equal(z, [[0, -1], [0, 1]])


def test_text_is_refused_when_applied_as_when_fitted():
    state = data.standardize.fit(np.array([[1.0], [2.0]]))
    with pytest.raises(TypeError, match="encode them first"):
        data.standardize.apply(state, np.array([["1"], ["2"]]))
