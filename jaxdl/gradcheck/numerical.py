"""Derivatives by finite differences, each with an estimate of its own error.

    f'(θ) ≈ (f(θ + h) − f(θ − h)) / 2h        error h²|f‴|/6 + ε|f|/h

The step that balances both errors is ε^⅓ for the central difference; one Richardson step,
(4 D(h/2) − D(h)) / 3, removes the h² term. The notes' "How to numerically approximate
computations of gradients" gives the first formula; step and extrapolation are textbook.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.gradcheck import entries, tracing
from jaxdl.types import PyTree

GREAT = 1e-7
"""The notes' threshold: a relative difference below this is great."""

SUSPICIOUS = 1e-5
"""The notes' threshold: above this there is maybe a bug."""

EPS = float(np.finfo(np.float64).eps)

Value = Callable[[Sequence[np.ndarray]], float]
"""A function of a flat list of arrays, evaluated in NumPy."""


class Derivative(NamedTuple):
    """A derivative and a bound on its error."""

    value: float
    error: float


class Sides(NamedTuple):
    """The derivatives from the left and from the right, and a bound on the error of each.

    At a kink they differ; where the function jumps, neither has a limit and `error` is large.
    """

    left: float
    right: float
    error: float


def relative_difference(approx: PyTree, grad: PyTree) -> float:
    """The notes' measure of agreement, ‖approx − grad‖₂ / (‖approx‖₂ + ‖grad‖₂).

    Below `GREAT` (1e-7) is great, above `SUSPICIOUS` (1e-5) there is maybe a bug. One number for
    all parameters: it cannot see a small leaf that is wrong beside a large one that is right,
    which is why `check` compares element by element.

    Args:
        approx, grad: trees of one structure with equal shapes, all leaves taken as one vector.

    Returns:
        A number between 0 and 1; 0 when both are zero.

    Raises:
        ValueError: if the trees differ in structure or shape.

    Source: notes, "Gradient checking".
    """
    a, b = jax.tree.leaves(approx), jax.tree.leaves(grad)
    shapes = [np.shape(leaf) for leaf in a], [np.shape(leaf) for leaf in b]
    if jax.tree.structure(approx) != jax.tree.structure(grad) or shapes[0] != shapes[1]:
        raise ValueError(
            "Expected two trees of one structure with equal shapes, got "
            f"{jax.tree.structure(approx)} {shapes[0]} and {jax.tree.structure(grad)} {shapes[1]}."
        )
    x, y = _flat64(a), _flat64(b)
    total = np.linalg.norm(x) + np.linalg.norm(y)
    return float(np.linalg.norm(x - y) / total) if total else 0.0


def best_step(dtype: object, order: int = 2) -> float:
    """The relative step ε^(1/(order+1)): 6e-6 in float64, 5e-3 in float32 for order 2."""
    return float(jnp.finfo(dtype).eps ** (1 / (order + 1)))


def directional(
    f: Value, theta: Sequence[np.ndarray], u: Sequence[np.ndarray], step: float, noise: float = 0.0
) -> Derivative:
    """The derivative of f along u, by central differences at step, step/2, step/4.

    Args:
        f: the function, of a list of arrays.
        theta: the point.
        u: the direction; `step` is measured in units of it.
        step: the largest step.
        noise: what one value of f may be off by; rounding, ε|f|, is added.

    Returns:
        The value extrapolated twice, and its error: the change between the single
        extrapolations, and no less than rounding allows.
    """
    steps = [step, step / 2, step / 4]
    pairs = [(f(_moved(theta, u, h)), f(_moved(theta, u, -h))) for h in steps]
    slopes = [(plus - minus) / (2 * h) for (plus, minus), h in zip(pairs, steps, strict=True)]
    first = (4 * slopes[1] - slopes[0]) / 3
    second = (4 * slopes[2] - slopes[1]) / 3
    size = max(abs(value) for pair in pairs for value in pair)
    rounding = (noise + 4 * EPS * size) / steps[-1]
    return Derivative((16 * second - first) / 15, abs(second - first) + rounding)


def central(f: Value, theta: Sequence[np.ndarray], u: Sequence[np.ndarray], step: float) -> float:
    """(f(θ + h u) − f(θ − h u)) / 2h, without an estimate: enough to confirm a known value."""
    return (f(_moved(theta, u, step)) - f(_moved(theta, u, -step))) / (2 * step)


