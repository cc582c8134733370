"""Paired comparisons as result files hold them."""

import numpy as np

from jaxdl.lab import effects, record


def test_an_effect_by_hand():
    cost = np.array([[1.0, 3.0], [2.0, 2.0], [1.0, 1.0], [np.inf, np.inf]])
    other = np.array([[2.0, 5.0], [1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])
    found = effects.effect(
        "a", "b", cost, other, ["x", "x", "y", "y"], name="cost", larger_is_better=False
    )
    # Medians of b − a: 1.5, −1, 0, −∞; so one win, two losses, one tie: (1 + ½)/4.
    assert found["differences"] == [1.5, -1, 0, -np.inf]
    assert found["problem_poi"]["value"] == 0.375
    assert record.to_plain(found)["differences"][-1] == "-inf"


def test_a_family_of_one_problem_is_no_stratum():
    found = effects.effect("a", "b", np.ones(3), np.zeros(3), ["x", "x", "y"], name="points")
    assert found["problem_poi"]["value"] == 1 and found["families"] == ["x", "x", "y"]
