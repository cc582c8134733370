"""Limits and conditions in the loss of which the points show one side alone.

A gradient that ignores `jnp.clip(ratio, 0.8, 1.2)` is right wherever the ratio lies inside. The
loss runs once more at each point, with a question at every limit: did it change any entry? And at
every condition on computed numbers: did any entry fulfil it, did any not? Asked is what the caller
wrote, outside of loops, parallel maps and functions with a derivative of their own.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend import core

from jaxdl.gradcheck import interpret, tracing
from jaxdl.gradcheck.callers import called
from jaxdl.gradcheck.programs import Prepared
from jaxdl.gradcheck.tracing import Traced, scope

LIMIT, CONDITION = "limit", "condition"

COMPARED = {LIMIT: ("ne",), CONDITION: ("lt", "le", "gt", "ge")}
"""By which primitives the numbers of an answer are compared."""

BOUNDED = {"max": (0, 1), "min": (0, 1), "clamp": (1,)}
"""For each limit, the operands that it may bound."""

ASKED = (*BOUNDED, "select_n")
LOGIC = ("not", "and", "or", "broadcast_in_dim", "reshape", "reduce_or")
ENTERED = ("jit", "pjit", "closed_call", "checkpoint", "remat2")
"""Calls whose equations are the caller's own."""

FUNCTIONS = frozenset(
    """
    where select clip minimum maximum min max clamp relu relu6 leaky_relu elu celu selu hard_tanh
    hard_sigmoid hard_silu hard_swish
    """.split()  # noqa: SIM905
)
"""The functions of JAX that are limits or conditions themselves; others have some inside."""


class Question(NamedTuple):
    """What is asked, of which line of the caller's."""

    kind: str  # LIMIT or CONDITION
    place: str
    part: tuple  # which limit on that line, which side of a condition


class Watch(NamedTuple):
    """Questions, and the program that answers each of them at a point."""

    questions: tuple[Question, ...]
    answers: Prepared | None

    def idle(self, points: Sequence[tuple[Sequence, Sequence]]) -> list[Question]:
        """The questions answered by no at every (theta, data).

        A line that runs several times, in a helper say, is answered by any of its runs.
        """
        if self.answers is None:
            return []
        with scope():
            given = [self.answers(theta, data)[0] for theta, data in points]
        ever = np.any(np.array(given, bool), axis=0)
        seen = {q for q, yes in zip(self.questions, ever, strict=True) if yes}
        return [q for q in dict.fromkeys(self.questions) if q not in seen]


NOTHING = Watch((), None)


class Asked(NamedTuple):
    """A question, its answer and, at a limit, what bounds."""

    question: Question
    answer: Any
    bounds: tuple = ()


def watch(source: Traced, theta: Sequence, data: Sequence) -> Watch:
    """The program for a traced loss, if it has limits or conditions to ask about.

    A loss that calls back to Python would do so once more, and is not asked.
    """
    names = {eqn.primitive.name for eqn in interpret.equations(source.closed)}
    if not names & set(ASKED) or any("callback" in name or "print" in name for name in names):
        return NOTHING
    questions: list[tuple[Question, int]] = []

    def answers(theta, data):
        found: list[Asked] = []
        _run(source.closed, [*theta, *data], (), found)
        questions[:] = [(asked.question, len(asked.bounds)) for asked in found]
        return [asked.answer for asked in found], [asked.bounds for asked in found]

    with scope():
        closed = tracing.as_written(answers, list(theta), list(data)).closed
    return _about(closed, len(theta), questions)


