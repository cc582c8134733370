"""What single experiments are built of does what their docstrings say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import adam, batch_size, course_conclusions, ewa_bias_correction
from experiments import more_data_bigger_nets as signals
from jaxdl import models
from jaxdl.lab.study import Runs


def test_on_reddis_problem_adam_goes_to_the_worst_point_and_amsgrad_does_not():
    found = adam.online(30_000)
    assert found["Adam"][-1] > 0.9 and found["AMSGrad"][-1] < -0.85
    assert found["steps"][-1] == 30_000


def test_behind_and_at_most_by_hand():
    """Adam at 1 against the best other at 0 is a factor of two; where no one arrives, a half."""

    scores = {
        "Adam": np.array([[1.0], [2.0], [np.inf], [np.inf]]),
        "SGD": np.array([[0.0], [0.5], [np.inf], [3.0]]),
        "RMSprop": np.array([[5.0], [np.inf], [np.inf], [np.inf]]),
    }
    run = Runs({}, {}, {"tuned": scores}, {}, {})
    distance = adam.behind({"one": run})
    assert adam.at_most(distance, adam.TWICE).tolist() == [1.0, 0.0, 0.5, 0.0]


def test_the_features_of_a_signal_do_not_change_when_it_moves():
    x, _ = signals.signals(jax.random.key(0), signals.shapes(jax.random.key(1)), 0.1, 7)
    moved = jnp.roll(x, 5, axis=1)
    np.testing.assert_allclose(signals.features(moved), signals.features(x), atol=1e-4)
    assert np.abs(moved - x).max() > 1


def test_a_hidden_unit_that_is_not_there_stays_away():
    """Zero weights in and out of a tanh unit have zero gradients."""
    model = models.mlp((2, 3, 1), "tanh")
    first, second = course_conclusions.normals(jax.random.key(0), (2, 3, 1))
    there = jnp.array([1.0, 1.0, 0.0])
    params = [
        first | {"w": first["w"] * there[None, :]},
        second | {"w": second["w"] * there[:, None]},
    ]
    x, y = course_conclusions.flower(jax.random.key(1), 20)
    optimizer = course_conclusions.optim.sgd(1.2)
    params = course_conclusions.descend(model, params, optimizer, lambda i: (x, y), 5)
    assert not params[0]["w"][:, 2].any() and not params[1]["w"][2].any()
    assert not params[0]["b"][2].any() and params[0]["b"][:2].all()


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_lasting_noise_has_deviation_one_and_lasts(phi):
    white = np.random.default_rng(0).standard_normal((50, 4000))
    noise = ewa_bias_correction.lasting(white, phi)
    np.testing.assert_allclose(noise.std(axis=1), 1, atol=0.06)
    neighbours = np.mean(noise[30] * noise[31])
    assert neighbours == pytest.approx(phi, abs=0.06)


def test_seconds_shift_the_scores_of_an_arm_by_the_time_of_its_epochs():
    scores = {"tuned": {name: np.zeros((2, 1)) for name in batch_size.BATCHES}}
    runs = {"one": Runs({}, {}, scores, {}, {})}
    times = {"full batch": [1.0, 1.0], "batches of 64": [4.0, 4.0], "batches of 16": [8.0, 8.0]}
    found = batch_size.in_seconds({"runs": runs, "seconds": times})["one"].scores["tuned"]
    assert [float(found[name][0, 0]) for name in batch_size.BATCHES] == [0.0, 2.0, 3.0]
