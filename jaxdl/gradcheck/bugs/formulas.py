"""Derivatives that people write by mistake."""

from collections.abc import Callable

import numpy as np
from scipy import special


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _swish(x):
    """Derivative of x · sigmoid(x)."""
    s = _sigmoid(x)
    return s * (1 + x * (1 - s))


def _gelu(x):
    """Derivative of x Φ(x)."""
    return special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


def _tanh_gelu(x):
    """Derivative of x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    root = np.sqrt(2 / np.pi)
    t = np.tanh(root * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x)


FORMULAS: dict[str, Callable] = {
    "a(1 − a)": lambda z, a, d: a * (1 - a),
    "1 − a²": lambda z, a, d: 1 - a * a,
    "1 − a": lambda z, a, d: 1 - a,
    "1 + a": lambda z, a, d: 1 + a,
    "a": lambda z, a, d: a,
    "a²": lambda z, a, d: a * a,
    "(1 − a)²": lambda z, a, d: (1 - a) ** 2,
    "a(1 + a)": lambda z, a, d: a * (1 + a),
    "1 + a²": lambda z, a, d: 1 + a * a,
    "z(1 − z)": lambda z, a, d: z * (1 - z),
    "1 − z²": lambda z, a, d: 1 - z * z,
    "1 − z": lambda z, a, d: 1 - z,
    "z": lambda z, a, d: z,
    "z²": lambda z, a, d: z * z,
    "1/z": lambda z, a, d: 1 / z,
    "1/z²": lambda z, a, d: 1 / (z * z),
    "1/a": lambda z, a, d: 1 / a,
    "1/a²": lambda z, a, d: 1 / (a * a),
    "1/(1 + z)": lambda z, a, d: 1 / (1 + z),
    "sigmoid(z)": lambda z, a, d: _sigmoid(z),
    "sigmoid′(z)": lambda z, a, d: _sigmoid(z) * _sigmoid(-z),
    "sigmoid′(a)": lambda z, a, d: _sigmoid(a) * _sigmoid(-a),
    "tanh(z)": lambda z, a, d: np.tanh(z),
    "tanh′(z)": lambda z, a, d: 1 - np.tanh(z) ** 2,
    "tanh′(a)": lambda z, a, d: 1 - np.tanh(a) ** 2,
    "exp(z)": lambda z, a, d: np.exp(z),
    "exp(−z)": lambda z, a, d: np.exp(-z),
    "sin(z)": lambda z, a, d: np.sin(z),
    "cos(z)": lambda z, a, d: np.cos(z),
    "sign(z)": lambda z, a, d: np.sign(z),
    "|z|": lambda z, a, d: np.abs(z),
    "step(z)": lambda z, a, d: (z > 0) * 1.0,
    "1 + step(z)": lambda z, a, d: 1.0 + (z > 0),
    "z · step(z)": lambda z, a, d: np.maximum(z, 0),
    "the derivative squared": lambda z, a, d: d * d,
    "the root of the derivative": lambda z, a, d: np.sqrt(np.abs(d)),
    "1/derivative": lambda z, a, d: 1 / d,
    "z · derivative": lambda z, a, d: z * d,
    "a · derivative": lambda z, a, d: a * d,
    "1 − derivative": lambda z, a, d: 1 - d,
    "derivative − 1": lambda z, a, d: d - 1,
    "derivative + 1": lambda z, a, d: d + 1,
    "swish′(z)": lambda z, a, d: _swish(z),
    "that of GELU by a sigmoid": lambda z, a, d: _swish(1.702 * z),
    "that of GELU": lambda z, a, d: _gelu(z),
    "that of GELU by tanh": lambda z, a, d: _tanh_gelu(z),
    "ELU′(z)": lambda z, a, d: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    "that of ELU from its output, at z": lambda z, a, d: np.where(z > 0, 1.0, z + 1),
    "g + g′ for f = z g": lambda z, a, d: (a + d - a / z) / z,
    "g′ for f = z g": lambda z, a, d: (d - a / z) / z,
}
"""Derivatives that people write by mistake, from z, a = f(z) and d = f′(z)."""


OF_OUTPUT: dict[str, Callable] = {
    "1 − a²": lambda a: 1 - a * a,
    "a(1 − a)": lambda a: a * (1 - a),
    "a": lambda a: a,
}
"""Derivatives written in terms of the output a = f(z)."""

VALUES = ("z", "z²", "|z|")
"""Of these formulas: those with a value of z where one of f may belong."""

UNSAID = ("derivative − 1", "derivative + 1", "z · derivative", "a · derivative")
"""Of these formulas: those of f(z) ± z, with a term too many or too few, and those of a product
or a quotient that is not divided by; no word is sure to name them."""

TWICE = ("the derivative squared", "the root of the derivative")
"""Of these formulas: those that a wrong factor beside f explains as well, and more simply."""
