"""What can be wrong with the inputs: scales, leaked features, a dev part from elsewhere."""

from typing import Any, NamedTuple

import numpy as np

from jaxdl.data import Dataset, as_dataset, check, same_distribution
from jaxdl.data.dataset import is_classes

MOST_EXAMPLES = 2_000
"""Larger sets are subsampled: the shares sought are far above the error of this many."""

FEWEST = 10
"""Fewer examples say nothing about a feature or a distribution."""

TELLING = 3
"""Single features whose skill is cross-validated: those best within the sample."""


class Scales(NamedTuple):
    """Root mean squares of the features: of the largest, with its name, and of the middle one."""

    largest: float
    feature: str
    median: float
    targets: float


def scales(data: Any) -> Scales:
    """How large the numbers are that the network sees; `targets` is 0 for classes."""
    d = flat(data)
    with np.errstate(over="ignore"):
        rms = np.sqrt(np.square(d.x).mean(axis=0))
    varying = rms[rms > 0]
    targets = 0.0 if is_classes(d.y) else float(np.sqrt(np.square(d.y.astype(float)).mean()))
    i = int(rms.argmax())
    median = float(np.median(varying)) if varying.size else 0.0
    return Scales(float(rms[i]), name_of(d, i), median, targets)


class Leak(NamedTuple):
    """A feature's skill at predicting the target alone, and the best skill of the others.

    Skill: 1 − error / error of the best constant, out of sample: 1 is perfect, 0 is useless.
    """

    feature: str
    skill: float
    others: float


def telling_features(data: Any, *, seed: int = 0) -> list[Leak]:
    """The features that alone predict the target best, each against the best of the rest.

    A tree on one feature finds any relation, monotone or not. All features are tried within the
    sample, the best three by five-fold cross-validation. None of fewer than ten examples.

    Args:
        data: `(x, y)` or a Dataset; classes or one number as target.
        seed: of the folds and of the subsample.
    """
    d = sample(flat(data), seed)
    n = d.x.shape[1]
    if n < 2 or len(d.y) < FEWEST:
        return []
    quick = np.array([_within(d.x[:, [i]], d.y) for i in range(n)])
    best = np.argsort(-quick, kind="stable")[: TELLING + 1]
    skills = {int(i): _cross_validated(d.x[:, [i]], d.y, seed) for i in best}
    ranked = sorted(skills, key=lambda i: -skills[i])
    return [
        Leak(name_of(d, i), skills[i], max(skills[j] for j in ranked[k + 1 :]))
        for k, i in enumerate(ranked[:-1])
    ]


def _tree(y: np.ndarray):
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    leaf = max(2, len(y) // 200)
    kind = DecisionTreeClassifier if is_classes(y) else DecisionTreeRegressor
    return kind(min_samples_leaf=leaf, random_state=0)


def _within(x: np.ndarray, y: np.ndarray) -> float:
    tree = _tree(y).set_params(max_leaf_nodes=max(8, 2 * len(np.unique(y[:1000]))))
    return _skill(np.asarray(tree.fit(x, y).predict(x)), y)


def _cross_validated(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    from sklearn.model_selection import KFold, cross_val_predict

    folds = KFold(5, shuffle=True, random_state=seed)
    return _skill(np.asarray(cross_val_predict(_tree(y), x, y, cv=folds)), y)


def _skill(guess: np.ndarray, y: np.ndarray) -> float:
    if is_classes(y):
        chance = 1 - float(np.bincount(y).max()) / len(y)
        return 1 - float((guess != y).mean()) / chance if chance else 0.0
    spread = float(np.var(y.astype(float)))
    return 1 - float(np.square(guess - y).mean()) / spread if spread else 0.0


SHIFT_P = 1e-3
"""p-value below which two sets differ: with three tests a run, one false alarm in some 300 runs."""


class Shift(NamedTuple):
    """How train and dev inputs differ: AUC of telling them apart, its p-value, and by which
    column; and the p-value of "the targets have one distribution"."""

    auc: float
    p_value: float
    feature: str
    targets_p_value: float


def shift(train: Any, dev: Any, *, seed: int = 0) -> Shift | None:
    """Do train and dev inputs come from one distribution, and do their targets?

    The inputs by `data.same_distribution`, with the targets left out, so that wrong labels in one
    part are not mistaken for other inputs; the targets by themselves, by a χ² test of the class
    counts or Kolmogorov and Smirnov's. None for parts of fewer than ten examples.
    """
    a, b = flat(train), flat(dev)
    if min(len(a.y), len(b.y)) < FEWEST:
        return None
    blank = [d._replace(y=np.zeros(len(d.y), np.float32)) for d in (a, b)]
    found = same_distribution(*blank, seed=seed)
    return Shift(found.auc, found.p_value, found.feature, _same_targets(a.y, b.y))


def _same_targets(a: np.ndarray, b: np.ndarray) -> float:
    from scipy import stats

    if not is_classes(a):
        result: Any = stats.ks_2samp(a.reshape(-1), b.reshape(-1))
        return float(result.pvalue)
    k = int(max(a.max(), b.max())) + 1
    counts = np.stack([np.bincount(y, minlength=k) for y in (a, b)])
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return 1.0
    result = stats.chi2_contingency(counts)
    return float(result.pvalue)


def flat(data: Any) -> Dataset:
    """NumPy, (m, n) float features; classes as (m,) integers also where they are a column."""
    d = as_dataset(data)
    x, y = (np.asarray(a) for a in check(d.x, d.y, feature_names=d.feature_names))
    if y.ndim == 2 and y.shape[1] == 1 and np.isin(y, (0, 1)).all():
        y = y[:, 0].astype(np.int64)
    elif y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return d._replace(x=x.reshape(len(x), -1), y=y)


def sample(d: Dataset, seed: int) -> Dataset:
    """At most MOST_EXAMPLES of them, at random."""
    rows = np.random.default_rng(seed).permutation(len(d.y))[:MOST_EXAMPLES]
    return d._replace(x=d.x[rows], y=d.y[rows])


def name_of(d: Dataset, column: int) -> str:
    """The feature's name, or its number."""
    named = len(d.feature_names) == d.x.shape[1]
    return f"“{d.feature_names[column]}”" if named else f"column {column}"
