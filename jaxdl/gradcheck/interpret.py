"""Run a jaxpr equation by equation, with a say in each.

Three uses: the same computation in float64 although the code asks for float32 (`lift`), with a
rounding error added to every result (`jitter`), and with the values behind `stop_gradient` held
fixed (`freeze`). Calls are inlined and loops rebuilt, so that a rule sees every equation.
"""

import contextlib
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

Rule = Callable[[Any, list], Any]
"""`rule(eqn, inputs)` gives the equation's results, or None for the usual ones."""

CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")
"""Functions with a derivative rule of their own."""

INLINED = ("jaxpr", "call_jaxpr", "fun_jaxpr")

REDUCTIONS = ("reduce", "reduce_window")
"""Equations with a jaxpr that combines two numbers, which is no call of it."""


def run(closed: core.ClosedJaxpr, rule: Rule, args: Sequence, consts: Sequence | None = None):
    """The results of `closed` on `args`, with `rule` applied to every equation."""
    constants = list(closed.consts if consts is None else consts)
    env: dict = dict(zip(closed.jaxpr.constvars, constants, strict=True))
    env |= dict(zip(closed.jaxpr.invars, args, strict=True))

    def read(atom):
        return atom.val if isinstance(atom, core.Literal) else env[atom]

    for eqn in closed.jaxpr.eqns:
        results = _apply(eqn, rule, [read(atom) for atom in eqn.invars])
        env |= dict(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def equations(closed: core.ClosedJaxpr) -> Iterator[Any]:
    """Every equation, those of inner jaxprs included."""
    yield from _equations(closed.jaxpr)


def constants(closed: core.ClosedJaxpr) -> Iterator[Any]:
    """Every constant and literal, those of inner jaxprs included."""
    yield from closed.consts
    for eqn in equations(closed):
        yield from (atom.val for atom in eqn.invars if isinstance(atom, core.Literal))
        for inner in _inner(eqn):
            yield from inner.consts


def _equations(jaxpr: Any) -> Iterator[Any]:
    for eqn in jaxpr.eqns:
        yield eqn
        yield from within(eqn)


def within(eqn: Any) -> Iterator[Any]:
    """Every equation of the jaxprs that an equation holds."""
    for inner in _inner(eqn):
        yield from _equations(inner.jaxpr)


def is_call(eqn: Any) -> bool:
    """Whether an equation runs a jaxpr on its inputs."""
    return eqn.primitive.name not in REDUCTIONS and any(key in eqn.params for key in INLINED)


def is_relu(eqn: Any) -> bool:
    """Is it `jax.nn.relu`, whose slope at 0 is 0 and not that of the maximum in its body?"""
    names = [eqn.params.get("name")]
    for closed in _inner(eqn):
        names += [e.params.get("name") for e in closed.jaxpr.eqns if len(closed.jaxpr.eqns) == 1]
    return "relu" in names


def _inner(eqn: Any) -> list[core.ClosedJaxpr]:
    found = []
    for value in eqn.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                found.append(item)
            elif isinstance(item, core.Jaxpr):
                found.append(core.ClosedJaxpr(item, ()))
    return found


def program_of(eqn: Any) -> core.ClosedJaxpr:
    """A program of this one equation; its inputs are the equation's variables, each once."""
    variables = dict.fromkeys(v for v in eqn.invars if not isinstance(v, core.Literal))
    with warnings.catch_warnings():  # JAX asks for names of arguments that nobody will read
        warnings.simplefilter("ignore", DeprecationWarning)
        jaxpr = core.Jaxpr((), list(variables), eqn.outvars, [eqn], eqn.effects)
    return core.ClosedJaxpr(jaxpr, ())


def usual(eqn: Any, inputs: list, **changed: Any) -> list:
    """The equation's own results, optionally with some parameters changed."""
    prepared = eqn.primitive.get_bind_params({**eqn.params, **changed})
    # jax before 0.10 gives (functions, params), later ones the params alone.
    subfuns, params = ((), prepared) if isinstance(prepared, dict) else prepared
    with _at_line_of(eqn), eqn.ctx.manager:
        results = eqn.primitive.bind(*subfuns, *inputs, **params)
    return list(results) if eqn.primitive.multiple_results else [results]


def _at_line_of(eqn: Any) -> Any:
    """What is traced in this context has the equation's line, as far as JAX's internals allow.

    What is inside a function of JAX's has none: it keeps the line of the call.
    """
    try:
        from jax._src import source_info_util as info

        traceback, names = eqn.source_info.traceback, eqn.source_info.name_stack
        if info.user_frame(traceback) is None:
            return contextlib.nullcontext()
        return info.user_context(traceback, name_stack=names)
    except (ImportError, AttributeError, TypeError):  # it is told at the line of this file instead
        return contextlib.nullcontext()


def _apply(eqn: Any, rule: Rule, inputs: list) -> list:
    name, params = eqn.primitive.name, eqn.params
    if name == "scan":
        return _scan(params, rule, inputs)
    if name == "while":
        return _while(params, rule, inputs)
    if name == "cond":
        index, *operands = inputs
        branches = [_callable(branch, rule) for branch in params["branches"]]
        return lax.switch(index, branches, *operands)
    if name == "custom_linear_solve":
        return _linear_solve(params, rule, inputs)
    results = rule(eqn, inputs)
    if results is not None:
        return results
    if not is_call(eqn):
        return usual(eqn, inputs)
    with _at_line_of(eqn):
        return run(body(eqn), rule, inputs)


def body(eqn: Any) -> core.ClosedJaxpr:
    """The jaxpr that a call runs on its inputs."""
    inner = next(eqn.params[key] for key in INLINED if key in eqn.params)
    return inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())


