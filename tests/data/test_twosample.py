"""The classifier two-sample test: silent on equal distributions, loud on planted shifts."""

import numpy as np
import pytest

from jaxdl import data


def halves(name, seed=0):
    s = data.split(data.load(name), (0.0, 0.5, 0.5), seed=seed)
    return s.dev, s.test


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_random_halves_are_not_told_apart(name):
    result = data.same_distribution(*halves(name), seed=0)
    assert result.p_value > 0.05 and abs(result.auc - 0.5) < 0.12


def test_p_values_are_not_too_small_under_the_null():
    rng = np.random.default_rng(0)
    p = [
        data.same_distribution(
            (rng.normal(size=(40, 3)), rng.integers(0, 2, 40)),
            (rng.normal(size=(25, 3)), rng.integers(0, 2, 25)),
            seed=i,
        ).p_value
        for i in range(12)
    ]
    assert np.mean(np.array(p) <= 0.2) <= 0.2 + 3 * np.sqrt(0.16 / 12)


def test_a_shifted_feature_is_named():
    dev, test = halves("wine")
    x = test.x.copy()
    x[:, 4] += 2 * x[:, 4].std()
    result = data.same_distribution(dev, test._replace(x=x), seed=0)
    assert result.p_value < 0.001 and result.feature == dev.feature_names[4]


def test_darker_images_and_other_class_shares_are_seen():
    dev, test = halves("digits")
    assert data.same_distribution(dev, test._replace(x=test.x * 0.9), seed=0).p_value < 0.001
    few = data.take(test, np.flatnonzero((test.y > 4) | (np.arange(len(test.y)) % 5 == 0)))
    assert data.same_distribution(dev, few, seed=0).p_value < 0.01


def test_targets_alone_can_tell():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 3)), rng.normal(size=200)
    result = data.same_distribution((x[:100], y[:100]), (x[100:], y[100:] + 2), seed=0)
    assert result.p_value < 0.001 and result.feature == "the targets"


def test_seeds_reproduce():
    dev, test = halves("iris")
    first, again = (data.same_distribution(dev, test, seed=3) for _ in range(2))
    assert first == again


def test_bad_sets():
    x, y = np.zeros((20, 3)), np.zeros(20)
    with pytest.raises(ValueError, match=r"\(20, 3\) and \(20, 2\)"):
        data.same_distribution((x, y), (x[:, :2], y), seed=0)
    with pytest.raises(ValueError, match="10 or more"):
        data.same_distribution((x, y), (x[:9], y[:9]), seed=0)
    with pytest.raises(ValueError, match="row 0, column 0"):
        data.same_distribution((x, y), (x * np.nan, y), seed=0)
