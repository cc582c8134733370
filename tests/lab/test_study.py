"""Studies: paired, fair in tuning, the same problems whatever their number."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import lab, optim
from jaxdl.lab import problems, report, scores, study


def coin(problem, keys, data, *, shift, rate=0.0):
    """A trial without training: the same noise for every arm, and what the arm adds."""
    del data
    noise = jax.random.normal(keys.run, (3,)) + jax.random.normal(keys.problem)
    return {"cost": noise + problem["size"] * shift + (rate - problem["size"]) ** 2}


def family(name="coins"):
    return study.Family(name, {"size": problems.uniform(1, 2)}, coin, np.array([0, 1, 2]))


RATES = [{"rate": r} for r in (0.0, 1.0, 1.5, 2.0, 3.0)]


def arm(name, shift):
    return lab.Arm(name, lambda s: {"shift": shift, **s}, RATES, {"rate": 0.0})


def coins(better="low", than="high", **changes):
    made = {
        "families": (family(), family("more coins")),
        "arms": (arm("low", -1.0), arm("high", 1.0)),
        "better": better,
        "than": than,
        "score": scores.last("cost"),
        "unit": "cost",
        "protocols": ("tuned", "same", "default"),
        "moderators": {"size": lambda p: "small" if p["size"] < 1.5 else "large"},
    }
    return lab.Study(**made | changes)


SIZES = lab.Sizes(problems=12, seeds=2)
CLAIM = lab.Claim("coins", "t", "q", "s", "usually")


@pytest.fixture(scope="module")
def runs():
    return lab.run(coins(), SIZES)


def test_arms_share_problem_and_noise(runs):
    """The difference of two arms is what the arms differ in: 2 · size, whatever the noise."""
    for run in runs.values():
        low, high = (run.scores["tuned"][a] for a in ("low", "high"))
        np.testing.assert_allclose(
            high - low, 2 * run.problems["size"][:, None] * np.ones(2), rtol=1e-4
        )


def test_tuning_finds_the_nearest_rate(runs):
    size = runs["coins"].problems["size"]
    nearest = np.array([0.0, 1.0, 1.5, 2.0, 3.0])
    wanted = nearest[np.argmin(np.abs(nearest - size[:, None]), axis=1)]
    for protocol in ("tuned", "same"):
        np.testing.assert_array_equal(runs["coins"].chosen[protocol]["low"]["rate"], wanted)
    np.testing.assert_array_equal(runs["coins"].chosen["default"]["low"]["rate"], 0)


def test_more_problems_leave_the_first_ones_alone(runs):
    fewer = lab.run(coins(), dataclasses.replace(SIZES, problems=5))
    for name, run in fewer.items():
        np.testing.assert_array_equal(run.problems["size"], runs[name].problems["size"][:5])
        np.testing.assert_allclose(
            run.scores["tuned"]["low"], runs[name].scores["tuned"]["low"][:5], rtol=1e-6
        )


def test_families_of_one_kind_hold_different_problems(runs):
    """Else their problems would count twice, and intervals would be too narrow."""
    one, other = (runs[name] for name in ("coins", "more coins"))
    assert not np.any(np.isin(one.problems["size"], other.problems["size"]))
    noise = [
        run.scores["default"]["low"] + run.problems["size"][:, None]
        - run.problems["size"][:, None] ** 2 for run in (one, other)
    ]  # fmt: skip
    assert not np.any(np.isclose(*noise, atol=1e-4))


def test_another_seed_draws_other_problems(runs):
    other = lab.run(coins(), dataclasses.replace(SIZES, seed=1))
    assert not np.any(np.isin(other["coins"].problems["size"], runs["coins"].problems["size"]))


def test_swapping_the_arms_mirrors_the_estimate_exactly(runs):
    there = report.judge(CLAIM, coins(), runs)
    back = report.judge(CLAIM, coins("high", "low"), runs)
    assert there.verdict == "supported" and back.verdict == "contradicted"
    assert there.estimate.value == 1 - back.estimate.value
    assert (there.estimate.low, there.estimate.high) == (
        1 - back.estimate.high,
        1 - back.estimate.low,
    )
    first, second = (j.effects[0]["effect"] for j in (there, back))
    assert (first["value"], first["low"]) == (-second["value"], -second["high"])


def test_a_judgement_says_what_was_found(runs):
    found = report.judge(CLAIM, coins(), runs)
    assert "Low beats high in 100 % [" in found.sentence
    assert "“usually” asks for 75 %" in found.sentence
    assert {tuple(s["by"]) for s in found.strata} == {("family",), ("size",), ("protocol",)}
    assert {a["role"] for a in found.arms} == {"better", "than"}
    assert found.n_problems == 24 and found.n_seeds == 2
    assert len(found.effects[0]["differences"]) == 24
    assert report.chart(found, CLAIM.gamma).to_dict()["spec"]["layer"]


def test_a_margin_that_holds_all_differences_is_equivalence(runs):
    near = coins(arms=(arm("low", -1e-4), arm("high", 0.0)), margin=0.5)
    found = report.judge(CLAIM, near, lab.run(near, SIZES))
    assert found.verdict == "supported"  # a claim about a direction may hold by very little
    tied = coins(arms=(arm("low", 0.0), arm("high", 0.0)), margin=0.5)
    assert report.judge(CLAIM, tied, lab.run(tied, SIZES)).verdict == "equivalent"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"better": "lo"}, "Did you mean 'low'"),
        ({"protocols": ("tune",)}, "Did you mean 'tuned'"),
        ({"arms": (arm("low", 1.0), lab.Arm("high", lambda s: {}))}, "equally many"),
        (
            {"arms": tuple(lab.Arm(n, lambda s: {}) for n in ("low", "high"))},
            "needs a default",
        ),
    ],
)
def test_studies_that_cannot_be_fair_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        coins(**changes)


def test_an_unknown_source_or_draw_is_refused():
    with pytest.raises(ValueError, match="Did you mean 'moons'"):
        problems.networks("moon")
    with pytest.raises(ValueError, match="Did you mean 'kappa'"):
        problems.quadratics(kapa=problems.choice(1.0))


def test_steps_to_target_by_hand():
    """Costs 1, 0.1, 0.01 above the best at 1, 10, 100: a target of 0.1 is reached at 10."""
    at = np.array([0, 1, 10, 100, 1000])
    cost = np.array([1.0, 1.0, 0.1, 0.01, 0.0])[None, None, None]
    never = np.full((1, 1, 1, 5), 1.0)
    found = scores.steps_to_target(0.1)({"a": {"cost": cost}, "b": {"cost": never}}, at)
    assert found["a"].item() == pytest.approx(np.log2(10)) and found["b"].item() == np.inf
    # A target of 10^-0.5 lies half way between 1 and 10 in the logarithm of both.
    found = scores.steps_to_target(10**-0.5)({"a": {"cost": cost}}, at)
    assert found["a"].item() == pytest.approx(np.log2(10) / 2)


def test_the_target_of_a_run_does_not_depend_on_the_other_seeds():
    at = np.array([0, 1, 10])
    cost = np.array([[[[1.0, 0.5, 0.1], [1.0, 0.3, 0.0]]]])
    both = scores.steps_to_target(0.1)({"a": {"cost": cost}}, at)["a"]
    alone = scores.steps_to_target(0.1)({"a": {"cost": cost[:, :, :1]}}, at)["a"]
    assert both[..., :1] == alone and np.isfinite(both).all()


def test_descent_on_a_quadratic_is_the_closed_form():
    """θ shrinks by (1 − α λᵢ) along each axis: the cost after t steps is known."""
    bowl = problems.quadratics(dim=3, steps=4, kappa=problems.choice(4.0), noise=problems.choice(0))
    keys = study.Keys(jax.random.key(1), jax.random.key(2))
    problem = {"kappa": jnp.float32(4.0), "noise": jnp.float32(0.0), "rotated": jnp.float32(0.0)}
    problem["budget"] = jnp.float32(1.0)
    cost = bowl.trial(problem, keys, (), optimizer=optim.sgd(0.5))["cost"]
    theta = jax.random.normal(jax.random.split(keys.problem)[1], (3,))
    eigenvalues = np.array([1.0, 0.5, 0.25])
    for t, value in zip(bowl.checkpoints, cost, strict=True):
        left = np.asarray(theta) * (1 - 0.5 * eigenvalues) ** t
        assert value == pytest.approx(0.5 * np.sum(eigenvalues * left**2), rel=1e-5)


def test_networks_learn_and_batches_cover_every_example():
    order = np.asarray(problems._order(jax.random.key(0), 7, 20))
    for epoch in order[:14].reshape(2, 7):
        assert sorted(epoch) == list(range(7))
    easy = problems.networks(
        "blobs", (16,), epochs=30, examples=64, batch=problems.choice(16.0, 32.0),
        noise=problems.choice(0.01), most_batch=32,
    )  # fmt: skip
    arms = tuple(
        lab.Arm(name, lambda s: {"optimizer": optim.adam(s["lr"])}, [{"lr": rate}])
        for name, rate in {"fast": 0.03, "slow": 1e-4}.items()
    )
    learns = lab.Study((easy,), arms, "fast", "slow", scores.last("dev_error"), unit="error")
    run = lab.run(learns, lab.Sizes(problems=4, seeds=1))["blobs"]
    assert (run.scores["tuned"]["fast"] < 0.1).all() and (run.scores["tuned"]["slow"] > 0.1).any()
    cost = run.curves["tuned"]["fast"]["cost"]
    np.testing.assert_allclose(cost[..., 0], run.curves["tuned"]["slow"]["cost"][..., 0])


def test_arms_that_share_their_ingredients_are_what_they_would_be_apart(runs):
    def make(s):
        return {"shift": s["shift"], "rate": s["rate"]}

    shared = tuple(
        lab.Arm(name, make, RATES, {"rate": 0.0}, {"shift": shift})
        for name, shift in {"low": -1.0, "high": 1.0}.items()
    )
    together = lab.run(coins(arms=shared), SIZES)
    for name, run in together.items():
        for protocol in ("tuned", "same", "default"):
            for arm_name in ("low", "high"):
                np.testing.assert_allclose(
                    run.scores[protocol][arm_name], runs[name].scores[protocol][arm_name], rtol=1e-5
                )


def test_a_family_may_have_a_score_of_its_own():
    first = lambda curves, at: {arm: c["cost"][..., 0] for arm, c in curves.items()}  # noqa: E731
    other = dataclasses.replace(family("first"), score=first)
    run = lab.run(coins(families=(family(), other)), SIZES)
    for arm_name in ("low", "high"):
        cost = run["first"].curves["tuned"][arm_name]["cost"]
        np.testing.assert_array_equal(run["first"].scores["tuned"][arm_name], cost[..., 0])


def test_one_of_is_the_optimizer_of_that_number():
    kinds = (optim.sgd(0.1), optim.adam(0.1))
    params = {"w": jnp.array([1.0, -2.0])}
    for i, kind in enumerate(kinds):
        ours, theirs = problems.one_of(jnp.float32(i), *kinds), kind
        state, wanted = ours.init(params), theirs.init(params)
        for _ in range(3):
            update, state = ours.update(params, state, params)
            expected, wanted = theirs.update(params, wanted, params)
            np.testing.assert_array_equal(update["w"], expected["w"])


def test_a_table_of_two_moderators():
    pair = (("one", "curve"), ("one", "noise"))
    names = {"curve": lambda p: "flat" if p["size"] < 1.5 else "steep", "noise": lambda p: "0"}
    crossed = coins(moderators=names | {"one": lambda p: f"{p['size'] // 0.25:g}"}, crossed=pair)
    found = report.judge(CLAIM, crossed, lab.run(crossed, SIZES))
    cells = [s for s in found.strata if len(s["by"]) == 2]
    assert {tuple(s["by"]) for s in cells} == set(pair)
    assert sum(s["n"] for s in cells) == 2 * found.n_problems
    assert [s["by"]["one"] for s in cells if "noise" in s["by"]] == ["4", "5", "6", "7"]
    assert len(report.chart(found, CLAIM.gamma).to_dict()["vconcat"]) == 3


def test_a_budget_cuts_the_run_and_a_schedule_learns_the_length_of_an_epoch():
    bowl, shorter = (problems.quadratics(dim=3, steps=steps) for steps in (40, 20))
    keys = study.Keys(jax.random.key(1), jax.random.key(2))
    numbers = {"kappa": 4.0, "noise": 0.0, "rotated": 0.0}

    def cost(budget, optimizer, bowl=bowl):
        problem = {n: jnp.float32(v) for n, v in (numbers | {"budget": budget}).items()}
        return np.asarray(bowl.trial(problem, keys, (), optimizer=optimizer)["cost"])

    whole, half = (cost(budget, optim.sgd(0.1)) for budget in (1.0, 0.5))
    assert half[-1] == pytest.approx(cost(1.0, optim.sgd(0.1), shorter)[-1])
    stop = cost(1.0, lambda epoch: optim.sgd(optim.piecewise_constant_schedule(0.1, {epoch: 0.0})))
    np.testing.assert_allclose(stop[bowl.checkpoints >= 10], stop[-1])
    assert stop[-1] > whole[-1]


def test_a_matched_sigmoid_network_is_the_tanh_network():
    from experiments.tanh_and_sigmoid import matched
    from jaxdl import models

    x = jax.random.normal(jax.random.key(1), (5, 4))
    tanh, sigmoid = (models.mlp((4, 6, 3, 2), g, "glorot") for g in ("tanh", "sigmoid"))
    params = tanh.init(jax.random.key(0))
    params = jax.tree.map(lambda p: p + 0.1, params)
    wanted, found = tanh.forward(params, x)[0], sigmoid.forward(matched(params), x)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