def sides(f: Value, theta: Sequence[np.ndarray], u: Sequence[np.ndarray], step: float) -> Sides:
    """The one-sided derivatives of f along u, each extrapolated from three steps."""
    base = f(theta)
    values = {}
    for sign in (-1.0, 1.0):
        steps = [step, step / 2, step / 4]
        slopes = [(f(_moved(theta, u, sign * h)) - base) / (sign * h) for h in steps]
        first, second = 2 * slopes[1] - slopes[0], 2 * slopes[2] - slopes[1]
        values[sign] = (4 * second - first) / 3, second - first
    rounding = 16 * EPS * abs(base) / step
    error = max(abs(change) for _, change in values.values()) + rounding
    return Sides(values[-1.0][0], values[1.0][0], error)


def kink_slope(
    f: Value, theta: Sequence[np.ndarray], u: Sequence[np.ndarray], steps: Sequence[float]
) -> float:
    """Slope of log|D₊ − D₋| against log h: about 1 where f is smooth, about 0 on a kink.

    D₊ and D₋ are the one-sided difference quotients. Numbers far from both mean a kink nearby
    that the larger steps cross. Returns 1 where the difference is lost in rounding.
    """
    base = f(theta)
    gaps = [
        abs((f(_moved(theta, u, h)) - base) / h - (base - f(_moved(theta, u, -h))) / h)
        for h in steps
    ]
    rounding = [8 * EPS * abs(base) / h for h in steps]
    usable = [(h, g) for h, g, r in zip(steps, gaps, rounding, strict=True) if g > 4 * r]
    if len(usable) < 2:
        return 1.0
    x, y = np.log([h for h, _ in usable]), np.log([g for _, g in usable])
    return float(np.polyfit(x, y, 1)[0])


def value_noise(
    f: Value, theta: Sequence[np.ndarray], u: Sequence[np.ndarray], step: float
) -> float:
    """The noise in the values of f, from a table of differences of seven values along u.

    Differencing k times removes a smooth function and multiplies independent noise σ by
    √((2k)!)/k!; the levels at which the estimates agree give σ (Moré and Wild, ECNoise, 2011;
    ours takes the largest of the levels 3 to 5 and does not test for sign changes).
    """
    differences = np.array([f(_moved(theta, u, step * k)) for k in range(-3, 4)])
    levels, gamma = [], 1.0
    for k in range(1, 6):
        differences = np.diff(differences)
        gamma *= 0.5 * k / (2 * k - 1)
        if k >= 3:
            levels.append(np.sqrt(gamma * np.mean(differences**2)))
    return float(max(levels))


def gradient(
    f: Callable[[PyTree], jax.Array],
    params: PyTree,
    *,
    step: float | None = None,
    order: int = 2,
    chunk: int = 256,
) -> PyTree:
    """∂f/∂θᵢ for every component, by central differences, many at a time.

        order 2:  (f(θ + h eᵢ) − f(θ − h eᵢ)) / 2h
        order 4:  the Richardson extrapolation (4 D(h) − D(2h)) / 3

    Args:
        f: a JAX function `params -> scalar`.
        params: a tree of real floating arrays; the arithmetic is done in their dtype, so pass
            float64 (under `jax.enable_x64(True)`) where digits matter.
        step: h, relative to max(1, |θᵢ|); by default the best for the dtype.
        order: 2 or 4.
        chunk: how many components are evaluated at once, at most.

    Returns:
        A tree like `params`.

    Raises:
        TypeError, ValueError: if a leaf is not real and floating, or f gives anything but one
            real floating scalar.
    """
    if order not in (2, 4):
        raise ValueError(f"Expected order 2 or 4, got {order!r}.")
    leaves, structure = jax.tree.flatten(jax.tree.map(_concrete, params))

    def scalar(leaves):
        value = f(jax.tree.unflatten(structure, leaves))
        tracing.require_scalar(value)
        return value

    closed = jax.make_jaxpr(scalar)(leaves)
    multiples = (1, -1) if order == 2 else (1, -1, 2, -2)
    steps = [_steps(leaf, step, order) for leaf in leaves]
    moves = [h[:, None] * np.array(multiples, h.dtype) for h in steps]
    found = entries.values(closed, leaves, moves, chunk)
    columns = [_quotient(v, h, order) for v, h in zip(found, steps, strict=True)]
    shaped = [jnp.reshape(c, leaf.shape) for c, leaf in zip(columns, leaves, strict=True)]
    return jax.tree.unflatten(structure, shaped)


def _concrete(leaf: Any) -> np.ndarray:
    """A leaf in the dtype that JAX would give it under the settings in force."""
    dtype = jnp.result_type(leaf)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"Expected parameters of a real floating dtype, got {dtype}. Close over what is not "
            "differentiated."
        )
    return np.asarray(leaf, dtype)


