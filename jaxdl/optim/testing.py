"""A conformance kit for any optimizer: does it equal a reference, does it keep the laws?

    from jaxdl.optim import testing
    testing.check_against(my_adam(1e-3), optax.adam(1e-3))
    testing.check_laws(my_adam)

Both raise an AssertionError that names what differs, where and by how much.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import tree
from jaxdl.optim.base import GradientTransformation, apply_updates
from jaxdl.types import Params, PyTree

SCALES = (1e-30, 1.0, 1e30)


class Agreement(NamedTuple):
    """The worst differences that `check_against` saw.

    Attributes:
        relative: In float64, of a leaf's parameters, relative to its largest entry.
        ulps: In float32, of an entry of the updates of one step from the same state.
    """

    relative: float
    ulps: float


def check_against(
    mine: GradientTransformation,
    reference: GradientTransformation,
    *,
    steps: int = 1000,
    scales: Sequence[float] = SCALES,
    rtol: float = 1e-13,
    max_ulps: float = 4,
    to_reference: Callable[[PyTree], PyTree] | None = None,
    seed: int = 0,
) -> Agreement:
    """Checks that an optimizer equals a reference, on a nested tree of random gradients.

    In float64 both run on their own for `steps` steps, and after each the parameters must agree
    to `rtol` relative to the largest entry of each leaf. In float32 every compiled step starts both
    from the same state, and each entry of the updates must agree to `max_ulps` units in the last
    place.

    Args:
        mine: The optimizer to check.
        reference: What it must equal; any pair with `init` and `update`.
        steps: Number of steps.
        scales: Sizes of the gradients, which the leaves of the tree take in turn.
        rtol: Allowed relative difference in float64.
        max_ulps: Allowed difference in float32, in units in the last place.
        to_reference: Makes a state of the reference from one of `mine`; needed if the two do not
            hold the same arrays in the same order.
        seed: Of the random parameters and gradients.

    Returns:
        The worst differences found.

    Raises:
        AssertionError: naming step, leaf, index, both values and their distance; or what of
            structure, shapes and dtypes `mine` does not preserve.
        TypeError: if one of the two is no optimizer.
        ValueError: without a step to compare, or if `to_reference` is needed.
    """
    for optimizer in (mine, reference):
        if not hasattr(optimizer, "update"):
            raise TypeError(f"Expected an optimizer such as optim.adam(1e-3), got {optimizer!r}.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}: nothing would be compared.")
    with jax.enable_x64(True):
        _check_shapes(mine, jnp.dtype(jnp.float64))
    reference = _relaxed(reference)
    convert = to_reference or _transplanted(mine, reference)
    with jax.enable_x64(True):
        histories = _side_by_side(mine, reference, steps, scales, seed)
        relative = _compare(histories, "The parameters", _relative, rtol, "relative")
    histories = _step_by_step(mine, reference, convert, steps, scales, seed)
    in_float64 = (
        f" In float64 the parameters agreed to {relative:.1g}: either the rounding differs (the "
        "order of operations, or 1 - b2 taken in float32; max_ulps allows more), or updates do "
        "that are too small to move a parameter."
    )
    ulps = _compare(histories, "The updates", ulps_apart, max_ulps, "ulp", in_float64)
    return Agreement(relative, ulps)


def check_laws(
    mine: GradientTransformation | Callable[[Any], GradientTransformation],
    *,
    hyperparams: Sequence[float] = (1e-3, 1e-2, 1e-1),
    dtypes: Sequence[str] = ("float32", "bfloat16", "float16", "complex64"),
    steps: int = 3,
    rtol: float = 1e-12,
) -> None:
    """Checks what holds for every good optimizer, whatever it computes.

    - jit = eager, with donated buffers, traced once for all steps, and as one scan
    - vmap over a hyperparameter = a loop over it (if `mine` is a function of it)
    - structure, shapes and dtypes of updates and state stay what they are; no None
    - zero gradients give finite updates; scalar leaves and empty trees are fine

    Args:
        mine: An optimizer, or a function that makes one from one hyperparameter (a learning rate).
        hyperparams: Values for that function; the first is used for the other laws.
        dtypes: Dtypes of parameters and gradients for the law about dtypes; the law about zero
            gradients is tried in the one with the fewest small numbers.
        steps: How many steps the laws run.
        rtol: Allowed relative difference per leaf, in float64.

    Raises:
        AssertionError: naming the law, the leaf, and what was seen.
        TypeError: if `mine` is neither an optimizer nor a function.
    """
    make = None if hasattr(mine, "update") else mine
    if make is not None and not callable(make):
        raise TypeError(f"Expected an optimizer or a function that makes one, got {mine!r}.")
    optimizer = mine if make is None else make(hyperparams[0])
    for dtype in dtypes:
        _check_shapes(optimizer, jnp.dtype(dtype))
    _check_zero_gradient(optimizer, max(map(jnp.dtype, dtypes), key=lambda d: jnp.finfo(d).tiny))
    _check_empty_tree(optimizer)
    with jax.enable_x64(True):
        expected = _run_eager(optimizer, steps)
        _check_jit(optimizer, expected, steps, rtol)
        if make is None:
            _assert_close("one scan = a loop", _run_scan(optimizer, steps), expected, rtol)
        else:
            _check_vmap(make, hyperparams, expected, steps, rtol)


# The problem: a nested tree with a matrix, a number and a tensor of rank 3.


def problem(dtype: Any = None, seed: int = 0) -> Params:
    """Random parameters of size 1: a dict, a list and a tuple with leaves of rank 2, 0 and 3."""
    return _draw(dtype or float, np.random.default_rng(seed), ())


def random_gradients(
    scales: Sequence[float] = (1.0,), dtype: Any = None, seed: int = 1, steps: int = 1
) -> PyTree:
    """Normal gradients for `problem`, stacked along axis 0; leaves take their sizes in turn."""
    drawn = _draw(dtype or float, np.random.default_rng(seed), (steps,))
    leaves, treedef = jax.tree.flatten(drawn)
    sizes = [scales[i % len(scales)] for i in range(len(leaves))]
    return jax.tree.unflatten(treedef, list(map(tree.scale, sizes, leaves)))


def _draw(dtype, rng, batch) -> PyTree:
    def leaf(*shape):
        values = rng.standard_normal(batch + shape)
        if jnp.issubdtype(dtype, jnp.complexfloating):
            values = values + 1j * rng.standard_normal(batch + shape)
        return jnp.asarray(values, dtype)

    return {"w": leaf(3, 2), "rest": [leaf(), (leaf(1, 2, 2),)]}


# Against a reference.


def _side_by_side(mine, reference, steps, scales, seed) -> tuple[PyTree, PyTree]:
    """The parameters after each step of both optimizers, each from its own state."""
    params = problem(jnp.float64, seed)

    def step(carry, gradients):
        moved = []
        for optimizer, (w, state) in zip((mine, reference), carry, strict=True):
            updates, state = optimizer.update(gradients, state, w)
            moved.append((apply_updates(w, updates), state))
        return tuple(moved), (moved[0][0], moved[1][0])

    start = ((params, mine.init(params)), (params, reference.init(params)))
    return _scan(step, start, random_gradients(scales, jnp.float64, seed + 1, steps))


def _step_by_step(mine, reference, convert, steps, scales, seed) -> tuple[PyTree, PyTree]:
    """The updates of each step of both optimizers, both from the state of `mine`.

    Each step is a compiled program of its own that keeps all results, as a training loop does:
    how a compiler rounds a product and a sum depends on what else a program computes.
    """

    def one(optimizer):
        def step(gradients, state, w):
            updates, after = optimizer.update(gradients, state, w)
            return updates, after, apply_updates(w, updates)

        return jax.jit(step)

    ours, theirs = one(mine), one(reference)
    w = problem(jnp.float32, seed)
    state, history = mine.init(w), []
    for gradients in _each(random_gradients(scales, jnp.float32, seed + 1, steps), steps):
        expected, _, _ = theirs(gradients, convert(state), w)
        updates, state, w = ours(gradients, state, w)
        history.append((updates, expected))
    return jax.tree.map(lambda *us: np.stack(us), *history)


def _scan(step, start, xs) -> Any:
    """The stacked outputs of a compiled scan, as NumPy arrays."""
    outputs = jax.jit(lambda carry, xs: jax.lax.scan(step, carry, xs)[1])(start, xs)
    return jax.tree.map(np.asarray, outputs)


def _transplanted(mine, reference) -> Callable[[PyTree], PyTree]:
    """Puts the arrays of one state into the structure of the other, if they correspond."""
    params = problem()
    ours, theirs = mine.init(params), reference.init(params)
    signature = [[(a.shape, a.dtype) for a in jax.tree.leaves(s)] for s in (ours, theirs)]
    if signature[0] != signature[1]:
        raise ValueError(
            "The states of the two optimizers hold different arrays, so that one cannot start "
            "from the state of the other. Pass to_reference, a function that makes the "
            f"reference's state:\nmine      {jax.tree.structure(ours)}\n"
            f"reference {jax.tree.structure(theirs)}"
        )
    return lambda state: jax.tree.unflatten(jax.tree.structure(theirs), jax.tree.leaves(state))


def _relaxed(transform: GradientTransformation) -> GradientTransformation:
    """The reference under NumPy's promotion rules, whatever the caller's are."""

    def relaxed(f):
        def call(*args):
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                return f(*args)

        return call

    return GradientTransformation(relaxed(transform.init), relaxed(transform.update))


def ulps_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b| in units in the last place of the larger; 0 for equal infinities and two NaNs."""
    a, b = np.asarray(a), np.asarray(b)
    with np.errstate(invalid="ignore", over="ignore"):
        larger = np.maximum(np.maximum(np.abs(a), np.abs(b)), np.finfo(a.dtype).tiny)
        apart = np.abs(a - b) / np.spacing(larger)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|a − b| over the largest |b| of the leaf, at each step (axis 0)."""
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.max(np.abs(b), axis=tuple(range(1, b.ndim)), keepdims=True)
        apart = np.abs(a - b) / np.maximum(largest, np.finfo(b.dtype).tiny)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(same, 0.0, np.where(np.isnan(apart), np.inf, apart))


def _compare(histories, what, distance, allowed, unit, advice="") -> float:
    """The worst distance between two histories; an error at the first step beyond `allowed`."""
    mine, reference = histories
    _same_avals(f"{what} are like the reference's", what.lower(), mine, reference)
    paired = zip(jax.tree.leaves_with_path(mine), jax.tree.leaves(reference), strict=True)
    compared = [(tree.path_string(p), a, b, distance(a, b)) for (p, a), b in paired]
    wrong = [
        (np.argwhere(d > allowed)[0], p, a, b, d) for p, a, b, d in compared if (d > allowed).any()
    ]
    if wrong:
        at, path, a, b, d = min(wrong, key=lambda found: found[0][0])
        at = tuple(int(i) for i in at)
        apart = f"{ulps_apart(a[at], b[at]):.4g} ulp apart"
        raise AssertionError(
            f"{what} differ first at step {at[0] + 1}, leaf {path!r}, index {at[1:]}: "
            f"got {a[at]!s}, expected {b[at]!s} ({a.dtype}), {apart}"
            + ("" if unit == "ulp" else f" or {d[at]:.3g} {unit}")
            + f", where {allowed:g} is allowed. {len(wrong)} of {len(compared)} leaves differ."
            + advice
        )
    return max((float(d.max(initial=0)) for *_, d in compared), default=0.0)


# Laws.


def _check_shapes(optimizer, dtype) -> None:
    """Updates look like gradients, the next state like the last; for any dtype, without running."""
    params = problem(dtype)

    def two_steps(params):
        state = optimizer.init(params)
        updates, after = optimizer.update(params, state, params)
        return state, updates, after

    _check_arrays(optimizer.init(params))
    try:
        state, updates, after = jax.eval_shape(two_steps, params)
    except jax.errors.ConcretizationTypeError as error:
        raise AssertionError(
            "Law broken: update can be compiled. It looks at the value of an array in Python (if, "
            f"float(), int()): use jnp.where or jax.lax.cond. {str(error).splitlines()[0]}"
        ) from error
    law = f"structure, shape and dtype are preserved ({dtype})"
    _same_avals(law, "updates", updates, params)
    _same_avals(law, "state", after, state)
    for name, value in (("state", state), ("updates", updates)):
        nones = [x for x in jax.tree.leaves(value, is_leaf=lambda x: x is None) if x is None]
        assert not nones, f"Law broken: {law}. The {name} hold {len(nones)} None."


def _check_arrays(state) -> None:
    for path, leaf in jax.tree.leaves_with_path(state):
        assert hasattr(leaf, "dtype"), (
            "Law broken: a state holds arrays, which compiled functions take and give back. "
            f"At {tree.path_string(path)!r} it holds {leaf!r}: make it jnp.asarray({leaf!r})."
        )


def _same_avals(law, name, got, expected) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(expected), (
        f"Law broken: {law}. The structure of the {name} became {jax.tree.structure(got)}, "
        f"it was {jax.tree.structure(expected)}."
    )
    for (path, x), y in zip(jax.tree.leaves_with_path(got), jax.tree.leaves(expected), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype), (
            f"Law broken: {law}. In the {name}, {tree.path_string(path)!r} became "
            f"{x.dtype}{list(x.shape)}, expected {y.dtype}{list(y.shape)}."
        )


def _check_zero_gradient(optimizer, dtype) -> None:
    params = problem(dtype)
    updates, state = tree.zeros_like(params), optimizer.init(params)
    updates, state = optimizer.update(updates, state, params)
    for path, u in jax.tree.leaves_with_path(updates):
        assert bool(jnp.isfinite(u).all()), (
            f"Law broken: zero gradients give finite updates ({dtype}). "
            f"At {tree.path_string(path)!r} the update is {u}."
        )


def _check_empty_tree(optimizer) -> None:
    updates, _ = optimizer.update({}, optimizer.init({}), {})
    assert updates == {}, f"Law broken: an empty tree stays empty. It became {updates}."


def _run_eager(optimizer, steps) -> Params:
    params = problem()
    state = optimizer.init(params)
    for gradients in _each(random_gradients(steps=steps), steps):
        gradients = jax.tree.map(jnp.asarray, gradients)
        updates, state = optimizer.update(gradients, state, params)
        params = apply_updates(params, updates)
    return params


def _each(stacked, steps) -> list[PyTree]:
    """One tree of NumPy arrays for each step: cutting them is quick, and so is passing them on."""
    stacked = jax.tree.map(np.asarray, stacked)
    return [jax.tree.map(lambda g, t=t: g[t], stacked) for t in range(steps)]


def _check_jit(optimizer, expected, steps, rtol) -> None:
    traces = 0

    def step(params, state, gradients):
        nonlocal traces
        traces += 1
        updates, state = optimizer.update(gradients, state, params)
        return apply_updates(params, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 1))
    params = problem()
    state = optimizer.init(params)
    for gradients in _each(random_gradients(steps=steps), steps):
        params, state = compiled(params, state, gradients)
    assert traces == 1, f"Law broken: traced once. {steps} equal steps were traced {traces} times."
    _assert_close("jit with donated buffers = eager", params, expected, rtol)


def _run_scan(optimizer, steps) -> Params:
    def step(carry, gradients):
        params, state = carry
        updates, state = optimizer.update(gradients, state, params)
        return (apply_updates(params, updates), state), None

    params, gradients = problem(), random_gradients(steps=steps)
    return jax.lax.scan(step, (params, optimizer.init(params)), gradients)[0][0]


def _check_vmap(make, hyperparams, expected, steps, rtol) -> None:
    values = jnp.asarray(hyperparams)
    one = jax.jit(lambda value: _run_scan(make(value), steps))
    together = jax.vmap(one)(values)
    _assert_close("one scan with a traced hyperparameter = a loop", one(values[0]), expected, rtol)
    for i, value in enumerate(values):
        mine = jax.tree.map(lambda x, i=i: x[i], together)
        _assert_close(f"vmap over hyperparameters = loop (at {value})", mine, one(value), rtol)


def _assert_close(law, got, expected, rtol) -> None:
    history = jax.tree.map(lambda x: np.asarray(x)[None], (got, expected))
    _compare(history, f"Law broken: {law}. The parameters", _relative, rtol, "relative")
