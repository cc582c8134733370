"""The formulas of the notes, transcribed as printed, each beside what it must equal.

The notes' conventions hold here: see `audit`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.lab.audit import (
    Formula,
    Sides,
    averages,
    between,
    by_autodiff,
    cross_entropy,
    equal,
    finite_everywhere,
    labels,
    normal,
    of_example,
    of_network,
    output_variance,
    row_sums,
    scalar_derivative,
    sigmoid,
    weighted_sum,
)

OPTIMISING = (
    Formula(
        "Understanding exponentially weighted averages",
        "v_t = β v_{t−1} + (1−β) θ_t",
        equal(averages, weighted_sum, lambda rng: rng.uniform(0.5, 0.99), normal(30)),
    ),
    Formula(
        "Learning rate decay",
        "α = α₀ / (1 + decay rate · epoch)",
        finite_everywhere(lambda epoch: 0.1 / (1 + 0.5 * epoch)),
    ),
    Formula(
        "Learning rate decay",
        "α = k α₀ / √epoch",
        finite_everywhere(lambda epoch: 0.1 * 0.95 / np.sqrt(epoch)),
        "divides by zero in epoch 0; count from 1: α = k α₀ / √(epoch + 1)",
        finite_everywhere(lambda epoch: 0.1 * 0.95 / np.sqrt(epoch + 1)),
    ),
    Formula(
        "Learning rate decay",
        "α = k α₀ / √t",
        finite_everywhere(lambda t: 0.1 * 0.95 / np.sqrt(t)),
        "divides by zero in step 0; count from 1: α = k α₀ / √(t + 1)",
        finite_everywhere(lambda t: 0.1 * 0.95 / np.sqrt(t + 1)),
    ),
    Formula(
        "Regularization",
        "J(w, b) = (1/m) Σ L + (λ/2m) ‖w‖₂², whose gradient adds (λ/m) w",
        equal(
            lambda w: 0.7 / 5 * w,
            lambda w: by_autodiff(lambda w: 0.7 / 10 * (w**2).sum(), w),
            normal(4),
        ),
    ),
    Formula(
        "Regularization",
        "Frobenius norm: the sum of squares of the elements of a matrix",
        equal(lambda w: np.sum(w**2), np.linalg.norm, normal(3, 4)),
        "that is its square: ‖W‖ = √(Σ wᵢⱼ²)",
        equal(lambda w: np.sqrt(np.sum(w**2)), np.linalg.norm, normal(3, 4)),
    ),
    Formula(
        "Weight Initialization for Deep Networks",
        "tanh: variance of the weights √(1/n_in)",
        output_variance(lambda n, _: (1 / n) ** 0.25, relu=False),
        "√(1/n_in) is the standard deviation; the variance is 1/n_in",
        output_variance(lambda n, _: (1 / n) ** 0.5, relu=False),
    ),
    Formula(
        "Weight Initialization for Deep Networks",
        "tanh: variance of the weights √(2/(n_in + n_out))",
        output_variance(lambda n, k: (2 / (n + k)) ** 0.25, relu=False, n_out=400),
        "√(2/(n_in + n_out)) is the standard deviation; the variance is 2/(n_in + n_out)",
        output_variance(lambda n, k: (2 / (n + k)) ** 0.5, relu=False, n_out=400),
    ),
    Formula(
        "Weight Initialization for Deep Networks",
        "ReLU: variance of the weights √(2/n_in)",
        output_variance(lambda n, _: (2 / n) ** 0.25, relu=True),
        "√(2/n_in) is the standard deviation; the variance is 2/n_in",
        output_variance(lambda n, _: (2 / n) ** 0.5, relu=True),
    ),
)


def _difference_quotient(epsilon: float) -> Sides:
    return equal(
        lambda t: (np.sin(3 * (t + epsilon)) - np.sin(3 * (t - epsilon))) / (2 * epsilon),
        lambda t: 3 * np.cos(3 * t),
        between(-1, 1, 5),
    )


def _relative_difference(of: Callable[[np.ndarray, np.ndarray], Any]) -> Sides:
    """On a correct gradient, one entry of which is exactly 0, it must be 0."""

    def sides(rng):
        gradient = np.array([*rng.normal(size=3), 0.0])
        with np.errstate(invalid="ignore"):
            return of(gradient, gradient), np.zeros_like(of(gradient, gradient))

    return sides


CHECKING = (
    Formula(
        "Numerical approximation of gradients",
        "the formal definition: f′(θ) = (f(θ+ε) − f(θ−ε)) / 2ε",
        _difference_quotient(0.1),
        "the limit is missing: f′(θ) = lim ε→0 of it (here ε = 0.1 against ε = 1e-5)",
        _difference_quotient(1e-5),
    ),
    Formula(
        "Gradient checking",
        "dθ_approx[i] = (J(…, θᵢ+ε, …) − J(…, θᵢ−ε, …)) / 2ε",
        _difference_quotient(1e-5),
    ),
    Formula(
        "Gradient checking",
        "‖dθ_approx[i] − dθ[i]‖₂ / (‖dθ_approx[i]‖₂ + ‖dθ[i]‖₂)",
        _relative_difference(lambda a, b: np.abs(a - b) / (np.abs(a) + np.abs(b))),
        "the index does not belong inside the norms: entry by entry it is 0/0 where both are 0",
        _relative_difference(
            lambda a, b: np.linalg.norm(a - b) / (np.linalg.norm(a) + np.linalg.norm(b))
        ),
    ),
)

PROPAGATION = (
    Formula(
        "Forward and backward propagation",
        "z = W·a + b, a = g(z); vectorised Z = W·A + b, A = g(Z)",
        equal(
            lambda w, a, b: np.tanh(w @ a + b),
            lambda w, a, b: np.stack([np.tanh(w @ a[:, i] + b[:, 0]) for i in range(5)], axis=1),
            normal(4, 3), normal(3, 5), normal(4, 1),
        ),
    ),
    Formula(
        "Forward and backward propagation",
        "dz = da ∗ g′(z)",
        of_example(lambda n: n.dA1 * (1 - n.A1**2), "Z1"),
    ),
    Formula(
        "Forward and backward propagation",
        "dw = dz · a",
        of_example(lambda n: n.dZ2 @ n.A1, "W2"),
        "the transpose is missing: dW = dz · aᵀ",
        of_example(lambda n: n.dZ2 @ n.A1.T, "W2"),
    ),
    Formula("Forward and backward propagation", "db = dz", of_example(lambda n: n.dZ2, "b2")),
    Formula(
        "Forward and backward propagation",
        "da = Wᵀ · dz",
        of_example(lambda n: n.W2.T @ n.dZ2, "A1"),
    ),
    Formula(
        "Forward and backward propagation",
        "dz[l] = W[l+1]ᵀ dz[l+1] · g[l]′(z[l])",
        of_example(lambda n: (n.W2.T @ n.dZ2) @ (1 - n.A1**2), "Z1"),
        "the last product is entry by entry: dz[l] = (W[l+1]ᵀ dz[l+1]) ∗ g[l]′(z[l])",
        of_example(lambda n: (n.W2.T @ n.dZ2) * (1 - n.A1**2), "Z1"),
    ),
    Formula(
        "Forward and backward propagation",
        "dZ = dA ∗ g′(Z)",
        of_network(lambda n: n.dA1 * (1 - n.A1**2), "Z1"),
    ),
    Formula(
        "Forward and backward propagation",
        "dW = (1/m) dZ · Aᵀ",
        of_network(lambda n: n.dZ2 @ n.A1.T / n.m, "W2", mean=True),
    ),
    Formula(
        "Forward and backward propagation",
        "db = (1/m) np.sum(dZ, axis=1, keepdims=True)",
        of_network(lambda n: row_sums(n.dZ1) / n.m, "b1", mean=True),
    ),
    Formula(
        "Forward and backward propagation",
        "dA[l−1] = Wᵀ · dZ",
        of_network(lambda n: n.W2.T @ n.dZ2, "A1"),
    ),
    Formula(
        "Computing a Neural Network’s output",
        "3.11: the rows wᵢᵀ stacked, times x, plus b",
        equal(
            lambda w, x, b: w @ x + b,
            lambda w, x, b: np.array([w[i] @ x + b[i] for i in range(4)]),
            normal(4, 3), normal(3), normal(4),
        ),
    ),
    Formula(
        "Vectorizing across multiple examples",
        "3.15: z⁽ⁱ⁾ = W⁽ⁱ⁾ x⁽ⁱ⁾ + b for every example i",
        equal(
            lambda w, x, b: np.stack([w[i] @ x[:, i] + b for i in range(5)], axis=1),
            lambda w, x, b: w[0] @ x + b[:, None],
            normal(5, 4, 3), normal(3, 5), normal(4),
        ),
        "weights do not depend on the example: z⁽ⁱ⁾ = W x⁽ⁱ⁾ + b",
        equal(
            lambda w, x, b: np.stack([w[0] @ x[:, i] + b for i in range(5)], axis=1),
            lambda w, x, b: w[0] @ x + b[:, None],
            normal(5, 4, 3), normal(3, 5), normal(4),
        ),
    ),
    Formula(
        "Justification for vectorized implementation",
        "3.17: W X = [z⁽¹⁾ z⁽²⁾ …] = Z, with z⁽ⁱ⁾ = W x⁽ⁱ⁾ + b",
        equal(
            lambda w, x, b: w @ x,
            lambda w, x, b: np.stack([w @ x[:, i] + b[:, 0] for i in range(5)], axis=1),
            normal(4, 3), normal(3, 5), normal(4, 1),
        ),
        "b is left out (the lecture sets b = 0 here): Z = W X + b",
        equal(
            lambda w, x, b: w @ x + b,
            lambda w, x, b: np.stack([w @ x[:, i] + b[:, 0] for i in range(5)], axis=1),
            normal(4, 3), normal(3, 5), normal(4, 1),
        ),
    ),
    Formula(
        "Gradient descent for neural networks",
        "3.32: dz[2] = A[2] − Y",
        of_network(lambda n: n.A2 - n.Y, "Z2"),
    ),
    Formula(
        "Gradient descent for neural networks",
        "3.33: dW[2] = (1/m) dz[2] A[1]ᵀ",
        of_network(lambda n: n.dZ2 @ n.A1.T / n.m, "W2", mean=True),
    ),
    Formula(
        "Gradient descent for neural networks",
        "3.34: db[2] = (1/m) np.sum(dz[2], axis=1, keepdims=True)",
        of_network(lambda n: row_sums(n.dZ2) / n.m, "b2", mean=True),
    ),
    Formula(
        "Gradient descent for neural networks",
        "3.35: dz[1] = W[2]ᵀ dz[2] ∗ g[1]′ ∗ z[1]",
        of_network(lambda n: (n.W2.T @ n.dZ2) * (1 - n.A1**2) * n.Z1, "Z1"),
        "g′ is taken at z, not multiplied by it: dz[1] = W[2]ᵀ dz[2] ∗ g[1]′(z[1])",
        of_network(lambda n: (n.W2.T @ n.dZ2) * (1 - n.A1**2), "Z1"),
    ),
    Formula(
        "Gradient descent for neural networks",
        "3.36: dW[1] = (1/m) dz[1] xᵀ",
        of_network(lambda n: n.dZ1 @ n.X.T / n.m, "W1", mean=True),
    ),
    Formula(
        "Gradient descent for neural networks",
        "3.37: db[1] = (1/m) np.sum(dz[1], axis=1, keepdims=True)",
        of_network(lambda n: row_sums(n.dZ1) / n.m, "b1", mean=True),
    ),
)  # fmt: skip

ACTIVATING = (
    Formula(
        "Activation functions",
        "3.18: σ(z) = 1 / (1 + e⁻ᶻ)",
        equal(sigmoid, lambda z: np.asarray(jax.nn.sigmoid(jnp.asarray(z))), between(-30, 30, 9)),
    ),
    Formula(
        "Activation functions",
        "3.19: tanh(z) = (eᶻ − e⁻ᶻ) / (eᶻ + e⁻ᶻ)",
        equal(
            lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
            np.tanh,
            between(-30, 30, 9),
        ),
    ),
    Formula(
        "Activation functions",
        "3.23: leaky ReLU a = max(0.01 z, z)",
        equal(lambda z: np.maximum(0.01 * z, z), lambda z: np.where(z > 0, z, 0.01 * z), normal(9)),
    ),
    Formula(
        "Derivatives of activation functions",
        "3.25: σ′(z) = g(z) (1 − g(z))",
        scalar_derivative(lambda z: sigmoid(z) * (1 - sigmoid(z)), jax.nn.sigmoid),
    ),
    Formula(
        "Derivatives of activation functions",
        "3.27: tanh′(z) = 1 − tanh(z)²",
        scalar_derivative(lambda z: 1 - np.tanh(z) ** 2, jnp.tanh),
    ),
    Formula(
        "Derivatives of activation functions",
        "ReLU′: 0 if z < 0, 1 if z > 0, undefined at 0",
        scalar_derivative(lambda z: (z > 0).astype(float), jax.nn.relu),
    ),
    Formula(
        "Derivatives of activation functions",
        "leaky ReLU′: 0.01 if z < 0, 1 if z > 0, undefined at 0",
        scalar_derivative(lambda z: np.where(z > 0, 1, 0.01), lambda z: jax.nn.leaky_relu(z, 0.01)),
    ),
)


def _is_a_probability(p):
    return ((p > 0) & (p < 1)).astype(float)


def _likelihood(formula: Callable) -> Sides:
    """P(y | x) for y = 0 and y = 1, given ŷ = P(y = 1 | x)."""
    return equal(
        lambda p: np.stack([formula(p, 0.0), formula(p, 1.0)]),
        lambda p: np.stack([1 - p, p]),
        between(0.05, 0.95, 6),
    )


def _logistic_gradient(formula: Callable, of: str) -> Sides:
    """dw or db of logistic regression on X (3, 5), against autodiff."""

    def sides(rng):
        x, y, w, b = (
            rng.normal(size=(3, 5)),
            labels(1, 5)(rng),
            rng.normal(size=(3, 1)),
            rng.normal(),
        )

        def cost(w, b):
            return cross_entropy(jax.nn.sigmoid(w.T @ x + b), y).mean()

        a = sigmoid(w.T @ x + b)
        at = (jnp.asarray(w), jnp.asarray(b))
        return formula(x, a - y), np.asarray(jax.grad(cost, {"w": 0, "b": 1}[of])(*at))

    return sides


def _loop(x, dz):
    """The notes' loop over the m examples."""
    dw = np.zeros((3, 1))
    for i in range(5):
        for j in range(3):
            dw[j] += x[j, i] * dz[0, i]
    return dw / 5


