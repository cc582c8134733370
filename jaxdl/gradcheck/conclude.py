"""From what a check has learned to its report: the verdict, and on failure the diagnosis."""

import importlib
import time
from collections.abc import Sequence

import numpy as np

from jaxdl.gradcheck import judge, places
from jaxdl.gradcheck.judge import Comparison
from jaxdl.gradcheck.problem import Finding, Point, Problem, largest
from jaxdl.gradcheck.report import Leaf, Report
from jaxdl.gradcheck.run import Run
from jaxdl.gradcheck.tracing import scope


def report(run: Run) -> Report:
    """The verdict and everything behind it."""
    wrong = run.wrong_leaves()
    if wrong:
        run.findings += _diagnosis(run)
    _note_points(run)
    sizes = [leaf.size for leaf in run.call.theta64()]
    if not sum(sizes):
        run.doubts.append("Every leaf of params is empty: there is nothing to compare.")
    return Report(
        verdict="FAIL" if run.findings else "INCONCLUSIVE" if run.doubts else "PASS",
        leaves=_rows(run),
        findings=tuple(run.findings),
        doubts=tuple(run.doubts) if not run.findings else (),
        notes=tuple(run.notes),
        adequacy=tuple(run.adequacy),
        referee=run.referee,
        points=tuple(_label(point) for point in run.compared),
        precision=_precision(run),
        parameters=sum(sizes),
        seconds=time.perf_counter() - run.started,
        seed=run.settings.seed,
    )


def _diagnosis(run: Run) -> tuple[Finding, ...]:
    """What the diagnosis says, or the localisation alone."""
    if not run.settings.diagnose:
        return (_localised(run),)
    if run.batch_size is not None:
        places.add_batch(run, 1)
    for point in run.compared:
        judge.measure_noise(point, run.shadow, run.settings.seed)
    problem = _problem(run)
    try:
        diagnose = importlib.import_module("jaxdl.gradcheck.diagnose")
        findings = tuple(diagnose.diagnose(problem, run.settings.budget_s))
    except Exception as error:  # a verdict must not be lost because its explanation failed
        run.notes.append(f"The diagnosis stopped with {type(error).__name__}: {error}")
        findings = ()
    return findings or (_localised(run),)


def _problem(run: Run) -> Problem:
    """The points as the diagnosis needs them: smooth ones only, if there are any."""
    smooth = [point for point in run.compared if not point.kinks] or run.compared
    return Problem(
        loss=run.shadow.loss,
        grad=run.shadow.grad,
        points=tuple(_point(run, point) for point in smooth),
        batch_argnums=run.settings.batch_argnums,
        batch_axis=run.settings.batch_axis,
        noise={point.label: _full_noise(run, point) for point in smooth},
        seed=run.settings.seed,
    )


def _point(run: Run, point: Comparison) -> Point:
    with scope():  # where float64 is off, JAX arrays would be rounded
        params, args = run.call.join_as_given(point.theta, point.data)
    hand, auto = (run.call.gradient_tree(g) for g in (point.here.hand, point.auto))
    return Point(point.label, params, args, hand, auto, point.batch_size)


def _full_noise(run: Run, point: Comparison) -> tuple[float, ...]:
    """η for every leaf of the parameters, those that are not differentiated included."""
    import jax

    indices = run.call.gradient_tree([np.asarray(e) for e in point.noise()])
    return tuple(float(leaf) if np.ndim(leaf) == 0 else 0.0 for leaf in jax.tree.leaves(indices))


def _localised(run: Run) -> Finding:
    """Where the gradient is wrong, without a reason."""
    names, parts, residual, cause = [], [], 0.0, "unknown"
    for k in run.wrong_leaves():
        point = _worst(run, k)
        error = point.error(k)
        count = int(np.sum(error > point.tolerances()[k]))
        index = np.unravel_index(int(np.argmax(error)), error.shape)
        hand, auto = point.here.hand[k][index], point.auto[k][index]
        where = ",".join(str(int(i)) for i in index)
        names.append(run.call.names[k])
        if not np.isfinite(hand):
            cause = "not_a_number"
        residual = max(residual, _relative(error, point.auto[k]))
        parts.append(
            f"{names[-1]}: {count} of {error.size} entries differ at the {point.label} point, "
            f"worst [{where}]: {hand:.6g} by hand, {auto:.6g} by the oracle"
        )
    return Finding(cause, (), tuple(names), "; ".join(parts) + ".", residual)


