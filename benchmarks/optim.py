"""Our Adam beside optax's, and beside a kernel that only reads and writes the same bytes; and how
far hyperparameters that live in the state are from constant ones.

python -m benchmarks optim
"""

import itertools

import jax
import jax.numpy as jnp
import optax

from benchmarks import harness
from jaxdl import models, optim
from jaxdl.optim import testing

ADAMS = {"ours": optim.adam(1e-3), "optax": optax.adam(1e-3)}


def run(quick: bool = False) -> dict:
    """Whole steps (update and apply) with donated buffers, and the time to compile one."""
    leaf = {"w": jnp.zeros(2_000_000 if quick else 32_000_000)}
    many = {f"w{i}": jnp.zeros((256, 256)) for i in range(50)}
    mlp = models.mlp((64, 128, 64, 10)).init(jax.random.key(0))
    repeats = 5 if quick else 40
    one = harness.interleave(_arms(leaf, passes=True), repeats)
    many_leaves = harness.interleave(_arms(many), 2 * repeats)
    small = harness.interleave(_arms(mlp, calls=50), 2 * repeats)
    compiling = harness.interleave(_compilations(many), repeats=3 if quick else 10, warmup=1)
    at_most, ratio = harness.Row.at_most, harness.ratio
    passes = ratio(one["ours"], one["7 passes"])
    rows = [
        at_most("Adam, one leaf of 32 M: ours / optax", ratio(one["ours"], one["optax"]), 1.05),
        at_most("Adam, one leaf of 32 M: ours / 7 passes", passes, 1.3),
        at_most(
            "Adam, 50 leaves of 256 × 256: ours / optax",
            ratio(many_leaves["ours"], many_leaves["optax"]),
            1.05,
        ),
        at_most(
            "Adam, MLP of 17 thousand: ours / optax", ratio(small["ours"], small["optax"]), 1.05
        ),
        at_most(
            "compiling, 50 leaves: ours / optax", ratio(compiling["ours"], compiling["optax"]), 1.1
        ),
        *(
            harness.Row(f"one leaf of 32 M, {n} (ms)", harness.Spread.of(1e3 * t))
            for n, t in one.items()
        ),
        *_rounding(100 if quick else 1000),
    ]
    return harness.report("optim", rows, quick)


def _arms(params, calls=1, passes=False):
    arms = {name: _steps(_step(adam), adam, params, calls) for name, adam in ADAMS.items()}
    if passes:
        arms["7 passes"] = _steps(_seven_passes, ADAMS["ours"], params, calls)
    return arms


def _step(adam):
    def step(params, state, gradients):
        updates, state = adam.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    return step


def _seven_passes(params, state, gradients):
    """Reads w, v, s and g and writes w, v and s: the traffic of Adam with hardly any arithmetic."""
    adam, *rest = state
    add = lambda x: jax.tree.map(jnp.add, x, gradients)  # noqa: E731
    return add(params), (adam._replace(mu=add(adam.mu), nu=add(adam.nu)), *rest)


def _steps(step, adam, params, calls):
    """`calls` steps that overwrite their own parameters and state."""
    compiled = jax.jit(step, donate_argnums=(0, 1))
    gradients = jax.tree.map(lambda p: jnp.full_like(p, 0.1), params)
    carry = [jax.tree.map(jnp.copy, params), adam.init(params)]

    def call():
        for _ in range(calls):
            carry[:] = compiled(*carry, gradients)
        jax.block_until_ready(carry)

    return call


def _compilations(params):
    """Trace and compile a step; a changing constant keeps the compiler's memory out of it."""
    numbers = itertools.count()

    def compilation(library):
        def call():
            adam = library.adam(1e-3 * (1 + next(numbers)))
            arguments = (params, adam.init(params), params)
            jax.jit(_step(adam)).lower(*arguments).compile()

        return call

    return {"ours": compilation(optim), "optax": compilation(optax)}


def _rounding(steps):
    """Worst difference of an entry of the updates from those with constants, in ulps of float32."""

    def apart(kept, constant):
        with jax.numpy_dtype_promotion("standard"):
            return testing.check_against(
                kept,
                constant,
                steps=steps,
                scales=(1.0,),
                max_ulps=float("inf"),
                to_reference=lambda state: state.inner_state,
            ).ulps

    for name in ("adam", "nadam", "muon"):
        ours = getattr(optim, name)
        worst = apart(optim.with_hyperparams(ours)(1e-3), ours(1e-3))
        yield harness.Row.at_most(f"{name}: hyperparameters in the state (ulp)", worst, 4)
    for name in ("adam", "nadam"):
        theirs = getattr(optax, name)
        worst = apart(optax.inject_hyperparams(theirs)(1e-3), theirs(1e-3))
        yield harness.Row(f"{name}: optax.inject_hyperparams (ulp)", worst)
    for name, library in (("ours", optim), ("optax", optax)):
        worst = _two_programs(library.nadam(1e-3))
        yield harness.Row(f"nadam with constants, {name}: state kept / dropped (ulp)", worst)


def _two_programs(optimizer):
    """The same update with the same constants, in a program that drops the new state."""
    params, *gradients = jax.random.normal(jax.random.key(0), (5, 1000))
    kept, dropped = jax.jit(optimizer.update), jax.jit(lambda *args: optimizer.update(*args)[0])
    state, worst = optimizer.init(params), 0.0
    for g in gradients:
        other = dropped(g, state, params)
        updates, state = kept(g, state, params)
        worst = max(worst, float(testing.ulps_apart(updates, other).max()))
    return worst
