"""The chart of a run: the axis of costs ends at round numbers and shows every value."""

import numpy as np
import pytest

from jaxdl.run import chart


@pytest.mark.parametrize(
    ("values", "marks"),
    [
        ([1.26, 0.018], [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2]),
        ([3.0, 0.3], [0.2, 0.5, 1, 2, 5]),
        ([2.0, 0.2], [0.2, 0.5, 1, 2]),
        ([4.0, 2e-5], [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
    ],
)
def test_costs_over_decades_have_a_logarithmic_axis_with_round_ends(values, marks):
    scale, axis = chart.cost_axis(values)
    assert scale["type"] == "log" and axis["values"] == pytest.approx(marks)
    assert scale["domain"] == pytest.approx([marks[0], marks[-1]])


@pytest.mark.parametrize("values", [[0.32, 0.25], [1.0, 0.0], [0.5], [], [-1.0, 2.0]])
def test_other_costs_have_a_linear_one(values):
    assert chart.cost_axis(values)[0]["type"] == "linear"


def test_every_value_lies_on_the_axis_and_the_marks_are_few():
    rng = np.random.default_rng(0)
    for low, high in rng.uniform(-30, 30, (200, 2)):
        for values in ([10**low, 10**high], [10.0 ** round(low), 10.0 ** round(high)]):
            scale, axis = chart.cost_axis(values)
            if scale["type"] == "log":
                first, last = scale["domain"]
                assert first <= min(values) and max(values) <= last and len(axis["values"]) < 14


def test_a_run_of_one_epoch_shows_its_points():
    rows = [{"epoch": 1, "cost": 0.5, "dev_cost": 0.6, "accuracy": 0.9, "dev_accuracy": None}]
    panels = chart.spec(rows, "accuracy")["vconcat"]
    assert all(panel["layer"][0]["mark"]["point"] for panel in panels)
