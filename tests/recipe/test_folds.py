"""Folds: every row judged by fits that did not see it, classes dealt evenly, copies together."""

import numpy as np
import pytest

from jaxdl.recipe import folds

SIZES = {
    "twenty": (20, 2, 10),
    "small": (150, 3, 10),
    "middling": (600, 2, 5),
    "large": (5200, 2, 1),
}


@pytest.mark.parametrize("case", SIZES)
def test_every_row_is_judged_by_fits_that_did_not_see_it(case):
    m, k, count = SIZES[case]
    labels = np.arange(m) % k
    rows = folds.deal(labels, np.arange(m), seed=0)
    assert rows.folds == count
    for train, dev in zip(rows.train, rows.dev, strict=True):
        assert not set(train) & set(dev)
    judged = np.concatenate([np.unique(dev) for dev in rows.dev[:count]])
    if count > 1:
        assert np.bincount(judged, minlength=m).tolist() == [count // folds.FOLDS] * m
    else:
        assert abs(len(judged) - folds.DEV_SHARE * m) <= 2
    for dev in rows.dev[:count]:
        shares = np.bincount(labels[np.unique(dev)], minlength=k)
        assert shares.max() - shares.min() <= 2


@pytest.mark.parametrize("m", [20, 600])
def test_parts_for_learning_curves_lie_inside_their_fold(m):
    rows = folds.deal(np.arange(m) % 2, np.arange(m), seed=1)
    for which, share in enumerate(folds.SHARES):
        for fold, at in enumerate(rows.at_share(which)):
            part, whole = np.unique(rows.train[at]), np.unique(rows.train[fold])
            assert set(part) <= set(whole)
            assert len(part) == max(len(whole) // share, 2)
            assert (rows.dev[at] == rows.dev[fold]).all()


def test_copies_stay_on_one_side():
    groups = np.arange(400) // 2
    rows = folds.deal(np.arange(400) // 2 % 2, groups, seed=0)
    for train, dev in zip(rows.train, rows.dev, strict=True):
        assert not set(groups[train]) & set(groups[dev])


def test_a_class_of_two_rows_is_dealt_like_any_other():
    labels = np.array([0] * 40 + [1] * 18 + [2] * 2)
    rows = folds.deal(labels, np.arange(60), seed=0)
    holding = [f for f in range(5) if 2 in labels[rows.dev[f]]]
    assert len(holding) == 2


def test_the_deal_follows_from_the_seed():
    first, second, other = (folds.deal(np.arange(90) % 3, np.arange(90), s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.train, second.train)
    assert (first.train != other.train).any()
