"""Runs the loss's jaxpr onto a tape: calls inlined, branches taken, short scans unrolled."""

import itertools
import os
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck.interpret import is_relu
from jaxdl.gradcheck.replay.rules import RULES
from jaxdl.gradcheck.replay.rules.elementwise import AT_ZERO
from jaxdl.gradcheck.replay.rules.opaque import compiled
from jaxdl.gradcheck.replay.structure import decided
from jaxdl.gradcheck.replay.tape import Tape
from jaxdl.gradcheck.tracing import scope

MAX_STEPS = 128
"""Scans up to this length are unrolled; longer ones stay one opaque node."""

CALLS = ("jaxpr", "call_jaxpr")
CUSTOM = ("custom_jvp_call", "custom_vjp_call")
_LIBRARIES = tuple(
    os.path.dirname(str(file)) + os.sep for file in (jax.__file__, jax.lib.__file__, __file__)
)

_FUNCTIONS = tuple(
    os.path.join(os.path.dirname(jax.__file__), "_src", name) + os.sep
    for name in ("numpy", "nn", "scipy", "lax")
)
"""Where JAX keeps functions that make several equations, such as `jax.nn.gelu`."""


def trace(loss: Callable, params, args: tuple, atomic: bool = False) -> Tape:
    """Run the loss once in float64 and keep the tape.

    Args:
        loss: `loss(params, *args)`, traceable by JAX.
        params: float64 parameters.
        args: further arguments; arrays are traced where the loss allows it.
        atomic: keep functions with a custom derivative as one node each, instead of looking
            inside and differentiating what is there.
    """
    with jax.enable_x64(True):
        closed, flat = _jaxpr(loss, params, args)
    tape = Tape()
    n = len(jax.tree.leaves(params))
    variables = []
    for i, value in enumerate(flat):
        value = _host(value)
        moves = i < n and jnp.issubdtype(value.dtype, np.inexact)
        variables.append(
            tape.variable(
                value, active=moves, leaves=1 << i if moves else 0, data=i >= n and value.size > 1
            )
        )
    leaves = [tape.apply("copy", {}, (v,), ("leaf", i))[0] for i, v in enumerate(variables[:n])]
    tape.raw, tape.inputs = tuple(variables[:n]), tuple(leaves)
    tape.arguments = tuple(variables[n:])
    variables[:n] = leaves
    consts = [_host(c) for c in closed.consts]
    consts = [tape.variable(c, data=np.size(c) > 1) for c in consts]
    tape.arguments += tuple(consts)
    with np.errstate(all="ignore"):
        (tape.output,) = _Inliner(tape, atomic).run(closed.jaxpr, consts, variables, None)
    return tape


def _jaxpr(loss, params, args):
    """Jaxpr of the loss, with array arguments traced where possible, and its flat inputs."""
    leaves, structure = jax.tree.flatten(args)
    is_array = [isinstance(x, np.ndarray | jax.Array) for x in leaves]
    arrays = [x for x, yes in zip(leaves, is_array, strict=True) if yes]

    def of_all(params, arrays):
        it = iter(arrays)
        full = [next(it) if yes else x for x, yes in zip(leaves, is_array, strict=True)]
        return loss(params, *jax.tree.unflatten(structure, full))

    with scope(standard=True):
        try:
            closed = jax.make_jaxpr(of_all)(params, arrays)
            return closed, jax.tree.leaves((params, arrays))
        except Exception:  # a loss may need the values of its data
            closed = jax.make_jaxpr(lambda params: loss(params, *args))(params)
            return closed, jax.tree.leaves(params)


def _host(x):
    extended = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.extended)
    return x if extended else np.asarray(x)


def lines_of(eqn) -> Hashable:
    """The caller's lines that led to an equation, and the places inside a library function.

    The former are (file, line, columns), outermost first.
    """
    traceback = eqn.source_info.traceback
    if traceback is None:
        return ((), ())
    frames = zip(*traceback.raw_frames(), strict=True)
    places = [(code.co_filename, *place_of(code, at)) for code, at in frames]
    own = [place for place in reversed(places) if not place[0].startswith(_LIBRARIES)]
    inside = [place[1:] for place in places if place[0].startswith(_FUNCTIONS)]
    return (tuple(own), tuple(inside))


