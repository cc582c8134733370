"""Verdicts from shares of problems."""

import numpy as np
import pytest

from jaxdl.lab import shares

HALVES = {"half": ["first"] * 50 + ["second"] * 50}


@pytest.mark.parametrize(
    ("ones", "gamma", "verdict"),
    [(100, 0.9, "supported"), (60, 0.9, "contradicted"), (92, 0.9, "inconclusive")],
)
def test_the_interval_decides(ones, gamma, verdict):
    holds = np.arange(100) < ones
    assert shares.decide(holds, gamma).verdict == verdict


def test_strata_on_either_side_of_a_half_make_it_depend():
    holds = np.repeat([1, 0], 50)
    found = shares.decide(holds, 0.5, HALVES)
    assert found.verdict == "depends"
    assert [row["value"] for row in found.strata] == [1, 0]
    assert found.strata[0]["by"] == {"half": "first"} and found.strata[0]["n"] == 50
    # Two strata that are equally low are no trouble.
    thirds = {"third": np.repeat(["a", "b", "c"], 40)}
    assert shares.decide(np.repeat([1, 0, 0], 40), 0.9, thirds).verdict == "depends"
    # Mixed strata of another moderator do not.
    mixed = {"parity": ["odd", "even"] * 50}
    assert shares.decide(holds, 0.9, mixed).verdict == "contradicted"


def test_wilson_by_hand():
    # 4 of 4: low = n/(n + z²) = 4/(4 + 3.8415) = 0.5101.
    row = shares.by_level([1, 1, 1, 1], {"a": ["x"] * 4})[0]
    assert row["low"] == pytest.approx(0.5101, abs=1e-4) and row["high"] == 1
    assert shares.percent(shares.decide([1, 1, 1, 1], 0.5).share) == "100 % [51 %, 100 %]"
    said = [shares.percent(share) for share in (0.0, 0.004, 0.84, 0.996, 1.0)]
    assert said == ["0 %", "0.4 %", "84 %", "99.6 %", "100 %"]


def test_an_exact_claim_has_no_share():
    with pytest.raises(ValueError, match="quantifier"):
        shares.decide([1.0], None)


def test_noise_seldom_looks_like_a_moderator():
    rng = np.random.default_rng(0)
    fooled = sum(
        shares.decide(rng.random(100) < 0.5, 0.5, HALVES).verdict == "depends" for _ in range(100)
    )
    assert fooled <= 1


def test_the_binomial_distribution_must_agree():
    """48 of 50 at a chance of 0.99: the interval ends at 0.989, yet so few come in 9 % of cases."""
    holds = np.arange(50) < 48
    found = shares.decide(holds, 0.99)
    assert found.share.high < 0.99 and found.verdict == "inconclusive"
    assert shares.decide(np.arange(50) < 46, 0.99).verdict == "contradicted"


@pytest.mark.parametrize(("gamma", "least"), [(0.99, 381), (0.9, 36), (0.75, 13)])
def test_a_high_share_needs_many_problems(gamma, least):
    """Of fewer, not even all would do."""
    verdicts = [shares.decide(np.ones(n), gamma).verdict for n in (least - 1, least)]
    assert verdicts == ["inconclusive", "supported"]
