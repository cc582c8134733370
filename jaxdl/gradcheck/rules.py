"""Checks of derivative rules: pullbacks, custom rules, Hessian-vector products.

Each is a gradient check of a scalar made for it. A pullback of f at cotangent v is the gradient of
⟨v, f(x)⟩; a Hessian-vector product along v is the gradient of ⟨∇J(θ), v⟩. Several random v are
tried: all ones would hide a rule that ignores its cotangent.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck import interpret, tracing
from jaxdl.gradcheck.adequacy import BATCH_SIZE
from jaxdl.gradcheck.call import upcast
from jaxdl.gradcheck.compare import check
from jaxdl.gradcheck.problem import Finding
from jaxdl.gradcheck.report import Report
from jaxdl.types import PyTree

LINEAR = 1e-9
"""Relative tolerance of linearity, in float64."""


def check_vjp(
    f: Callable[..., Any],
    pullback: Callable[..., Any],
    args: Sequence[Any],
    *,
    cotangents: int = 3,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Check a hand-derived pullback against `jax.vjp`, at several random cotangents.

        pullback(*args, v) = Jᵀ v,   the gradient of ⟨v, f(*args)⟩

    Args:
        f: `f(*args) -> tree of arrays`.
        pullback: `pullback(*args, cotangent) -> tuple with one tree per argument` (the tree alone
            where there is one argument; anything for an argument that is not floating).
        args: where to check.
        cotangents: how many random cotangents, each of another scale.
        seed: of the cotangents.
        **options: further options of `check`.

    Returns:
        One report over all cotangents. Beyond a wrong gradient it finds pullbacks that ignore
        the cotangent, are not linear in it, or change under `jax.vmap`.
    """
    args = tuple(args)

    def loss(params, v):
        return _inner(v, f(*params))

    def grad(params, v):
        result = pullback(*params, v)
        return result if len(params) > 1 or _is_tuple_of_one(result) else (result,)

    vs = [_cotangent(f, args, seed + i, 4.0**i) for i in range(max(cotangents, 2))]
    report = _checked(loss, grad, args, [(v,) for v in vs], seed, options, "VJP")
    extra = _cotangent_faults(lambda v: grad(*_wide((args, v))), vs)
    return _with_findings(report, extra)


