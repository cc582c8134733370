"""What is tried next: the notes' recipe as a table from what was found to what is done."""

import numpy as np
import pytest

from jaxdl import diagnose
from jaxdl.recipe import plan, problem, training
from jaxdl.recipe.plan import Move, Round
from jaxdl.recipe.training import Family, Trial
from tests.recipe.problems import xor

GAPS = {  # train and dev error of 1,000 rows, from which the diagnosis follows
    "bias": (0.20, 0.21),
    "variance": (0.00, 0.15),
    "both": (0.15, 0.30),
    "neither": (0.001, 0.002),
}


@pytest.fixture(scope="module")
def task():
    return problem.build(problem.cells(*xor()), 0.2, "auto", seed=0)


def trial(hidden, score, span=0.9):
    empty = np.zeros(0)
    config = {"lr": 0.01, "decay": 0.1, "keep_prob": 0.8, "span": span, "seed": 1.0}
    family = Family(hidden, 10, 8)
    return Trial(family, config, 1, empty, np.full(4, score), empty, empty, [], 5.0)


def after(task, names, dominates, better=True, span=0.9, image_shape=None):
    """The move that follows rounds of these names with this diagnosis."""
    train, dev = GAPS[dominates]
    found = diagnose.bias_variance(train, dev, n_train=1000, n_dev=1000)
    assert found.dominates == dominates
    trials = [
        trial(() if n == "linear" else (64, 64), 1 - i / 10, span) for i, n in enumerate(names)
    ]
    rounds = [
        Round(i + 1, Move(n, t.family, ""), 4, 1.0, t, 1.0 if better else -1.0, 0.1, found)
        for i, (n, t) in enumerate(zip(names, trials, strict=True))
    ]
    return plan.next_move(task._replace(image_shape=image_shape), rounds, trials)


TABLE = [
    ([], "bias", {}, "linear"),
    (["linear"], "bias", {}, "network"),
    (["linear"], "neither", {}, "network"),
    (["linear", "network"], "neither", {}, None),
    (["linear", "network"], "bias", {}, "bigger"),
    (["linear", "network"], "both", {}, "bigger"),
    (["linear", "network"], "variance", {}, "regularise"),
    (["linear", "network"], "bias", {"better": False}, "regularise"),
    (["linear", "network", "bigger"], "bias", {}, "longer"),
    (["linear", "network", "bigger"], "bias", {"span": 0.2}, "regularise"),
    (["linear", "network", "regularise"], "variance", {}, "refine"),
    (["linear", "network", "regularise"], "variance", {"image_shape": (1, 2)}, "augment"),
    (["linear", "network", "regularise", "refine"], "variance", {"better": False}, None),
]


@pytest.mark.parametrize(("names", "dominates", "more", "expected"), TABLE, ids=str)
def test_the_remedy_follows_from_the_diagnosis(task, names, dominates, more, expected):
    move = after(task, names, dominates, **more)
    assert (None if move is None else move.name) == expected
    if move is not None:
        assert move.why


def test_bigger_doubles_the_width_up_to_a_limit_and_then_adds_a_layer():
    family = Family((64, 64), 10, 8)
    widths = []
    for _ in range(4):
        family = plan._bigger(family)
        widths.append(family.hidden)
    assert widths == [(128, 128), (256, 256), (256, 256, 256), (256, 256, 256, 256)]


def test_configurations_are_a_function_of_seed_and_round(task):
    move = Move("regularise", Family((64, 64), 10, 8), "", regularised=True)
    a, b, c = (plan.configurations(move, 6, [], seed, n) for seed, n in ((0, 3), (0, 3), (0, 4)))
    assert set(a) == set(training.NAMES)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    assert (a["lr"] != c["lr"]).any()
    assert (a["keep_prob"] < 1).all() and (a["decay"] > 0).all()


@pytest.mark.parametrize("name", ["linear", "network", "regularise", "refine"])
def test_a_round_that_is_cut_short_has_the_first_configurations(name):
    move = Move(name, Family((64, 64), 10, 8), "", regularised=name == "regularise")
    tried = [trial((64, 64), 0.2), trial((64, 64), 0.1)]
    whole, cut = (plan.configurations(move, count, tried, 0, 3) for count in (12, 5))
    for key in training.NAMES:
        np.testing.assert_array_equal(whole[key][:5], cut[key])
        assert np.unique(whole["seed"]).size == 12


@pytest.mark.parametrize("count", [3, 6, 16])
def test_any_number_of_rates_is_spread_over_the_range(count):
    move = Move("network", Family((64, 64), 10, 8), "")
    rates = plan.configurations(move, count, [], 0, 2)["lr"]
    place = np.sort(np.log(rates / 3e-3) / np.log(2e-2 / 3e-3))
    gaps = np.diff([*place, place[0] + 1])  # around the end
    assert place[0] >= 0 and place[-1] <= 1 and gaps.max() <= 2.5 / count


def test_refining_stays_near_the_best():
    best = trial((64, 64), 0.1)
    move = Move("refine", best.family, "")
    table = plan.configurations(move, 20, [best], 0, 5)
    assert table["lr"].min() > 0.002 and table["lr"].max() < 0.05
    assert ((table["keep_prob"] > 0.7) & (table["keep_prob"] <= 1)).all()