def _callable(closed: core.ClosedJaxpr, rule: Rule) -> Callable[..., list]:
    return lambda *args: run(closed, rule, args)


def _scan(params: dict, rule: Rule, inputs: list) -> list:
    n_consts, n_carry = params["num_consts"], params["num_carry"]
    consts, init = inputs[:n_consts], inputs[n_consts : n_consts + n_carry]

    def body(carry, xs):
        results = run(params["jaxpr"], rule, [*consts, *carry, *xs])
        return _as(results[:n_carry], carry), results[n_carry:]

    init = [jnp.asarray(value) for value in init]
    carry, ys = lax.scan(
        body,
        init,
        inputs[n_consts + n_carry :],
        length=params["length"],
        reverse=params["reverse"],
        unroll=params["unroll"],
    )
    return [*carry, *ys]


def _while(params: dict, rule: Rule, inputs: list) -> list:
    n_cond, n_body = params["cond_nconsts"], params["body_nconsts"]
    cond_consts, body_consts = inputs[:n_cond], inputs[n_cond : n_cond + n_body]
    init = [jnp.asarray(value) for value in inputs[n_cond + n_body :]]
    return lax.while_loop(
        lambda carry: run(params["cond_jaxpr"], rule, [*cond_consts, *carry])[0],
        lambda carry: _as(run(params["body_jaxpr"], rule, [*body_consts, *carry]), carry),
        init,
    )


def _linear_solve(params: dict, rule: Rule, inputs: list) -> list:
    lengths = params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    consts = inputs[start : start + lengths.solve]
    return run(params["jaxprs"].solve, rule, [*consts, *inputs[sum(lengths) :]])


def _as(values: Sequence, like: Sequence) -> list:
    return [lax.convert_element_type(v, w.dtype) for v, w in zip(values, like, strict=True)]


WIDE = {"float32": np.float64, "float16": np.float64, "bfloat16": np.float64}
WIDE |= {"complex64": np.complex128}


def widen(value: Any) -> Any:
    """A narrow floating array in float64 (complex128); anything else unchanged."""
    wide = WIDE.get(str(getattr(value, "dtype", "")))
    return value if wide is None else lax.convert_element_type(value, wide)


