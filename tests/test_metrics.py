"""Metrics against scikit-learn over drawn cases: ties, single classes, perfect and constant."""

import warnings
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.calibration import calibration_curve

from jaxdl import metrics

M = 12  # one shape, so that each metric compiles once
many = settings(deadline=None, max_examples=80)
ties = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 2.0])


def logits(k):
    return st.lists(st.lists(ties, min_size=k, max_size=k), min_size=M, max_size=M).map(
        lambda rows: np.array(rows, np.float32)
    )


def labels(k):
    mixed = st.lists(st.integers(0, k - 1), min_size=M, max_size=M)
    one_class = st.integers(0, k - 1).map(lambda c: [c] * M)
    return st.one_of(mixed, one_class).map(np.array)


def cases(k):
    drawn = st.tuples(logits(k), labels(k))
    if k == 1:
        drawn = st.tuples(logits(1), labels(2))
        perfect = labels(2).map(lambda y: ((2.0 * y[:, None] - 1).astype(np.float32), y))
    else:
        perfect = labels(k).map(lambda y: (np.eye(k, dtype=np.float32)[y], y))
    constant = drawn.map(lambda case: (np.repeat(case[0][:1], M, axis=0), case[1]))
    return st.one_of(drawn, perfect, constant)


CASES = st.one_of(cases(1), cases(2), cases(4))


def predict(outputs):
    return (outputs[:, 0] > 0).astype(int) if outputs.shape[1] == 1 else outputs.argmax(axis=1)


@many
@given(CASES)
def test_counts_equal_scikit_learn(case):
    outputs, y = case
    predicted, k = predict(outputs), max(outputs.shape[1], 2)
    accuracy = jax.jit(metrics.accuracy)(outputs, y)
    np.testing.assert_allclose(accuracy, sk.accuracy_score(y, predicted), rtol=1e-6)
    np.testing.assert_allclose(metrics.error_rate(outputs, y), 1 - accuracy, rtol=1e-6)
    np.testing.assert_array_equal(
        jax.jit(metrics.confusion_matrix)(outputs, y),
        sk.confusion_matrix(y, predicted, labels=range(k)),
    )


@partial(jax.jit, static_argnames="average")
def precision_recall_f1(outputs, y, average):
    return tuple(f(outputs, y, average) for f in (metrics.precision, metrics.recall, metrics.f1))


@many
@given(CASES)
def test_precision_recall_f1_equal_scikit_learn(case):
    outputs, y = case
    predicted = predict(outputs)
    for average in ("macro", "binary") if outputs.shape[1] < 3 else ("macro",):
        ours = precision_recall_f1(outputs, y, average)
        theirs = sk.precision_recall_fscore_support(y, predicted, average=average, zero_division=0)
        np.testing.assert_allclose(ours, theirs[:3], rtol=1e-6, atol=1e-7)


@many
@given(cases(1))
def test_binary_auc_equals_scikit_learn_and_its_definition(case):
    outputs, y = case
    if len(set(y)) < 2:
        with pytest.raises(ValueError, match="all 2 in y"):
            metrics.auc(outputs, y)
        return
    pairs = outputs[y == 1, 0][:, None] - outputs[y == 0, 0][None]
    definition = (pairs > 0).mean() + 0.5 * (pairs == 0).mean()
    assert metrics.auc(outputs, y) == pytest.approx(definition)
    assert metrics.auc(outputs, y) == pytest.approx(sk.roc_auc_score(y, outputs[:, 0]))
    assert metrics.auc(outputs, y[:, None]) == metrics.auc(outputs, y)


@many
@given(cases(4))
def test_multiclass_auc_is_one_against_the_rest(case):
    outputs, y = case
    if len(set(y)) < 4:
        with pytest.raises(ValueError, match="all 4 in y"):
            metrics.auc(outputs, y)
        return
    p = softmax(outputs.astype(np.float64), axis=1)
    areas = []
    for c in range(4):
        pairs = p[y == c, c][:, None] - p[y != c, c][None]
        areas.append((pairs > 0).mean() + 0.5 * (pairs == 0).mean())
    assert metrics.auc(outputs, y) == pytest.approx(np.mean(areas))


