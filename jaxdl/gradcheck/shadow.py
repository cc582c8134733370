"""The caller's loss and gradient, evaluated in float64 at any point.

One compiled program gives the loss, autodiff's gradient and the hand-derived gradient. Code that
JAX cannot trace (NumPy, Python control flow, caches in layer objects) runs eagerly instead.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl.gradcheck import memory, tracing
from jaxdl.gradcheck.call import Call
from jaxdl.gradcheck.tracing import Traced, scope


class Evaluation(NamedTuple):
    """What one evaluation gives, as NumPy arrays in float64.

    Attributes:
        value: of the loss.
        auto: the gradient by autodiff, or None where the loss cannot be traced.
        hand: the leaves that the hand-derived gradient returned.
    """

    value: float
    auto: list[np.ndarray] | None
    hand: list[np.ndarray]


class HandError(Exception):
    """The caller's gradient function raised; the cause is the original exception."""


@dataclass
class Shadow:
    """Both functions in float64 for one call; programs are compiled once per set of shapes.

    Attributes:
        mode: how the loss runs: "traced", "eager" (autodiff without tracing) or "numpy".
        hand_mode: how the gradient runs: "traced", "eager", or "after loss" (it reads what the
            loss left behind).
        hand_structure: of what the gradient function returns.
        hand_order: which of its leaves belong to `call.names`, in order; None for all.
        programs: what was traced and compiled, by the shapes of the leaves.
        traced_again: whether both functions traced to the same program as in an earlier check.
    """

    call: Call
    loss: Callable
    grad: Callable
    mode: str = "traced"
    hand_mode: str = "traced"
    hand_structure: Any = None
    hand_order: list[int] | None = None
    programs: dict = field(default_factory=dict)
    traced_again: bool = False

    def __call__(self, theta: Sequence, data: Sequence) -> Evaluation:
        """The loss and both gradients at one point.

        Raises:
            HandError: if the caller's gradient function raises here.
        """
        with scope():
            oracle, hand, compiled = self._program(list(theta), list(data))
            outputs = list(compiled(theta, data)) if compiled else []
            value, auto = self._oracle(theta, data, outputs.pop(0) if oracle else None)
            leaves = outputs.pop(0) if hand else self.hand_leaves(theta, data)
            return Evaluation(value, auto, [_wide(leaves[i]) for i in self.order(leaves)])

    def order(self, leaves: list) -> Sequence[int]:
        """Which of the returned leaves belong to the differentiated parameters, in order."""
        return range(len(leaves)) if self.hand_order is None else self.hand_order

    def value(self, theta: Sequence, data: Sequence) -> float:
        """The loss alone, from the same program: compiling one more takes longer than it saves."""
        with scope():
            oracle, _, compiled = self._program(list(theta), list(data))
            if oracle and compiled:
                return float(np.asarray(compiled(theta, data)[0][0]))
            return self._plain_value(theta, data)

    def hand_leaves(self, theta: Sequence, data: Sequence) -> list:
        """Call the gradient function as the caller would, in float64; flatten what it returns."""
        with scope():
            result = self.call_hand(*self.call.join_as_given(theta, data))
            leaves, self.hand_structure = jax.tree.flatten(result)
            return leaves

    def call_hand(self, params: Any, args: tuple) -> Any:
        """`grad(params, *args)`, after the loss where it reads what the loss left behind.

        Raises:
            HandError: if the gradient function raises.
        """
        try:
            return self._called(params, args)
        except Exception as error:
            try:  # what is strict about the caller's settings may be so in float32 only
                with scope(x64=bool(jax.config.read("jax_enable_x64")), standard=True):
                    return self._called(params, args)
            except Exception:
                raise HandError(str(error)) from error

    def _called(self, params: Any, args: tuple) -> Any:
        if self.hand_mode == "after loss":
            self.loss(params, *args)
        return self.grad(params, *args)

    def _plain_value(self, theta: Sequence, data: Sequence) -> float:
        """The loss of a function that is not differentiated: compiled if JAX can trace it."""
        key = ("value", *_shapes(theta, data))
        if key not in self.programs:
            self.programs[key] = self._value_program(list(theta), list(data))
        if self.programs[key] is not None:
            return float(self.programs[key](theta, data)[0][0])
        params, args = self.call.join_as_given(theta, data)
        return float(np.asarray(self.loss(params, *args)))

    def _value_program(self, theta: list, data: list) -> Callable | None:
        make = tracing.loss_of(self.loss, self.call)
        try:
            traced = tracing.trace(make, self.call, theta, data)
        except Exception:  # the caller's loss is called instead, and may raise where it is seen
            return None
        return compiled_program([traced]) if traced.uses_inputs() else None

    def _program(self, theta: list, data: list) -> tuple:
        """(traced oracle, traced hand, compiled program of those) for these shapes."""
        key = _shapes(theta, data)
        if key in self.programs:
            return self.programs[key]
        earlier = None if self.programs else memory.recall(self.loss, self.grad, self.call)
        if earlier is not None and earlier.hand_mode != "traced":
            self.hand_mode = earlier.hand_mode  # tracing it failed once and would fail again
        oracle = self._trace_loss(theta, data) if self.mode == "traced" else None
        hand = self._trace_hand(theta, data) if self.hand_mode == "traced" else None
        if earlier is not None and key in earlier.made:
            before = earlier.made[key][:2]
            if all(map(_same_program, before, (oracle, hand))):
                self.programs, self.traced_again = earlier.made, True
                return self.programs[key]
        parts = [part for part in (oracle, hand) if part is not None]
        compiled = compiled_program(parts) if parts else None
        self.programs[key] = oracle, hand, compiled
        return self.programs[key]

    def remember(self) -> None:
        """Keep the compiled programs for the next check of the same functions."""
        memory.remember(self.loss, self.grad, self.call, self.programs, self.hand_mode)

    def traced(self, theta: Sequence, data: Sequence) -> tuple[Traced | None, Traced | None]:
        """The jaxprs of (value and gradient, hand gradient) for these shapes."""
        with scope():
            return self._program(list(theta), list(data))[:2]

    def rounds(self, theta: Sequence, data: Sequence) -> str:
        """Where either function rounds to a narrow dtype on its own account, or ""."""
        for part in self.traced(theta, data):
            if part is None:
                return "code that JAX cannot trace"
            if part.rounded:
                return part.rounded
            if tracing.has_narrow_constants(part):
                return "float32 constants"
        return ""

    def _oracle(self, theta: Sequence, data: Sequence, output: list | None):
        if output is not None:
            return float(output[0]), [_wide(leaf) for leaf in output[1:]]
        if self.mode == "eager":
            with scope(standard=True):
                both = tracing.value_and_grad_of(self.loss, self.call)(
                    [jax.numpy.asarray(t) for t in theta], list(data)
                )
            return float(both[0]), [_wide(leaf) for leaf in both[1:]]
        return self._plain_value(theta, data), None

    def _trace_loss(self, theta: list, data: list) -> Traced | None:
        make = tracing.value_and_grad_of(self.loss, self.call)
        try:
            return tracing.trace(make, self.call, theta, data)
        except tracing.NOT_TRACEABLE:
            self.mode = self._untraced_mode(make, theta, data)
            return None

    def _untraced_mode(self, make: Callable, theta: list, data: list) -> str:
        try:
            with scope(standard=True):
                make([jax.numpy.asarray(t) for t in theta], data)
        except Exception:  # whatever JAX arrays make it raise, NumPy arrays are what it wants
            return "numpy"
        return "eager"

    def _trace_hand(self, theta: list, data: list) -> Traced | None:
        make = tracing.loss_of(self.grad, self.call)
        try:
            traced = tracing.trace(make, self.call, theta, data)
        except Exception as error:
            self.hand_mode = self._untraced_hand_mode(error, theta, data)
            return None
        if traced.closed.jaxpr.outvars and not traced.uses_inputs():
            self.hand_mode = "after loss"
            return None
        self.hand_structure = traced.structure
        return traced

    def _untraced_hand_mode(self, error: Exception, theta: list, data: list) -> str:
        """ "eager" if the gradient function works on its own, else "after loss"."""
        if self.mode == "numpy" or isinstance(error, jax.errors.UnexpectedTracerError):
            return "after loss"
        try:
            self.hand_mode = "eager"
            self.hand_leaves(theta, data)
        except HandError:
            return "after loss"
        return "eager"