def _run(closed: core.ClosedJaxpr, inputs: list, calls: tuple, found: list[Asked]) -> list:
    """The results of a jaxpr; what is asked in it goes to `found`."""
    jaxpr = closed.jaxpr
    env: dict = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    env |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for eqn in jaxpr.eqns:
        given = [read(atom) for atom in eqn.invars]
        if _is_entered(eqn):
            results = _run(interpret.body(eqn), given, (*calls, eqn), found)
        else:
            results = interpret.usual(eqn, given)
            place = _place((*calls, eqn)) if eqn.primitive.name in ASKED else ""
            found.extend(_ask(eqn, given, results[0], place) if place else ())
        env |= dict(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _is_entered(eqn: Any) -> bool:
    """Does an equation call what the caller wrote, or a function that is a limit itself?"""
    if eqn.primitive.name in interpret.CUSTOM:
        return interpret.is_relu(eqn)
    if eqn.primitive.name not in ENTERED or not interpret.is_call(eqn):
        return False
    own = any(called(inner) for inner in interpret.body(eqn).jaxpr.eqns)
    return own or str(eqn.params.get("name")).lstrip("_") in FUNCTIONS


def _place(chain: tuple) -> str:
    """ "file.py:12" of the caller's line that calls a limit or condition of JAX's, or "".

    What is inside a function of JAX's has no line of the caller's: the call has.
    """
    line = next(filter(None, map(called, reversed(chain))), None)
    if line is None or line.function not in FUNCTIONS | {""} or line.is_installed():
        return ""
    return f"{os.path.basename(line.file)}:{line.number}"


def _ask(eqn: Any, inputs: list, result: Any, place: str) -> Iterator[Asked]:
    name = eqn.primitive.name
    if name == "select_n":
        if len(inputs) == 3 and jnp.issubdtype(jnp.result_type(inputs[0]), jnp.bool_):
            condition = jnp.asarray(inputs[0])
            for side, answer in (("yes", condition), ("no", lax.bitwise_not(condition))):
                yield Asked(Question(CONDITION, place, (side,)), _any(answer))
    elif jnp.issubdtype(result.dtype, jnp.floating):
        for p in BOUNDED[name]:
            bounds = tuple(x for q, x in enumerate(inputs) if q != p)
            if not all(map(_is_infinite, bounds)):
                changed = lax.ne(result, jnp.broadcast_to(inputs[p], result.shape))
                yield Asked(Question(LIMIT, place, (name, p)), _any(changed), bounds)


def _is_infinite(bound: Any) -> bool:
    return not isinstance(bound, Tracer) and bool(np.all(np.isinf(bound)))


def _any(flags: Any) -> Any:
    return lax.reduce_or(flags, axes=tuple(range(np.ndim(flags))))


def _about(closed: core.ClosedJaxpr, count: int, asked: Sequence[tuple[Question, int]]) -> Watch:
    """What concerns the first `count` inputs: numbers that move with them, bounds that do not."""
    jaxpr = closed.jaxpr
    flags, bounds = jaxpr.outvars[: len(asked)], iter(jaxpr.outvars[len(asked) :])
    moving = tracing.reached(jaxpr, jaxpr.invars[:count], but="stop_gradient")
    made = {var: eqn for eqn in jaxpr.eqns for var in eqn.outvars}

    def moves(atom: Any) -> bool:
        return isinstance(atom, core.Var) and atom in moving

    def compares(atom: Any, by: Sequence[str]) -> bool:
        """Do numbers that move decide this answer?"""
        if not moves(atom) or atom not in made:
            return False
        name, inputs = made[atom].primitive.name, made[atom].invars
        if name in LOGIC:
            return any(compares(x, by) for x in inputs)
        return name in by and jnp.issubdtype(inputs[0].aval.dtype, jnp.floating)

    kept = []
    for flag, (question, bounding) in zip(flags, asked, strict=True):
        moved = [moves(next(bounds)) for _ in range(bounding)]
        if not any(moved) and compares(flag, COMPARED[question.kind]):
            kept.append((question, flag))
    if not kept:
        return NOTHING
    questions, wanted = zip(*kept, strict=True)
    only = core.ClosedJaxpr(jaxpr.replace(outvars=list(wanted)), closed.consts)
    return Watch(questions, Prepared([Traced(only, None)]))