@lru_cache(maxsize=8192)
def place_of(code, instruction: int) -> tuple[int, tuple]:
    """(line, columns) of an instruction: the interpreter may shift it within a call.

    Not the file: equal code of two files is one to a cache.
    """
    line, _, start, end = next(itertools.islice(code.co_positions(), instruction // 2, None))
    return line or 0, (start, end)


def _inner(params) -> Any:
    """The body of a call (a jaxpr, open or closed), or None."""
    for name in CALLS:
        if name in params:
            return params[name]
    return None


def _has_only_rules(jaxpr) -> bool:
    for eqn in jaxpr.eqns:
        body = _inner(eqn.params)
        if body is not None:
            if not _has_only_rules(getattr(body, "jaxpr", body)):
                return False
        elif eqn.primitive.name not in RULES:
            return False
    return True


class _Inliner:
    """Runs a jaxpr onto a tape."""

    def __init__(self, tape: Tape, atomic: bool):
        self.tape = tape
        self.atomic = atomic
        self.custom = 0  # how many functions with a custom derivative the equation is inside

    def run(self, jaxpr, consts, ins, where) -> list[int]:
        """Execute `jaxpr`; `where` is None at the top, else the position of the call."""
        env = {}
        env.update(zip(jaxpr.constvars, consts, strict=True))
        env.update(zip(jaxpr.invars, ins, strict=True))
        literals: dict[Any, int] = {}

        def read(v: Any) -> int:
            return self.literal(v, literals) if isinstance(v, jex.Literal) else env[v]

        for position, eqn in enumerate(jaxpr.eqns):
            here = lines_of(eqn) if where is None else (where, position)
            if where is None:
                here = (here, _ordinal(eqn))
            outs = self.equation(eqn, [read(v) for v in eqn.invars], here)
            env.update(zip(eqn.outvars, outs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def literal(self, v: Any, known: dict[Any, int]) -> int:
        """The variable of a literal, one for each value."""
        value = np.asarray(v.val, v.aval.dtype)
        key = (value.tobytes(), value.dtype, value.shape)
        if key not in known:
            known[key] = self.tape.variable(value)
        return known[key]

    def equation(self, eqn, ins, where) -> list[int] | tuple[int, ...]:
        """Execute one equation: by a rule, by looking inside, or by JAX."""
        name = eqn.primitive.name
        if name == "mul" and (chosen := self.chosen(ins, where)) is not None:
            return self.tape.apply("select_n", {}, chosen, where)
        if name in RULES and self.has_rule(eqn, ins):
            params = eqn.params
            if name == "abs" and self.custom:
                params = params | {AT_ZERO: 0.0}
            try:
                return self.tape.apply(name, params, ins, where)
            except (KeyError, IndexError, TypeError, ValueError):
                return self.opaque(eqn, ins, where)  # parameters that our rule does not know
        if name == "scan" and eqn.params["length"] <= MAX_STEPS:
            return self.scan(eqn, ins, where)
        if name == "cond":
            branches = eqn.params["branches"]
            which = int(np.clip(self.tape.values[ins[0]], 0, len(branches) - 1))
            return self.body(branches[which], ins[1:], where)
        if name == "split":
            return self.split(eqn, ins, where)
        if name == "unstack":
            return self.unstack(eqn, ins, where)
        body = _inner(eqn.params)
        if name in CUSTOM and is_relu(eqn) and len(ins) == 1 and not self.atomic:
            return self.tape.apply("relu", {}, ins, where)
        if name in CUSTOM and self.atomic:
            body = None
        if body is not None and name != "scan":
            moving = any(self.tape.active[i] for i in ins)
            if moving or _has_only_rules(getattr(body, "jaxpr", body)):
                self.custom += name in CUSTOM
                outs = self.body(body, ins, where)
                self.custom -= name in CUSTOM
                return outs
        return self.opaque(eqn, ins, where)

    def chosen(self, ins, where) -> list[int] | None:
        """Operands of the selection that z · (z > 0) is, where parameters decide what is kept."""
        tape = self.tape
        moving = [v for v in ins if tape.active[v]]
        if len(moving) != 1 or tape.shape(ins[0]) != tape.shape(ins[1]):
            return None
        (mask,) = (v for v in ins if v != moving[0])
        value = tape.values[mask]
        if not np.all((value == 0) | (value == 1)) or not decided(tape, mask):
            return None
        zeros = tape.variable(np.zeros(np.shape(value)))
        (which,) = tape.apply("ne", {}, (mask, zeros), (where, "kept"))
        return [which, zeros, moving[0]]

    def has_rule(self, eqn, ins) -> bool:
        """Does our rule cover these parameters and operands?"""
        if eqn.primitive.name == "conv_general_dilated":
            return eqn.params["batch_group_count"] == 1
        if eqn.primitive.name != "gather" or "FILL" not in str(eqn.params["mode"]):
            return True
        x, indices = (self.tape.values[i] for i in ins)
        axes = eqn.params["dimension_numbers"].start_index_map
        last = [x.shape[a] - eqn.params["slice_sizes"][a] for a in axes]
        return bool(np.all((indices >= 0) & (indices <= np.asarray(last))))

    def body(self, body, ins, where):
        """Inline a call."""
        jaxpr = getattr(body, "jaxpr", body)
        return self.run(jaxpr, self.constants(body), ins, (where, "call"))

    def scan(self, eqn, ins, where):
        """Unroll a scan: one run of the body per step."""
        p, tape = eqn.params, self.tape
        n_consts, n_carry, length = p["num_consts"], p["num_carry"], p["length"]
        consts, carry = ins[:n_consts], list(ins[n_consts : n_consts + n_carry])
        xs = ins[n_consts + n_carry :]
        steps = range(length - 1, -1, -1) if p["reverse"] else range(length)
        ys = [[0] * length for _ in range(len(eqn.outvars) - n_carry)]
        for t in steps:
            now = [
                tape.apply("index", {"position": t}, (x,), (where, "x", k))[0]
                for k, x in enumerate(xs)
            ]
            outs = self.run(
                p["jaxpr"].jaxpr, self.constants(p["jaxpr"]), [*consts, *carry, *now], where
            )
            carry = outs[:n_carry]
            for k, y in enumerate(outs[n_carry:]):
                ys[k][t] = y
        shapes = [v.aval.shape for v in eqn.outvars[n_carry:]]
        stacked = [
            tape.apply("scan_outputs", {"shape": shape}, tuple(y), (where, "y", k))[0]
            for k, (y, shape) in enumerate(zip(ys, shapes, strict=True))
        ]
        return [*carry, *stacked]

    def constants(self, body):
        """Variables for the constants of an inlined body."""
        return [
            self.tape.variable(_host(c), data=np.size(c) > 1) for c in getattr(body, "consts", ())
        ]

    def split(self, eqn, ins, where):
        """`split` as one slice per piece."""
        axis, starts = eqn.params["axis"], np.cumsum([0, *eqn.params["sizes"]])
        shape = self.tape.shape(ins[0])
        outs = []
        for k, size in enumerate(eqn.params["sizes"]):
            start = [int(starts[k]) if i == axis else 0 for i in range(len(shape))]
            limit = [start[i] + size if i == axis else shape[i] for i in range(len(shape))]
            params = {"start_indices": start, "limit_indices": limit, "strides": None}
            outs += self.tape.apply("slice", params, ins, (where, "piece", k))
        return outs

    def unstack(self, eqn, ins, where):
        """`unstack` as one row per output."""
        axis = eqn.params["axis"]
        if axis:
            order = (axis, *(i for i in range(len(self.tape.shape(ins[0]))) if i != axis))
            ins = self.tape.apply("transpose", {"permutation": order}, ins, (where, "rows"))
        rows = range(len(eqn.outvars))
        return [self.tape.apply("index", {"position": t}, ins, (where, "row"))[0] for t in rows]

    def opaque(self, eqn, ins, where):
        """An equation that JAX runs and differentiates."""
        forward, backward = compiled(eqn)
        outs = forward(*(self.tape.values[i] for i in ins))
        return self.tape.record(eqn.primitive.name, eqn.params, ins, outs, where, backward, forward)


def _ordinal(eqn) -> str:
    return str(eqn.primitive.name)
