"""Run a jaxpr in NumPy, equation by equation, instead of compiling it.

A program of a hundred small equations runs in less than a millisecond this way and takes hundreds
of milliseconds to compile. What has no rule here, or would run too long, is compiled as usual.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jax.extend import core

from jaxdl.gradcheck.hostrules import Unsupported, rule_of, work_of

IDENTITIES = frozenset({"stop_gradient", "copy", "copy_p", "optimization_barrier"})

CALLS = frozenset(
    {
        "jit",
        "pjit",
        "closed_call",
        "core_call",
        "remat",
        "checkpoint",
        "custom_jvp_call",
        "custom_vjp_call",
    }
)
BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")

ALONE = frozenset({"dot_general", "integer_pow", "reduce_sum", "select_n"})
"""Besides NumPy's own functions of entries: their results share no memory with their operands."""

WORTH_REUSING = 4096
"""Numbers in an array from which on writing into one that is done with beats asking for memory."""

MOST_BEFORE = 1e7
"""Nanoseconds, roughly, of an equation without inputs that is run when a program is prepared."""


class Step(NamedTuple):
    """One equation: `function` of the values in the slots `ins` gives those in `outs`.

    `several` says whether it returns a list; `done` are slots whose values are not needed
    afterwards; `avals` are what the results must be like; `work` is in nanoseconds, roughly;
    `alone` says whether the results share no memory with the operands; `into` is the slot of an
    operand whose memory the result may take, or None.
    """

    function: Callable
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    several: bool
    avals: tuple
    work: float
    alone: bool
    done: tuple[int, ...] = ()
    into: int | None = None

    def run(self, values: list) -> None:
        """Put the results into their slots."""
        out = self.function(*[values[i] for i in self.ins])
        if self.several:
            for slot, value in zip(self.outs, out, strict=True):
                values[slot] = value
        else:
            values[self.outs[0]] = out

    def check(self, values: list) -> None:
        """Raises:
        Unsupported: if a result has another shape or dtype than JAX would give it.
        """
        for slot, aval in zip(self.outs, self.avals, strict=True):
            value = values[slot]
            if np.shape(value) != aval.shape or np.result_type(value) != aval.dtype:
                raise Unsupported(f"{np.shape(value)} {np.result_type(value)} for {aval}")


class Program:
    """A jaxpr as a list of steps; called with the flat inputs, it gives the flat results."""

    def __init__(
        self,
        closed: core.ClosedJaxpr,
        outputs: Sequence[int] | None = None,
        given: Sequence = (),
    ):
        """Prepare to run a jaxpr.

        Args:
            closed: the jaxpr.
            outputs: which of its results are wanted; by default all. The rest is left out.
            given: values of its first inputs. They are no inputs of the program any more, and what
                depends on nothing else is computed now.

        Raises:
            Unsupported: if an equation has no rule.
        """
        self.values: list[Any] = []
        self.known: set[int] = set()
        self.seen: dict[Any, Sequence[int]] = {}
        self.steps: list[Step] = []
        self.checked = False
        fixed = [self._constant(value) for value in given]
        self.inputs = [self._slot() for _ in closed.jaxpr.invars[len(fixed) :]]
        results = self._inline(closed.jaxpr, closed.consts, [*fixed, *self.inputs])
        self.results = results if outputs is None else [results[i] for i in outputs]
        self._prune()

    @property
    def work(self) -> float:
        """Nanoseconds of one run, roughly."""
        return sum(step.work for step in self.steps)

    def __call__(self, inputs: Sequence) -> list:
        """The results, NumPy arrays.

        Raises:
            Unsupported: if the values are none that the rules can deal with.
        """
        values = self.values.copy()
        for slot, value in zip(self.inputs, inputs, strict=True):
            values[slot] = value
        if not self.checked:
            self._check(values.copy())
        for function, ins, outs, several, _, _, _, done, into in self.steps:
            operands = [values[i] for i in ins]
            out = function(*operands) if into is None else function(*operands, out=values[into])
            if several:
                for slot, value in zip(outs, out, strict=True):
                    values[slot] = value
            else:
                values[outs[0]] = out
            for slot in done:
                values[slot] = None
        return [values[slot] for slot in self.results]

    def _check(self, values: list) -> None:
        """Run once, and look at the shape and dtype of every result.

        Raises:
            Unsupported: if JAX would give another.
        """
        for step in self.steps:
            step.run(values)
            step.check(values)
            for slot in step.done:
                values[slot] = None
        self.checked = True

    def _slot(self, value: Any = None) -> int:
        self.values.append(value)
        return len(self.values) - 1

    def _constant(self, value: Any) -> int:
        slot = self._slot(value)
        self.known.add(slot)
        return slot

    def _literal(self, atom: Any) -> int:
        """The slot of a literal, one for each value."""
        value = np.asarray(atom.val, atom.aval.dtype)
        key = (value.tobytes(), value.dtype, value.shape)
        if key not in self.seen:
            self.seen[key] = (self._constant(value),)
        return self.seen[key][0]

    def _inline(self, jaxpr: Any, consts: Sequence, ins: Sequence[int]) -> list[int]:
        """Add the equations of a jaxpr; returns the slots of its results."""
        where: dict[Any, int] = dict(zip(jaxpr.invars, ins, strict=True))
        for variable, const in zip(jaxpr.constvars, consts, strict=True):
            where[variable] = self._constant(_numbers(const))

        def slot(atom: Any) -> int:
            return self._literal(atom) if isinstance(atom, core.Literal) else where[atom]

        for eqn in jaxpr.eqns:
            outs = self._equation(eqn, [slot(atom) for atom in eqn.invars])
            where |= dict(zip(eqn.outvars, outs, strict=True))
        return [slot(atom) for atom in jaxpr.outvars]

    def _equation(self, eqn: Any, ins: Sequence[int]) -> Sequence[int]:
        name = eqn.primitive.name
        if name in IDENTITIES:
            return ins
        if name in CALLS:
            body = next(eqn.params[key] for key in BODIES if key in eqn.params)
            return self._inline(getattr(body, "jaxpr", body), getattr(body, "consts", ()), ins)
        key = _key(eqn, ins)
        if key in self.seen:  # computed before
            return self.seen[key]
        function, work = LOOPS[name](eqn) if name in LOOPS else (rule_of(eqn), work_of(eqn))
        outs = tuple(self._slot() for _ in eqn.outvars)
        if key is not None:
            self.seen[key] = outs
        avals = tuple(out.aval for out in eqn.outvars)
        several = eqn.primitive.multiple_results
        alone = isinstance(function, np.ufunc) or name in ALONE
        step = Step(function, tuple(ins), outs, several, avals, work, alone)
        if self.known.issuperset(ins) and work <= MOST_BEFORE:  # depends on no input
            step.run(self.values)
            step.check(self.values)
            self.known.update(outs)
        else:
            self.steps.append(step)
        return outs

    def _prune(self) -> None:
        """Leave out steps that no result needs; note where each value is used last."""
        needed, kept = set(self.results), []
        for step in reversed(self.steps):
            if needed.isdisjoint(step.outs):
                continue
            done = {*step.ins, *step.outs} - needed - self.known
            needed.update(step.ins)
            kept.append(step._replace(done=tuple(done)))
        self.steps = _reusing(kept[::-1])


