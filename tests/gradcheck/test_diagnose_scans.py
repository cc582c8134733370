"""Running sums, products and maxima whose way back runs wrong, however they are written."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.gradcheck.diagnosis import findings
from tests.gradcheck.test_diagnose_names import as_if, stop

N = 6


RUNNING = {
    "cumsum": lambda x: jnp.cumsum(x, axis=0),
    "triangle": lambda x: jnp.tril(jnp.ones((N, N), dtype=x.dtype)) @ x,
    "associative scan": lambda x: jax.lax.associative_scan(jnp.add, x),
    "from the end": lambda x: jax.lax.cumsum(x, axis=0, reverse=True),
}

TRIANGLES = {
    "skipped": np.eye(N),
    "straight": np.triu(np.ones((N, N))),
    "late": np.tril(np.ones((N, N)), -1),
    "early": np.tril(np.ones((N, N)), 1),
}

WORDS = {
    "skipped": "path_dropped",
    "straight": "transpose",
    "late": "path_dropped",
    "early": "stale_operand",
}


def draw(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return [0.5 * rng.normal(size=shape) for shape in shapes]


def levels(how, bug=""):
    """Levels that are sums of positive steps."""

    def loss(p, x, y):
        z = x @ jnp.exp(p)
        total = RUNNING[how](z)
        if bug:
            turn = (lambda a: a[::-1, ::-1]) if how == "from the end" else (lambda a: a)
            total = as_if(total, jnp.asarray(turn(TRIANGLES[bug])) @ z)
        return jnp.mean((jnp.tanh(total) - y) ** 2)

    return loss


@pytest.mark.parametrize(
    ("how", "bug"),
    [*((how, bug) for how in RUNNING for bug in ("skipped", "straight")),
     ("cumsum", "late"), ("cumsum", "early")],
)  # fmt: skip
def test_running_sums_are_named(how, bug):
    grad = jax.grad(levels(how, bug))
    found = findings(levels(how), grad, draw((3, 2))[0], draw((N, 3), (N, 2), seed=1))
    assert [f.cause for f in found] == [WORDS[bug]], found
    assert "running sum" in found[0].explanation or how == "triangle"


def products(p, x, y, bug=""):
    """The probability of having come so far, step by step."""
    stay = jax.nn.sigmoid(x @ p)
    far = jnp.cumprod(stay)
    if bug == "skipped":
        far = as_if(far, stop(far / stay) * stay)
    if bug == "straight":
        up_to = jnp.triu(jnp.ones((N, N), dtype=far.dtype))  # not from each place on
        far = as_if(far, stop(up_to * far[:, None] / stay[None]) @ stay)
    return jnp.sum(far * y)


def maxima(p, x, y, bug=""):
    """The best so far."""
    z = jnp.sin(3 * x @ p)
    best = jax.lax.cummax(z, axis=0)
    return jnp.sum(as_if(best, stop((best == z).astype(z.dtype)) * z if bug else best) * y)


@pytest.mark.parametrize(
    ("loss", "bug", "cause"),
    [
        (products, "skipped", "path_dropped"),
        (products, "straight", "transpose"),
        (maxima, "skipped", "path_dropped"),
    ],
)
def test_running_products_and_maxima_are_named(loss, bug, cause):
    def grad(*args):
        return jax.grad(lambda *a: loss(*a, bug=bug))(*args)

    found = findings(loss, grad, draw((3,))[0], draw((N, 3), (N,), seed=1))
    assert [f.cause for f in found] == [cause], found
    assert "running" in found[0].explanation


def test_a_matrix_beside_a_running_sum_is_no_running_sum():
    """A forgotten transpose of another matrix, with a running sum behind it."""
    turn = draw((N, N), seed=3)[0]

    def loss(p, x, y, matrix=turn):
        return jnp.sum((jnp.cumsum(as_if(turn @ p, matrix @ p)) - y) ** 2)

    def grad(*args):
        return jax.grad(lambda *a: loss(*a, matrix=turn.T))(*args)

    found = findings(loss, grad, draw((N,))[0], draw((N,), (N,), seed=1))
    assert found and all("running" not in f.explanation for f in found), found