LOGISTIC = (
    Formula(
        "Logistic Regression",
        "ŷ = wᵀx + b, the probability that y = 1",
        equal(_is_a_probability, np.ones_like, between(-9, 9, 8)),
        "σ is missing: ŷ = σ(wᵀx + b), else ŷ is not between 0 and 1",
        equal(lambda z: _is_a_probability(sigmoid(z)), np.ones_like, between(-9, 9, 8)),
    ),
    Formula(
        "Logistic Regression Cost Function",
        "L(ŷ, y) = −y log ŷ − (1−y) log(1−ŷ)",
        equal(
            lambda p, y: -y * np.log(p) - (1 - y) * np.log(1 - p),
            lambda p, y: -np.log(np.where(y == 1, p, 1 - p)),
            between(0.01, 0.99, 8), labels(8),
        ),
    ),
    Formula(
        "Logistic Regression Gradient Descent",
        "dL/da = −y/a + (1−y)/(1−a)",
        equal(
            lambda a, y: -y / a + (1 - y) / (1 - a),
            lambda a, y: by_autodiff(lambda a: cross_entropy(a, y).sum(), a),
            between(0.05, 0.95, 8), labels(8),
        ),
    ),
    Formula(
        "Logistic Regression Gradient Descent",
        "da/dz = a (1−a)",
        scalar_derivative(lambda z: sigmoid(z) * (1 - sigmoid(z)), jax.nn.sigmoid),
    ),
    Formula(
        "Logistic Regression Gradient Descent",
        "dz = dL/dz = a − y",
        equal(
            lambda z, y: sigmoid(z) - y,
            lambda z, y: by_autodiff(lambda z: cross_entropy(jax.nn.sigmoid(z), y).sum(), z),
            normal(8), labels(8),
        ),
    ),
    Formula(
        "Logistic Regression Gradient Descent",
        "dw₁ = (1/m) Σ x₁⁽ⁱ⁾ (a⁽ⁱ⁾ − y⁽ⁱ⁾)",
        _logistic_gradient(lambda x, dz: np.array([[x[j] @ dz[0] / 5] for j in range(3)]), "w"),
    ),
    Formula(
        "Logistic Regression Gradient Descent",
        "db = (1/m) Σ (a⁽ⁱ⁾ − y⁽ⁱ⁾)",
        _logistic_gradient(lambda x, dz: dz.sum() / 5, "b"),
    ),
    Formula(
        "Logistic Regression Gradient Descent",
        "dJ/du = dJ/dv · dv/du",
        equal(
            lambda u: 3 * np.ones_like(u) * 2 * u,
            lambda u: by_autodiff(lambda u: (3 * (5 + u**2)).sum(), u),
            normal(4),
        ),
    ),
    Formula(
        "Gradient Descent on m Examples",
        "for i = 1 to m: dz⁽ⁱ⁾ = a⁽ⁱ⁾ − y⁽ⁱ⁾, dw += x⁽ⁱ⁾ dz⁽ⁱ⁾; dw /= m",
        _logistic_gradient(_loop, "w"),
    ),
    Formula(
        "Vectorizing Logistic Regression’s Gradient",
        "dw = (1/m) ∗ X ∗ dzᵀ",
        _logistic_gradient(lambda x, dz: x * dz.T / 5, "w"),
        "the product is that of matrices: dw = (1/m) X · dzᵀ",
        _logistic_gradient(lambda x, dz: x @ dz.T / 5, "w"),
    ),
    Formula(
        "Vectorizing Logistic Regression’s Gradient",
        "db = (1/m) ∗ np.sum(dZ)",
        _logistic_gradient(lambda x, dz: np.sum(dz) / 5, "b"),
    ),
    Formula(
        "Explanation of logistic regression cost function",
        "p(y|x) = ŷ (1−ŷ)^(1−y)",
        _likelihood(lambda p, y: p * (1 - p) ** (1 - y)),
        "an exponent is missing: p(y|x) = ŷ^y (1−ŷ)^(1−y)",
        _likelihood(lambda p, y: p**y * (1 - p) ** (1 - y)),
    ),
    Formula(
        "Explanation of logistic regression cost function",
        "log Π p(y⁽ⁱ⁾|x⁽ⁱ⁾) = Σ −L(ŷ⁽ⁱ⁾, y⁽ⁱ⁾)",
        equal(
            lambda p, y: np.log(np.prod(np.where(y == 1, p, 1 - p))),
            lambda p, y: -np.sum(np.asarray(cross_entropy(jnp.asarray(p), y))),
            between(0.1, 0.9, 6), labels(6),
        ),
    ),
)  # fmt: skip

FORMULAS = (*OPTIMISING, *CHECKING, *PROPAGATION, *ACTIVATING, *LOGISTIC)
