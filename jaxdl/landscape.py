"""The shape of a loss around a point: curvature, spectra, critical points and slices.

`loss(params, *args)` gives a number; params are any tree. Curvature is precise enough to tell
signs only in float64: call inside `jax.enable_x64(True)`.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jaxdl import tree
from jaxdl.types import Array, Key, Params, Scalar

Loss = Callable[..., Array]


def hvp(loss: Loss, params: Params, v: Params, *args) -> Params:
    """Hessian-vector product H v = d/dt ∇J(θ + t v) at t = 0, without forming H.

    Forward over reverse: a tangent through the gradient, at about the price of two gradients
    (Pearlmutter 1994). `v` and the result have the structure of `params`.
    """
    return jax.jvp(lambda p: jax.grad(loss)(p, *args), (params,), (v,))[1]


def hessian(loss: Loss, params: Params, *args) -> Array:
    """The dense (n, n) Hessian over all parameters in flattening order, symmetric exactly."""
    flat, unravel = ravel_pytree(params)
    h = jax.hessian(lambda theta: loss(unravel(theta), *args))(flat)
    return (h + h.T) / 2


def spectrum(loss: Loss, params: Params, *args) -> Array:
    """All n eigenvalues of the Hessian, ascending: O(n³), for small models."""
    return jnp.linalg.eigvalsh(hessian(loss, params, *args))


class Extremes(NamedTuple):
    """Smallest and largest eigenvalue, bounds on their errors, and the Lanczos steps taken."""

    smallest: float
    largest: float
    smallest_error: float
    largest_error: float
    steps: int


def extreme_eigenvalues(
    loss: Loss,
    params: Params,
    *args,
    key: Key,
    tol: float = 1e-6,
    max_steps: int | None = None,
) -> Extremes:
    """Extreme eigenvalues of the Hessian by Lanczos with full reorthogonalisation.

    Each step costs one Hessian-vector product, compiled once for a given `loss` and shapes. A
    Ritz value θ with vector s of the tridiagonal matrix is within |βₖ sₖ| of an eigenvalue; the
    steps end when that is at most tol·|θ| at both ends, or after max_steps. After n steps the
    spectrum is exact to rounding. Needs (max_steps + 1)·n numbers of memory.

    Args:
        loss: function of (params, *args).
        params: where.
        args: further arguments of the loss.
        key: of the random start.
        tol: relative error asked for.
        max_steps: at most this many products; None is n, but no more than 500.
    """
    flat, _ = ravel_pytree(params)
    steps = min(flat.size, max_steps or 500)
    state, done = _lanczos_start(key, flat, steps), 0
    while True:
        state = _lanczos_steps(loss, params, args, key, state, done, min(done + 20, steps))
        done = min(done + 20, steps)
        result = _ritz_extremes(np.asarray(state.alpha[:done]), np.asarray(state.beta[:done]))
        bounds = (
            (result.smallest_error, result.smallest),
            (result.largest_error, result.largest),
        )
        if done == steps or all(error <= tol * abs(value) for error, value in bounds):
            return result


class _Lanczos(NamedTuple):
    """Rows of `basis` are orthonormal; alpha and beta are the tridiagonal matrix."""

    basis: Array
    alpha: Array
    beta: Array


def _lanczos_start(key: Key, flat: Array, steps: int) -> _Lanczos:
    q = jax.random.normal(key, flat.shape, flat.dtype)
    basis = jnp.zeros((steps + 1, flat.size), flat.dtype).at[0].set(q / jnp.linalg.norm(q))
    return _Lanczos(basis, jnp.zeros(steps, flat.dtype), jnp.zeros(steps, flat.dtype))


@partial(jax.jit, static_argnames="loss")
def _lanczos_steps(loss: Loss, params, args, key: Key, state: _Lanczos, start, stop) -> _Lanczos:
    unravel = ravel_pytree(params)[1]

    def step(j, state: _Lanczos) -> _Lanczos:
        w = ravel_pytree(hvp(loss, params, unravel(state.basis[j]), *args))[0]
        alpha = w @ state.basis[j]
        size = jnp.linalg.norm(w)
        w = _orthogonal_to(state.basis, w)
        beta = jnp.linalg.norm(w)
        # An invariant subspace is exhausted: go on in a new direction, uncoupled (β = 0).
        broken = beta <= 10 * jnp.finfo(w.dtype).eps * size
        fresh = jax.random.normal(jax.random.fold_in(key, j), w.shape, w.dtype)
        w = jnp.where(broken, _orthogonal_to(state.basis, fresh), w)
        w = w / jnp.maximum(jnp.linalg.norm(w), jnp.finfo(w.dtype).tiny)
        return _Lanczos(
            state.basis.at[j + 1].set(w),
            state.alpha.at[j].set(alpha),
            state.beta.at[j].set(jnp.where(broken, 0, beta)),
        )

    return jax.lax.fori_loop(start, stop, step, state)


def _orthogonal_to(basis: Array, w: Array) -> Array:
    """w less its part in the span of the rows; twice, which is enough for full precision."""
    for _ in range(2):
        w = w - basis.T @ (basis @ w)
    return w


def _ritz_extremes(alpha: np.ndarray, beta: np.ndarray) -> Extremes:
    from scipy.linalg import eigh_tridiagonal

    values, vectors = eigh_tridiagonal(alpha.astype(np.float64), beta[:-1].astype(np.float64))
    errors = np.abs(beta[-1] * vectors[-1])
    floor = 10 * np.finfo(alpha.dtype).eps * np.abs(values).max()
    return Extremes(
        float(values[0]),
        float(values[-1]),
        float(max(errors[0], floor)),
        float(max(errors[-1], floor)),
        len(alpha),
    )


def index(eigenvalues: Array, tol: float | None = None) -> Array:
    """How many eigenvalues are below −tol·max|λ|: 0 at a minimum, n at a maximum.

    `tol` separates negative from zero; None is the square root of the dtype's precision.
    """
    eigenvalues = jnp.asarray(eigenvalues)
    return (eigenvalues < -_zero(eigenvalues, tol)).sum()


def kind(eigenvalues: Array, tol: float | None = None) -> str:
    """ "minimum", "maximum", "saddle", or "degenerate" where the signs do not decide.

    One negative and one positive eigenvalue make a saddle whatever the others are; with a zero
    among eigenvalues of one sign, higher derivatives decide.
    """
    eigenvalues = jnp.asarray(eigenvalues)
    zero = _zero(eigenvalues, tol)
    negative, positive = int((eigenvalues < -zero).sum()), int((eigenvalues > zero).sum())
    if negative and positive:
        return "saddle"
    if positive == len(eigenvalues):
        return "minimum"
    return "maximum" if negative == len(eigenvalues) else "degenerate"


def _zero(eigenvalues: Array, tol: float | None) -> Array:
    relative = _eps(eigenvalues) ** 0.5 if tol is None else tol
    return relative * jnp.abs(eigenvalues).max()


STATUSES = ("converged", "gradient-flat", "failed")


class CriticalPoint(NamedTuple):
    """Where the search ended; `STATUSES[status]` says how. Arrays, so that it can be vmapped."""

    params: Params
    status: Array
    cost: Array
    gradient_norm: Array
    eigenvalues: Array
    index: Array
    steps: Array


class _Search(NamedTuple):
    theta: Array
    gradient: Array
    damping: Array
    curvature: Array
    steps: Array
    stuck: Array


def find_critical_point(
    loss: Loss,
    params: Params,
    *args,
    gradient_tol: float | None = None,
    flat_tol: float = 1e-4,
    max_steps: int = 500,
) -> CriticalPoint:
    """Search for a point with ∇J = 0 of any index: damped Newton on ½‖∇J‖².

        δ = −(H² + μ I)⁻¹ H g,   accepted if ‖g‖ falls; μ ÷ 4 after a success, × 4 after a failure

    The search may end where g ≠ 0 but H g = 0, a minimum of ½‖∇J‖² that is no critical point
    of J. Such gradient-flat points (Frye et al. 2021) are told apart by their own status and
    must not be counted. Dense: O(n³) a step, for up to about a thousand parameters. Jittable and
    vmappable over params.

    Args:
        loss: function of (params, *args).
        params: start.
        args: further arguments of the loss.
        gradient_tol: ‖g‖ at which a point counts as critical; None is √eps of the dtype.
        flat_tol: ‖H g‖ / (‖g‖ · the largest ‖H‖ met on the way) below which it is gradient-flat.
        max_steps: at most this many steps, accepted or not.
    """
    flat, unravel = ravel_pytree(params)

    def cost(theta: Array) -> Array:
        return loss(unravel(theta), *args)

    gradient, curvature = jax.grad(cost), jax.hessian(cost)
    tol = _eps(flat) ** 0.5 if gradient_tol is None else gradient_tol

    def unfinished(s: _Search) -> Array:
        return (jnp.linalg.norm(s.gradient) > tol) & (s.steps < max_steps) & ~s.stuck

    def step(s: _Search) -> _Search:
        values, vectors = jnp.linalg.eigh(curvature(s.theta))
        largest = jnp.maximum(s.curvature, jnp.abs(values).max())
        mu = s.damping * largest**2 + jnp.finfo(flat.dtype).tiny
        delta = -vectors @ (values * (vectors.T @ s.gradient) / (values**2 + mu))
        theta = s.theta + delta
        new = gradient(theta)
        better = jnp.linalg.norm(new) < jnp.linalg.norm(s.gradient)
        return _Search(
            theta=jnp.where(better, theta, s.theta),
            gradient=jnp.where(better, new, s.gradient),
            damping=jnp.clip(s.damping * jnp.where(better, 0.25, 4.0), 1e-20, None),
            curvature=largest,
            steps=s.steps + 1,
            stuck=~better & (jnp.linalg.norm(delta) <= _eps(flat) * jnp.linalg.norm(s.theta)),
        )

    nothing = jnp.zeros((), flat.dtype)
    start = _Search(flat, gradient(flat), nothing + 1e-3, nothing, jnp.array(0), jnp.array(False))
    end = jax.lax.while_loop(unfinished, step, start)
    return _describe(end, cost(end.theta), curvature(end.theta), unravel, tol, flat_tol)


def _describe(end: _Search, cost: Array, h: Array, unravel, tol, flat_tol) -> CriticalPoint:
    values = jnp.linalg.eigvalsh(h)
    norm = jnp.linalg.norm(end.gradient)
    largest = jnp.maximum(end.curvature, jnp.abs(values).max())
    flat = jnp.linalg.norm(h @ end.gradient) <= flat_tol * largest * norm
    status = jnp.where(norm <= tol, 0, jnp.where(flat & jnp.isfinite(norm), 1, 2))
    return CriticalPoint(unravel(end.theta), status, cost, norm, values, index(values), end.steps)


def _eps(a: Array) -> float:
    return float(jnp.finfo(a.dtype).eps)


def goe(key: Key, n: int, shape: tuple[int, ...] = ()) -> Array:
    """Random symmetric matrices of the Gaussian orthogonal ensemble, (*shape, n, n).

    (G + Gᵀ)/√2 with G standard normal: variance 1 off the diagonal, 2 on it. The null model of
    a Hessian at a critical point: all eigenvalues are positive with probability ½, 0.146, 0.025
    for n = 1, 2, 3, so minima become rare among critical points as n grows.
    """
    g = jax.random.normal(key, (*shape, n, n))
    return (g + jnp.swapaxes(g, -1, -2)) / 2**0.5


def random_direction(key: Key, params: Params) -> Params:
    """A Gaussian direction in which each column of each leaf is as long as that of `params`.

    Filter normalisation (Li et al. 2018): what a unit receives is scaled together, so slices of
    networks with differently scaled weights can be compared. A column of zeros stays put.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))

    def draw(key: Key, leaf: Array) -> Array:
        leaf = jnp.asarray(leaf)
        d = jax.random.normal(key, leaf.shape, leaf.dtype)
        axes = tuple(range(leaf.ndim - 1)) if leaf.ndim > 1 else None
        size = partial(jnp.linalg.norm, axis=axes, keepdims=leaf.ndim > 1)
        return d * (size(leaf) / size(d))

    return jax.tree.unflatten(structure, list(map(draw, keys, leaves)))


def line(loss: Loss, params: Params, u: Params, steps: Array, *args) -> Array:
    """Costs J(θ + s u) for every s in `steps`: (len(steps),). With u = θ′ − θ, from θ to θ′."""
    return jax.vmap(lambda s: loss(_along(params, s, u), *args))(jnp.asarray(steps))


def plane(loss: Loss, params: Params, u: Params, v: Params, a: Array, b: Array, *args) -> Array:
    """Costs J(θ + aᵢ u + bⱼ v), (len(a), len(b)): a two-dimensional slice for a contour chart."""
    return jax.vmap(lambda s: line(loss, _along(params, s, u), v, b, *args))(jnp.asarray(a))


def _along(params: Params, s: Scalar, u: Params) -> Params:
    return tree.add(params, tree.scale(s, u))
