"""The course's optimizer assignment: published costs to 1e-9, accuracies exactly."""

import numpy as np
import pytest

from experiments import course_optimizers as course
from jaxdl import optim
from tests import compiling

NAMES = {"gradient descent": "gd", "momentum": "momentum", "Adam": "adam"}


@pytest.mark.parametrize("name", NAMES)
@compiling.as_users_do()
def test_the_optimizer_assignment_to_the_last_digit(name, oracle):
    published = oracle["optimization_methods"]
    optimizer = course.optimizers(course.FULL)[name]
    costs, accuracy = course.train(optimizer, course.FULL.epochs)
    np.testing.assert_allclose(
        costs[published["epochs"]], published[NAMES[name]], rtol=0, atol=1e-9
    )
    assert accuracy == pytest.approx(
        published["train_accuracy_after_10000_epochs"][NAMES[name]], abs=1e-9
    )
    assert course.PUBLISHED[name] == tuple(published[NAMES[name]])


def test_an_epsilon_inside_the_root_fails_it(oracle):
    inside = optim.adam(7e-4, eps=0.0, eps_root=1e-8)
    costs, _ = course.train(inside, 1001)
    assert costs[1000] == pytest.approx(0.185501, abs=1e-6)
    assert abs(costs[1000] - oracle["optimization_methods"]["adam"][1]) > 1e-5


def test_other_momentum_forms_fail_it(oracle):
    costs, _ = course.train(optim.momentum(7e-4, form="heavy_ball"), 1001)
    assert abs(costs[1000] - oracle["optimization_methods"]["momentum"][1]) > 1e-2
