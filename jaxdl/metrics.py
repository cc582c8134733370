"""How good are the outputs: pure functions of (outputs, y), most of them jittable.

`outputs` are what a model gives. Classes: logits (m, K) with y (m,) integers. Two classes: logits
(m, 1) with y (m, 1) or (m,) of 0 and 1. Regression: outputs and y both (m, k). `weights` (m,)
count examples, 0 leaving one out; padding and masks use it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import errors
from jaxdl.losses import apply_function
from jaxdl.types import Array


def of(model: Any, metric: Callable[..., Array]) -> Callable[..., Array]:
    """The metric of (outputs, y) as one of (params, x, y), as `train.fit` takes them.

        train.fit(..., metrics={"accuracy": metrics.of(model, metrics.accuracy)})

    Args:
        model: a Layer, or a function apply(params, x, key) → outputs; it gets no key (no dropout).
        metric: a jittable function of (outputs, y).
    """
    apply = apply_function(model)
    return lambda params, x, y: metric(apply(params, x, None), y)


def accuracy(outputs, y, weights=None) -> Array:
    """Share of examples whose predicted class is y: Σ wᵢ [ŷᵢ = yᵢ] / Σ wᵢ.

    The class is the largest logit (the first of equals); with one column, 1 when the logit is
    above 0, that is when the probability is above one half. Jittable.

    Raises:
        ValueError: if the shapes do not belong together, or for concrete outputs that are NaN
            (traced ones make the accuracy NaN).
    """
    predicted, actual = classes(outputs, y)
    hits = (predicted == actual).astype(float) * _nan_unless_numbers(outputs)
    weights = _weights(weights, hits)
    return (weights * hits).sum() / weights.sum()


def error_rate(outputs, y, weights=None) -> Array:
    """1 − accuracy, the notes' training and dev error. Jittable."""
    return 1 - accuracy(outputs, y, weights)


def confusion_matrix(outputs, y, weights=None) -> Array:
    """(K, K) counts: entry [i, j] is the weight of class i predicted as class j. Jittable.

    Labels outside [0, K) count nowhere; `data.check` refuses them beforehand.
    """
    outputs = jnp.asarray(outputs)
    predicted, actual = classes(outputs, y)
    k = max(outputs.shape[1], 2)
    counts = jnp.ones_like(actual) if weights is None else _weights(weights, actual.astype(float))
    actual = jnp.where(actual < 0, k, actual)  # a negative index would count from the end
    return jnp.zeros((k, k), counts.dtype).at[actual, predicted].add(counts, mode="drop")


def precision(outputs, y, average: str | None = None, weights=None) -> Array:
    """True positives / predicted positives; 0 where nothing is predicted positive. Jittable.

    `average`: "binary" is that of class 1; "macro" the plain mean over the classes that occur in
    y or among the predictions, as in scikit-learn; None means binary for one column and macro for
    several.
    """
    tp, predicted, actual = _positives(outputs, y, weights)
    return _average(_ratio(tp, predicted), predicted + actual, average, outputs)


def recall(outputs, y, average: str | None = None, weights=None) -> Array:
    """True positives / actual positives; 0 where there are none. `average` as in precision."""
    tp, predicted, actual = _positives(outputs, y, weights)
    return _average(_ratio(tp, actual), predicted + actual, average, outputs)


def f1(outputs, y, average: str | None = None, weights=None) -> Array:
    """2 TP / (predicted + actual positives), the harmonic mean of precision and recall."""
    tp, predicted, actual = _positives(outputs, y, weights)
    return _average(_ratio(2 * tp, predicted + actual), predicted + actual, average, outputs)


def auc(outputs, y) -> float:
    """Area under the ROC curve: P(score of a positive > of a negative) + ½ P(equal).

        (Σ ranks of the n₊ positives − n₊ (n₊ + 1)/2) / (n₊ n₋)

    Several classes: the plain mean of one class against the rest, over softmax probabilities.
    Needs concrete arrays.

    Raises:
        ValueError: if y holds one class only, where the area is undefined.
    """
    from scipy.special import softmax

    if not (errors.is_concrete(outputs) and errors.is_concrete(y)):
        raise TypeError("auc needs concrete arrays: call it after the compiled loop, not inside.")
    outputs, y = np.asarray(outputs), np.asarray(y)
    _check_shapes(outputs, y)
    present, k = np.unique(y), outputs.shape[1]
    if len(present) < max(k, 2):
        raise ValueError(
            f"AUC compares classes: expected all {max(k, 2)} in y, got only "
            f"{present.tolist()}. Use more examples, or a metric such as accuracy."
        )
    y = y.reshape(-1)
    if k <= 2:
        return _area(outputs[:, -1] - (outputs[:, 0] if k == 2 else 0), y == 1)
    probability = softmax(outputs.astype(np.float64), axis=1)
    return float(np.mean([_area(p, y == i) for i, p in enumerate(probability.T)]))


def _area(scores: np.ndarray, positive: np.ndarray) -> float:
    from scipy.stats import rankdata

    n = int(positive.sum())
    ranks = rankdata(scores)[positive].sum()
    return float((ranks - n * (n + 1) / 2) / (n * (len(scores) - n)))


class Calibration(NamedTuple):
    """A reliability curve: per bin of predicted probability, what came true.

    `confidence` (mean predicted), `accuracy` (share that came true) and `count` have one entry a
    bin, 0 where a bin is empty; `error` is the expected calibration error.
    """

    confidence: Array
    accuracy: Array
    count: Array
    error: Array


