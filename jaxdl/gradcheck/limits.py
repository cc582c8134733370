"""Limits and conditions in the loss of which the points show one side alone.

A gradient that ignores `jnp.clip(ratio, 0.8, 1.2)` is right wherever the ratio lies inside. The
loss runs once more at each point, with a question at every limit: did it change any entry? And at
every condition on computed numbers: did any entry fulfil it, did any not? What sits inside a loop,
or in a function with a derivative of its own, is not asked.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend import core

from jaxdl.gradcheck import interpret, tracing
from jaxdl.gradcheck.programs import Prepared
from jaxdl.gradcheck.tracing import Traced, place, scope

LIMIT, CONDITION = "limit", "condition"

COMPARED = {LIMIT: ("ne",), CONDITION: ("lt", "le", "gt", "ge")}
"""By which primitives the numbers of an answer are compared."""

BOUNDED = {"max": (0, 1), "min": (0, 1), "clamp": (1,)}
"""For each limit, the operands that it may bound."""

LOOPS = ("scan", "while", "cond")
LOGIC = ("not", "and", "or", "broadcast_in_dim", "reshape", "reduce_or")


class Question(NamedTuple):
    """What is asked, of which line of the caller's."""

    kind: str  # LIMIT or CONDITION
    place: str


class Watch(NamedTuple):
    """Questions, and the program that answers each of them at a point."""

    questions: tuple[Question, ...]
    answers: Prepared | None

    def idle(self, points: Sequence[tuple[Sequence, Sequence]]) -> list[Question]:
        """The questions answered by no at every (theta, data)."""
        if self.answers is None:
            return []
        with scope():
            given = [self.answers(theta, data)[0] for theta, data in points]
        ever = np.any(np.array(given, bool), axis=0)
        return [q for q, yes in zip(self.questions, ever, strict=True) if not yes]


NOTHING = Watch((), None)


class Asked(NamedTuple):
    """A question, its answer and, at a limit, what bounds."""

    question: Question
    answer: Any
    bounds: tuple = ()


def watch(source: Traced, theta: Sequence, data: Sequence) -> Watch:
    """The program for a traced loss, if it has limits or conditions to ask about."""
    names = {eqn.primitive.name for eqn in interpret.equations(source.closed)}
    if not names & {*BOUNDED, "select_n"}:
        return NOTHING
    asked: list[Asked] = []

    def answers(theta, data):
        asked[:] = _asked(source.closed, [*theta, *data])
        return [a.answer for a in asked], [a.bounds for a in asked]

    with scope():
        closed = tracing.as_written(answers, list(theta), list(data)).closed
    return _about(closed, len(theta), asked)


def _asked(closed: core.ClosedJaxpr, leaves: list) -> list[Asked]:
    """Run a loss and ask at every limit and every selection."""
    found: list[Asked] = []
    calls: list[Any] = []
    hidden = _hidden(closed)

    def rule(eqn: Any, inputs: list) -> list | None:
        if interpret.is_call(eqn):
            calls.append(eqn)
        if id(eqn) in hidden or eqn.primitive.name not in (*BOUNDED, "select_n"):
            return None
        results = interpret.usual(eqn, inputs)
        found.extend(_ask(eqn, inputs, results[0], _line(eqn, calls)))
        return results

    interpret.run(closed, rule, leaves)
    return found


def _line(eqn: Any, calls: Sequence[Any]) -> str:
    """The caller's line of an equation, of calls so far the last.

    JAX keeps what is inside `jnp.clip` from the first call of it: the line is that of this call.
    """
    for call in reversed(calls):
        if any(inner is eqn for inner in interpret.within(call)):
            if not _is_of_jax(call):
                break
            eqn = call
    return place(eqn)


def _is_of_jax(call: Any) -> bool:
    """Does an equation call a function of `jax.numpy` or `jax.nn`?"""
    name = str(call.params.get("name", "")).lstrip("_")
    return call.primitive.name != "jit" or hasattr(jnp, name) or hasattr(jax.nn, name)


def _hidden(closed: core.ClosedJaxpr) -> set[int]:
    """Equations that are not asked, by `id`."""
    return {
        id(inner)
        for eqn in interpret.equations(closed)
        if eqn.primitive.name in LOOPS
        or (eqn.primitive.name in interpret.CUSTOM and not interpret.is_relu(eqn))
        for inner in interpret.within(eqn)
    }


def _ask(eqn: Any, inputs: list, result: Any, line: str) -> Iterator[Asked]:
    name = eqn.primitive.name
    if name == "select_n":
        if len(inputs) == 3 and inputs[0].dtype == bool:
            question = Question(CONDITION, line)
            yield Asked(question, _any(inputs[0]))
            yield Asked(question, _any(lax.bitwise_not(inputs[0])))
    elif jnp.issubdtype(result.dtype, jnp.floating):
        for p in BOUNDED[name]:
            bounds = tuple(x for q, x in enumerate(inputs) if q != p)
            if all(map(_is_infinite, bounds)):
                continue
            yield Asked(Question(LIMIT, line), _any(lax.ne(result, inputs[p])), bounds)


def _is_infinite(bound: Any) -> bool:
    return not isinstance(bound, Tracer) and bool(np.all(np.isinf(bound)))


def _any(flags: Any) -> Any:
    return lax.reduce_or(flags, axes=tuple(range(np.ndim(flags))))


def _about(closed: core.ClosedJaxpr, count: int, asked: Sequence[Asked]) -> Watch:
    """What concerns the first `count` inputs: numbers that move with them, bounds that do not."""
    jaxpr = closed.jaxpr
    flags, bounds = jaxpr.outvars[: len(asked)], iter(jaxpr.outvars[len(asked) :])
    moving = tracing.reached(jaxpr, jaxpr.invars[:count], but="stop_gradient")
    made = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}

    def moves(atom: Any) -> bool:
        return isinstance(atom, core.Var) and atom in moving

    def compares(atom: Any, by: Sequence[str]) -> bool:
        if not moves(atom) or atom not in made:
            return False
        name, inputs = made[atom].primitive.name, made[atom].invars
        return any(compares(x, by) for x in inputs) if name in LOGIC else name in by

    kept = []
    for flag, (question, _, bounding) in zip(flags, asked, strict=True):
        moved = [moves(next(bounds)) for _ in bounding]
        if not any(moved) and compares(flag, COMPARED[question.kind]):
            kept.append((question, flag))
    if not kept:
        return NOTHING
    questions, wanted = zip(*kept, strict=True)
    only = core.ClosedJaxpr(jaxpr.replace(outvars=list(wanted)), closed.consts)
    return Watch(questions, Prepared([Traced(only, None)]))
