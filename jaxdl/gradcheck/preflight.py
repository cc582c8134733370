"""Before any comparison: can these two functions be compared at all?

What is wrong with the call raises an exception in one sentence; what is wrong with the gradient
function becomes a finding.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import tree
from jaxdl.gradcheck import purity, tracing
from jaxdl.gradcheck.call import THETA, Call
from jaxdl.gradcheck.problem import Finding
from jaxdl.gradcheck.run import Run
from jaxdl.gradcheck.shadow import Evaluation, HandError, Shadow


def explain_loss(loss: Callable, call: Call) -> None:
    """Raise in one sentence what is wrong with the loss at the given point, if anything is.

    Raises:
        TypeError, ValueError: if it raises, or gives anything but one real scalar.
    """
    params, args = call.join_as_given(call.pick("theta"), call.pick("data"))
    try:
        result = jax.eval_shape(lambda p, a: loss(p, *a), params, args)
    except Exception:  # not traceable, or wrong: the call itself tells which
        result = _call_eagerly(loss, params, args)
    tracing.require_scalar(result)


def _call_eagerly(loss: Callable, params: Any, args: tuple) -> Any:
    try:
        return loss(params, *args)
    except Exception as error:
        raise ValueError(
            f"The loss raises {type(error).__name__} at the given point: {_first_line(error)}"
        ) from error


def structure_findings(shadow: Shadow, theta: list, data: list) -> tuple[Finding, ...]:
    """What is wrong with the tree that the gradient function returns; none if it fits.

    Containers may differ in kind (a tuple for a list) as long as every path is the same, and
    leaves that are not differentiated may be anything or missing.

    Raises:
        HandError: if the gradient function raises.
    """
    _, hand = shadow.traced(theta, data)
    n = len(hand.closed.jaxpr.outvars) if hand else 0
    leaves = [np.zeros(())] * n if hand else shadow.hand_leaves(theta, data)
    returned = jax.tree.unflatten(shadow.hand_structure, leaves)
    found, call = tree.paths(returned), shadow.call
    expected = tree.paths(call.params)
    kinds = dict(zip(expected, call.kinds, strict=False))
    needed = [path for path in expected if kinds[path] == THETA]
    if any(path not in found for path in needed) or any(path not in kinds for path in found):
        return (_tree_finding(call, returned, expected, found),)
    shadow.hand_order = [found.index(path) for path in needed]
    odd = [p or "params" for p in needed if not _is_number(leaves[found.index(p)])]
    if odd:
        text = f"Expected arrays in the gradient, got another kind of object at {', '.join(odd)}."
        return (Finding("structure", (), tuple(odd), text, np.inf),)
    return ()


def shape_findings(call: Call, here: Evaluation) -> list[Finding]:
    """A finding for every leaf whose shape is not its parameter's, with the likely reason."""
    findings = []
    for k, (name, parameter) in enumerate(zip(call.names, call.pick(THETA), strict=True)):
        leaf, want = here.hand[k], np.shape(parameter)
        if leaf.shape != want:
            cause, reason = _shape_cause(leaf, here.auto[k] if here.auto else None)
            text = f"{name} has shape {want}, its gradient has shape {leaf.shape}{reason}."
            findings.append(Finding(cause, ("shape",) * (cause != "shape"), (name,), text, np.inf))
    return findings


def _shape_cause(hand: np.ndarray, auto: np.ndarray | None) -> tuple[str, str]:
    if auto is None:
        return "shape", ""
    if hand.shape == auto.shape[::-1] and _close(hand, auto.T):
        return "transpose", ": it is the right gradient, transposed"
    if hand.size == auto.size and _close(hand.reshape(-1), auto.reshape(-1)):
        return "shape", ": the numbers are right, only the shape is not"
    for axis in range(hand.ndim):
        for name, reduced in (("sum", hand.sum(axis)), ("mean", hand.mean(axis))):
            if reduced.shape == auto.shape and _close(reduced, auto):
                return "bias_reduction_wrong", f": its {name} over axis {axis} is right"
    if hand.size == 1 and (_close(hand.sum(), auto.sum()) or _close(hand.sum(), auto.mean())):
        return "bias_reduction_wrong", ": it is summed or averaged to one number"
    return "shape", ""


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.allclose(a, b, rtol=1e-7, atol=1e-12))


def raised(error: HandError) -> Finding:
    """The finding for a gradient function that raises."""
    cause = error.__cause__ or error
    text = f"The gradient function raises {type(cause).__name__}: {_first_line(cause)}"
    return Finding("raises", (), (), text, np.inf)


def _tree_finding(call: Call, returned: Any, expected: list[str], found: list[str]) -> Finding:
    missing = [path for path in expected if path not in found]
    extra = [path for path in found if path not in expected]
    text = f"Expected a tree like params, {_list(expected)}, got {_list(found)}."
    if missing:
        text += f" Missing: {_list(missing)}."
    if extra:
        text += f" Not a parameter: {_list(extra)}."
    children = returned if isinstance(returned, tuple | list) else ()
    for i, child in enumerate(children):
        if jax.tree.structure(child) == jax.tree.structure(call.params):
            text += f" Element {i} of the result fits: pass lambda *a: grad(*a)[{i}]."
            break
    return Finding("structure", (), tuple(missing), text, np.inf)


def _list(paths: list[str]) -> str:
    shown = [path or "(a single array)" for path in paths[:8]]
    return "[" + ", ".join(shown) + (", ...]" if len(paths) > 8 else "]")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "(no message)"


def _is_number(leaf: Any) -> bool:
    if isinstance(leaf, bool | int | float | complex):
        return True
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and (jnp.issubdtype(dtype, jnp.number) or dtype == jax.dtypes.float0)


def passes(run: Run) -> bool:
    """Whether the two gradients can be compared; faults of the gradient become findings.

    Raises:
        TypeError, ValueError: for faults of the loss or of the point.
    """
    shadow = run.shadow
    theta, data = run.call.theta64(), run.call.data64()
    _require_loss(run, theta, data)
    try:
        run.findings += structure_findings(shadow, theta, data)
        if run.findings:
            return False
        run.given = here = shadow(theta, data)
        run.findings += shape_findings(run.call, here)
        run.findings += purity.findings(run, theta, data)
    except HandError as error:
        run.findings.append(raised(error))
    if run.findings:
        return False
    return _require_finite(run, here)


def _require_loss(run: Run, theta: list, data: list) -> None:
    """Fall back on finite differences where `jax.grad` cannot differentiate the loss."""
    shadow = run.shadow
    try:
        shadow.traced(theta, data)
    except Exception as error:
        explain_loss(shadow.loss, shadow.call)
        shadow.mode = "numpy"
        run.notes.append(
            f"jax.grad cannot differentiate the loss ({type(error).__name__}: "
            f"{_first_line(error)}); the gradient is compared with finite differences instead."
        )
    if shadow.mode == "numpy":
        explain_loss(shadow.loss, shadow.call)


def _require_finite(run: Run, here: Evaluation) -> bool:
    """Whether the loss is finite at the given point.

    Raises:
        ValueError: if it is not because an argument holds NaN or infinity.
    """
    if np.isfinite(here.value):
        return True
    for leaf, owner in zip(run.call.data64(), run.call.argument_of(), strict=True):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fc" and not np.isfinite(leaf).all():
            raise ValueError(
                f"The loss is {here.value} at the given point, and argument {owner} after params "
                "holds NaN or infinity. A gradient can only be checked where the loss is finite."
            )
    run.doubts.append(
        f"The loss is {here.value} at the given point: there is no gradient to compare with. "
        "Check at parameters where it is finite."
    )
    return False
