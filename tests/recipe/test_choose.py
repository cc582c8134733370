"""The linear model stays unless it is beaten beyond noise; scores of the test part by hand."""

import itertools

import numpy as np
import pandas as pd
import pytest

from jaxdl.recipe import choose, estimate, model, problem, training
from tests.recipe.problems import line, xor


@pytest.fixture(scope="module")
def task():
    return problem.build(problem.cells(*xor()), 0.2, "auto", seed=0)


def trial(task, hidden, logits, seed=0):
    """A trial that gave these logits for the right class and 0 for the other."""
    rows = task.rows.judged
    dev = np.zeros((len(rows), 2), np.float32)
    dev[np.arange(len(rows)), task.y[rows]] = logits
    loss, error = (f(task, dev, rows) for f in (training.row_losses, training.row_errors))
    family = training.Family(hidden, 10, 8)
    sizes = training.sizes(task, family)
    rng = np.random.default_rng(seed)
    params = [
        {"w": rng.normal(size=(3, a, b)).astype(np.float32), "b": np.zeros((3, b), np.float32)}
        for a, b in itertools.pairwise(sizes)
    ]
    return training.Trial(family, {}, 1, dev, loss, error, error, params, 5.0)


def test_a_network_within_noise_leaves_the_linear_model(task):
    side = np.resize([1.0, -1.0], len(task.rows.judged))
    linear, network = trial(task, (), 1 + 0 * side), trial(task, (4,), 1.01 + 0.2 * side)
    gain, chance = choose.paired(linear.loss, network.loss)
    assert abs(gain) < chance
    chosen = choose.choose(task, [linear, network])
    assert chosen.trials[0] is linear and len(chosen.trials) == 1, chosen.why


def test_a_network_that_is_clearly_better_is_kept(task):
    linear, network = trial(task, (), 0.1), trial(task, (4,), 3.0)
    chosen = choose.choose(task, [linear, network])
    assert chosen.trials[0] is network and len(chosen.trials) == 1
    # Loss of logits (3, 0) is log(1 + e⁻³) = 0.0486, of (0.1, 0) log(1 + e⁻⁰·¹) = 0.6444.
    assert "loss 0.0486 against 0.6444" in chosen.why


def test_a_fit_that_diverged_is_never_chosen(task):
    linear, broken = trial(task, (), 0.1), trial(task, (4,), np.nan)
    assert broken.score == np.inf
    assert choose.choose(task, [linear, broken]).trials[0] is linear


def test_linear_members_become_one_with_the_same_outputs(task):
    linear = trial(task, (), 1.0)
    (network,) = choose.networks(task, [linear])
    stacked = model.Network(network.sizes, linear.params)
    assert network.members == 1 and stacked.members == 3
    np.testing.assert_allclose(
        model.mean_outputs([network], task.x), model.mean_outputs([stacked], task.x), atol=1e-5
    )


def test_the_mean_of_networks_counts_every_member_once(task):
    a, b = trial(task, (4,), 1.0), trial(task, (5,), 1.0, seed=1)
    both = choose.networks(task, [a, b])
    alone = [model.mean_outputs([network], task.x) for network in both]
    np.testing.assert_allclose(model.mean_outputs(both, task.x), np.mean(alone, axis=0), atol=1e-5)
    parts = model.mean_outputs(both, task.x, rows=7)  # a few rows at a time
    np.testing.assert_allclose(parts, np.mean(alone, axis=0), atol=1e-5)


def test_scores_of_classes_by_hand():
    logits = np.array([[2.0, 0], [2, 0], [2, 0], [0, 2], [2, 0]])
    y = np.array([0, 0, 0, 1, 1])
    found = estimate.classification(logits, y, common=0, seed=0)
    assert found.scores["accuracy"].value == pytest.approx(4 / 5)
    assert found.scores["balanced accuracy"].value == pytest.approx((1 + 1 / 2) / 2)
    # Six pairs of a 1 and a 0: three won, three tied.
    assert found.scores["AUC"].value == pytest.approx((3 + 3 / 2) / 6)
    assert found.baseline == pytest.approx(3 / 5)
    for value, low, high in found.scores.values():
        assert low <= value <= high


def test_scores_of_numbers_by_hand():
    y, z = np.array([1.0, 2, 3, 6]), np.array([[1.0], [2], [3], [4]])
    found = estimate.regression(z, y, mean=3.0, seed=0)
    # Σ (y − ȳ)² = 4 + 1 + 0 + 9 = 14, Σ (y − ŷ)² = 4.
    assert found.scores["R²"].value == pytest.approx(1 - 4 / 14)
    assert found.scores["RMSE"].value == pytest.approx(1.0)
    assert found.baseline == pytest.approx(0.0)


def test_a_class_missing_from_the_test_part_leaves_the_area_out():
    logits = np.eye(3)[[0, 1, 0, 1]]
    found = estimate.classification(logits, np.array([0, 1, 0, 1]), 0, seed=0)
    assert set(found.scores) == {"accuracy", "balanced accuracy"}


@pytest.mark.parametrize("keep", [False, True])
def test_a_column_called_like_row_numbers_is_a_feature_on_request(keep):
    x, y = line()
    table = pd.DataFrame({"id": np.arange(len(y))[::-1], "x": np.reshape(x, (len(y), -1))[:, 0]})
    given = problem.cells(table, y, row_numbers=keep)
    assert problem.build(given, 0.2, "auto", seed=0).x.shape[1] == (2 if keep else 1)


def test_a_regression_is_scaled_by_its_training_part():
    task = problem.build(problem.cells(*line()), 0.2, "auto", seed=0)
    assert not task.classes and abs(task.y.mean()) < 1e-5 and task.y.std() == pytest.approx(1)
    assert len(task.x) == 48 and len(task.held) == 12
    assert abs(task.x.mean(axis=0)).max() < 1e-5


REFUSED = {
    "no targets": ({"x": np.ones((9, 2))}, "Expected targets y beside x"),
    "lengths": ({"x": np.ones((9, 2)), "y": np.arange(8)}, r"got \(9, 2\) and \(8,\)"),
    "image": ({"x": np.ones((9, 4)), "y": np.arange(9), "image_shape": (3, 2)}, "holds 6 numbers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_tables_that_are_none_are_refused(case):
    arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        problem.cells(**arguments)


def test_too_few_rows_and_odd_test_parts_are_refused():
    x, y = xor(40)
    with pytest.raises(ValueError, match="at least 6 rows"):
        problem.build(problem.cells(x[:5], y[:5]), 0.2, "auto", 0)
    with pytest.raises(ValueError, match="a fraction in"):
        problem.build(problem.cells(x, y), 1.5, "auto", 0)
    with pytest.raises(ValueError, match="the class 'third'"):
        problem.build(problem.cells(x, y), (x, np.full(40, "third")), "auto", 0)


def test_copies_are_kept_on_one_side_of_the_hold_out():
    x, y = xor(60)
    twice = problem.build(
        problem.cells(np.tile(x, (2, 1))[:90], np.tile(y, 2)[:90]), 0.2, "auto", 0
    )
    assert any("30 rows are copies" in note for note in twice.notes)
    held = set(twice.held.tolist())
    for row in range(30):
        assert (row in held) == (row + 60 in held)
