"""Are the two functions pure: the same result for the same arguments, and no argument changed?"""

import dis
import inspect
import types
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdl.gradcheck import tracing
from jaxdl.gradcheck.problem import Finding
from jaxdl.gradcheck.run import Run
from jaxdl.gradcheck.shadow import Shadow
from jaxdl.gradcheck.tracing import Traced


def findings(run: Run, theta: list, data: list) -> list[Finding]:
    """Findings for a gradient that changes between calls, or changes its arguments."""
    found = []
    change = nondeterminism(run.shadow, theta, data)
    if change > 0:
        text = (
            f"Two calls with the same arguments differ by {change:.3g}: the gradient function is "
            "not pure. Pass randomness in as a key, the same one as for the loss."
        )
        found.append(Finding("nondeterministic", (), (), text, change))
    if loss_nondeterminism(run.shadow, theta, data) > 0:
        run.doubts.append(
            "The loss gives different values for the same arguments, so it has no gradient to "
            "compare with. Pass randomness in as a key."
        )
    if mutated_inputs(run.shadow, theta, data):
        text = "The gradient function changes one of its arguments in place: copy before writing."
        found.append(Finding("input_mutated", (), (), text, 0.0))
    return found


def nondeterminism(shadow: Shadow, theta: list, data: list) -> float:
    """How much the hand gradient changes when it is called twice; 0 for a pure function.

    Traced code is traced a second time: random numbers drawn in Python are constants of the
    trace, so two traces that differ mean a function that is not pure.
    """
    _, hand = shadow.traced(theta, data)
    if hand is not None:
        make = tracing.loss_of(shadow.grad, shadow.call)
        return _difference_of_traces(shadow, hand, make, theta, data)
    first, second = (shadow.hand(theta, data) for _ in range(2))
    return max((_distance(a, b) for a, b in zip(first, second, strict=True)), default=0.0)


def loss_nondeterminism(shadow: Shadow, theta: list, data: list) -> float:
    """The same for the loss."""
    source = shadow.made(theta, data).source
    if source is not None:
        make = tracing.loss_of(shadow.loss, shadow.call)
        return _difference_of_traces(shadow, source, make, theta, data)
    first, second = (shadow.value(theta, data) for _ in range(2))
    return abs(first - second)


def _difference_of_traces(
    shadow: Shadow,
    traced: Traced,
    make: Callable,
    theta: list,
    data: list,
) -> float:
    """How far the results of a second trace are from those of the first."""
    if shadow.unchanged(theta, data):
        return 0.0
    again = tracing.trace(make, shadow.call, theta, data)
    if traced.same_as(again):
        return 0.0
    with tracing.scope():
        pairs = zip(traced(theta, data), again(theta, data), strict=True)
        return max((_distance(a, b) for a, b in pairs), default=0.0)


def mutated_inputs(shadow: Shadow, theta: list, data: list) -> list[int]:
    """Positions of NumPy leaves that one call of the gradient function changes in place.

    Code that JAX can trace runs here as the caller runs it, on NumPy arrays, if it has operators
    such as `+=`: under tracing these change nothing.
    """
    if shadow.hand_mode == "traced" and not works_in_place(shadow.grad):
        return []
    call = shadow.call
    with tracing.scope():
        params, args = call.join_as_given(theta, data)
        before = [np.copy(leaf) for leaf in jax.tree.leaves((params, args)) if _is_plain(leaf)]
        if not before:
            return []
        shadow.call_hand(params, args)
        after = [leaf for leaf in jax.tree.leaves((params, args)) if _is_plain(leaf)]
    pairs = enumerate(zip(before, after, strict=True))
    return [i for i, (a, b) in pairs if not np.array_equal(a, b, equal_nan=True)]


def works_in_place(function: Callable) -> bool:
    """Does the code of a Python function hold an operator like `+=`?"""
    function = inspect.unwrap(getattr(function, "func", function))
    if not hasattr(function, "__code__"):  # an object that is called
        function = getattr(function, "__call__", function)  # noqa: B004
    stack = [getattr(getattr(function, "__func__", function), "__code__", None)]
    while stack:
        code = stack.pop()
        if not isinstance(code, types.CodeType):
            continue
        stack += code.co_consts
        if any(
            i.opname == "BINARY_OP" and i.argrepr[-1:] == "=" for i in dis.get_instructions(code)
        ):
            return True
    return False


def _is_plain(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray)


def _distance(a: Any, b: Any) -> float:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype == jax.dtypes.float0:
        return 0.0
    return float(np.max(np.abs(a - b), initial=0.0)) if a.shape == b.shape else np.inf
