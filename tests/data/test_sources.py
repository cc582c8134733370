"""Named data sets, and the generators against the course's own recipes, number for number."""

import importlib.util

import numpy as np
import pytest

from jaxdl import data

REAL = {
    "digits": ((1797, 64), 10, (8, 8)),
    "breast_cancer": ((569, 30), 2, None),
    "wine": ((178, 13), 3, None),
    "iris": ((150, 4), 3, None),
    "moons": ((300, 2), 2, None),
    "circles": ((300, 2), 2, None),
    "flower": ((400, 2), 2, None),
    "spirals": ((400, 2), 2, None),
}


@pytest.mark.parametrize("name", REAL)
def test_a_classification_set_keeps_the_contract(name):
    shape, k, image_shape = REAL[name]
    d = data.load(name)
    assert d.name == name
    assert (d.x.shape, d.x.dtype, d.image_shape) == (shape, np.float32, image_shape)
    assert d.y.shape == shape[:1] and d.y.dtype.kind == "i"
    assert set(d.y.tolist()) == set(range(k))
    assert len(d.feature_names) == shape[1] and len(d.target_names) == k
    assert np.isfinite(d.x).all()


def test_diabetes_is_regression():
    d = data.load("diabetes")
    assert d.x.shape == (442, 10) and d.y.shape == (442,)
    assert d.y.dtype.kind == "f" and d.target_names == ()


def test_digits_are_the_real_images():
    d = data.load("digits")
    assert d.x[0].reshape(d.image_shape)[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert d.target_names[d.y[0]] == "0"


def test_digits_are_read_as_scikit_learn_reads_them(monkeypatch):
    ours = data.load("digits")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for a, b in zip(ours, data.load("digits"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"Unknown data set 'digit'. Did you mean 'digits'"):
        data.load("digit")


def test_moons_and_circles_are_the_courses():
    """The assignments seed NumPy's global generator and let scikit-learn draw from it."""
    from sklearn.datasets import make_circles, make_moons

    state = np.random.get_state()
    try:
        np.random.seed(3)
        moons = make_moons(n_samples=300, noise=0.2)
        np.random.seed(1)
        train = make_circles(n_samples=300, noise=0.05)
        np.random.seed(2)
        test = make_circles(n_samples=100, noise=0.05)
    finally:
        np.random.set_state(state)
    for (x, y), ours in [
        (moons, data.moons(300, 0.2, seed=3)),
        (train, data.circles(300, 0.05, seed=1)),
        (test, data.circles(100, 0.05, seed=2)),
    ]:
        np.testing.assert_array_equal(ours.x, x)
        np.testing.assert_array_equal(ours.y, y)
        assert ours.x.dtype == np.float64


def test_flower_is_the_courses():
    state = np.random.get_state()
    try:
        np.random.seed(1)
        t0 = np.linspace(0, 3.12, 200) + np.random.randn(200) * 0.2
        r0 = 4 * np.sin(4 * t0) + np.random.randn(200) * 0.2
        t1 = np.linspace(3.12, 6.24, 200) + np.random.randn(200) * 0.2
    finally:
        np.random.set_state(state)
    d = data.flower(400, seed=1)
    np.testing.assert_array_equal(d.x[:200], np.c_[r0 * np.sin(t0), r0 * np.cos(t0)])
    np.testing.assert_allclose(d.x[200:, 0] / d.x[200:, 1], np.tan(t1), rtol=1e-9)
    assert d.y.tolist() == [0] * 200 + [1] * 200
    np.testing.assert_array_equal(data.load("flower").x, d.x.astype(np.float32))


def test_flower_reproduces_the_published_logistic_regression():
    """The course prints 47 % for logistic regression on this very data."""
    from sklearn.linear_model import LogisticRegression

    d = data.flower()
    assert LogisticRegression().fit(d.x, d.y).score(d.x, d.y) == pytest.approx(0.47, abs=0.011)


def test_spirals_wind_around_each_other():
    """Without noise the arms never touch, and a half turn carries one into the other's curve."""
    d = data.spirals(2000, noise=0.0, seed=1)
    radius = np.hypot(*d.x.T)
    turn = np.arctan2(d.x[:, 1], d.x[:, 0]) - 3 * np.pi * radius / 4 - np.pi * d.y
    np.testing.assert_allclose(np.cos(turn), 1, atol=1e-9)


@pytest.mark.parametrize("generator", [data.flower, data.spirals])
def test_two_equal_halves_need_an_even_n(generator):
    with pytest.raises(ValueError, match="even; got n=401"):
        generator(401)


def test_generators_take_seed_and_dtype():
    a, b = data.moons(seed=1, dtype=np.float32), data.moons(seed=2)
    assert a.x.dtype == np.float32 and not np.allclose(a.x, b.x)
    np.testing.assert_array_equal(data.moons(seed=2).x, b.x)


def test_a_plain_pair_is_a_dataset():
    d = data.as_dataset(([[1.0], [2.0]], [0, 1]))
    assert d.x.shape == (2, 1) and d.name == ""
    assert data.as_dataset(d) is d
    with pytest.raises(ValueError, match=r"shape \(2, 1\) and y of shape \(3,\)"):
        data.as_dataset((np.zeros((2, 1)), np.zeros(3)))
    with pytest.raises(ValueError, match="pair"):
        data.as_dataset((np.zeros(2),) * 3)


def test_column():
    assert data.column([0, 1]).tolist() == [[0.0], [1.0]]
    assert data.column(np.array([True])).dtype == np.float32
    assert data.column(np.zeros((3, 1), np.float64)).dtype == np.float64
    with pytest.raises(ValueError, match=r"got \(2, 2\)"):
        data.column(np.zeros((2, 2)))
    with pytest.raises(TypeError, match="encode"):
        data.column(["a", "b"])
