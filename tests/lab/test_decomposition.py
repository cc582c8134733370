"""Bias and variance by fitting again: by hand, and on draws whose parts are known."""

import numpy as np
import pytest

from jaxdl.lab import decomposition


def test_parts_by_hand():
    # Two sets of two starts predict 0, 2 and 4, 6 for targets -1 and 1 (variance 1): starts vary
    # by 2 about means 1 and 5, which vary by 8, so between sets 8 − 2/2 = 7; the mean 3 is off by
    # 4 and 2, bias² (16 + 4)/2 − 8/2 = 6.
    f = np.array([[0.0, 2.0], [4.0, 6.0]])[:, :, None, None] * np.ones((1, 1, 2, 1))
    found = decomposition.parts(f, np.array([[-1.0], [1.0]]))
    assert found == {
        "bias²": 6,
        "between sets": 7,
        "between starts": 2,
        "variance": 9,
        "error": 15,
    }


def test_parts_are_unbiased():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(4000, 1))
    f = y + 1.5 + rng.normal(size=(5, 1, 4000, 1)) + 0.5 * rng.normal(size=(5, 3, 4000, 1))
    found = decomposition.parts(f, y)
    unit = y.var()
    wanted = {"bias²": 2.25, "between sets": 1.0, "between starts": 0.25}
    for name, value in wanted.items():
        assert found[name] * unit == pytest.approx(value, rel=0.05)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)], ids=["more rows", "more columns"])
def test_ridge_solves_the_normal_equations(shape):
    rng = np.random.default_rng(1)
    phi, held, y = rng.normal(size=shape), rng.normal(size=(3, shape[1])), rng.normal(size=shape[0])
    least, shrunk = decomposition.ridge(phi, held, y[:, None], (0.0, 0.7))
    np.testing.assert_allclose(least[:, 0], held @ np.linalg.pinv(phi) @ y, rtol=1e-9)
    normal = phi.T @ phi + 0.7 * np.eye(shape[1])
    np.testing.assert_allclose(shrunk[:, 0], held @ np.linalg.solve(normal, phi.T @ y), rtol=1e-9)
