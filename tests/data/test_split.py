"""Splits: a partition of the rows, of the asked sizes, in proportion, the same everywhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxdl import data
from jaxdl.data.split import PARTS


def sets(labels):
    labels = np.asarray(labels)
    return np.arange(len(labels), dtype=np.float32).reshape(-1, 1), labels


def assert_partition(split, m):
    everything = np.concatenate([split.indices[name] for name in PARTS])
    assert sorted(everything) == list(range(m))
    for name in PARTS:
        np.testing.assert_array_equal(getattr(split, name).x[:, 0], split.indices[name])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 4), min_size=20, max_size=200),
    st.sampled_from([(0.7, 0.15, 0.15), (0.6, 0.2, 0.2), "70/0/30", (-1, 3, 2)]),
    st.booleans(),
    st.integers(0, 9),
)
def test_every_split_is_a_partition_of_the_asked_sizes(labels, parts, stratify, seed):
    s = data.split(sets(labels), parts, seed=seed, stratify=stratify)
    assert_partition(s, len(labels))
    assert tuple(len(s.indices[n]) for n in PARTS) == data.part_counts(parts, len(labels))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 90), min_size=2, max_size=8), st.integers(0, 99))
def test_stratified_parts_hold_each_class_in_proportion(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    m = len(labels)
    s = data.split(sets(labels), (-1, m // 5, m // 5), seed=seed)
    for name in PARTS:
        held = np.bincount(labels[s.indices[name]], minlength=len(sizes))
        wanted = np.asarray(sizes) * len(s.indices[name]) / m
        assert np.abs(held - wanted).max() < 2


def test_digits_to_within_one_example():
    d = data.load("digits")
    s = data.split(d, seed=0)
    assert isinstance(s.train, data.Dataset) and s.dev.image_shape == (8, 8)
    share = np.bincount(s.test.y) / np.bincount(d.y)
    assert np.abs(share - 0.15).max() < 0.01


def test_the_rarest_class_is_trained_on():
    labels = np.array([0] * 97 + [1, 1, 2])
    for seed in range(20):
        assert set(data.split(sets(labels), seed=seed).train.y) == {0, 1, 2}


def test_seeds_reproduce_and_differ():
    pair = sets([0, 1] * 20)
    first, again, other = (data.split(pair, seed=s).indices["dev"] for s in (5, 5, 6))
    assert first.tolist() == again.tolist() != other.tolist()
    # Written down once: the draw is the same on every machine.
    assert first.tolist() == [7, 25, 2, 35, 38, 36]


def test_membership_is_uniform():
    """Each of 12 examples is in the test part in a share 1/4 of the seeds (3 σ of 600)."""
    hits = sum(
        np.bincount(
            data.split(sets([0] * 8 + [1] * 4), (6, 3, 3), seed=s).indices["test"], minlength=12
        )
        for s in range(600)
    )
    assert np.abs(hits / 600 - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 600)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2)), min_size=40, max_size=150),
    st.booleans(),
    st.integers(0, 9),
)
def test_groups_stay_together(rows, stratify, seed):
    rows[:3] = (100, 0), (101, 1), (102, 0)  # three groups at least
    groups, labels = (np.array(column) for column in zip(*rows, strict=True))
    s = data.split(sets(labels), (0.6, 0.2, 0.2), seed=seed, groups=groups, stratify=stratify)
    assert_partition(s, len(rows))
    homes = [set(groups[s.indices[name]]) for name in PARTS]
    assert all(homes)
    assert not (homes[0] & homes[1] or homes[0] & homes[2] or homes[1] & homes[2])


def test_grouped_sizes_and_proportions_are_near():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200).astype(str), rng.integers(1, 9, 200))
    labels = rng.integers(0, 3, len(groups))
    s = data.split(sets(labels), (0.7, 0.15, 0.15), seed=1, groups=groups)
    m = len(groups)
    for name, ratio in zip(PARTS, (0.7, 0.15, 0.15), strict=True):
        assert len(s.indices[name]) / m == pytest.approx(ratio, abs=0.01)
        assert np.abs(np.bincount(labels[s.indices[name]]) / (m * ratio) - 1 / 3).max() < 0.05


@pytest.mark.parametrize(
    "parts, m, counts",
    [
        ("98/1/1", 1_000_000, (980_000, 10_000, 10_000)),
        ("99.5/0.25/0.25", 1_000_000, (995_000, 2_500, 2_500)),
        ((0.6, 0.2, 0.2), 10, (6, 2, 2)),
        ((0.7, 0.0, 0.3), 10, (7, 0, 3)),
        ((0.7, 0.15, 0.15), 100, (70, 15, 15)),
        ((1437, 0, 360), 1797, (1437, 0, 360)),
        ((-1, 1, 1), 10, (8, 1, 1)),
        ((1, 0, 0), 10, (10, 0, 0)),
    ],
)
def test_part_counts(parts, m, counts):
    assert data.part_counts(parts, m) == counts


@pytest.mark.parametrize(
    "parts, message",
    [
        ((0.7, 0.2, 0.2), r"have sum 1\.1"),
        ((0.7, 0.3), "three numbers"),
        ((60, 20, 30), "do not divide 100"),
        ((98, 1, 2), "do not divide 100"),
        ((-1, -1, 5), "do not divide 100"),
        ((-1, 99, 99), "do not divide 100"),
        ((1.2, -0.1, -0.1), "have sum 1"),
        ("98/1", "three ratios"),
        ("a/b/c", "such as '98/1/1'"),
        ("99.5/0.25/0.25", "leave dev without any"),
        ((np.nan, 0.5, 0.5), "have sum nan"),
    ],
)
def test_parts_that_do_not_fit(parts, message):
    with pytest.raises(ValueError, match=message):
        data.part_counts(parts, 100)


def test_groups_of_another_length():
    with pytest.raises(ValueError, match=r"shape \(4,\), got \(3,\)"):
        data.split(sets([0, 1, 0, 1]), (2, 1, 1), seed=0, groups=[1, 2, 3])


def test_too_few_groups_and_no_data():
    with pytest.raises(ValueError, match="1 groups cannot fill 3 parts"):
        data.split(sets([0, 1, 0, 1]), (2, 1, 1), seed=0, groups=np.zeros(4))
    with pytest.raises(ValueError, match=r"got x of shape \(0, 1\)"):
        data.split(sets([]), seed=0)


def test_regression_targets_are_shuffled():
    d = data.load("diabetes")
    assert_partition(data.split(sets(d.y), seed=0), 442)
