"""What the model scores on the test part: looked at once, at the very end, with intervals."""

from typing import NamedTuple

import numpy as np

from jaxdl import metrics, stats
from jaxdl.stats import Estimate

RESAMPLES = 1000


class Test(NamedTuple):
    """Scores on the rows that were held out, and what a trivial answer scores there.

    `scores` maps "accuracy", "balanced accuracy", "AUC", or "R²", "RMSE" to estimates with 95 %
    intervals; the first is the main one. `baseline` is the main score of the training part's
    commonest class or mean.
    """

    rows: int
    scores: dict[str, Estimate]
    baseline: float


def classification(logits: np.ndarray, y: np.ndarray, common: int, seed: int) -> Test:
    """Accuracy and balanced accuracy with score intervals, AUC by the bootstrap.

    Balanced accuracy is the mean over classes, so its interval is Wilson's stratified by class.
    AUC needs every class in y; resampled within each class, as the test part was drawn. Where no
    resample differs (a perfect score) its interval is Wilson's for the smallest class.
    """
    right = (logits.argmax(axis=1) == y).astype(float)
    scores = {"accuracy": stats.stratified_wilson(right)}
    present, counts = np.unique(y, return_counts=True)
    if len(present) > 1:
        scores["balanced accuracy"] = stats.stratified_wilson(right, y)
    if len(present) == logits.shape[1] > 1:
        scores["AUC"] = _area(logits, y, int(counts.min()), seed)
    return Test(len(y), scores, float((y == common).mean()))


def _area(logits: np.ndarray, y: np.ndarray, smallest: int, seed: int) -> Estimate:
    found = _bootstrap(lambda rows: metrics.auc(logits[rows], y[rows]), y, seed, resamples=200)
    if found.low < found.high:
        return found
    perfect = stats.stratified_wilson(np.full(smallest, found.value))
    return Estimate(found.value, perfect.low, perfect.high)


def regression(outputs: np.ndarray, y: np.ndarray, mean: float, seed: int) -> Test:
    """R² and root mean squared error, with bootstrap intervals over the rows."""
    y, z = y.astype(np.float64), outputs[:, 0].astype(np.float64)
    scores = {}
    if len(y) > 2 and np.ptp(y) > 0:
        scores["R²"] = _bootstrap(lambda rows: r2(z[rows], y[rows]), np.zeros(len(y)), seed)
    root = lambda rows: float(np.sqrt(((z - y)[rows] ** 2).mean()))  # noqa: E731
    scores["RMSE"] = _bootstrap(root, np.zeros(len(y)), seed)
    return Test(len(y), scores, r2(np.full(len(y), mean), y) if "R²" in scores else float("nan"))


def r2(outputs: np.ndarray, y: np.ndarray) -> float:
    """1 − Σ (y − ŷ)² / Σ (y − ȳ)² of (m,) arrays; 0 where y does not vary."""
    total = ((y - y.mean()) ** 2).sum()
    return float(1 - ((y - outputs) ** 2).sum() / total) if total > 0 else 0.0


def _bootstrap(score, strata: np.ndarray, seed: int, resamples: int = RESAMPLES) -> Estimate:
    """The score of all rows, with percentiles of it over rows redrawn within each stratum."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    drawn = [
        score(np.concatenate([rng.choice(rows, len(rows)) for rows in members]))
        for _ in range(resamples)
    ]
    value = score(np.arange(len(strata)))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value, float(min(low, value)), float(max(high, value)))
