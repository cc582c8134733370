"""The statistics themselves, put to the test: coverage, mirror, size of tests, other libraries."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from jaxdl import stats
from jaxdl.stats import intervals

KEY = jax.random.key(0)
SIMULATIONS = 2_000


def arms(rng, families=3, problems=8, seeds=4, effect=0.5):
    """Scores of two arms; the differences vary between families, problems and runs."""
    shape = (families * problems, seeds)
    labels = np.repeat(np.arange(families), problems)
    b = rng.normal(size=shape)
    shift = effect + 0.3 * labels + rng.normal(size=shape[0])
    return b + shift[:, None] + rng.normal(size=shape), b, labels


# ------------------------------------------------------------------------------- compare


def test_compare_by_hand():
    # Two families of two problems, three seeds. Medians of a − b: 1, −1 | 2, 0.
    a = np.array([[1, 1, -5], [-1, -1, 3], [2, 2, 2], [0, 0, 0]], float)
    c = stats.compare(a, np.zeros((4, 3)), ["u", "u", "v", "v"], key=KEY)
    assert c.problem.value == (0.5 + (1 + 0.5) / 2) / 2  # family u: ½, family v: ¾
    assert c.run.value == pytest.approx((0.5 + 0.75) / 2)  # u: (2/3 + 1/3)/2, v: (1 + ½)/2
    assert c.effect.value == 0.5  # averages: −1, −½, 0, 0, ½, ½, 1, 1, 1½, 2
    assert (c.n_problems, c.n_seeds) == (4, 3)
    assert list(c.spread.families) == ["u", "v"]
    assert c.spread.families["v"].value == 0.75


@pytest.mark.parametrize("seed", range(6))
def test_exchanging_the_arms_mirrors_everything_exactly(seed):
    rng = np.random.default_rng(seed)
    a, b, labels = arms(rng, effect=rng.normal())
    a, b = np.round(a, seed % 3), np.round(b, seed % 3)  # with ties in some
    a[0], b[1], a[2, 0], b[2, 0] = np.inf, np.inf, np.inf, np.inf
    one = stats.compare(a, b, labels, key=KEY, resamples=2000)
    two = stats.compare(b, a, labels, key=KEY, resamples=2000)
    for name in ("problem", "run"):
        p, q = getattr(one, name), getattr(two, name)
        assert (1 - p.value, 1 - p.high, 1 - p.low) == (q.value, q.low, q.high)
    e, f = one.effect, two.effect
    assert (-e.value, -e.high, -e.low) == (f.value, f.low, f.high)
    assert one.spread.sd == pytest.approx(two.spread.sd)
    less = stats.compare(a, b, labels, key=KEY, larger_is_better=False, resamples=2000)
    assert less == two


def test_the_order_of_the_problems_does_not_matter():
    a, b, labels = arms(np.random.default_rng(0))
    shuffle = np.random.default_rng(1).permutation(len(a))
    one = stats.compare(a, b, labels, key=KEY, resamples=2000)
    two = stats.compare(a[shuffle], b[shuffle], labels[shuffle], key=KEY, resamples=2000)
    assert one.problem == two.problem and one.effect == two.effect
    np.testing.assert_allclose(one.run, two.run, atol=0.02)  # other resamples


def test_families_weigh_equally_whatever_their_size():
    a = np.concatenate([np.ones(30), -np.ones(2)])
    c = stats.compare(a, np.zeros(32), [0] * 30 + [1] * 2, key=KEY)
    assert c.problem.value == c.run.value == 0.5


def test_unanimity_is_not_certainty():
    c = stats.compare(np.ones((29, 4)), np.zeros((29, 4)), key=KEY)
    # Wilson: n/(n + z²)
    assert c.problem.low == c.run.low == pytest.approx(29 / (29 + 1.959964**2))
    assert c.problem.high == 1


def test_runs_that_never_got_there():
    steps = np.array([[np.inf, np.inf], [np.inf, 5.0], [3.0, 4.0]])
    other = np.array([[np.inf, np.inf], [9.0, 9.0], [9.0, np.inf]])
    c = stats.compare(steps, other, key=KEY, larger_is_better=False)
    # ties; then once worse and once better (median 0 of −inf and 4 is −inf); then better twice
    assert c.problem.value == pytest.approx((0.5 + 0 + 1) / 3)
    assert c.run.value == pytest.approx((0.5 + 0.5 + 1) / 3)


@pytest.mark.parametrize(
    "a, b, families, message",
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), None, r"\(4, 2\) and \(4, 3\)"),
        (np.zeros((0, 2)), np.zeros((0, 2)), None, r"\(0, 2\)"),
        (np.full((4, 2), np.nan), np.zeros((4, 2)), None, r"scores a hold NaN at \(0, 0\)"),
        (np.zeros(4), np.zeros(4), [0, 0, 1], r"shape \(4,\), got \(3,\)"),
        (np.zeros(4), np.zeros(4), list("uuuv"), "at least 2 problems per family.*'v'"),
    ],
)
def test_bad_scores(a, b, families, message):
    with pytest.raises(ValueError, match=message):
        stats.compare(a, b, families, key=KEY)


# ----------------------------------------------------------------------------- intervals


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 60), st.data())
def test_one_family_is_the_ordinary_wilson_interval(n, data):
    k = data.draw(st.integers(0, n))
    ours = stats.stratified_wilson([1] * k + [0] * (n - k))
    theirs = scipy_stats.binomtest(k, n).proportion_ci(method="wilson")
    np.testing.assert_allclose(ours, (k / n, *theirs), atol=1e-9)


PLANTED = {
    "alike": [0.75] * 5,
    "even": [0.5] * 5,
    "certain": [0.99] * 5,
    "spread": [0.5, 0.7, 0.9, 0.95, 1.0],
    "high": [0.85, 0.9, 0.92, 0.97, 0.99],
    "opposed": [0.0, 0.0, 1.0, 1.0, 0.5],
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_wilson_covers_the_planted_share(planted):
    """At nominal 95 %, at least 93 % of 2,000 simulated experiments cover the truth."""
    p, sizes = np.array(planted), np.full(5, 32)
    means = np.random.default_rng(1).binomial(32, p, (SIMULATIONS, 5)) / 32 - 0.5
    low, high = intervals._wilson_limits(means, sizes, 0.95)
    assert np.mean((low <= p.mean() - 0.5) & (p.mean() - 0.5 <= high)) >= 0.93


def test_wilson_limits_solve_their_equation():
    """At each limit the families' shares of largest likelihood give |p̂ − p| = z √V."""
    from scipy.optimize import minimize

    sizes, counts = np.array([8, 12, 20]), np.array([5, 10, 18])
    e = stats.stratified_wilson(
        np.concatenate(
            [np.r_[np.ones(k), np.zeros(n - k)] for k, n in zip(counts, sizes, strict=True)]
        ),
        np.repeat([0, 1, 2], sizes),
    )
    for limit in (e.low, e.high):
        best = minimize(
            lambda p: -(counts * np.log(p) + (sizes - counts) * np.log(1 - p)).sum(),
            np.full(3, limit),
            bounds=[(1e-6, 1 - 1e-6)] * 3,
            constraints={"type": "eq", "fun": lambda p, limit=limit: p.mean() - limit},
        )
        error = np.sqrt((best.x * (1 - best.x) / sizes).sum()) / 3
        assert abs(e.value - limit) == pytest.approx(1.959964 * error, rel=1e-3)


