"""Many mutations of one tape at once: what each of them changes, in one pass over the nodes.

Where the rules of one node send what those of another get, as in a loop, a mutation takes a pass
of its own, and most of the time of a pass goes into starting NumPy's operations. Here the
differences that all mutations make to a variable are the rows of one array, and a rule that they
share, linear as it is, runs once: as a factor for every entry, or as a matrix.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from jaxdl.gradcheck.replay.backward import Mutation, Sweep, View, change_at, pullbacks
from jaxdl.gradcheck.replay.pullbacks import Pullback
from jaxdl.gradcheck.replay.regions import is_elementwise
from jaxdl.gradcheck.replay.tape import Node, Tape

LARGEST = 1 << 14
"""Entries of a matrix that stands for a rule; larger rules run row by row."""

FEWEST = 8
"""Below so many rows a matrix is not worth its making."""

Rows = dict[int, np.ndarray]


def shifts(base: Sweep, mutations: Sequence[Mutation], leaves: int) -> list[dict[int, np.ndarray]]:
    """`backward.shift` of each mutation, on the leaves of a bit mask."""
    tape, rows, count = base.tape, {}, len(mutations)
    views = [View(base, _Row(rows, h)) for h in range(count)]
    own: dict[int, list[int]] = {}
    for h, mutation in enumerate(mutations):
        for index in mutation:
            own.setdefault(index, []).append(h)
    with np.errstate(all="ignore"):
        for index in range(max(own, default=-1), -1, -1):
            node, alone = tape.nodes[index], own.get(index, [])
            if not alone and not any(v in rows for v in node.outs):
                continue
            if index in base.mutation or node.opaque is not None:
                alone = list(range(count))
            if len(alone) < count and node.outs[0] in rows:
                _pass_on(tape, node, alone, rows, leaves)
            for h in alone:
                for var, ct in change_at(views[h], mutations[h], node, leaves):
                    if var not in rows:
                        kind = np.result_type(tape.values[var], float)
                        rows[var] = np.zeros((count, *tape.shape(var)), kind)
                    rows[var][h] += ct
    found = {i: rows[v] for i, v in enumerate(tape.raw) if v in rows}
    return [{i: array[h] for i, array in found.items()} for h in range(count)]


class _Row(Mapping):
    """One row of the differences, by variable."""

    def __init__(self, rows: Rows, h: int):
        self.rows, self.h = rows, h

    def __getitem__(self, var: int) -> np.ndarray:
        return self.rows[var][self.h]

    def __contains__(self, var) -> bool:
        return var in self.rows

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _pass_on(tape: Tape, node: Node, without: list[int], rows: Rows, leaves: int) -> None:
    """The node's own rule for all rows but some."""
    change = rows[node.outs[0]]
    if without:
        change = change.copy()
        change[without] = 0.0
    for position, var, back in pullbacks(tape, node):
        if not tape.leaves[var] & leaves:
            continue
        sent = _by_rows(tape, node, position, back, change)
        if sent is not None:
            rows[var] = rows[var] + sent if var in rows else sent


def _by_rows(
    tape: Tape, node: Node, position: int, back: Pullback, change: np.ndarray
) -> np.ndarray | None:
    """A pullback for every row; None if it sends nothing."""
    count, shape = len(change), tape.shape(node.ins[position])
    factor = _entries(tape, node, position, back) if count >= FEWEST else None
    if factor is not None:
        return change * factor
    matrix = _matrix(tape, node, position, back) if count >= FEWEST else None
    if matrix is not None:
        return (change.reshape(count, -1) @ matrix).reshape(count, *shape)
    sent = [x for row in change if (x := back(row)) is not None]
    return np.stack([np.broadcast_to(x, shape) for x in sent]) if sent else None


def _entries(tape: Tape, node: Node, position: int, back: Pullback) -> np.ndarray | None:
    """The factor of every entry that a pullback is, or None."""
    key = ("entries", node.index, position)
    if key not in tape.memo:
        made = back(np.ones(tape.shape(node.outs[0]))) if is_elementwise(tape, node) else None
        tape.memo[key] = made if made is not None and np.all(np.isfinite(made)) else None
    return tape.memo[key]


def _matrix(tape: Tape, node: Node, position: int, back: Pullback) -> np.ndarray | None:
    """The matrix that a pullback is, or None if it is large or not finite."""
    key = ("matrix", node.index, position)
    if key not in tape.memo:
        tape.memo[key] = _as_matrix(tape, node, position, back)
    return tape.memo[key]


def _as_matrix(tape: Tape, node: Node, position: int, back: Pullback) -> np.ndarray | None:
    out, into = tape.shape(node.outs[0]), tape.shape(node.ins[position])
    size = int(np.prod(out, dtype=int))
    if size * int(np.prod(into, dtype=int)) > LARGEST:
        return None
    sent = [back(unit.reshape(out)) for unit in np.eye(size)]
    lines = [np.broadcast_to(x, into).ravel() for x in sent if x is not None]
    matrix = np.stack(lines) if len(lines) == size > 0 else np.full((1, 1), np.nan)
    return matrix if np.all(np.isfinite(matrix)) else None
