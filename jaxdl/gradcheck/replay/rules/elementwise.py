"""Elementwise primitives in NumPy: the value, and the derivative with respect to each operand.

`UNARY[name] = (f, df)` with `df(x, y)` the derivative at x, where y = f(x). `BINARY[name]`
holds f and the two partial derivatives `dx(x, y, out)`, `dy(x, y, out)`. Conventions at kinks
are those of `jax.grad`: the two sides of a tie share the gradient, |x| has slope 1 at 0.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

Params = dict[str, Any]

AT_ZERO = "slope at zero"
"""Parameter of an |x| whose slope at 0 is not 1, as in a function with a derivative of its own."""


def _zero(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.zeros_like(y, float)


def _share_of_tie(winner: Callable) -> tuple[Callable, Callable]:
    """Derivatives of max or min: 1 for the winner, ½ each at a tie."""

    def dx(x, y, out):
        return np.where(x == y, 0.5, winner(x, y) * 1.0)

    def dy(x, y, out):
        return np.where(x == y, 0.5, winner(y, x) * 1.0)

    return dx, dy


UNARY: dict[str, tuple[Callable, Callable]] = {
    "neg": (np.negative, lambda x, y: np.full_like(y, -1.0)),
    "exp": (np.exp, lambda x, y: y),
    "exp2": (np.exp2, lambda x, y: y * np.log(2.0)),
    "log": (np.log, lambda x, y: 1 / x),
    "log1p": (np.log1p, lambda x, y: 1 / (1 + x)),
    "expm1": (np.expm1, lambda x, y: y + 1),
    "tanh": (np.tanh, lambda x, y: 1 - y * y),
    "logistic": (special.expit, lambda x, y: y * special.expit(-x)),
    "relu": (lambda x: np.maximum(x, 0), lambda x, y: (x > 0) * 1.0),
    "sin": (np.sin, lambda x, y: np.cos(x)),
    "cos": (np.cos, lambda x, y: -np.sin(x)),
    "tan": (np.tan, lambda x, y: 1 + y * y),
    "asin": (np.arcsin, lambda x, y: 1 / np.sqrt(1 - x * x)),
    "acos": (np.arccos, lambda x, y: -1 / np.sqrt(1 - x * x)),
    "atan": (np.arctan, lambda x, y: 1 / (1 + x * x)),
    "sinh": (np.sinh, lambda x, y: np.cosh(x)),
    "cosh": (np.cosh, lambda x, y: np.sinh(x)),
    "asinh": (np.arcsinh, lambda x, y: 1 / np.sqrt(1 + x * x)),
    "acosh": (np.arccosh, lambda x, y: 1 / np.sqrt(x * x - 1)),
    "atanh": (np.arctanh, lambda x, y: 1 / (1 - x * x)),
    "sqrt": (np.sqrt, lambda x, y: 0.5 / y),
    "rsqrt": (lambda x: 1 / np.sqrt(x), lambda x, y: -0.5 * y / x),
    "cbrt": (np.cbrt, lambda x, y: y / (3 * x)),
    "square": (np.square, lambda x, y: 2 * x),
    "abs": (np.abs, lambda x, y: np.where(x >= 0, 1.0, -1.0)),
    "erf": (special.erf, lambda x, y: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "erfc": (special.erfc, lambda x, y: -2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "erf_inv": (special.erfinv, lambda x, y: np.sqrt(np.pi) / 2 * np.exp(y * y)),
    "lgamma": (special.gammaln, lambda x, y: special.psi(x)),
    "digamma": (special.psi, lambda x, y: special.polygamma(1, x)),
    "sign": (np.sign, _zero),
    "floor": (np.floor, _zero),
    "ceil": (np.ceil, _zero),
    "stop_gradient": (lambda x: x, _zero),
    "copy": (lambda x: x, lambda x, y: np.ones_like(y)),
    "not": (np.logical_not, _zero),
    "is_finite": (np.isfinite, _zero),
}

BINARY: dict[str, tuple[Callable, Callable, Callable]] = {
    "add": (np.add, lambda x, y, o: 1.0, lambda x, y, o: 1.0),
    "add_any": (np.add, lambda x, y, o: 1.0, lambda x, y, o: 1.0),
    "sub": (np.subtract, lambda x, y, o: 1.0, lambda x, y, o: -1.0),
    "mul": (np.multiply, lambda x, y, o: y, lambda x, y, o: x),
    "div": (np.divide, lambda x, y, o: 1 / y, lambda x, y, o: -o / y),
    "max": (np.maximum, *_share_of_tie(np.greater)),
    "min": (np.minimum, *_share_of_tie(np.less)),
    "pow": (
        np.power,
        lambda x, y, o: y * np.power(x, y - 1),
        lambda x, y, o: np.where(x > 0, o * np.log(np.where(x > 0, x, 1.0)), 0.0),
    ),
    "atan2": (
        np.arctan2,
        lambda x, y, o: y / (x * x + y * y),
        lambda x, y, o: -x / (x * x + y * y),
    ),
}

COMPARISONS: dict[str, Callable] = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "and": lambda x, y: np.logical_and(x, y) if x.dtype == bool else np.bitwise_and(x, y),
    "or": lambda x, y: np.logical_or(x, y) if x.dtype == bool else np.bitwise_or(x, y),
}

SUMS = frozenset({"add", "sub", "add_any"})

LINEAR = SUMS | {"neg", "copy", "convert_element_type", "mul", "div"}
"""Elementwise primitives whose derivative does not depend on the operand, given constants."""


def unbroadcast(ct: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Sum of a cotangent over the axes along which an operand was repeated."""
    if np.shape(ct) == shape:
        return ct
    ct = np.sum(ct, axis=tuple(range(np.ndim(ct) - len(shape))))
    repeated = tuple(i for i, n in enumerate(shape) if n != ct.shape[i])
    return np.sum(ct, axis=repeated, keepdims=True)


