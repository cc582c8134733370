"""The caller's loss and gradient, evaluated in float64 at any point.

One compiled program gives the loss, autodiff's gradient and the hand-derived gradient. Code that
JAX cannot trace (NumPy, Python control flow, caches in layer objects) runs eagerly instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxdl.gradcheck import customrules, memory, tracing
from jaxdl.gradcheck.call import Call
from jaxdl.gradcheck.programs import Prepared
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


class Made(NamedTuple):
    """What was made of both functions for leaves of certain shapes.

    Attributes:
        source: the loss alone, traced; None if it is not differentiated by tracing.
        rules: the custom derivative rules in it, traced; None if they were not looked at.
        oracle: the loss and its gradient, traced.
        hand: the hand-derived gradient, traced; None if it cannot be.
        prepared: `oracle` and `hand` ready to run; None if there is neither.
    """

    source: Traced | None
    rules: list | None
    oracle: Traced | None
    hand: Traced | None
    prepared: Prepared | None

    def is_of(self, source: Traced, rules: list | None) -> bool:
        """Whether `oracle` is what this loss would give, with these rules in it."""
        return _same_program(self.source, source) and customrules.same_rules(self.rules, rules)


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
        programs: what was traced and compiled in this check, by the shapes of the leaves.
        earlier: the same of an earlier check of these functions, to be used only for a function
            that gives an equal program when it is traced anew.
        traced_again: the shapes for which both functions did.
        apart: whether what was traced runs operation by operation instead of compiled.
    """

    call: Call
    loss: Callable
    grad: Callable
    mode: str = "traced"
    hand_mode: str = "traced"
    hand_structure: Any = None
    hand_order: list[int] | None = None
    programs: dict = field(default_factory=dict)
    earlier: dict | None = None
    traced_again: set = field(default_factory=set)
    apart: bool = False

    def __call__(self, theta: Sequence, data: Sequence) -> Evaluation:
        """The loss and both gradients at one point.

        Raises:
            HandError: if the caller's gradient function raises here.
        """
        _, _, oracle, hand, prepared = self.made(theta, data)
        with scope():
            run = prepared and (prepared.by_operation if self.apart else prepared)
            outputs = run(theta, data) if run else []
            value, auto = self._oracle(theta, data, outputs.pop(0) if oracle else None)
            leaves = outputs.pop(0) if hand else self.hand_leaves(theta, data)
            return Evaluation(value, auto, self._wanted(leaves))

    def hand(self, theta: Sequence, data: Sequence) -> list[np.ndarray]:
        """The hand-derived gradient alone, from a call of the function.

        Raises:
            HandError: if it raises.
        """
        return self._wanted(self.hand_leaves(theta, data))

    def _wanted(self, leaves: list) -> list[np.ndarray]:
        """Those of the returned leaves that are compared, in float64."""
        return [_wide(leaves[i]) for i in self.order(leaves)]

    def order(self, leaves: list) -> Sequence[int]:
        """Which of the returned leaves belong to the differentiated parameters, in order."""
        return range(len(leaves)) if self.hand_order is None else self.hand_order

    def value(self, theta: Sequence, data: Sequence) -> float:
        """The loss alone."""
        made = self.made(theta, data)
        if made.oracle and made.prepared:
            return made.prepared.value(theta, data)
        with scope():
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
            except Exception:  # the caller's gradient raises in both: the first error is told
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
            return self.programs[key].value(theta, data)
        params, args = self.call.join_as_given(theta, data)
        return float(np.asarray(self.loss(params, *args)))

    def _value_program(self, theta: list, data: list) -> Prepared | None:
        make = tracing.loss_of(self.loss, self.call)
        try:
            traced = tracing.trace(make, self.call, theta, data)
        except Exception:  # the caller's loss is called instead, and may raise where it is seen
            return None
        if not traced.uses_inputs():
            return None
        before = self.before(("value", *_shapes(theta, data)))
        return before if before and before.parts[0].same_as(traced) else Prepared([traced])

    def is_fused(self, theta: Sequence, data: Sequence) -> bool:
        """Whether a compiler combines the operations of what runs for these shapes."""
        prepared = self.made(theta, data).prepared
        return not self.apart and prepared is not None and prepared.quick is None

    def before(self, key: tuple) -> Any:
        """What an earlier check kept in `programs` under this key, or None."""
        if self.earlier is None:
            found = memory.recall(self.loss, self.grad, self.call)
            self.earlier = found.made if found else {}
            if found and found.hand_mode != "traced":
                self.hand_mode = found.hand_mode  # tracing it failed once and would fail again
        return self.earlier.get(key)

    def _make(self, theta: list, data: list, key: tuple, before: Made | None) -> Made:
        source, rules, oracle = None, None, None
        if self.mode == "traced":
            source, rules, oracle = self._trace_loss(theta, data, before)
        hand = self._trace_hand(theta, data) if self.hand_mode == "traced" else None
        if before and all(map(_same_program, (before.oracle, before.hand), (oracle, hand))):
            self.traced_again.add(key)
            return before._replace(source=source, rules=rules)
        parts = [part for part in (oracle, hand) if part is not None]
        return Made(source, rules, oracle, hand, Prepared(parts) if parts else None)

    def unchanged(self, theta: Sequence, data: Sequence) -> bool:
        """Whether both functions gave the programs of an earlier check, for these shapes."""
        return _shapes(theta, data) in self.traced_again

    def remember(self) -> None:
        """Keep the compiled programs for the next check of the same functions."""
        made = {**(self.earlier or {}), **self.programs}
        memory.remember(self.loss, self.grad, self.call, made, self.hand_mode)

    def traced(self, theta: Sequence, data: Sequence) -> tuple[Traced | None, Traced | None]:
        """The jaxprs of (value and gradient, hand gradient) for these shapes."""
        made = self.made(theta, data)
        return made.oracle, made.hand

    def made(self, theta: Sequence, data: Sequence) -> Made:
        """What is made of both functions for these shapes."""
        key = _shapes(theta, data)
        if key not in self.programs:
            with scope():
                self.programs[key] = self._make(list(theta), list(data), key, self.before(key))
        return self.programs[key]

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

    def _trace_loss(
        self, theta: list, data: list, before: Made | None
    ) -> tuple[Traced | None, list | None, Traced | None]:
        """(the loss, the derivative rules in it, the loss with its gradient), traced.

        The last takes longest. It is that of the earlier check if the first two are.
        """
        make = tracing.value_and_grad_of(self.loss, self.call)
        try:
            source = tracing.trace(tracing.loss_of(self.loss, self.call), self.call, theta, data)
            rules = customrules.rules_in(source)
            if before is not None and before.is_of(source, rules):
                return before.source, before.rules, before.oracle
            return source, rules, tracing.trace(make, self.call, theta, data)
        except tracing.NOT_TRACEABLE:
            self.mode = self._untraced_mode(make, theta, data)
            return None, None, None

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


def _same_program(a: Traced | None, b: Traced | None) -> bool:
    return a is b if a is None or b is None else a.same_as(b)


def _wide(leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _shapes(theta: Sequence, data: Sequence) -> tuple:
    return tuple(np.shape(leaf) for leaf in (*theta, *data))