def _steps(leaf: np.ndarray, step: float | None, order: int) -> np.ndarray:
    relative = best_step(leaf.dtype, order) if step is None else step
    return (relative * np.maximum(1, np.abs(leaf.reshape(-1)))).astype(leaf.dtype)


def _quotient(values: np.ndarray, h: np.ndarray, order: int) -> np.ndarray:
    central = (values[:, 0] - values[:, 1]) / (2 * h)
    if order == 2:
        return central
    wide = (values[:, 2] - values[:, 3]) / (4 * h)
    return (4 * central - wide) / 3


def components(
    f: Value, theta: Sequence[np.ndarray], noise: float = 0.0
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Every component's derivative and error estimate, for a function that JAX cannot run."""
    values, errors = [], []
    for k, leaf in enumerate(theta):
        pairs = [component(f, theta, k, i, noise) for i in range(leaf.size)]
        values.append(np.array([d.value for d in pairs]).reshape(leaf.shape))
        errors.append(np.array([d.error for d in pairs]).reshape(leaf.shape))
    return values, errors


def component(
    f: Value, theta: Sequence[np.ndarray], k: int, i: int, noise: float = 0.0
) -> Derivative:
    """The derivative with respect to entry i of leaf k.

    For a complex entry z = x + iy this is ∂f/∂x − i ∂f/∂y, as `jax.grad` has it.
    """
    v = np.zeros_like(theta[k])
    v.reshape(-1)[i] = _entry_scale(theta, k, i)
    real = along(f, theta, k, v, noise)
    if v.dtype.kind != "c":
        return real._replace(value=real.value / abs(v).max(), error=real.error / abs(v).max())
    imaginary = along(f, theta, k, 1j * v, noise)
    size = float(np.abs(v).max())
    value = complex(real.value, -imaginary.value) / size
    return Derivative(value, max(real.error, imaginary.error) / size)  # type: ignore[arg-type]


def along(
    f: Value, theta: Sequence[np.ndarray], k: int, v: np.ndarray, noise: float = 0.0
) -> Derivative:
    """The derivative along direction v in leaf k, with a step that suits the noise of f.

    Where the values carry noise σ, the step grows to where σ/h and the error h⁴ of one
    extrapolation balance; near a kink a smaller step is tried.
    """
    u = [np.zeros_like(leaf) for leaf in theta]
    u[k] = v
    step = widest(noise, f(theta)) if noise else 2e-4
    best = directional(f, theta, u, step, noise)
    if not noise and not best.error <= 1e-5 * abs(best.value):
        closer = directional(f, theta, u, step / 100, noise)
        return best if best.error <= closer.error else closer
    return best


def widest(noise: float, size: float) -> float:
    """The relative step for values of this size with this noise."""
    if not noise:
        return 2e-4
    return float(np.clip(4 * (noise / max(abs(size), noise, 1e-300)) ** 0.2, 2e-4, 0.2))


def entry_sides(f: Value, theta: Sequence[np.ndarray], k: int, i: int) -> Sides:
    """The one-sided derivatives with respect to entry i of leaf k."""
    return sides(f, theta, _unit(theta, k, i, 1.0), 1e-5 * _entry_scale(theta, k, i))


def _entry_scale(theta: Sequence[np.ndarray], k: int, i: int) -> float:
    """How far entry i of leaf k may move: its own size, a typical entry's of the leaf or tree."""
    typical = _root_mean_square(theta[k])
    if typical == 0:
        typical = min(max(map(_root_mean_square, theta)), 1.0)
    return max(float(np.abs(theta[k].reshape(-1)[i])), typical, 1e-3)


def _root_mean_square(leaf: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.abs(leaf) ** 2))) if leaf.size else 0.0


def _unit(theta: Sequence[np.ndarray], k: int, i: int, size: complex) -> list[np.ndarray]:
    u = [np.zeros_like(leaf) for leaf in theta]
    u[k].reshape(-1)[i] = size
    return u


def _moved(theta: Sequence[np.ndarray], u: Sequence[np.ndarray], h: float) -> list[np.ndarray]:
    return [t + h * v for t, v in zip(theta, u, strict=True)]


def _flat64(leaves: Sequence) -> np.ndarray:
    parts = [np.asarray(leaf).reshape(-1) for leaf in leaves]
    wide = [p.astype(np.complex128 if p.dtype.kind == "c" else np.float64) for p in parts]
    return np.concatenate(wide) if wide else np.zeros(0)
