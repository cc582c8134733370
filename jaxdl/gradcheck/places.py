"""Evaluate and compare both gradients at every point of a check."""

import numpy as np

from jaxdl.gradcheck import judge, oracle, points
from jaxdl.gradcheck.judge import Comparison
from jaxdl.gradcheck.run import Run
from jaxdl.gradcheck.shadow import Evaluation, HandError

SIZES = (0.3, 0.03, 0.003)
"""Relative perturbations tried, largest first, until the loss and both gradients are finite."""

PERTURBED = 2
"""How many perturbed points."""


def check_batch(run: Run) -> None:
    """Find the number of examples; errors about `batch_argnums` come before any work."""
    if run.settings.batch_argnums is not None:
        run.batch_size = points.batch_size(
            run.call, run.settings.batch_argnums, run.settings.batch_axis
        )


def compare(run: Run) -> None:
    """Fill `run.compared`: the given point first, then perturbed ones, then batches."""
    theta, data = run.call.theta64(), run.call.data64()
    here = run.given or run.shadow(theta, data)
    _add(run, "given", theta, data, here, run.batch_size)
    if "perturbed" in run.settings.points:
        _perturbed_points(run, theta, data)
    if run.batch_size is not None:
        add_batch(run, 0)


def _perturbed_points(run: Run, theta: list, data: list) -> None:
    count = 1 if run.shadow.mode == "numpy" else PERTURBED
    for i in range(1, count + 1):
        found = _finite_near(run, theta, data, run.settings.seed + i)
        if found is None:
            run.notes.append(
                "No perturbed point: the loss or a gradient is not finite near the given one."
            )
            return
        _add(run, f"perturbed {i}", *found, run.batch_size)


def _finite_near(run: Run, theta: list, data: list, seed: int):
    """A perturbed point in the domain of the loss and both gradients, or None."""
    for size in SIZES:
        moved = points.perturbed(theta, size, seed)
        here = _try(run, moved, data)
        if here is not None:
            return moved, data, here
    return None


def _try(run: Run, theta: list, data: list) -> Evaluation | None:
    try:
        with np.errstate(all="ignore"):
            here = run.shadow(theta, data)
    except HandError:
        return None
    except Exception:  # a NumPy loss outside its domain, e.g. a matrix that is not definite
        return None
    arrays = [*here.hand, *(here.auto or [])]
    finite = np.isfinite(here.value) and all(np.isfinite(leaf).all() for leaf in arrays)
    return here if finite else None


def add_batch(run: Run, which: int) -> bool:
    """Compare at another batch size; returns whether that was possible."""
    settings, call, m = run.settings, run.call, run.batch_size
    if settings.batch_argnums is None or m is None:
        return False
    if points.names_batch_size(call, settings.batch_argnums, m):
        _note_once(
            run,
            "Not checked at another batch size: an argument outside batch_argnums holds the number "
            "of examples, or indices of examples.",
        )
        return False
    base = run.compared[1] if len(run.compared) > 1 else run.compared[0]
    avoid = [n for leaf in base.theta for n in leaf.shape]
    sizes = points.sub_batch_sizes(m, avoid)
    if which >= len(sizes):
        return False
    rows = points.rows_of(m, sizes[which], settings.seed + which)
    data = points.sub_batch(call, call.data64(), settings.batch_argnums, settings.batch_axis, rows)
    modes = run.shadow.mode, run.shadow.hand_mode, run.shadow.hand_structure
    here = _try(run, base.theta, data)
    if here is None or [leaf.shape for leaf in here.hand] != [t.shape for t in base.theta]:
        run.shadow.mode, run.shadow.hand_mode, run.shadow.hand_structure = modes
        _note_once(
            run,
            f"Not checked at another batch size: with {sizes[which]} examples instead of {m} the "
            "loss or the gradient raises or is not finite.",
        )
        return False
    _add(run, f"batch {which + 1}", base.theta, data, here, sizes[which])
    return True


def _note_once(run: Run, text: str) -> None:
    if text not in run.notes:
        run.notes.append(text)


def _add(run: Run, label, theta, data, here: Evaluation, batch_size) -> None:
    seed = run.settings.seed
    if run.shadow.mode == "numpy":
        point = oracle.by_differences(
            run.shadow, label, theta, data, here, batch_size, run.settings.budget_s
        )
    else:
        point = Comparison(label, theta, data, here, batch_size=batch_size)
    if point.wrong():
        judge.measure_noise(point, run.shadow, seed)
    if point.wrong():
        known = {k for earlier in run.compared for k in earlier.wrong()}
        judge.settle(point, run.shadow, seed, known)
    run.compared.append(point)