@many
@given(st.lists(st.floats(-6, 6, width=32), min_size=M, max_size=M), labels(2))
def test_reliability_curve_equals_scikit_learn(z, y):
    z = np.array(z, np.float32)
    curve = jax.jit(metrics.calibration, static_argnames="n_bins")(z[:, None], y, n_bins=5)
    p = np.asarray(jax.nn.sigmoid(jnp.asarray(z)))
    if np.abs(p[:, None] * 5 - np.arange(1, 5)).min() < 1e-5:
        return  # on an edge, where float32 and float64 may round to different sides
    share, confidence = calibration_curve(y, p, n_bins=5)
    used = np.asarray(curve.count) > 0
    np.testing.assert_allclose(np.asarray(curve.accuracy)[used], share, atol=1e-5)
    np.testing.assert_allclose(np.asarray(curve.confidence)[used], confidence, atol=1e-5)


def test_calibration_by_hand():
    # Probabilities .8 .8 .8 .8 .3: three of four right in one bin, none of one in the other.
    p = np.array([0.8, 0.8, 0.8, 0.8, 0.3])
    outputs = np.log(p / (1 - p))[:, None].astype(np.float32)
    c = metrics.calibration(outputs, np.array([1, 1, 1, 0, 0]), n_bins=2)
    np.testing.assert_allclose(c.count, [1, 4])
    np.testing.assert_allclose(c.error, 1 / 5 * 0.3 + 4 / 5 * 0.05, rtol=1e-5)


def test_top_label_calibration():
    # Two classes as two columns: confidence is that of the larger one.
    outputs = np.log(np.array([[0.9, 0.1], [0.2, 0.8]], np.float32))
    c = metrics.calibration(outputs, np.array([0, 0]), n_bins=2)
    np.testing.assert_allclose(c.confidence, [0, 0.85], rtol=1e-6)
    np.testing.assert_allclose(c.error, abs(0.5 - 0.85), rtol=1e-5)


@many
@given(
    st.lists(ties, min_size=M, max_size=M),
    st.lists(ties, min_size=M, max_size=M),
    st.sampled_from(["drawn", "perfect", "constant"]),
)
def test_r2_equals_scikit_learn(outputs, y, kind):
    outputs, y = (np.array(v, np.float32).reshape(-1, 2) for v in (outputs, y))
    outputs = y if kind == "perfect" else outputs
    y = np.full_like(y, 0.1) if kind == "constant" else y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sk.r2_score(y, outputs)
    np.testing.assert_allclose(jax.jit(metrics.r2)(outputs, y), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["accuracy", "error_rate", "confusion_matrix", "f1"])
def test_weight_zero_leaves_an_example_out(name):
    metric = getattr(metrics, name)
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(10, 3)).astype(np.float32), rng.integers(0, 3, 10)
    w = np.array([1, 0] * 5, np.float32)
    np.testing.assert_allclose(metric(outputs, y, weights=w), metric(outputs[::2], y[::2]))


def test_r2_with_weights():
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(2, 10, 1)).astype(np.float32)
    w = np.array([2, 0] * 5, np.float32)
    np.testing.assert_allclose(
        metrics.r2(outputs, y, w), metrics.r2(outputs[::2], y[::2]), rtol=1e-5
    )


def test_labels_outside_count_nowhere():
    matrix = metrics.confusion_matrix(np.eye(2, dtype=np.float32)[[0, 1, 1]], np.array([-1, 2, 1]))
    np.testing.assert_array_equal(matrix, [[0, 0], [0, 1]])


