"""Which rows are trained on and which judge: K folds, each class dealt evenly over them."""

from typing import NamedTuple

import numpy as np

LARGE = 5000
"""From so many rows on one dev part is enough, and folds would only cost time."""

SMALL = 300
"""Below it the folds are dealt twice: one deal of so few rows judges too roughly."""

FOLDS = 5
DEV_SHARE = 3 / 20

SHARES = (8, 4, 2)
"""Learning curves are measured at an eighth, a quarter and a half of the rows too."""


class Rows(NamedTuple):
    """Rows to train on (r, a) and to judge by (r, b), one line for each fit.

    The first `folds` lines are the folds. Then come, for learning curves, parts of the first
    `curve` folds: `shares` times fewer different rows, repeated to the same length, so that all
    fits are of one shape and one program serves them.
    """

    train: np.ndarray
    dev: np.ndarray
    folds: int
    curve: int

    @property
    def judged(self) -> np.ndarray:
        """The rows that some fold leaves out of training: all of them, but for a single split."""
        return np.unique(self.dev[: self.folds])

    def at_share(self, which: int) -> np.ndarray:
        """The lines that hold the `which`-th share, one for each of the `curve` folds."""
        return self.folds + which * self.curve + np.arange(self.curve)


def deal(labels: np.ndarray, groups: np.ndarray, seed: int) -> Rows:
    """Folds of the rows, stratified by label, members of a group together.

    Five folds; twice five below 300 rows; one dev part of 15 % from 5,000 rows on. Lines are
    padded to one length by rows of their own that occur twice.

    Args:
        labels: (m,) class numbers; zeros where there are none.
        groups: (m,) a number for each row, the same for rows that stay together.
        seed: of the shuffle.
    """
    m, rng = len(labels), np.random.default_rng(seed)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    devs: list[np.ndarray] = []
    for _ in range(2 if m < SMALL else 1):
        fold = _dealt(labels[first], rng, m)[group]
        devs += [np.flatnonzero(fold == i) for i in range(1 if m >= LARGE else FOLDS)]
    devs = [dev for dev in devs if len(dev)]
    trains = [_meshed(np.setdiff1d(np.arange(m), dev), labels, rng) for dev in devs]
    a, b = max(map(len, trains)), max(map(len, devs))
    curve = min(len(devs), FOLDS)
    parts = [train[: max(len(train) // s, 2)] for s in SHARES for train in trains[:curve]]
    again = [devs[i] for _ in SHARES for i in range(curve)]
    return Rows(
        np.stack([np.resize(rows, a) for rows in [*trains, *parts]]).astype(np.int32),
        np.stack([np.resize(rows, b) for rows in [*devs, *again]]).astype(np.int32),
        len(devs),
        curve,
    )


def _dealt(labels: np.ndarray, rng: np.random.Generator, m: int) -> np.ndarray:
    """The fold of each row: classes in a row, each shuffled, dealt like cards."""
    order = np.lexsort((rng.random(len(labels)), labels))
    fold = np.empty(len(labels), int)
    if m >= LARGE:
        fold[order] = np.where(3 * np.arange(len(labels)) % 20 < 3, 0, 1)
    else:
        fold[order] = np.arange(len(labels)) % FOLDS
    return fold


def _meshed(rows: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The rows in an order of which every beginning has the classes in nearly their shares."""
    place = np.empty(len(rows))
    for c in np.unique(labels[rows]):
        members = np.flatnonzero(labels[rows] == c)
        place[rng.permutation(members)] = (np.arange(len(members)) + rng.random()) / len(members)
    return rows[np.argsort(place, kind="stable")]
