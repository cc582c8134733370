"""Train, dev and test parts: by ratio or count, stratified or by group, from one seed."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxdl.data.dataset import Data, Dataset, as_dataset, is_classes, take

PARTS = ("train", "dev", "test")


class Split(NamedTuple):
    """Three data sets and, by the same names, the rows of the original they hold."""

    train: Dataset
    dev: Dataset
    test: Dataset
    indices: dict[str, np.ndarray]


def split(
    data: Data,
    parts: str | Sequence[float] = (0.7, 0.15, 0.15),
    *,
    seed: int,
    stratify: bool = True,
    groups=None,
) -> Split:
    """Divide the examples into train, dev and test, every example in exactly one of them.

    Stratified, each class is divided in the proportions of the whole, to within two examples a
    part; a class of very few examples goes to the training part first. Regression targets
    are only shuffled. With `groups`, the members of a group (a patient, a writer) stay
    together and the counts are met as nearly as whole groups allow. The draw comes from
    NumPy's PCG64, so one seed gives the same rows on every machine.

    Args:
        data: a Dataset, or a pair (x, y).
        parts: three ratios with sum 1 such as (0.7, 0.15, 0.15); or three counts with sum m,
            one of which may be -1 for the rest; or text such as "98/1/1" or "99.5/0.25/0.25".
            0 leaves a part empty: "70/0/30" has no dev set.
        seed: of the shuffle.
        stratify: whether to keep the proportions of the classes.
        groups: (m,) labels of any kind, one per example.

    Returns:
        Split(train, dev, test, indices).

    Raises:
        ValueError: for parts that do not fit, groups of another length, or no data.

    Source: notes, "Train / Dev / Test sets".
    """
    data = as_dataset(data)
    if not len(data.y):
        raise ValueError(f"Expected at least one example to split, got x of shape {data.x.shape}.")
    counts = part_counts(parts, len(data.y))
    labels = _classes(data.y) if stratify else np.zeros(len(data.y), int)
    rng = np.random.default_rng(seed)
    if groups is None:
        part = _deal(rng, labels, counts)
    else:
        part = _deal_groups(rng, labels, _group_numbers(groups, len(data.y)), counts)
    order = rng.permutation(len(part))
    indices = {name: order[part[order] == p] for p, name in enumerate(PARTS)}
    train, dev, test = (take(data, indices[name]) for name in PARTS)
    return Split(train, dev, test, indices)


def part_counts(parts: str | Sequence[float], m: int) -> tuple[int, int, int]:
    """How many of m examples each part gets: ratios by largest remainder, counts as they are.

    Raises:
        ValueError: if `parts` is not three such numbers, or a ratio above 0 gets no example.
    """
    advice = (
        "Give three ratios with sum 1 such as (0.7, 0.15, 0.15), three counts with sum "
        f"m={m} (-1 for the rest), or text such as '98/1/1'."
    )
    values = _ratios(parts) if isinstance(parts, str) else np.asarray(parts)
    if values.shape != (3,) or values.dtype.kind not in "if":
        raise ValueError(f"Expected three numbers for train, dev and test, got {parts!r}. {advice}")
    if values.dtype.kind == "i" and sorted(values) != [0, 0, 1]:
        counts = np.where(values == -1, m - values[values != -1].sum(), values)
        if (values == -1).sum() > 1 or (counts < 0).any() or counts.sum() != m:
            raise ValueError(f"The counts {parts} do not divide {m} examples. {advice}")
    else:
        if not np.isclose(values.sum(), 1, atol=1e-6) or (values < 0).any():
            raise ValueError(f"The ratios {parts} have sum {values.sum():g}. {advice}")
        counts = _largest_remainder(values, m)
        empty = [name for name, c, r in zip(PARTS, counts, values, strict=True) if r and not c]
        if empty:
            raise ValueError(
                f"The ratios {parts} of {m} examples leave {empty[0]} without any. {advice}"
            )
    train, dev, test = (int(c) for c in counts)
    return train, dev, test


def _ratios(text: str) -> np.ndarray:
    try:
        values = np.array([float(part) for part in text.split("/")])
    except ValueError:
        raise ValueError(f"Expected ratios such as '98/1/1', got {text!r}.") from None
    if len(values) != 3 or not values.sum() > 0:
        raise ValueError(f"Expected three ratios such as '98/1/1' or '70/0/30', got {text!r}.")
    return values / values.sum()


def _largest_remainder(ratios: np.ndarray, m: int) -> np.ndarray:
    exact = ratios * m
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: m - counts.sum()]] += 1
    return counts


def _classes(y: np.ndarray) -> np.ndarray:
    """Class numbers 0.. of integer or boolean targets (m,) or (m, 1); zeros for regression."""
    flat = y.reshape(-1) if y.ndim == 2 and y.shape[1] == 1 else y
    if is_classes(flat):
        return np.unique(flat, return_inverse=True)[1]
    return np.zeros(len(y), int)


def _group_numbers(groups, m: int) -> np.ndarray:
    groups = np.asarray(groups)
    if groups.shape != (m,):
        raise ValueError(f"Expected one group per example, shape ({m},), got {groups.shape}.")
    return np.unique(groups, return_inverse=True)[1]


def _deal(rng: np.random.Generator, labels: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The part of each example: classes in a row, dealt in an evenly interleaved pattern.

    Item j of a part of c examples sits at (j + ½)/c of the way; sorted by that, every stretch
    of the row holds the parts in nearly their proportions, and the row as a whole exactly.
    """
    at = np.concatenate([(np.arange(c) + 0.5) / c for c in counts if c])
    pattern = np.repeat(np.arange(len(counts)), counts)[np.argsort(at, kind="stable")]
    size = np.bincount(labels)
    row = np.lexsort((rng.random(len(labels)), labels, size[labels]))
    part = np.empty(len(labels), int)
    part[row] = pattern
    return part


def _deal_groups(rng, labels: np.ndarray, groups: np.ndarray, counts) -> np.ndarray:
    """The part of each example with groups kept whole: largest first, to the neediest part.

    A group goes where it lowers Σ (missing examples)²/(examples of the class) most, over parts
    and classes; the last groups go to parts that would otherwise stay empty.
    """
    content = np.zeros((groups.max() + 1, labels.max() + 1))
    np.add.at(content, (groups, labels), 1)
    waiting = np.asarray(counts) > 0
    if len(content) < waiting.sum():
        raise ValueError(
            f"{len(content)} groups cannot fill {waiting.sum()} parts. Ask for fewer parts (0 "
            "leaves one empty), or split without groups."
        )
    allowed, per_class = waiting.copy(), content.sum(axis=0)
    missing = np.outer(counts, per_class / len(labels))
    part = np.empty(len(content), int)
    order = np.lexsort((rng.random(len(content)), -content.sum(axis=1)))
    for left, g in zip(range(len(order), 0, -1), order, strict=True):
        gain = ((missing**2 - (missing - content[g]) ** 2) / per_class).sum(axis=1)
        open_to = waiting if left <= waiting.sum() else allowed
        part[g] = np.where(open_to, gain, -np.inf).argmax()
        missing[part[g]] -= content[g]
        waiting[part[g]] = False
    return part[groups]