@pytest.mark.parametrize("families, n", [(1, 8), (5, 8), (10, 32)])
def test_families_that_agree_are_one_sample(families, n):
    for k in (0, 3, n):
        values = np.tile(np.r_[np.ones(k), np.zeros(n - k)], families)
        ours = stats.stratified_wilson(values, np.repeat(np.arange(families), n))
        theirs = scipy_stats.binomtest(k * families, n * families).proportion_ci(method="wilson")
        np.testing.assert_allclose(ours[1:], theirs, atol=1e-9)


def test_wilson_is_no_wider_than_ignoring_the_families():
    """Twenty problems of each kind: knowing the families narrows the interval."""
    values, labels = np.repeat([0.0, 1.0], 20), np.repeat([0, 1], 20)
    known, unknown = stats.stratified_wilson(values, labels), stats.stratified_wilson(values)
    assert known.high - known.low < 0.6 * (unknown.high - unknown.low)


def run_scores(rng, concentration):
    """Run-level scores of 5 families × 16 problems × 4 seeds, and their true mean."""
    truth = np.array([0.55, 0.65, 0.75, 0.85, 0.9])
    p = rng.beta(*(concentration * np.stack([truth, 1 - truth]))[..., None], (SIMULATIONS, 5, 16))
    return (rng.binomial(4, p) / 4 - 0.5).reshape(SIMULATIONS, -1), truth.mean() - 0.5