def _rows(run: Run) -> tuple[Leaf, ...]:
    """One row per leaf, each from the point where it differs most."""
    if not run.compared:
        return ()
    excess = np.array([point.excess() for point in run.compared])
    wrong = np.any(excess > 1, axis=0)
    return tuple(
        _row(run, k, run.compared[int(np.argmax(excess[:, k]))], bool(wrong[k]))
        for k in range(excess.shape[1])
    )


def _row(run: Run, k: int, point: Comparison, wrong: bool) -> Leaf:
    error = point.error(k)
    index = np.unravel_index(int(np.argmax(error)), error.shape) if error.size else ()
    return Leaf(
        path=run.call.names[k],
        shape=tuple(point.theta[k].shape),
        size=largest(point.auto[k]),
        error=float(np.max(error, initial=0.0)),
        relative=_relative(error, point.auto[k]),
        worst=tuple(int(i) for i in index),
        point=point.label,
        verdict="WRONG" if wrong else _mild(run, k),
        tolerance=point.tolerances()[k],
    )


def _mild(run: Run, k: int) -> str:
    if any(k in point.kinks for point in run.compared):
        return "kink"
    return "rounded" if any(k in point.rounded for point in run.compared) else "ok"


def _worst(run: Run, k: int) -> Comparison:
    """The point where leaf k differs most, relative to its tolerance."""
    return max(run.compared, key=lambda point: point.excess()[k])


def _relative(error: np.ndarray, auto: np.ndarray) -> float:
    worst = float(np.max(error, initial=0.0))
    size = largest(auto)
    return worst / size if size else (np.inf if worst else 0.0)


def _note_points(run: Run) -> None:
    """Say it when entries were left out because of kinks, or agree only after rounding."""
    names = run.call.names
    for k in sorted({k for point in run.compared for k in point.kinks}):
        labels = [point.label for point in run.compared if k in point.kinks]
        where = "everywhere" if len(labels) == len(run.compared) else f"at {', '.join(labels)}"
        run.notes.append(
            f"kink: {names[k]} has entries where the loss has no derivative ({where}); they were "
            f"judged at the other points only. {_on_kink(run, k)}"
        )
        if len(labels) == len(run.compared) and not run.findings:
            run.doubts.append(f"{names[k]}: on a kink at every point, so not judged there.")
    rounded = sorted({k for point in run.compared for k in point.rounded})
    if rounded:
        first = run.compared[0]
        source = run.shadow.rounds(first.theta, first.data)
        run.notes.append(
            f"{', '.join(names[k] for k in rounded)}: equal up to float32 rounding only, because "
            f"the code rounds on its own account: {source}."
        )


def _on_kink(run: Run, k: int) -> str:
    """The entry where the two differ most on a kink, and what usually makes the difference."""
    point = next(point for point in run.compared if k in point.kinks)
    hand, auto = point.here.hand[k], point.auto[k]
    apart = np.where(point.kinks[k], np.abs(hand - auto), -1.0)
    entry = np.unravel_index(int(np.argmax(apart)), apart.shape)
    place = f" at {[int(i) for i in entry]}" if entry else ""
    return (
        f"There{place} it is {hand[entry]:.6g}, not {auto[entry]:.6g}: ≥ in place of > in a mask, "
        "or a tie shared in another way, makes such a difference."
    )


def _label(point: Comparison) -> str:
    if point.batch_size is None or not point.label.startswith("batch"):
        return point.label
    return f"{point.label} (m = {point.batch_size})"


def _precision(run: Run) -> str:
    kinds: Sequence[str] = sorted({_dtype(leaf) for leaf in run.call.pick("theta")})
    if run.shadow.mode == "numpy":
        return "finite differences in float64"
    given = " and ".join(kinds)
    return "float64" if given == "float64" else f"float64 shadow of {given}"


def _dtype(leaf) -> str:
    return str(getattr(leaf, "dtype", "float"))