def unary(name: str) -> tuple[Callable, Callable]:
    """Value and backward rule of a unary primitive."""
    f, df = UNARY[name]

    def forward(params: Params, x: np.ndarray) -> np.ndarray:
        return f(x)

    def backward(params: Params, ct, ins, out) -> tuple:
        return (ct * df(ins[0], out),)

    return forward, backward


def binary(name: str) -> tuple[Callable, Callable]:
    """Value and backward rule of a binary primitive."""
    f, dx, dy = BINARY[name]

    def forward(params: Params, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if name == "div" and x.dtype.kind in "iu":
            return np.trunc(x / y).astype(x.dtype)
        return f(x, y)

    def backward(params: Params, ct, ins, out) -> tuple:
        x, y = ins
        return (
            unbroadcast(ct * dx(x, y, out), np.shape(x)),
            unbroadcast(ct * dy(x, y, out), np.shape(y)),
        )

    return forward, backward


def part(name: str, k: int) -> Callable:
    """What the backward rule of a binary primitive sends to its operand k alone."""
    derivative = BINARY[name][1 + k]

    def back(params: Params, ct, *ins) -> np.ndarray:
        return unbroadcast(ct * derivative(*ins, None), np.shape(ins[k]))

    return back


PARTS = {name: (part(name, 0), part(name, 1)) for name in ("add", "add_any", "sub", "mul")}
"""One function per operand, for primitives whose derivatives do not need the result."""


def comparison(name: str) -> tuple[Callable, None]:
    """Value of a primitive that has no derivative."""
    f = COMPARISONS[name]

    def forward(params: Params, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return f(x, y)

    return forward, None


def _integer_pow() -> tuple[Callable, Callable]:
    def forward(params, x):
        return x ** params["y"] if params["y"] >= 0 else 1 / x ** -params["y"]

    def backward(params, ct, ins, out):
        n = params["y"]
        if n == 0:
            return (np.zeros_like(ct),)
        return (ct * n * (ins[0] ** (n - 1) if n >= 1 else 1 / ins[0] ** (1 - n)),)

    return forward, backward


def _convert() -> tuple[Callable, Callable]:
    def forward(params, x):
        return x.astype(params["new_dtype"])

    def backward(params, ct, ins, out):
        return (ct,)

    return forward, backward


def _round() -> tuple[Callable, Callable]:
    return lambda params, x: np.round(x), lambda params, ct, ins, out: (np.zeros_like(ct),)


def _select() -> tuple[Callable, Callable]:
    def forward(params, which, *cases):
        if len(cases) == 2:
            return np.where(which.astype(bool), cases[1], cases[0])
        return np.choose(which, cases)

    def backward(params, ct, ins, out):
        which, *cases = ins
        return (None, *(np.where(which == i, ct, 0.0) for i in range(len(cases))))

    return forward, backward


def _abs() -> tuple[Callable, Callable]:
    forward, usual = unary("abs")

    def backward(params, ct, ins, out):
        (back,) = usual(params, ct, ins, out)
        return (np.where(ins[0] == 0, params.get(AT_ZERO, 1.0) * ct, back),)

    return forward, backward


def _clamp() -> tuple[Callable, Callable]:
    def forward(params, low, x, high):
        return np.minimum(np.maximum(x, low), high)

    def backward(params, ct, ins, out):
        low, x, high = ins
        return (None, ct * ((x > low) & (x < high)), None)

    return forward, backward


RULES: dict[str, tuple[Callable, Callable | None]] = {
    **{name: unary(name) for name in UNARY},
    **{name: binary(name) for name in BINARY},
    **{name: comparison(name) for name in COMPARISONS},
    "integer_pow": _integer_pow(),
    "convert_element_type": _convert(),
    "round": _round(),
    "select_n": _select(),
    "abs": _abs(),
    "clamp": _clamp(),
}