@pytest.mark.parametrize(
    "outputs, y",
    [
        ((5, 3), (5, 1)),
        ((5, 3), (5, 3)),
        ((5, 3), (4,)),
        ((5,), (5,)),
        ((5, 1), (1, 5)),
        ((0, 3), (0,)),
    ],
)
@pytest.mark.parametrize("name", ["accuracy", "confusion_matrix", "auc", "calibration"])
def test_shapes_that_do_not_belong_together(outputs, y, name):
    with pytest.raises(ValueError) as raised:
        getattr(metrics, name)(np.zeros(outputs, np.float32), np.zeros(y, int))
    assert str(outputs) in str(raised.value) and str(y) in str(raised.value)


def test_r2_never_broadcasts():
    with pytest.raises(ValueError, match=r"\(5, 1\) and \(5,\)"):
        metrics.r2(np.zeros((5, 1)), np.zeros(5))


def test_no_bins():
    with pytest.raises(ValueError, match="n_bins=0"):
        metrics.calibration(np.eye(3, dtype=np.float32), np.arange(3), n_bins=0)


def test_unknown_average():
    with pytest.raises(ValueError, match="Did you mean 'macro'"):
        metrics.f1(np.eye(3, dtype=np.float32), np.arange(3), average="marco")
    with pytest.raises(ValueError, match="needs two classes, got 3"):
        metrics.f1(np.eye(3, dtype=np.float32), np.arange(3), average="binary")


def test_metrics_are_float64_where_asked(x64):
    outputs, y = jnp.array([[0.2, 0.8], [0.9, 0.1]]), jnp.array([1, 1])
    assert metrics.accuracy(outputs, y) == 0.5
    assert metrics.r2(outputs, outputs).dtype == jnp.float64


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones((3, 1)), r"\(3,\); got \(3, 1\)"),
        (2.0, r"\(3,\); got \(\)"),
        (np.zeros(3), "not all zero"),
        (np.array([1.0, -1.0, 1.0]), "≥ 0"),
    ],
)
@pytest.mark.parametrize("metric", ["accuracy", "confusion_matrix", "f1", "r2"])
def test_weights_that_do_not_belong_are_refused(metric, weights, message):
    outputs, y = np.array([[1.0], [2.0], [3.0]], np.float32), np.array([[1.0], [1.0], [0.0]])
    with pytest.raises(ValueError, match=message):
        getattr(metrics, metric)(outputs, y, weights=weights)


@pytest.mark.parametrize("metric", ["accuracy", "confusion_matrix", "f1", "precision"])
def test_a_diverged_model_has_no_score(metric):
    outputs, y = np.full((4, 3), np.nan, np.float32), np.array([0, 0, 1, 2])
    with pytest.raises(ValueError, match="diverged"):
        getattr(metrics, metric)(outputs, y)
    if metric != "confusion_matrix":
        assert np.isnan(jax.jit(getattr(metrics, metric))(outputs, y))


def test_r2_of_integers_keeps_the_fractions_of_the_targets():
    # ȳ = 1.5; residuals −0.4, 0.4 → 0.32; total 2 · 0.01 = 0.02; 1 − 16 = −15.
    assert float(metrics.r2(np.array([[1], [2]]), np.array([[1.4], [1.6]]))) == pytest.approx(
        -15, rel=1e-5
    )


def test_auc_of_two_columns_is_that_of_their_difference():
    rng = np.random.default_rng(0)
    outputs, y = rng.normal(size=(30, 2)), rng.integers(0, 2, 30)
    assert metrics.auc(outputs, y) == metrics.auc(outputs[:, 1:] - outputs[:, :1], y)
    with pytest.raises(TypeError, match="after the compiled loop"):
        jax.jit(metrics.auc)(outputs, y)


def test_a_probability_on_an_edge_belongs_to_the_lower_bin():
    # σ(0) = ½ is the edge between two bins.
    np.testing.assert_array_equal(
        metrics.calibration(np.zeros((3, 1), np.float32), np.array([0, 1, 1]), n_bins=2).count,
        [3, 0],
    )
