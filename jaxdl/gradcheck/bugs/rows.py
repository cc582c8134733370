"""Penalties on rows of a table that are looked up: put on others, or counted another way.

A penalty λ/2 Σ E[ids]² counts a row as often as it is looked up; written by hand it may fall on
the rows that occur, each once, or on the whole table. All these differ by D ∘ θ, where D depends
on the counts alone.
"""

from collections.abc import Sequence

import numpy as np

from jaxdl.gradcheck.bugs.algebra import finished
from jaxdl.gradcheck.coefficients import law, written
from jaxdl.gradcheck.hypotheses import Case, Name, Variant
from jaxdl.gradcheck.replay.rules.contractions import gather_index
from jaxdl.gradcheck.replay.structure import is_lookup, is_penalised, leaf_source
from jaxdl.gradcheck.replay.tape import Node, Tape


def family(case: Case, node: Node) -> dict:
    """A penalty added to the finished gradient of a table, by how often its rows are looked up."""
    tape, leaf = case.tape, node.index
    if leaf >= len(tape.raw) or not tape.active[tape.raw[leaf]]:
        return {}
    counts = lookups(tape, leaf)
    if counts is None or not np.any(counts) or np.all(counts == counts.flat[0]):
        return {}
    theta, seen = tape.values[tape.raw[leaf]], counts > 0
    weights = {
        "every row looked up, each time it is": counts,
        "every row looked up, once": seen * 1.0,
        "the rows not looked up": ~seen * 1.0,
        "every row, less what those looked up have": 1.0 - counts,
        "every row looked up, once, less what it has": seen - counts,
    }
    return {
        ("rows", where): Variant(
            rule=lambda c, d=weight * theta: finished(lambda ct: ct + (1 - c) * d)(c),
            reach=1 << leaf,
            fitted=True,
            name=lambda cs, ms, where=where: name(tape, leaf, where, cs, ms),
        )
        for where, weight in weights.items()
        if np.any(weight * theta)
    }


def lookups(tape: Tape, leaf: int) -> np.ndarray | None:
    """How often each entry of a leaf is looked up, equal look-ups counted once; None for none."""
    shape = tape.shape(tape.raw[leaf])
    found: dict[bytes, np.ndarray] = {}
    for node in tape.nodes:
        if not is_lookup(tape, node) or leaf_source(tape, node.ins[0]) != leaf:
            continue
        if node.opaque is not None or tape.shape(node.ins[0]) != shape:
            continue
        index = gather_index(node.params, shape, tape.values[node.ins[1]])
        index = np.broadcast_to(index, tape.shape(node.outs[0])).ravel()
        found[index.tobytes()] = np.bincount(index, minlength=int(np.prod(shape))) * 1.0
    return np.sum(list(found.values()), axis=0).reshape(shape) if found else None


def name(tape: Tape, leaf: int, where: str, cs: Sequence[float], ms: Sequence) -> Name | None:
    """What a penalty on these rows is called."""
    found = law([1 - c for c in cs], ms)
    if found is None or found.power == 1:
        return None
    amount = written(found.factor) + (" / m" if found.power == -1 else "")
    text = f"{amount} · θ is added on {where}"
    penalised = is_penalised(tape, leaf)
    if penalised and where == "the rows not looked up" and found.factor < 0:
        return Name(("l2_missing", "l2_scaled"), text, 0.9)
    words = ("l2_on_bias", "l2_scaled")
    return Name(words[::-1] if penalised else words, text, 0.9)
