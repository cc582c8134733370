"""What it takes to audit a formula: a random instance, and the two sides that must be equal.

The notes' conventions: examples in columns, X of shape (n, m), W of shape (n_out, n_in), `·` a
matrix product and `∗` a product entry by entry. Where superscripts were lost in print they are
restored as the course means them; what is wrong beyond that is left wrong.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Sides: TypeAlias = Callable[[np.random.Generator], tuple[Any, Any]]
"""Draws an instance; returns what the formula gives and what it must give."""


@dataclasses.dataclass(frozen=True)
class Formula:
    """One formula.

    Attributes:
        section: the heading of the notes under which it stands.
        printed: the formula as printed.
        sides: what it gives and what it must give; raises ValueError where shapes do not fit.
        erratum: what is wrong with it, and the correction; empty if nothing is.
        corrected: as `sides`, for the corrected formula.
    """

    section: str
    printed: str
    sides: Sides
    erratum: str = ""
    corrected: Sides | None = None


def sigmoid(z):
    """σ(z) = 1 / (1 + e⁻ᶻ), as printed."""
    return 1 / (1 + np.exp(-z))


def by_autodiff(f, *at):
    """The gradient of the scalar f with respect to its first argument."""
    return np.asarray(jax.grad(f)(*map(jnp.asarray, at)))


def cross_entropy(a, y):
    """The notes' loss of one example, −y log a − (1 − y) log(1 − a)."""
    return -y * jnp.log(a) - (1 - y) * jnp.log(1 - a)


@dataclasses.dataclass(frozen=True)
class Network:
    """3 inputs, 4 tanh units, one sigmoid output; m = 5 examples in columns.

    Every quantity of the forward and backward pass has the name it has in the notes.
    """

    X: np.ndarray
    Y: np.ndarray
    W1: np.ndarray
    b1: np.ndarray
    W2: np.ndarray
    b2: np.ndarray

    @classmethod
    def draw(cls, rng):
        """Normal weights and inputs, random labels."""
        shapes = ((4, 3), (4, 1), (1, 4), (1, 1))
        y = rng.integers(0, 2, (1, 5)).astype(float)
        return cls(rng.normal(size=(3, 5)), y, *(rng.normal(size=s) for s in shapes))

    m = 5
    Z1 = property(lambda n: n.W1 @ n.X + n.b1)
    A1 = property(lambda n: np.tanh(n.Z1))
    Z2 = property(lambda n: n.W2 @ n.A1 + n.b2)
    A2 = property(lambda n: sigmoid(n.Z2))
    dZ2 = property(lambda n: n.A2 - n.Y)
    dA1 = property(lambda n: n.W2.T @ n.dZ2)
    dZ1 = property(lambda n: n.dA1 * (1 - n.A1**2))

    def cost_from(self, name):
        """J·m as a function of one of the quantities above, the later ones recomputed from it."""

        def cost(value):
            v = {k: jnp.asarray(getattr(self, k)) for k in ("X", "W1", "b1", "W2", "b2")}
            v |= {name: value}
            z1 = v.get("Z1", v["W1"] @ v["X"] + v["b1"] * jnp.ones((1, self.m)))
            a1 = v.get("A1", jnp.tanh(z1))
            z2 = v.get("Z2", v["W2"] @ a1 + v["b2"] * jnp.ones((1, self.m)))
            return cross_entropy(jax.nn.sigmoid(z2), self.Y).sum()

        return cost

    def true(self, name):
        """The derivative of the summed loss with respect to that quantity, by autodiff."""
        return by_autodiff(self.cost_from(name), getattr(self, name))


def of_network(ours: Callable[[Network], Any], name: str, mean: bool = False) -> Sides:
    """A formula about the network against autodiff; `mean` if it carries the notes' 1/m."""

    def sides(rng):
        net = Network.draw(rng)
        return ours(net), net.true(name) / (net.m if mean else 1)

    return sides


def of_example(formula: Callable[..., Any], name: str) -> Sides:
    """As `of_network` for one example: formulas of a single training example, columns as (n, 1)."""

    def sides(rng):
        net = Network.draw(rng)
        one = dataclasses.replace(net, X=net.X[:, :1], Y=net.Y[:, :1])
        object.__setattr__(one, "m", 1)
        return formula(one), one.true(name)

    return sides


def row_sums(rows):
    """np.sum(rows, axis=1, keepdims=True), as the notes write it."""
    return np.sum(rows, axis=1, keepdims=True)


def scalar_derivative(formula: Callable, f: Callable, low=-3.0, high=3.0) -> Sides:
    """A formula for f′ against autodiff of f, at random points."""

    def sides(rng):
        z = rng.uniform(low, high, 7)
        return formula(z), np.asarray(jax.vmap(jax.grad(f))(jnp.asarray(z)))

    return sides


def equal(formula: Callable, truth: Callable, *draws: Callable) -> Sides:
    """Two functions of the same random draws."""

    def sides(rng):
        values = [draw(rng) for draw in draws]
        return formula(*values), truth(*values)

    return sides


def normal(*shape):
    """Draws standard normals of that shape."""
    return lambda rng: rng.normal(size=shape)


def between(low, high, *shape):
    """Draws uniform numbers of that shape."""
    return lambda rng: rng.uniform(low, high, shape)


def labels(*shape):
    """Draws zeros and ones of that shape."""
    return lambda rng: rng.integers(0, 2, shape).astype(float)


def averages(beta, theta):
    """The last exponentially weighted average, by the notes' recursion."""
    v = 0.0
    for value in theta:
        v = beta * v + (1 - beta) * value
    return v


def weighted_sum(beta, theta):
    """The same as a sum: Σ (1−β) β^(t−k) θ_k."""
    t = len(theta)
    return sum((1 - beta) * beta ** (t - 1 - k) * theta[k] for k in range(t))


def finite_everywhere(rate: Callable[[np.ndarray], np.ndarray]) -> Sides:
    """Whether a schedule is a number in epochs 0 to 5."""

    def sides(rng):
        del rng
        with np.errstate(divide="ignore"):
            rates = rate(np.arange(6.0))
        return np.isfinite(rates).astype(float), np.ones(6)

    return sides


def output_variance(std: Callable[[int, int], float], relu: bool, n_in=400, n_out=300) -> Sides:
    """Mean square of a layer's pre-activations, to whole numbers; it must stay that of z: 1."""

    def sides(rng):
        z = rng.normal(size=(n_in, 400))
        a = np.maximum(z, 0) if relu else z
        out = (rng.normal(size=(n_out, n_in)) * std(n_in, n_out)) @ a
        return np.round(np.mean(out**2)), np.round(np.mean(z**2))

    return sides


def error(sides: Sides, seed: int, draws: int) -> float:
    """Largest relative difference of the two sides over random instances.

    Infinite where shapes do not fit or a side is not a number.
    """
    worst = 0.0
    for i in range(draws):
        try:
            got, want = map(np.asarray, sides(np.random.default_rng([seed, i])))
        except ValueError:
            return float("inf")
        if got.shape != want.shape or not np.all(np.isfinite(got)):
            return float("inf")
        scale = max(float(np.max(np.abs(want))), 1e-12)
        worst = max(worst, float(np.max(np.abs(got - want))) / scale)
    return worst