def lift(eqn: Any, inputs: list) -> list | None:
    """Rule: the equation in float64, whatever narrow dtype it asks for."""
    if is_call(eqn):
        return None
    if eqn.primitive.name in REDUCTIONS:
        return _lifted_reduction(eqn, [widen(x) for x in inputs])
    if eqn.primitive.name == "bitcast_convert_type":  # bits mean something in one width only
        return [widen(out) for out in usual(eqn, inputs)]
    changed = {
        key: np.dtype(WIDE[str(np.dtype(value))])
        for key, value in eqn.params.items()
        if key in ("dtype", "new_dtype", "preferred_element_type", "out_dtype")
        and value is not None
        and str(value) in WIDE
    }
    return [widen(out) for out in usual(eqn, [widen(x) for x in inputs], **changed)]


def _lifted_reduction(eqn: Any, inputs: list) -> list:
    inner = eqn.params["jaxpr"]
    is_closed = isinstance(inner, core.ClosedJaxpr)
    closed = inner if is_closed else core.ClosedJaxpr(inner, eqn.params["consts"])
    numbers = [jax.ShapeDtypeStruct((), jnp.result_type(x)) for x in inputs]
    wide = jax.make_jaxpr(lambda *pair: run(closed, lift, pair))(*numbers)
    if is_closed:
        return usual(eqn, inputs, jaxpr=wide)
    return usual(eqn, inputs, jaxpr=wide.jaxpr, consts=tuple(wide.consts))


EXACT = frozenset(
    """
    neg max min abs sign select_n reshape broadcast_in_dim transpose slice dynamic_slice gather
    squeeze concatenate pad reduce_max reduce_min argmax argmin convert_element_type copy rev sort
    stop_gradient floor ceil round clamp scatter iota real imag split expand_dims cummax cummin
    dynamic_update_slice top_k reduce_precision random_bits random_wrap random_unwrap nextafter
    optimization_barrier select_and_gather_add stack
    """.split()  # noqa: SIM905
)
"""Primitives that return one of their inputs, or an integer: nothing is rounded."""


def jitter(seed: Any, size: float = 2.0**-53) -> Rule:
    """Rule: every rounded result off by a random sign times `size`, relative to itself.

    Stochastic arithmetic: the spread of the results over a few seeds is what rounding alone
    may do to this computation, cancellation included.

    Args:
        seed: a uint32 number, traced or not.
        size: of one rounding error.
    """
    count = itertools.count(1)

    def rule(eqn: Any, inputs: list) -> list | None:
        if eqn.primitive.name in EXACT or is_call(eqn):
            return None
        return [_rounded(out, seed, next(count), size) for out in usual(eqn, inputs)]

    return rule


def _rounded(value: Any, seed: Any, place: int, size: float) -> Any:
    if not jnp.issubdtype(value.dtype, jnp.inexact):
        return value
    up = _coin(seed, place, value.shape)
    factor = lax.select(up, _full(value, 1 + 2 * size), _full(value, 1 - size))
    return value * lax.convert_element_type(factor, value.dtype)


def _full(value: Any, number: float) -> Any:
    return jnp.full(value.shape, np.asarray(number, value.real.dtype))


def _coin(seed: Any, place: int, shape: tuple[int, ...]) -> Any:
    """A fair bit per entry from a hash of seed, place and index: cheap to compile."""
    index = lax.iota(np.uint32, max(int(np.prod(shape)), 1))[: int(np.prod(shape))].reshape(shape)
    x = index * np.uint32(2654435761) + seed * np.uint32(2246822519) + np.uint32(place * 40503)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(2221713035)
    return ((x >> np.uint32(13)) & np.uint32(1)) == np.uint32(1)


def freeze(values: list | None) -> tuple[Rule, list]:
    """Rule: record what `stop_gradient` passes on, or (given a record) pass that on instead."""
    record: list = []
    stream = iter(values or ())

    def rule(eqn: Any, inputs: list) -> list | None:
        if eqn.primitive.name != "stop_gradient":
            return None
        record.append(inputs[0])
        return [inputs[0]] if values is None else [next(stream)]

    return rule, record