def compiled_program(parts: Sequence[Traced]) -> Callable:
    """`(theta, data) -> [flat results of each part]`, compiled together.

    The programs' constants are arguments, so that large ones are not folded into the code.
    """
    consts = [list(part.closed.consts) for part in parts]

    @functools.partial(jax.jit, compiler_options=quick_options(*parts))
    def program(theta, data, consts):
        return [part(theta, data, const) for part, const in zip(parts, consts, strict=True)]

    return lambda theta, data: program(list(theta), list(data), consts)


def quick_options(*parts: Traced) -> dict | None:
    """Compiler options for programs so small that compiling takes longer than running."""
    size = sum(math.prod(aval.shape) for part in parts for aval in part.closed.in_avals)
    return QUICK if size <= SMALL and jax.default_backend() == "cpu" else None


QUICK = {"xla_backend_optimization_level": 0}
"""Compile fast: a program that runs a hundred times for a fraction of a millisecond each."""

SMALL = 100_000
"""Numbers going in below which compiling costs more than running."""


def _same_program(a: Traced | None, b: Traced | None) -> bool:
    return a is b if a is None or b is None else a.same_as(b)


def _wide(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _shapes(theta: Sequence, data: Sequence) -> tuple:
    return tuple(np.shape(leaf) for leaf in (*theta, *data))
