"""Do two data sets come from one distribution? Ask whether a classifier can tell them apart."""

from typing import NamedTuple

import numpy as np

from jaxdl.data.check import check_finite
from jaxdl.data.dataset import Data, Dataset, as_dataset, is_classes, take


class TwoSample(NamedTuple):
    """`auc` of telling the sets apart (½ is chance), its p-value, and the most telling column."""

    auc: float
    p_value: float
    feature: str


def same_distribution(a: Data, b: Data, *, seed: int, max_examples: int = 2_000) -> TwoSample:
    """Classifier two-sample test of "a and b come from the same distribution".

    A random forest is trained on half of both sets to tell a from b, and judged on the other
    half by the Mann–Whitney test of its scores; then the halves change places. The p-value is
    twice the smaller of the two (Bonferroni), so a small one says that the sets differ. The
    targets take part as columns: a shift in the share of a class is a difference too. After
    Lopez-Paz and Oquab (2017), who test the accuracy; ranks also serve sets of unequal size.

    Args:
        a: a Dataset or pair (x, y), such as the dev part.
        b: another, such as the test part.
        seed: of the halves, the subsample and the forest.
        max_examples: of each set; larger ones are subsampled.

    Raises:
        ValueError: if the sets have different columns, NaN, or fewer than 10 examples.

    Source: notes, "Train / Dev / Test sets": dev and test from the same distribution.
    """
    a, b = as_dataset(a), as_dataset(b)
    if a.x.shape[1:] != b.x.shape[1:] or min(len(a.y), len(b.y)) < 10:
        raise ValueError(
            "Expected two sets of 10 or more examples with the same columns, got x of shape "
            f"{a.x.shape} and {b.x.shape}."
        )
    rng = np.random.default_rng(seed)
    a, b = (take(d, rng.permutation(len(d.y))[:max_examples]) for d in (a, b))
    rows = np.concatenate([_features(a), _features(b)])
    rows = np.column_stack([rows, _targets(np.concatenate([a.y, b.y]))])
    side = np.repeat([0, 1], [len(a.y), len(b.y)])
    half = np.concatenate([np.arange(len(d.y)) % 2 for d in (a, b)])
    tests = [_tell_apart(rows, side, half == h, seed) for h in (0, 1)]
    areas, p_values, importances = zip(*tests, strict=True)
    feature = _name(a, int(np.sum(importances, axis=0).argmax()))
    return TwoSample(float(np.mean(areas)), min(1.0, 2 * min(p_values)), feature)


def _features(d: Dataset) -> np.ndarray:
    check_finite(d.x, d.feature_names, f"the features of {d.name or 'the data'}")
    return d.x.reshape(len(d.x), -1)


def _targets(y: np.ndarray) -> np.ndarray:
    """One column per class, or the numbers of a regression."""
    return y[:, None] == np.unique(y)[None] if is_classes(y) else y.reshape(len(y), -1)


def _tell_apart(rows, side, held_out, seed: int) -> tuple[float, float, np.ndarray]:
    """AUC, Mann–Whitney p-value ("b scores higher") and importances on the held-out half."""
    from scipy.stats import mannwhitneyu
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(min_samples_leaf=3, class_weight="balanced", random_state=seed)
    forest.fit(rows[~held_out], side[~held_out])
    score, side = np.asarray(forest.predict_proba(rows[held_out]))[:, 1], side[held_out]
    u, p_value = mannwhitneyu(score[side == 1], score[side == 0], alternative="greater")
    pairs = (side == 1).sum() * (side == 0).sum()
    return float(u / pairs), float(p_value), forest.feature_importances_


def _name(d: Dataset, column: int) -> str:
    n = int(np.prod(d.x.shape[1:]))
    if column >= n:
        return "the targets"
    return d.feature_names[column] if len(d.feature_names) == n else f"column {column}"