def check_rule(
    custom_fn: Callable[..., Any],
    *args: Any,
    reference: Callable[..., Any] | None = None,
    cotangents: int = 2,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Check the rule of a `jax.custom_vjp` or `jax.custom_jvp` function against its own body.

    Args:
        custom_fn: the function with the custom rule, or any function that calls such ones.
        *args: where to check.
        reference: what to differentiate instead; by default the body of `custom_fn`, with every
            custom rule inside taken off.
        cotangents: how many random cotangents.
        seed: of the cotangents.
        **options: further options of `check`.

    Returns:
        A report; "autodiff" in it is autodiff of the body.
    """
    static = tuple(getattr(custom_fn, "nondiff_argnums", ()))
    body = reference if reference is not None else _body(custom_fn)
    custom, plain = _without(custom_fn, static, args), _without(body, static, args)
    moving = tuple(arg for i, arg in enumerate(args) if i not in static)

    def loss(params, v):
        return _inner(v, plain(*params))

    def grad(params, v):
        def scalar(params):
            return _inner(v, custom(*params))

        return jax.grad(scalar, allow_int=True)(params)

    vs = [_cotangent(plain, moving, seed + i, 4.0**i) for i in range(max(cotangents, 1))]
    return _checked(loss, grad, moving, [(v,) for v in vs], seed, options, "RULE")


def check_hvp(
    loss: Callable[..., Any],
    hvp: Callable[..., Any],
    params: PyTree,
    *args: Any,
    directions: int = 2,
    seed: int = 0,
    **options: Any,
) -> Report:
    """Check a Hessian-vector product against autodiff, along several random directions.

        hvp(params, v, *args) = ∇²J(θ) v,   the gradient of ⟨∇J(θ), v⟩

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        hvp: `hvp(params, v, *args) -> tree like params`; v is a tree like params.
        params: a tree of floating arrays.
        *args: further arguments of the loss. `batch_argnums` counts these, as in `check`.
        directions: how many.
        seed: of the directions.
        **options: further options of `check`.

    Returns:
        A report; a product that is not linear or not symmetric (u·Hv ≠ v·Hu) is said to be so.
    """
    if options.get("batch_argnums") is not None:
        argnums = options["batch_argnums"]
        argnums = (argnums,) if isinstance(argnums, int) else argnums
        options["batch_argnums"] = tuple(i + 1 for i in argnums)

    def slope(params, v, *args):
        return _inner(v, jax.grad(loss)(params, *args))

    vs = [_like(params, seed + i, 4.0**i) for i in range(max(directions, 2))]
    report = _checked(slope, hvp, params, [(v, *args) for v in vs], seed, options, "HVP")
    with tracing.scope(standard=True):
        wide = _wide((params, args))

    def product(v):
        return hvp(wide[0], v, *wide[1])

    return _with_findings(report, _cotangent_faults(product, vs) + _asymmetry(product, vs))


def _inner(v: PyTree, y: PyTree) -> Any:
    """Re⟨v, y⟩ over the floating leaves, unconjugated as JAX's cotangents are."""
    total: Any = 0.0
    for a, b in zip(jax.tree.leaves(v), jax.tree.leaves(y), strict=True):
        if jnp.issubdtype(jnp.result_type(b), jnp.inexact):
            total = total + jnp.sum(jnp.asarray(a, jnp.result_type(b)) * b).real
    return total


def _cotangent(f: Callable, args: tuple, seed: int, size: float) -> PyTree:
    shapes = jax.eval_shape(lambda: f(*args))
    return _like(shapes, seed, size)


def _like(tree: PyTree, seed: int, size: float) -> PyTree:
    """Random numbers in the shapes and dtypes of the floating leaves, zeros for the others."""
    rng = np.random.default_rng(seed)

    def draw(leaf):
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            return np.zeros(np.shape(leaf))
        v = size * rng.standard_normal(np.shape(leaf))
        if jnp.issubdtype(dtype, jnp.complexfloating):
            v = v + 1j * size * rng.standard_normal(np.shape(leaf))
        return np.asarray(v).astype(dtype)

    return jax.tree.map(draw, tree)


def _wide(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: upcast(leaf) if hasattr(leaf, "dtype") else leaf, tree)


def _is_tuple_of_one(result: Any) -> bool:
    return isinstance(result, tuple | list) and len(result) == 1


def _without(f: Callable, static: tuple[int, ...], args: tuple) -> Callable:
    """f as a function of its other arguments alone."""

    def moving(*others):
        stream = iter(others)
        return f(*(arg if i in static else next(stream) for i, arg in enumerate(args)))

    return moving


def _body(custom_fn: Callable) -> Callable:
    """The function without its custom rule; without those inside it, if it has none itself."""
    inner = getattr(custom_fn, "fun", None)
    if inner is not None and hasattr(custom_fn, "nondiff_argnums"):
        return inner

    def plain(*args):
        leaves, structure = jax.tree.flatten(args)
        moving = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "dtype")]

        def flat(*arrays):
            full = list(leaves)
            for i, array in zip(moving, arrays, strict=True):
                full[i] = array
            return custom_fn(*jax.tree.unflatten(structure, full))

        arrays = [leaves[i] for i in moving]
        closed, shape = jax.make_jaxpr(flat, return_shape=True)(*arrays)
        results = interpret.run(closed, lambda eqn, inputs: None, arrays)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return plain


def _cotangent_faults(product: Callable, vs: Sequence[PyTree]) -> list[Finding]:
    """Whether `product` ignores its vector, is not linear in it, or fails under vmap."""
    with tracing.scope(standard=True):
        u, v = (_wide(w) for w in vs[:2])
        try:
            a, b = _flat(product(u)), _flat(product(v))
            both = _flat(product(jax.tree.map(lambda x, y: 2.0 * x - 3.0 * y, u, v)))
        except Exception:  # said already, by the check itself
            return []
        size = np.max(np.abs([a, b]), initial=0.0)
        if size and np.array_equal(a, b):
            text = "Two different cotangents give the same result: the cotangent is not used."
            return [Finding("cotangent_ignored", (), (), text, 0.0)]
        off = float(np.max(np.abs(both - (2.0 * a - 3.0 * b)), initial=0.0))
        if off > LINEAR * size or not np.isfinite(off):
            text = f"The result is not linear in the vector: off by {off:.3g} of {size:.3g}."
            return [Finding("not_linear", (), (), text, off / max(size, 1e-300))]
        return _vmap_fault(product, u, v, np.stack([a, b]), LINEAR * size)


