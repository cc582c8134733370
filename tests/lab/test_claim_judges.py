"""Pieces that verdicts of experiments rest on, by hand, and judges that can also refute."""

import importlib

import numpy as np
import pytest


def load(name):
    return importlib.import_module(f"experiments.{name}")


def test_an_exponential_is_a_straight_line_with_its_slope():
    module = load("vanishing_gradients")
    slope, straight = module.lines(0.3 * np.array(module.DEPTHS) - 2)
    assert slope == pytest.approx(0.3) and straight == pytest.approx(1)
    constant = np.array([0, 1] * 5 + [0], float)
    assert module.lines(constant)[1] < 0.1


@pytest.mark.parametrize(("steep", "verdict"), [(0.05, "supported"), (0.001, "contradicted")])
def test_gradients_that_stay_refute(steep, verdict):
    module = load("vanishing_gradients")
    config = module.Config(seeds=20)
    slopes = steep * (np.arange(config.gains) - 8.4)[:, None, None]
    norms = np.repeat(slopes * np.array(module.DEPTHS), config.seeds, axis=1)
    judgement = module.judge(config, dict.fromkeys(module.CRITICAL, norms))
    assert judgement.verdict == verdict


@pytest.mark.parametrize("fixed, verdict", [(1e-8, "contradicted"), (1e-3, "inconclusive")])
def test_dropout_that_cannot_be_checked_is_not_called_contradicted(fixed, verdict):
    module = load("dropout_is_deterministic_with_a_key")
    n = 64
    measured = {
        "family": np.arange(n) % 4,
        "relu": np.arange(n) % 2 == 0,
        "rises": np.tile([0.0, 0.4], (n, 1)),
        "difference": np.tile([fixed, 0.9], (n, 1)),
    }
    found = module.judge(module.Config(), measured)
    assert found.verdict == verdict
    quiet = {**measured, "rises": np.zeros((n, 2)), "difference": np.full((n, 2), 1e-8)}
    assert module.judge(module.Config(), quiet).verdict == "inconclusive"


@pytest.mark.parametrize("k", [1, 3, 6])
def test_both_built_networks_are_the_wave(k):
    module = load("depth_and_width")
    assert module.built(k) == {"error": 0, "pieces": 2**k, "crossings": 2**k}
    # One layer less draws half of the pieces.
    x = np.arange(257) / 256
    assert np.abs(module.output(module.deep(k), x) - module.wave(x, k + 1)).max() == 1


def test_parity_by_thresholds():
    assert [load("depth_and_width").parity_errors(n) for n in (2, 3, 7)] == [0, 0, 0]


def test_dropout_of_least_squares_is_ridge():
    assert load("regularisation_shrinks_weights").identity(3) < 1e-12


def test_the_path_of_gradient_descent_is_the_loop():
    module = load("early_stopping_and_l2")
    rng = np.random.default_rng(0)
    found = module.problem(module.design("correlated", None, rng), module.Config(times=50), rng)
    assert found["by steps"] < 1e-12
    assert (found["gradient descent"]["risk"] / found["ridge"]["risk"]).max() <= module.BOUND


def test_the_interval_of_a_median():
    # 15 sorted numbers: P(Binomial(15, ½) ≤ 3) = 0.0176, so the 4th and the 12th.
    assert load("vectorisation").median_interval(np.arange(1, 16)) == (4, 12)


def test_harm_is_a_point_beyond_chance_or_no_number():
    harmed = load("normalising_inputs").harmed
    noise = 0.01 * np.array([1, -1, 1, -1, 1, -1])
    rows = [(0.9, 0.9), (0.9, 0.85), (0.9, 0.895), (0.9, np.nan)]
    accuracy = np.array([[[raw, other + e] for e in noise] for raw, other in rows])
    assert harmed(accuracy).tolist() == [False, True, False, True]


def test_equal_critical_points_of_a_problem_count_once():
    module = load("critical_points")
    rows = {
        "status": np.array([0, 0, 1, 0, 0]),
        "seed": np.array([1, 1, 1, 1, 2]),
        "cost": np.array([0.5, 0.5 + 1e-12, 0.5, 0.7, 0.5]),
        "negative": np.array([1, 1, 1, 1, 1]),
    }
    assert module.distinct(rows).tolist() == [True, False, False, True, True]