def calibration(outputs, y, n_bins: int = 10) -> Calibration:
    """Reliability curve over equal bins of [0, 1], and Σ_b (count_b/m) |accuracy_b − confidence_b|.

    With one column the probability is that of class 1 and the outcome whether y is 1; with K > 1
    it is the largest softmax probability and the outcome whether that class is right. A
    probability on an edge belongs to the lower bin, as in scikit-learn. Jittable.
    """
    if n_bins < 1:
        raise ValueError(f"Expected at least one bin, got n_bins={n_bins}.")
    outputs = jnp.asarray(outputs)
    predicted, actual = classes(outputs, y)
    if outputs.shape[1] == 1:
        p, hit = jax.nn.sigmoid(outputs[:, 0]), actual
    else:
        p, hit = jax.nn.softmax(outputs, axis=1).max(axis=1), predicted == actual
    edges = jnp.linspace(0, 1, n_bins + 1, dtype=p.dtype)
    bins = jnp.searchsorted(edges[1:-1], p, side="left")
    count, total, right = (
        jnp.zeros(n_bins, p.dtype).at[bins].add(v)
        for v in (jnp.ones_like(p), p, hit.astype(p.dtype))
    )
    confidence, share = _ratio(total, count), _ratio(right, count)
    return Calibration(
        confidence, share, count, (count * jnp.abs(share - confidence)).sum() / count.sum()
    )


def r2(outputs, y, weights=None) -> Array:
    """1 − Σ w (y − ŷ)² / Σ w (y − ȳ)², averaged over the k outputs. Jittable.

    A constant target gives 1 if it is met exactly and else 0, as in scikit-learn.

    Raises:
        ValueError: unless outputs and y have the same shape (m, k).
    """
    outputs = jnp.asarray(outputs)
    y = jnp.asarray(y)
    if outputs.ndim != 2 or outputs.shape != y.shape:
        raise ValueError(
            f"Expected outputs and y of one shape (m, k), got {outputs.shape} and {y.shape}. "
            "data.column(y) makes (m, 1) targets."
        )
    outputs, y = (
        a if jnp.issubdtype(a.dtype, jnp.floating) else a.astype(float) for a in (outputs, y)
    )
    y = y.astype(outputs.dtype)
    w = _weights(weights, y[:, 0])[:, None]
    mean = (w * y).sum(axis=0, keepdims=True) / w.sum()
    residual = (w * (y - outputs) ** 2).sum(axis=0)
    total = (w * (y - mean) ** 2).sum(axis=0)
    inside = w > 0
    constant = jnp.where(inside, y, -jnp.inf).max(axis=0) == jnp.where(inside, y, jnp.inf).min(
        axis=0
    )
    perfect = (residual == 0).astype(y.dtype)
    return jnp.where(constant, perfect, 1 - residual / jnp.where(constant, 1, total)).mean()


def classes(outputs, y) -> tuple[Array, Array]:
    """Predicted and actual class of each example, both (m,) int32.

    Raises:
        ValueError: if the shapes do not belong together, quoting both.
    """
    outputs, y = jnp.asarray(outputs), jnp.asarray(y)
    _check_shapes(outputs, y)
    if errors.is_concrete(outputs) and np.isnan(np.asarray(outputs, np.float64)).any():
        raise ValueError(
            "Expected outputs that are numbers, got NaN: the model has diverged, or its input "
            "holds NaN."
        )
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0).astype(jnp.int32), (y.reshape(-1).astype(float) > 0.5).astype(
            jnp.int32
        )
    return outputs.argmax(axis=1).astype(jnp.int32), y.astype(jnp.int32)


def _check_shapes(outputs, y) -> None:
    m, k = outputs.shape if outputs.ndim == 2 else (-1, 0)
    allowed = [(m,), (m, 1)] if k == 1 else [(m,)]
    if k < 1 or m < 1 or y.shape not in allowed:
        raise ValueError(
            "Expected logits (m, K) with y (m,) of class indices, or logits (m, 1) with y (m, 1) "
            f"or (m,), and m ≥ 1; got outputs of shape {outputs.shape} and y of shape {y.shape}."
        )


def _weights(weights, like: Array) -> Array:
    """The weights (m,) in the dtype of `like`, ones if None."""
    if weights is None:
        return jnp.ones_like(like)
    weights = jnp.asarray(weights)
    errors.shaped("weights", weights, like.shape, "Give one weight per example.")
    if errors.is_concrete(weights):
        w = np.asarray(weights, np.float64)
        valid = bool(np.all(np.isfinite(w) & (w >= 0)) and w.sum() > 0)
        errors.within("weights", w, valid, "finite, ≥ 0 and not all zero")
    return weights.astype(like.dtype)


def _nan_unless_numbers(outputs) -> Array:
    """1 for an example whose outputs are numbers, else NaN: a broken model has no score."""
    broken = jnp.isnan(jnp.asarray(outputs)).any(axis=1)
    return jnp.where(broken, jnp.nan, 1.0)


def _positives(outputs, y, weights) -> tuple[Array, Array, Array]:
    """True, predicted and actual positives of each class, (K,) each."""
    matrix = confusion_matrix(outputs, y, weights)
    matrix = matrix.astype(float)
    return jnp.diagonal(matrix), matrix.sum(axis=0), matrix.sum(axis=1)


def _ratio(a: Array, b: Array) -> Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)


def _average(values: Array, occurs: Array, average: str | None, outputs) -> Array:
    values = values * _nan_unless_numbers(outputs).min()
    average = average or ("binary" if np.shape(outputs)[1] == 1 else "macro")
    if average == "binary":
        if len(values) != 2:
            raise ValueError(f"average='binary' needs two classes, got {len(values)}: use 'macro'.")
        return values[1]
    if average != "macro":
        raise errors.unknown_name("average", average, ("binary", "macro"))
    present = (occurs > 0).astype(values.dtype)
    return _ratio((values * present).sum(), present.sum())