def _vmap_fault(product: Callable, u: PyTree, v: PyTree, rows: np.ndarray, tol: float) -> list:
    stacked = jax.tree.map(lambda x, y: jnp.stack([x, y]), u, v)
    try:
        results = jax.tree.leaves(jax.vmap(product)(stacked))
    except Exception:  # NumPy code cannot be mapped, and need not be
        return []
    mapped = np.concatenate([np.asarray(leaf).reshape(2, -1) for leaf in results], axis=1)
    if mapped.shape == rows.shape and np.max(np.abs(mapped - rows), initial=0.0) <= tol:
        return []
    return [Finding("not_linear", (), (), "The result changes under jax.vmap.", np.inf)]


def _asymmetry(product: Callable, vs: Sequence[PyTree]) -> list[Finding]:
    with tracing.scope(standard=True):
        u, v = (_wide(w) for w in vs[:2])
        try:
            hu, hv, u, v = (_flat(t) for t in (product(u), product(v), u, v))
        except Exception:
            return []
    left, right = float(u @ hv), float(v @ hu)
    if abs(left - right) <= LINEAR * max(np.linalg.norm(u) * np.linalg.norm(hv), 1e-300):
        return []
    text = f"u·Hv = {left:.9g} but v·Hu = {right:.9g}: no Hessian gives both."
    return [Finding("not_symmetric", (), (), text, abs(left - right))]


def _flat(tree: PyTree) -> np.ndarray:
    leaves = [np.asarray(leaf).reshape(-1) for leaf in jax.tree.leaves(tree)]
    leaves = [leaf for leaf in leaves if leaf.dtype != jax.dtypes.float0]
    return np.concatenate(leaves) if leaves else np.zeros(0)


def _checked(
    loss: Callable,
    grad: Callable,
    params: PyTree,
    calls: Sequence[tuple],
    seed: int,
    options: dict,
    kind: str,
) -> Report:
    """One report over several calls; a failure is diagnosed once."""
    quiet = {**options, "diagnose": False, "seed": seed}
    reports = [check(loss, grad, params, *args, **quiet) for args in calls]
    failed = [i for i, report in enumerate(reports) if report.verdict == "FAIL"]
    if failed and options.get("diagnose", True):
        i = failed[0]
        reports[i] = check(loss, grad, params, *calls[i], seed=seed, **options)
    return _combined(reports, kind)


def _combined(reports: Sequence[Report], kind: str) -> Report:
    """One report: the worst verdict, every leaf from where it was worst, all texts once."""
    order = ("PASS", "INCONCLUSIVE", "FAIL")
    worst = max(reports, key=lambda report: order.index(report.verdict))
    leaves = [
        max(rows, key=lambda leaf: (leaf.verdict == "WRONG", leaf.relative))
        for rows in zip(*(report.leaves for report in reports if report.leaves), strict=True)
    ]
    return dataclasses.replace(
        worst,
        leaves=tuple(leaves),
        notes=_once(report.notes for report in reports),
        adequacy=_shared([report.adequacy for report in reports]),
        seconds=sum(report.seconds for report in reports),
        title=f"GRADCHECK {kind}",
    )


def _with_findings(report: Report, extra: Sequence[Finding]) -> Report:
    if not extra:
        return report
    kept = [finding for finding in report.findings if finding.cause != "unknown"]
    return dataclasses.replace(report, verdict="FAIL", findings=(*extra, *kept), doubts=())


def _once(groups: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for group in groups for text in group))


def _shared(groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """What none of the checks could see."""
    return tuple(
        text for text in groups[0] if text != BATCH_SIZE and all(text in group for group in groups)
    )
