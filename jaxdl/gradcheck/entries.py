"""A function with one entry of its argument moved, for every entry: many values at once."""

import functools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.extend import core

from jaxdl.gradcheck import host, interpret
from jaxdl.gradcheck.moved import Moved, dense, pick, rule
from jaxdl.gradcheck.programs import apart_options
from jaxdl.gradcheck.sameness import digest, same_program

MOST_WORK = 1e9
"""Nanoseconds, roughly, of all values in NumPy: above, compiling pays."""

MOST_NUMBERS = 2**22
"""In the copies of a leaf that are moved at once."""

LOOPS = {"scan", "while", "cond", "custom_linear_solve"}
"""Equations that take plain arrays only."""


class Rows(NamedTuple):
    """The moves of one leaf, in chunks of equal length.

    Attributes:
        index: (chunks, rows, rank), the entry that each row moves.
        move: (chunks, rows), by how much; the last rows may be there to fill the chunk only.
    """

    index: np.ndarray
    move: np.ndarray


def values(closed: core.ClosedJaxpr, leaves: Sequence, moves: Sequence, chunk: int) -> list:
    """f with one entry moved at a time.

    Args:
        closed: f, a program of the leaves that gives a scalar.
        leaves: the point, arrays.
        moves: for every leaf an array (entries, moves), in the dtype of the leaf.
        chunk: how many entries are moved at once, at most; of large leaves fewer.

    Returns:
        For every leaf an array like its moves: f with entry i moved by moves[i, j].
    """
    leaves = [np.asarray(leaf) for leaf in leaves]
    rows = {k: _rows(leaves[k].shape, move, chunk) for k, move in enumerate(moves) if move.size}
    found = _in_numpy(closed, leaves, rows)
    if found is None:
        found = _compiled(closed, leaves, rows)
    filled = {k: np.asarray(v).reshape(-1)[: moves[k].size] for k, v in found.items()}
    return [filled[k].reshape(m.shape) if k in filled else m for k, m in enumerate(moves)]


def _rows(shape: tuple[int, ...], moves: np.ndarray, chunk: int) -> Rows:
    entries, each = moves.shape
    chunks = -(-entries // min(chunk, max(MOST_NUMBERS // (entries * each), 1)))
    size = -(-entries // chunks)
    index = np.indices(shape).reshape(len(shape), entries).T
    fill = chunks * size - entries
    index = np.pad(np.repeat(index, each, 0), ((0, fill * each), (0, 0)))
    move = np.pad(moves.reshape(-1), (0, fill * each))
    return Rows(
        index.astype(np.uint32).reshape(chunks, size * each, len(shape)),
        move.reshape(chunks, size * each),
    )


def _in_numpy(closed: core.ClosedJaxpr, leaves: list, rows: dict[int, Rows]) -> dict | None:
    """The values of f by NumPy, one chunk after the other; None if it cannot, or takes too long."""
    given = [*closed.consts, *leaves]
    try:
        jaxprs = {k: _jaxpr(closed, leaves, k, part) for k, part in rows.items()}
        with np.errstate(all="ignore"):
            programs = {k: host.Program(jaxprs[k], given=given) for k in rows}
            if sum(programs[k].work * len(part.move) for k, part in rows.items()) > MOST_WORK:
                return None
            return {
                k: np.stack([programs[k](chunk)[0] for chunk in zip(*part, strict=True)])
                for k, part in rows.items()
            }
    except Exception:  # whatever NumPy cannot do, JAX can
        return None


def _jaxpr(closed: core.ClosedJaxpr, leaves: list, k: int, part: Rows) -> core.ClosedJaxpr:
    """One chunk of leaf k as a program of (constants, leaves, index, move)."""
    chunk = _chunk(closed, k)
    return jax.make_jaxpr(chunk)(closed.consts, leaves, part.index[0], part.move[0])


_KNOWN: deque[tuple[core.ClosedJaxpr, Any, Callable]] = deque(maxlen=8)
"""What was compiled lately: functions are traced anew, and equal programs not compiled again."""


def _compiled(closed: core.ClosedJaxpr, leaves: list, rows: dict[int, Rows]) -> dict:
    """The values of f by one compiled program that goes from chunk to chunk."""
    key = {k: part.index.shape for k, part in rows.items()}, digest(closed)
    known = (run for other, k, run in tuple(_KNOWN) if k == key and same_program(closed, other))
    run = next(known, None)
    if run is None:
        by_chunks = functools.partial(_by_chunks, closed)
        run = jax.jit(by_chunks, compiler_options=apart_options(closed))
        _KNOWN.appendleft((closed, key, run))
    return run(closed.consts, leaves, rows)


def _by_chunks(closed: core.ClosedJaxpr, consts: list, leaves: list, rows: dict) -> dict:
    return {
        k: lax.map(lambda at, k=k: _chunk(closed, k)(consts, leaves, *at), part)
        for k, part in rows.items()
    }


def _chunk(closed: core.ClosedJaxpr, k: int) -> Callable:
    """f with an entry of leaf k moved in each row: `(consts, leaves, index, move) -> values`."""
    sparse = not LOOPS & {eqn.primitive.name for eqn in interpret.equations(closed)}

    def one(consts, leaves, index, move):
        at = dict(enumerate(index))
        moved = Moved(leaves[k], at, pick(leaves[k], at) + move)
        inputs = [*leaves[:k], moved if sparse else moved.dense(), *leaves[k + 1 :]]
        (value,) = interpret.run(closed, rule, inputs, consts)
        return dense(value)

    return jax.vmap(one, (None, None, 0, 0))
