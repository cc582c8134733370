"""What is said about the data, on data whose fault is known."""

import numpy as np
import pytest

from jaxdl import data, diagnose


def noisy(y, share, seed=0):
    rng, k = np.random.default_rng(seed), int(y.max()) + 1
    y, chosen = y.copy(), rng.random(len(y)) < share
    y[chosen] = (y[chosen] + rng.integers(1, k, chosen.sum())) % k
    return y


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "moons"])
def test_contradicted_labels_are_as_many_as_are_wrong(name):
    d = data.load(name)
    honest = diagnose.second_opinion(d).doubtful
    wrong = diagnose.second_opinion(d._replace(y=noisy(d.y, 0.3))).doubtful
    assert honest.low < 0.02 and honest.value < 0.05
    assert wrong.low > 0.1 and wrong.low < 0.35 < wrong.high + 0.15


def test_labels_wrong_in_one_part_only_show_as_a_gap():
    parts = data.split(data.load("digits"), (0.5, 0.5, 0), seed=0)
    same = diagnose.second_opinion(parts.train, parts.dev).gap
    assert same.low < 0 < same.high
    worse = diagnose.second_opinion(parts.train, parts.dev._replace(y=noisy(parts.dev.y, 0.3))).gap
    assert worse.low > 0.05


def test_numbers_have_no_second_opinion():
    assert diagnose.second_opinion(data.load("diabetes")) == (None, None, None)


def test_a_telling_feature_is_named_first():
    d = data.load("wine")
    answer = d.y[:, None] + 0.1 * np.random.default_rng(0).normal(size=(len(d.y), 1))
    leaked = d._replace(x=np.hstack([d.x, answer]), feature_names=(*d.feature_names, "answer"))
    best = diagnose.telling_features(leaked)[0]
    assert best.feature == "“answer”" and best.skill > 0.98 and best.others < 0.7
    honest = diagnose.telling_features(d)[0]
    assert honest.skill < 0.8 and honest.feature == "“flavanoids”"
    assert diagnose.telling_features((d.x[:, :1], d.y)) == []
    assert diagnose.telling_features((d.x[:9], d.y[:9])) == []


def test_scales_by_hand():
    x = np.array([[3.0, 0.0, 1.0], [4.0, 0.0, 1.0]])
    found = diagnose.scales((x, np.array([[6.0], [8.0]])))
    assert found.largest == pytest.approx(12.5**0.5) and found.feature == "column 0"
    assert found.targets == pytest.approx(50**0.5)
    assert found.median == pytest.approx((12.5**0.5 + 1) / 2)  # of those that are not all 0
    assert diagnose.scales((x, np.array([0, 1]))).targets == 0


def test_a_shift_of_inputs_and_one_of_targets():
    parts = data.split(data.load("breast_cancer"), (0.6, 0.4, 0), seed=0)
    same = diagnose.shift(parts.train, parts.dev)
    assert same.p_value > 0.01 and same.targets_p_value > 0.01
    moved = parts.dev.x.copy()
    moved[:, 3] *= 1.5
    found = diagnose.shift(parts.train, parts.dev._replace(x=moved))
    assert found.p_value < 1e-3 and found.feature == "mean area"
    ones = data.take(parts.dev, np.flatnonzero(parts.dev.y == 1))
    assert diagnose.shift(parts.train, ones).targets_p_value < 1e-6
    assert diagnose.shift(parts.train, data.take(ones, np.arange(5))) is None