@pytest.mark.parametrize("concentration", [1.0, 10.0])
def test_bootstrap_covers_the_planted_run_level_share(concentration):
    values, truth = run_scores(np.random.default_rng(2), concentration)
    sizes = np.full(5, 16)
    means, stretched = intervals._stretch(values, sizes)
    drawn = np.asarray(intervals._resampled_means(KEY, stretched.astype(np.float32), sizes, 1000))
    low, high = intervals._bias_corrected(drawn, means, 0.95)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.93


def test_bootstrap_equals_scipy_on_one_family():
    values = np.random.default_rng(0).exponential(size=40)
    ours = stats.stratified_bootstrap(values, key=KEY)
    theirs = scipy_stats.bootstrap(
        (values,), np.mean, n_resamples=10_000, method="percentile", rng=1
    ).confidence_interval
    np.testing.assert_allclose(ours[1:], theirs, atol=0.04)
    assert ours.value == pytest.approx(values.mean())


def test_bootstrap_resamples_within_families():
    """Families far apart, problems alike: the families are fixed, so hardly anything varies."""
    values = np.repeat([0.0, 100.0], 10) + np.tile([-0.1, 0.1], 10)
    e = stats.stratified_bootstrap(values, np.repeat([0, 1], 10), key=KEY)
    assert e.value == pytest.approx(50)
    assert e.low < e.value < e.high < e.low + 0.2


def test_bootstrap_limits_depend_on_the_key_alone():
    values = np.random.default_rng(0).normal(size=20)
    one, two = (stats.stratified_bootstrap(values, key=KEY, resamples=500) for _ in range(2))
    assert one == two
    assert one != stats.stratified_bootstrap(values, key=jax.random.key(1), resamples=500)


@pytest.mark.parametrize("bad", [[0.5, 1.5], [], [np.nan], [[0.5]]])
def test_wilson_refuses_what_is_no_score(bad):
    with pytest.raises(ValueError, match=r"scores in \[0, 1\]"):
        stats.stratified_wilson(bad)


# -------------------------------------------------------------------------------- effect


def test_hodges_lehmann_by_hand():
    # Averages of (1, 2, 6): 1, 1½, 2, 3½, 4, 6.
    assert stats.hodges_lehmann([1, 2, 6]) == (2.75, -np.inf, np.inf)


@pytest.mark.parametrize("n", [6, 20, 50, 51, 80])
def test_the_interval_is_where_the_signed_rank_test_turns(n):
    d = np.random.default_rng(n).normal(0.4, 1, n)
    e = stats.hodges_lehmann(d)
    for limit, inside in ((e.low, 1e-9), (e.high, -1e-9)):
        for shift, rejected in ((limit - 4 * inside, True), (limit + inside, False)):
            method = "exact" if n <= 50 else "asymptotic"
            p = scipy_stats.wilcoxon(d - shift, method=method, correction=True).pvalue
            assert (p <= 0.05) == rejected


@pytest.mark.parametrize("n", [10, 32])
def test_hodges_lehmann_covers_the_planted_effect(n):
    rng = np.random.default_rng(3)
    d = rng.standard_t(3, (SIMULATIONS, n)) + 0.3
    covered = [e.low <= 0.3 <= e.high for e in map(stats.hodges_lehmann, d)]
    assert np.mean(covered) >= 0.93


def test_infinite_differences_shift_the_estimate_but_do_not_break_it():
    d = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.inf, -np.inf])
    e = stats.hodges_lehmann(d)
    assert 0.2 < e.value < 0.5 and not np.isnan(e).any()


