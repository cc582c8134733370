"""Label noise: do the labels contradict the inputs where it should be easy to tell?"""

from typing import Any, NamedTuple

import numpy as np

from jaxdl.diagnose.bias import bias_variance
from jaxdl.diagnose.tables import SHIFT_P, flat, is_classes, sample
from jaxdl.stats import Estimate, stratified_wilson

TREES, NEIGHBOURS, FOLDS = 100, 10, 5

SUREST = 50
"""The easy examples are the surest quarter, but at least 50 where half of all are as many: fewer
leave the interval of their share too wide."""


class SecondOpinion(NamedTuple):
    """What three classifiers say about the labels; all None where the targets are numbers.

    `doubtful`: the share of labels contradicted among the easy examples; `overall`: among all, by
    the same judge. `gap`: the forest's errors on the dev part less its out-of-bag errors on the
    training part, with a 99.9 % interval; None without a dev part.
    """

    doubtful: Estimate | None
    overall: float | None
    gap: Estimate | None


def second_opinion(train: Any, dev: Any = None, *, seed: int = 0) -> SecondOpinion:
    """Do the labels contradict what the inputs say where it should be easy?

    Where classes overlap, errors gather where a classifier hesitates. Wrong labels are
    everywhere: even among the examples of which it is surest, as many are contradicted as labels
    are wrong. Three judges that do not depend on the network (a forest out of bag, neighbours
    without the example itself, a support vector machine by cross-validation) are asked, and the
    one that finds least is believed: honest labels need only one that understands the data, wrong
    ones contradict all. Labels decided by something that is not in the inputs look the same as
    wrong ones. The idea of confident learning (Northcutt et al. 2021), reduced to one share.

    Args:
        train: `(x, y)` or a Dataset with classes.
        dev: likewise, or None.
        seed: of the judges and of the subsample.
    """
    d = sample(flat(train), seed)
    if not is_classes(d.y) or len(np.unique(d.y)) < 2 or len(d.y) < 4:
        return SecondOpinion(None, None, None)
    forest, wrong, margin = _forest(d.x, d.y, seed)
    z = (d.x - d.x.mean(axis=0)) / np.maximum(d.x.std(axis=0), 1e-9)
    judges = [(wrong, margin), _neighbours(z, d.y), _machine(z, d.y, seed)]
    found = [(_doubtful(*judge), float(judge[0].mean())) for judge in judges if judge is not None]
    doubtful, overall = min(found, key=lambda pair: pair[0].low)
    return SecondOpinion(doubtful, overall, None if dev is None else _gap(forest, wrong, dev, seed))


def _doubtful(wrong: np.ndarray, margin: np.ndarray) -> Estimate:
    """The share of wrong ones among those with the largest margins."""
    n = min(max(SUREST, len(wrong) // 4), max(len(wrong) // 2, 1))
    surest = np.argsort(-margin, kind="stable")[:n]
    return stratified_wilson(wrong[surest].astype(float))


def _verdict(scores: np.ndarray, classes: np.ndarray, y: np.ndarray):
    """Which labels the scores (m, K) contradict, and by what margin the first class leads."""
    ordered = np.sort(scores, axis=1)
    return classes[scores.argmax(axis=1)] != y, ordered[:, -1] - ordered[:, -2]


def _forest(x: np.ndarray, y: np.ndarray, seed: int):
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(TREES, min_samples_leaf=2, oob_score=True, random_state=seed)
    forest.fit(x, y)
    votes = np.asarray(forest.oob_decision_function_)
    judged = np.isfinite(votes).all(axis=1)
    return forest, *_verdict(votes[judged], np.asarray(forest.classes_), y[judged])


def _neighbours(z: np.ndarray, y: np.ndarray):
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(y) - 1)).fit(z)
    classes, place = np.unique(y, return_inverse=True)
    votes = place[near.kneighbors(return_distance=False)]
    shares = np.stack([(votes == c).mean(axis=1) for c in range(len(classes))], axis=1)
    return _verdict(shares, classes, y)


def _machine(z: np.ndarray, y: np.ndarray, seed: int):
    from sklearn.model_selection import KFold
    from sklearn.svm import SVC

    wrong, margin = np.zeros(len(y), bool), np.zeros(len(y))
    for known, held_out in KFold(min(FOLDS, len(y)), shuffle=True, random_state=seed).split(z):
        if len(np.unique(y[known])) < 2:
            return None
        machine = SVC().fit(z[known], y[known])
        scores = np.asarray(machine.decision_function(z[held_out]))
        scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        wrong[held_out], margin[held_out] = _verdict(scores, machine.classes_, y[held_out])
    return wrong, margin


def _gap(forest: Any, wrong: np.ndarray, dev: Any, seed: int) -> Estimate | None:
    other = sample(flat(dev), seed)
    missed = np.asarray(forest.predict(other.x)) != other.y.reshape(-1)
    if min(len(wrong), len(missed)) < 2:
        return None
    return bias_variance(wrong, missed, level=1 - SHIFT_P).variance
