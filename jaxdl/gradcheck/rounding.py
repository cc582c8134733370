"""The gradient in the caller's own precision: does it lose more digits than it must?

The comparison in float64 asks whether the mathematics is right. Here the gradient function runs
once as the caller runs it, and its rounding is measured against what the precision allows.
"""

import contextlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck import tracing
from jaxdl.gradcheck.call import DATA, THETA
from jaxdl.gradcheck.problem import Finding, largest
from jaxdl.gradcheck.programs import compiled_program
from jaxdl.gradcheck.run import Run
from jaxdl.gradcheck.shadow import Shadow

EXCESS = 8.0
"""Losing this many times more than autodiff or the problem itself is worth a note."""


def check_own_precision(run: Run) -> None:
    """Compare the gradient in the caller's precision with the one in float64.

    Overflow where autodiff stays finite is a fault; lost digits are a note, since how many a
    gradient may lose is the caller's to decide.
    """
    eps = _epsilon(run)
    if eps is None or 0 in run.wrong_points():
        return
    native = _native(run, run.shadow.grad, autodiff=False)
    if native is None:
        return
    given = run.compared[0]
    exact = given.here.hand
    overflowed = [k for k, h in enumerate(native) if not np.isfinite(h).all()]
    lossy = _lossy(run, native, eps)
    if not overflowed and not lossy:
        return
    auto = _native(run, run.shadow.loss, autodiff=True)
    if auto is None:
        return
    for k in overflowed:
        if np.isfinite(auto[k]).all() and np.isfinite(exact[k]).all():
            run.findings.append(_overflow(run, k, native[k], eps))
    for k in lossy:
        mine, theirs = _loss_of_digits(native[k], exact[k]), _loss_of_digits(auto[k], exact[k])
        if k not in overflowed and mine > EXCESS * theirs:
            run.notes.append(
                f"{run.call.names[k]}: in {_name(eps)} the hand-derived gradient is off by "
                f"{mine:.0e} of its norm, jax.grad's by {theirs:.0e}: digits are lost on the way."
            )


def _epsilon(run: Run) -> float | None:
    """Machine epsilon of the caller's narrowest parameters; None if that is float64."""
    dtypes = [jnp.result_type(leaf) for leaf in run.call.pick(THETA)]
    eps = max(float(jnp.finfo(dtype).eps) for dtype in dtypes)
    return eps if eps > 1e-12 else None


def _native(run: Run, function, *, autodiff: bool) -> list[np.ndarray] | None:
    """The gradient leaves as the caller's own call gives them; None if it raises."""
    call, shadow = run.call, run.shadow
    theta, data = call.pick(THETA), call.pick(DATA)
    make = (
        tracing.value_and_grad_of(function, call) if autodiff else tracing.loss_of(function, call)
    )
    if not autodiff and shadow.hand_mode != "traced":
        return _eager(run)
    if shadow.mode != "traced":
        return None
    program = _program(shadow, make, theta, data, ("native", autodiff))
    if program is None:
        return None
    try:
        with tracing.scope(x64=call.x64):
            leaves = program(theta, data)[0]
    except Exception:  # the caller's code does not run at this precision: nothing to compare
        return None
    leaves = leaves[1:] if autodiff else [leaves[i] for i in shadow.order(leaves)]
    return [np.asarray(leaf).astype(_wide(leaf)) for leaf in leaves]


def _program(shadow: Shadow, make: tracing.Flat, theta: list, data: list, key: tuple):
    """The function compiled as written, with standard promotion if the settings forbid it."""
    for standard in (False, True):
        if key in shadow.programs:
            break
        with contextlib.suppress(Exception), tracing.scope(x64=shadow.call.x64, standard=standard):
            traced = tracing.as_written(make, theta, data)
            before = shadow.before(key)
            same = before is not None and before[0].same_as(traced)
            shadow.programs[key] = before if same else (traced, compiled_program([traced]))
    return shadow.programs[key][1] if key in shadow.programs else None


def _eager(run: Run) -> list[np.ndarray] | None:
    call, shadow = run.call, run.shadow
    params, args = call.join_as_given(call.pick(THETA), call.pick(DATA))
    try:
        leaves = jax.tree.leaves(shadow.call_hand(params, args))
    except Exception:  # the caller's code does not run at the door's precision: nothing to compare
        return None
    leaves = [np.asarray(leaves[i]) for i in shadow.order(leaves)]
    return [leaf.astype(_wide(leaf)) for leaf in leaves]


def _wide(leaf) -> type:
    return np.complex128 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else np.float64


def _lossy(run: Run, native: Sequence[np.ndarray], eps: float) -> list[int]:
    """Leaves that lose more digits than moving the inputs by an ulp of the precision does.

    Inputs are moved only for leaves that lose more than storing them does.
    """
    exact = run.compared[0].here.hand
    tree = max((_norm(leaf) for leaf in exact), default=0.0)

    def losing(allowed: np.ndarray) -> list[int]:
        lossy = []
        for k, (mine, right) in enumerate(zip(native, exact, strict=True)):
            limit = EXCESS * (allowed[k] + 4 * eps * _norm(right) + 1e-2 * eps * tree)
            if np.isfinite(mine).all() and _norm(mine - right) > limit:
                lossy.append(k)
        return lossy

    return losing(_moved(run, eps)) if losing(np.zeros(len(native))) else []


def _moved(run: Run, eps: float) -> np.ndarray:
    """How far either gradient goes where the parameters are moved by an ulp, per leaf."""
    given = run.compared[0]
    rng = np.random.default_rng(run.settings.seed)
    allowed = np.zeros(len(given.theta))
    for _ in range(2):
        moved = [leaf * (1 + eps * rng.uniform(-1, 1, leaf.shape)) for leaf in given.theta]
        there = run.shadow(moved, given.data)
        pairs = [(given.here.hand, there.hand)]
        pairs += [(given.auto, there.auto)] if there.auto is not None else []
        for before, after in pairs:
            changes = [_norm(a - b) for a, b in zip(before, after, strict=True)]
            allowed = np.maximum(allowed, changes)
    return allowed


def _loss_of_digits(leaf: np.ndarray, exact: np.ndarray) -> float:
    return _norm(leaf - exact) / max(_norm(exact), 1e-300)


def _norm(leaf: np.ndarray) -> float:
    return float(np.linalg.norm(leaf.reshape(-1)))


def _overflow(run: Run, k: int, leaf: np.ndarray, eps: float) -> Finding:
    name = run.call.names[k]
    bad = np.argwhere(~np.isfinite(leaf))
    text = (
        f"{name}: in {_name(eps)}, the precision of the call, {len(bad)} of {leaf.size} entries "
        f"are not finite (first at {[int(i) for i in bad[0]]}), although the formula is right in "
        f"float64 (largest entry {largest(run.compared[0].here.hand[k]):.3g}) and jax.grad stays "
        "finite: an intermediate result overflows or divides by zero."
    )
    return Finding("not_a_number", (), (name,), text, np.inf)


def _name(eps: float) -> str:
    names = {2.0**-23: "float32", 2.0**-10: "float16", 2.0**-7: "bfloat16"}
    return names.get(eps, f"a precision of {eps:.0e}")