def _reusing(steps: list[Step]) -> list[Step]:
    """The steps, with results put where an operand was that nothing else needs or looks at."""
    made = {slot: step for step in steps for slot in step.outs}
    seen = {slot for step in steps if not step.alone for slot in step.ins}

    def free(step: Step, slot: int) -> bool:
        source = made.get(slot)
        like = source is not None and source.alone and source.avals == step.avals
        return like and slot in step.done and slot not in seen

    def reusing(step: Step) -> Step:
        large = not step.several and step.avals[0].size >= WORTH_REUSING
        if not large or not isinstance(step.function, np.ufunc):
            return step
        return step._replace(into=next((slot for slot in step.ins if free(step, slot)), None))

    return [reusing(step) for step in steps]


def _key(eqn: Any, ins: Sequence[int]) -> Any:
    """Equal for equations with equal results; None where that is hard to tell."""
    key = (eqn.primitive.name, *ins, *eqn.params.items())
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _numbers(const: Any) -> Any:
    if not isinstance(const, np.ndarray | np.generic) and not hasattr(const, "__array__"):
        return np.asarray(const)
    try:
        return np.asarray(const)
    except TypeError as error:  # keys
        raise Unsupported(str(error)) from error


def _scan(eqn: Any) -> tuple[Callable, float]:
    params = eqn.params
    body, length = Program(params["jaxpr"]), params["length"]
    if not length:
        raise Unsupported("a scan of no steps")
    split = params["num_consts"], params["num_consts"] + params["num_carry"]
    n_carry = params["num_carry"]
    steps = range(length - 1, -1, -1) if params["reverse"] else range(length)

    def run(*ins: Any) -> list:
        consts, carry, xs = ins[: split[0]], ins[split[0] : split[1]], ins[split[1] :]
        rows = []
        for t in steps:
            out = body([*consts, *carry, *(x[t] for x in xs)])
            carry = out[:n_carry]
            rows.append(out[n_carry:])
        ordered = rows[::-1] if params["reverse"] else rows
        return [*carry, *(np.stack(column) for column in zip(*ordered, strict=True))]

    return run, length * (body.work + 1000)


def _cond(eqn: Any) -> tuple[Callable, float]:
    branches = [Program(branch) for branch in eqn.params["branches"]]

    def run(index: Any, *operands: Any) -> list:
        return branches[int(np.clip(index, 0, len(branches) - 1))](operands)

    return run, max(branch.work for branch in branches)


LOOPS = {"scan": _scan, "cond": _cond}
"""Equations that run other jaxprs: `f(eqn) -> (function, nanoseconds)`."""