def test_equivalence():
    rng = np.random.default_rng(0)
    tight, far = rng.normal(0, 0.1, 40), rng.normal(1, 0.1, 40)
    assert stats.equivalence(tight, margin=0.25).equivalent
    assert not stats.equivalence(far, margin=0.25).equivalent
    assert not stats.equivalence(rng.normal(0, 3, 10), margin=0.25).equivalent  # merely unknown
    assert stats.equivalence(np.zeros(10), margin=0.25).equivalent
    with pytest.raises(ValueError, match="margin above 0"):
        stats.equivalence(tight, margin=0)


def test_equivalence_agrees_with_its_interval_and_mirrors():
    rng = np.random.default_rng(1)
    for _ in range(60):
        d = rng.normal(rng.uniform(-0.3, 0.3), 0.4, 25)
        e = stats.equivalence(d, margin=0.25)
        assert e.equivalent == (max(-e.interval.low, e.interval.high) < 0.25)
        assert stats.equivalence(-d, margin=0.25).p_value == pytest.approx(e.p_value)


def test_equivalence_is_wrong_in_at_most_five_per_cent_at_the_margin():
    rng = np.random.default_rng(4)
    d = rng.normal(0.25, 0.3, (1_000, 20))
    wrong = np.mean([stats.equivalence(row, margin=0.25).equivalent for row in d])
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1_000)


def jonckheere(levels, values):
    """Σ over pairs of levels of the Mann–Whitney count, from its definition."""
    pairs = [(u, v) for u in np.unique(levels) for v in np.unique(levels) if u < v]
    differences = [values[levels == v][:, None] - values[levels == u][None] for u, v in pairs]
    return sum((d > 0).sum() + 0.5 * (d == 0).sum() for d in differences)


@pytest.mark.parametrize("ties", [False, True])
def test_trend_equals_jonckheere_by_permutation(ties):
    rng = np.random.default_rng(0)
    levels = np.repeat([1, 2, 3, 4], 6)
    values = rng.normal(size=24) + 0.25 * levels
    values = np.round(values) if ties else values
    observed = jonckheere(levels, values)
    null = np.array([jonckheere(levels, rng.permutation(values)) for _ in range(3000)])
    p = np.mean(null >= observed)
    assert 0.005 < p < 0.5
    assert stats.trend(levels, values, "greater").p_value == pytest.approx(p, abs=0.02)
    z = (observed - null.mean()) / null.std()
    theirs = scipy_stats.norm.sf(z)
    assert stats.trend(levels, values, "greater").p_value == pytest.approx(theirs, abs=0.015)


def test_trend_directions_and_edges():
    levels = np.repeat([1, 2, 3], 5)
    rising = levels + np.linspace(0, 0.1, 15)
    assert stats.trend(levels, rising).p_value < 0.001
    assert stats.trend(levels, -rising, "greater").p_value > 0.99
    assert stats.trend(levels, np.ones(15)) == (0, 1)
    with pytest.raises(ValueError, match="Did you mean 'greater'"):
        stats.trend(levels, rising, "grater")
    with pytest.raises(ValueError, match=r"\(15,\) and \(3,\)"):
        stats.trend(levels, [1, 2, 3])


def test_holm_by_hand_and_in_any_order():
    # Sorted .01 .02 .03 .04: ×4, ×3, ×2, ×1 = .04 .06 .06 .04, running maximum .04 .06 .06 .06.
    np.testing.assert_allclose(stats.holm([0.03, 0.01, 0.04, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(stats.holm([0.5, 0.9]), [1, 1])
    assert stats.holm([]).shape == (0,)
    with pytest.raises(ValueError, match="p-values"):
        stats.holm([1.2])


def test_holm_keeps_the_family_wise_error():
    p = np.random.default_rng(0).uniform(size=(SIMULATIONS, 10))
    wrong = np.mean([stats.holm(row).min() <= 0.05 for row in p])
    assert wrong <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / SIMULATIONS)


def test_spread_sees_families_that_disagree():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    alike = stats.compare(rng.normal(size=80), np.zeros(80), labels, key=KEY).spread
    apart = stats.compare(rng.normal(size=80) + 2 * labels, np.zeros(80), labels, key=KEY).spread
    assert alike.p_value > 0.05 > apart.p_value
    assert alike.sd < 0.1 < apart.sd
    assert stats.compare(np.ones(6), np.zeros(6), key=KEY).spread.p_value == 1
