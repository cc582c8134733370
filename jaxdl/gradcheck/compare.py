"""`check`: compare a hand-derived gradient with `jax.grad`, entry by entry, in float64.

The order of things: preflight (can the two be compared at all), points (the given one, perturbed
ones, another batch size), comparison with measured tolerances, finite differences as referee of
autodiff, the caller's own precision, and on failure the diagnosis.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxdl.gradcheck import adequacy, conclude, places, preflight, rounding, ruling
from jaxdl.gradcheck.call import take_apart
from jaxdl.gradcheck.report import Report
from jaxdl.gradcheck.run import Run, Settings
from jaxdl.gradcheck.shadow import Shadow
from jaxdl.types import PyTree


def check(
    loss: Callable[..., Any],
    grad: Callable[..., Any],
    params: PyTree,
    *args: Any,
    batch_argnums: int | Sequence[int] | None = None,
    batch_axis: int = 0,
    points: Sequence[str] = ("given", "perturbed"),
    oracle: str = "auto",
    diagnose: bool = True,
    seed: int = 0,
    budget_s: float = 10.0,
) -> Report:
    """Check `grad` against the gradient of `loss` with respect to `params`.

    Every floating array is upcast to float64 inside a scope, and the two gradients are compared
    entry by entry, so the caller's precision hides nothing and raises no false alarm. Finite
    differences check `jax.grad` itself. On a failure the report says what is wrong.

    Args:
        loss: `loss(params, *args) -> scalar`. A function that JAX cannot trace (NumPy) is
            differentiated by finite differences.
        grad: `grad(params, *args) -> tree like params`, the gradient under test; JAX or NumPy.
        params: any tree with floating leaves. Leaves of other kinds are passed through.
        *args: anything: arrays, integers, keys, strings. Floating arrays are upcast.
        batch_argnums: which of `args` hold one example per row (the first one after `params` is
            0). Given, the check runs at further batch sizes: without it a stray factor 1/m
            cannot be told from a constant, nor dropped examples from a scale.
        batch_axis: the axis of the examples.
        points: "given" and, by default, "perturbed": a bug can hide at one point.
        oracle: "auto" or "ad+fd" (`jax.grad`, refereed by finite differences), "ad" (not
            refereed), "fd" (finite differences only).
        diagnose: name the bug when the check fails.
        seed: of the perturbations and directions.
        budget_s: seconds of computing that the diagnosis may take; time in which other programs
            hold the processor does not count.

    Returns:
        A report with the verdict PASS, FAIL or INCONCLUSIVE; `print(report)`,
        `report.raise_if_failed()`, `report.findings`.

    Raises:
        ValueError, TypeError: if the loss is no finite real scalar, if params hold no floating
            arrays or hold NaN, or if an option does not fit. What is wrong with `grad` is in the
            report instead.

    Source: notes, "Gradient checking". The notes compare with finite differences in one norm;
    here finite differences only referee, and every entry is compared.
    """
    for name, function in (("loss", loss), ("grad", grad)):
        if not callable(function):
            raise TypeError(
                f"Expected {name} to be a function of (params, *args), got a "
                f"{type(function).__name__}: pass the function itself, not its result."
            )
    settings = Settings.of(batch_argnums, batch_axis, points, oracle, diagnose, seed, budget_s)
    started = time.perf_counter()
    call = take_apart(params, args)
    mode = "numpy" if oracle == "fd" else "traced"
    run = Run(Shadow(call, loss, grad, mode=mode), settings, started)
    places.check_batch(run)
    with np.errstate(all="ignore"):  # what is not finite is in the report
        if preflight.passes(run):
            places.compare(run)
            ruling.referee(run)
            rounding.check_own_precision(run)
            adequacy.note_blind_spots(run)
        report = conclude.report(run)
    run.shadow.remember()
    return report
