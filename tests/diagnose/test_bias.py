"""Bias and variance against sums by hand, and their intervals against chance."""

import numpy as np
import pytest

from jaxdl import diagnose
from jaxdl.stats import Estimate


def shares(train, dev, optimal=0.0, n=10_000, **options):
    return diagnose.bias_variance(train, dev, optimal_error=optimal, n_train=n, n_dev=n, **options)


@pytest.mark.parametrize(
    "train, dev, optimal, dominates",
    [
        (0.01, 0.11, 0.0, "variance"),  # the four examples of the course's lecture
        (0.15, 0.16, 0.0, "bias"),
        (0.15, 0.30, 0.0, "both"),
        (0.005, 0.01, 0.0, "neither"),
        (0.15, 0.16, 0.15, "neither"),  # no classifier does well: 15 % is the optimal error
        (0.08, 0.20, 0.07, "variance"),
    ],
)
def test_the_notes_reading(train, dev, optimal, dominates):
    found = shares(train, dev, optimal)
    assert found.dominates == dominates
    assert found.avoidable_bias.value == pytest.approx(train - optimal)
    assert found.variance.value == pytest.approx(dev - train)
    assert str(found) == found.sentence and f"{100 * (dev - train):.1f} %" in found.sentence


def test_few_examples_decide_nothing():
    few = diagnose.bias_variance(0.0, 0.1, n_train=20, n_dev=10)
    assert few.dominates == "unclear" and "more examples" in few.sentence


def test_by_hand():
    # Newcombe's first example: 56/70 against 48/80, difference 0.2, limits 0.0524 and 0.3339.
    found = diagnose.bias_variance(48 / 80, 56 / 70, n_train=80, n_dev=70)
    np.testing.assert_allclose(found.variance, [0.2, 0.0524, 0.3339], atol=5e-5)


def test_zeros_and_ones_are_a_share():
    wrong = np.repeat([0, 1], [90, 10])
    arrays = diagnose.bias_variance(wrong, wrong.astype(bool))
    assert arrays == diagnose.bias_variance(0.1, 0.1, n_train=100, n_dev=100)


def test_the_optimal_error_may_be_an_estimate():
    exact = shares(0.1, 0.2, 0.05)
    people = np.repeat([0, 1], [95, 5])
    unsure = shares(0.1, 0.2, people)
    assert unsure.optimal.value == 0.05 and unsure.variance == exact.variance
    assert unsure.avoidable_bias.low < exact.avoidable_bias.low
    assert shares(0.1, 0.2, Estimate(0.05, 0.05, 0.05)).avoidable_bias == exact.avoidable_bias


@pytest.mark.parametrize("kind", ["shares", "squared errors"])
def test_intervals_cover(kind):
    """Over 400 draws the intervals of bias and variance hold the truth 95 % of the time."""
    rng, draws = np.random.default_rng(0), 400
    hits = np.zeros(2)
    for _ in range(draws):
        if kind == "shares":
            sides, truth = (rng.random(300) < 0.05, rng.random(100) < 0.15), (0.05, 0.10)
        else:
            sides, truth = (rng.normal(size=300) ** 2, 3 * rng.normal(size=100) ** 2), (1.0, 2.0)
        found = diagnose.bias_variance(*sides)
        gaps = (found.avoidable_bias, found.variance)
        hits += [gap.low <= true <= gap.high for gap, true in zip(gaps, truth, strict=True)]
    assert (hits / draws >= 0.92).all() and (hits / draws <= 0.99).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"train_error": 0.1, "dev_error": [0, 1]}, "Give n_train"),
        ({"train_error": 12.0, "dev_error": [0, 1]}, r"\[0, 1\].*got 12.0"),
        ({"train_error": [0, 1], "dev_error": [0, 1], "n_dev": 2}, "Leave n_dev out"),
        ({"train_error": [0, np.nan], "dev_error": [0, 1]}, "finite"),
        ({"train_error": [0, -1], "dev_error": [0, 1]}, "≥ 0"),
        ({"train_error": [[0, 1]], "dev_error": [0, 1]}, r"\(m,\); got shape \(1, 2\)"),
        ({"train_error": [1], "dev_error": [0, 1]}, "at least two"),
        ({"train_error": [0, 1], "dev_error": [0, 1], "level": 95}, r"level.*\(0, 1\); got 95"),
        ({"train_error": [0, 1], "dev_error": [0, 1], "optimal_error": -1}, "optimal_error"),
        ({"train_error": [0, 1], "dev_error": [0, 1], "optimal_error": 15}, "0.15 for 15 %"),
        ({"train_error": [0, 1], "dev_error": [0, 1], "tolerance": -1}, "tolerance"),
    ],
)
def test_wrong_input_gets_one_clear_message(arguments, message):
    with pytest.raises(ValueError, match=message):
        diagnose.bias_variance(**arguments)


def test_words_are_no_errors():
    with pytest.raises(TypeError, match="train_error must be numbers"):
        diagnose.bias_variance("high", [0, 1])
