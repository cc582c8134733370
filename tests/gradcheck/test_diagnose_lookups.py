"""Look-ups by index: entries that get no gradient, and rows that are overwritten."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings

stop = jax.lax.stop_gradient


def ranking(p, x, best, bug=""):
    """Every item's score against the best one's, its own included."""
    s = jnp.tanh(x @ p["w"]) @ p["v"]
    hit = jax.nn.one_hot(best, s.shape[1], dtype=s.dtype)
    lost = {"picked": hit, "others": 1 - hit}.get(bug, 0 * hit)
    s = (1 - lost) * s + stop(lost * s)
    return jnp.mean(jnp.sum(jax.nn.softplus(s - jnp.take_along_axis(s, best[:, None], 1)), axis=1))


def distances(table, left, right, y):
    """How far apart two words are."""
    return jnp.mean((jnp.sum((table[left] - table[right]) ** 2, axis=1) - y) ** 2)


def distances_gradient(table, left, right, y, turns, assigns):
    """Both rows of a pair: `assigns` is set, the other one added to."""
    table, gradient = np.asarray(table), np.zeros(np.shape(table))
    apart = table[left] - table[right]
    each = 4 * (np.sum(apart**2, axis=1) - y)[:, None] * apart / len(y)
    words = {"left": (left, each), "right": (right, -each)}
    order = (
        [(i, name) for i in range(len(y)) for name in words]
        if turns
        else [(i, name) for name in words for i in range(len(y))]
    )
    for i, name in order:
        rows, values = words[name]
        start = 0.0 if name in assigns else gradient[rows[i]]
        gradient[rows[i]] = start + values[i]
    return gradient


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.7 * rng.normal(size=shape) for shape in shapes]


@pytest.mark.parametrize("bug", ("picked", "others"))
def test_entries_that_are_picked_by_index_are_named(bug):
    params = dict(zip("wv", draw((3, 4), (4, 4)), strict=True))
    args = (*draw((6, 3), seed=1), np.array([0, 2, 1, 3, 3, 2]))
    grad = jax.grad(lambda *args: ranking(*args, bug=bug))
    found = findings(ranking, grad, params, args, batch=(0, 1))
    assert [finding.cause for finding in found] == ["path_dropped"], found
    assert "by index" in found[0].explanation


@pytest.mark.parametrize("turns", (True, False))
@pytest.mark.parametrize("assigns", (("left",), ("right",), ("left", "right")))
def test_a_look_up_that_overwrites_another_is_named(turns, assigns):
    left, right = np.array([0, 1, 2, 4, 1, 3]), np.array([2, 0, 1, 1, 3, 0])
    (table, y) = draw((6, 3), (6,))
    args = (left, right, y)

    def grad(table, left, right, y):
        return distances_gradient(table, left, right, y, turns, assigns)

    found = findings(distances, grad, table, args, batch=(0, 1, 2))
    assert len(found) == 1, found
    words = {found[0].cause, *found[0].equivalent}
    assert words >= {"shared_weight_missed", "examples_dropped"}, found
    assert words - {"path_dropped", "unknown"} == {"shared_weight_missed", "examples_dropped"}


def running(table, ids, y):
    """A leaky sum over five words, the first one first."""
    h = jnp.zeros((len(ids), table.shape[1]))
    for t in range(ids.shape[1]):
        h = 0.5 * h + table[ids[:, t]]
    return jnp.mean((jnp.sum(h, axis=1) - y) ** 2)


def assigned_backwards(table, ids, y):
    """Text by text from the last word to the first: of a word that comes again, one part stays."""
    table, gradient, turns = np.asarray(table), np.zeros(np.shape(table)), ids.shape[1]
    weights = 0.5 ** np.arange(turns)[::-1]
    apart = np.einsum("t,ntk->n", weights, table[ids]) - y
    for i in range(len(ids)):
        for t in reversed(range(turns)):
            gradient[ids[i, t]] = 2 * apart[i] / len(y) * weights[t]
    return gradient


def test_in_a_loop_over_words_rows_that_are_overwritten_are_named():
    (table, y) = draw((5, 3), (4,))
    found = findings(running, assigned_backwards, table, (IDS, y), batch=(0, 1))
    assert [f.cause for f in found] == ["shared_weight_missed"], found
    assert "assigns" in found[0].explanation


IDS = np.array([[1, 1, 2, 1, 0], [3, 0, 3, 3, 2], [2, 2, 2, 4, 1], [4, 0, 1, 0, 1]])


def windows(p, ids, y, bug=""):
    """Windows of three words; `bug` says which places of a window get a gradient."""
    e, t = p["e"][ids], ids.shape[1] - 2
    parts = [ids[:, j : j + t] for j in range(3)]
    z = 0.0
    for j in range(3):
        others = {"last": parts[j + 1 :], "first": parts[:j], "zero": [0 * parts[j]]}.get(bug, [])
        keep = jnp.array([parts[j] != other for other in others] or [True]).all(axis=0)
        keep = jnp.broadcast_to(keep, parts[j].shape)[..., None]
        part = e[:, j : j + t]
        z = z + (jnp.where(keep, part, stop(part)) if bug else part) @ p["k"][j]
    return jnp.mean((jnp.tanh(z).sum(axis=(1, 2)) - y) ** 2)


@pytest.mark.parametrize("bug", ("last", "first", "zero"))
def test_a_word_that_counts_once_in_a_window_is_named(bug):
    params = dict(zip("ek", draw((5, 2), (3, 2, 2)), strict=True))
    grad = jax.grad(lambda p, ids, y: windows(p, ids, y, bug=bug))
    found = findings(windows, grad, params, (IDS, draw((4,), seed=1)[0]), batch=(0, 1))
    assert len(found) == 1, found
    told = "in a window several times" in found[0].explanation
    assert told == (found[0].cause == "shared_weight_missed") == (bug != "zero"), found
