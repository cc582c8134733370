"""What this check could not have seen, and how to see it.

A gradient that passes is right at the points tried. Some bugs change nothing there.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck import limits
from jaxdl.gradcheck.call import DATA, THETA
from jaxdl.gradcheck.problem import largest
from jaxdl.gradcheck.run import Run


def note_blind_spots(run: Run) -> None:
    """Fill `run.adequacy` with one sentence per blind spot."""
    run.adequacy += [
        *_zero_parameters(run),
        *_zero_gradients(run),
        *_one_batch_size(run),
        *_penalty_alone(run),
        *_idle_keys(run),
        *_symmetric_weights(run),
        *_idle_limits(run),
    ]


def _zero_parameters(run: Run) -> list[str]:
    names = [
        name
        for k, name in enumerate(run.call.names)
        if run.compared[0].theta[k].size
        if all(not point.theta[k].any() for point in run.compared)
    ]
    if not names:
        return []
    how = 'use points=("given", "perturbed")' if _only_given(run) else "start from nonzero values"
    listed = _names(names)
    return [f"A penalty on {listed}: all entries are zero, and so is its gradient. To see, {how}."]


def _zero_gradients(run: Run) -> list[str]:
    """Leaves, or units of a leaf, whose true gradient is zero at every point."""
    zero, dead = [], []
    for k, name in enumerate(run.call.names):
        size = np.max([np.abs(point.auto[k]) for point in _full(run)], axis=0)
        if size.size and not size.any():
            zero.append(name)
        elif size.ndim >= 1 and size.size > 1:
            alive = size.reshape(-1, size.shape[-1]).any(axis=0)
            if not alive.all():
                dead.append(f"{int((~alive).sum())} of {alive.size} units of {name}")
    found = []
    if zero:
        found.append(
            f"Anything about {_names(zero)}: the gradient is zero at every point (dead units, or a "
            "parameter that the loss does not use)."
        )
    if dead:
        found.append(
            f"{_names(dead)}: their gradient is zero at every point (dead ReLUs, unused inputs or "
            "outputs). To see, use other data or another seed."
        )
    return found


BATCH_SIZE = (
    "A factor that only this batch size hides (1/m and a constant look alike). To see, pass "
    "batch_argnums."
)


def _one_batch_size(run: Run) -> list[str]:
    if any(point.label.startswith("batch") for point in run.compared):
        return []
    if run.settings.batch_argnums is None:
        has_data = any(np.ndim(leaf) for leaf in run.call.pick(DATA))
        return [BATCH_SIZE] * has_data
    return ["A factor that only this batch size hides: no other size could be evaluated."]


def _penalty_alone(run: Run) -> list[str]:
    names = [name for k, name in enumerate(run.call.names) if _parallel(run, k)]
    if not names or not run.call.pick(DATA):
        return []
    return [
        f"The data term in {_names(names)}: there the gradient is a multiple of the parameter to "
        "six digits, so a penalty hides everything else. To see, lower the penalty."
    ]


def _parallel(run: Run, k: int) -> bool:
    """Whether g is proportional to θ at every point: |g·θ| = ‖g‖‖θ‖ to 1e-12 (angle 1e-6)."""
    for point in _full(run):
        g, t = point.auto[k].reshape(-1), point.theta[k].reshape(-1)
        size = np.linalg.norm(g) * np.linalg.norm(t)
        if (
            g.size < 3
            or size == 0
            or np.linalg.norm(g - t * (t.conj() @ g) / (t.conj() @ t)) > (1e-6 * np.linalg.norm(g))
        ):
            return False
    return True


def _idle_keys(run: Run) -> list[str]:
    """A key that changes nothing: dropout that is off."""
    given = run.compared[0]
    keys = [i for i, leaf in enumerate(run.call.pick(DATA)) if _is_key(leaf)]
    if not keys:
        return []
    data = [_another(leaf) if i in keys else leaf for i, leaf in enumerate(given.data)]
    there = run.shadow(given.theta, data)
    if there.value != given.here.value:
        return []
    return [
        "Anything about randomness: another key gives the same loss, so dropout is off here "
        "(keep_prob = 1 or evaluation mode?)."
    ]


def _another(keys: jax.Array) -> jax.Array:
    """Other keys in the place of one key or of many."""
    flat = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys.reshape(-1))
    return flat.reshape(keys.shape)


def _is_key(leaf) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _symmetric_weights(run: Run) -> list[str]:
    names = [
        name
        for name, leaf in zip(run.call.names, run.call.pick(THETA), strict=True)
        if np.ndim(leaf) == 2 and np.shape(leaf)[0] == np.shape(leaf)[1] > 1
        if np.array_equal(leaf, np.swapaxes(leaf, 0, 1)) and largest(np.asarray(leaf)) > 0
    ]
    if not names:
        return []
    return [
        f"A transposed {_names(names)}: it is symmetric, and the perturbed points keep it so. "
        "To see, start from a matrix that is not."
    ]


def _idle_limits(run: Run) -> list[str]:
    """Limits that no point reaches, and sides of conditions that no point takes."""
    points = [(point.theta, point.data) for point in _full(run)]
    made = run.shadow.made(*points[0])
    if made.source is None or made.prepared is None:
        return []
    try:
        if made.prepared.watch is None:
            made.prepared.watch = limits.watch(made.source, *points[0])
        idle = made.prepared.watch.idle(points)
    except Exception:  # no verdict depends on it, and a loss may hold what cannot be run again
        made.prepared.watch = limits.NOTHING
        return []
    found = []
    if places := _places(idle, limits.LIMIT):
        found.append(
            f"A limit at {places}: it changes no entry at any point. To see, use parameters or "
            "data beyond it."
        )
    if places := _places(idle, limits.CONDITION):
        found.append(
            f"One side of the condition at {places}: no entry takes it at any point. To see, use "
            "parameters or data that do."
        )
    return found


def _places(questions: Sequence[limits.Question], kind: str) -> str:
    """The lines of the questions of a kind."""
    places = [question.place for question in questions if question.kind == kind]
    return _names(list(dict.fromkeys(place for place in places if place)))


def _full(run: Run) -> list:
    return [point for point in run.compared if not point.label.startswith("batch")]


def _only_given(run: Run) -> bool:
    return "perturbed" not in run.settings.points


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return shown + (f" and {len(names) - 6} more" if len(names) > 6 else "")
