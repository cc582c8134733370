"""Curvature against dense matrices and by hand; critical points whose index is known."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxdl import landscape
from tests.compiling import once

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
ORACLE = Path(__file__).parent / "oracle" / "course_assignments.json"


def network(sizes):
    """A tanh network's parameters and squared-error cost on random data."""
    rng = np.random.default_rng(0)
    params = [
        {"w": jnp.asarray(rng.normal(size=(n, h)) / np.sqrt(n)), "b": jnp.zeros(h)}
        for n, h in pairwise(sizes)
    ]
    x, y = (jnp.asarray(rng.normal(size=(40, n))) for n in (sizes[0], sizes[-1]))

    def loss(params, x, y):
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["w"] + layer["b"][None])
        return jnp.mean((x @ params[-1]["w"] + params[-1]["b"][None] - y) ** 2)

    return loss, params, (x, y)


def quadratic(params, h):
    """½ θᵀ H θ; H is an argument, so that one program serves every spectrum."""
    theta = ravel_pytree(params)[0]
    return theta @ h @ theta / 2


def with_spectrum(eigenvalues):
    """Parameters over two leaves and a dense H with this spectrum."""
    n = len(eigenvalues)
    q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))
    return {"a": jnp.zeros(2), "b": jnp.zeros((n - 2, 1))}, jnp.asarray((q * eigenvalues) @ q.T)


def test_hvp_equals_the_dense_product():
    loss, params, data = network((5, 4, 2))
    flat, unravel = ravel_pytree(params)
    v = np.random.default_rng(1).normal(size=flat.shape)

    @once
    def both(v):
        product = ravel_pytree(landscape.hvp(loss, params, unravel(v), *data))[0]
        return product, landscape.hessian(loss, params, *data) @ v

    np.testing.assert_allclose(*both(v), atol=1e-12)


def test_by_hand():
    # J = x² y + y³ at (1, 2): Hessian [[2y, 2x], [2x, 6y]] = [[4, 2], [2, 12]].
    def loss(p):
        return p["x"] ** 2 * p["y"] + p["y"] ** 3

    p = {"x": jnp.array(1.0), "y": jnp.array(2.0)}
    np.testing.assert_allclose(landscape.hessian(loss, p), [[4, 2], [2, 12]])
    np.testing.assert_allclose(landscape.spectrum(loss, p), [8 - 20**0.5, 8 + 20**0.5])
    product = landscape.hvp(loss, p, {"x": jnp.array(1.0), "y": jnp.array(-1.0)})
    assert (product["x"], product["y"]) == (2, -10)


def test_lanczos_equals_dense_on_five_hundred_parameters():
    loss, params, data = network((20, 20, 4))
    assert ravel_pytree(params)[0].size == 504
    dense = np.asarray(once(partial(landscape.spectrum, loss))(params, *data))
    found = landscape.extreme_eigenvalues(loss, params, *data, key=KEY)
    assert found.steps < 504
    np.testing.assert_allclose([found.smallest, found.largest], dense[[0, -1]], rtol=1e-6)
    assert abs(found.smallest - dense[0]) <= found.smallest_error
    assert abs(found.largest - dense[-1]) <= found.largest_error


@pytest.mark.parametrize(
    "eigenvalues",
    [np.ones(12), np.r_[-3, np.zeros(10), 5], np.logspace(-3, 3, 12), np.zeros(12)],
    ids=["one repeated", "mostly zero", "ill-conditioned", "flat"],
)
def test_lanczos_on_difficult_spectra(eigenvalues):
    found = landscape.extreme_eigenvalues(quadratic, *with_spectrum(eigenvalues), key=KEY)
    scale = max(np.abs(eigenvalues).max(), 1e-300)
    np.testing.assert_allclose(found.smallest, min(eigenvalues), atol=1e-12 * scale)
    np.testing.assert_allclose(found.largest, max(eigenvalues), atol=1e-12 * scale)


def test_lanczos_stopped_early_bounds_its_error():
    eigenvalues = np.linspace(-1, 10, 40)
    found = landscape.extreme_eigenvalues(
        quadratic, *with_spectrum(eigenvalues), key=KEY, max_steps=12
    )
    assert found.steps == 12
    for value, end, error in (
        (found.smallest, -1, found.smallest_error),
        (found.largest, 10, found.largest_error),
    ):
        assert 1e-6 < abs(value - end) < 0.5  # not there yet, and it says so:
        assert np.abs(value - eigenvalues).min() <= error


@pytest.mark.parametrize(
    "eigenvalues, index, kind",
    [
        ([1, 2, 3], 0, "minimum"),
        ([-1, -2, -3], 3, "maximum"),
        ([-1, 2, 3], 1, "saddle"),
        ([-1, 0, 3], 1, "saddle"),
        ([0, 2, 3], 0, "degenerate"),
        ([-1e-12, 2, 3], 0, "degenerate"),
        ([0, 0, 0], 0, "degenerate"),
    ],
)
def test_index_and_kind(eigenvalues, index, kind):
    eigenvalues = jnp.asarray(eigenvalues, float)
    assert landscape.index(eigenvalues) == index
    assert landscape.kind(eigenvalues) == kind


def two_wells(p):
    """(x² − 1)² + y²: minima at (±1, 0), a saddle of index 1 at the origin."""
    return (p[0] ** 2 - 1) ** 2 + p[1] ** 2


def test_the_search_finds_points_of_any_index():
    starts = jnp.array([[0.1, 0.5], [1.4, 0.5], [-0.8, -2.0]])
    points = once(jax.vmap(partial(landscape.find_critical_point, two_wells)))(starts)
    assert [landscape.STATUSES[s] for s in points.status] == ["converged"] * 3
    np.testing.assert_allclose(points.params, [[0, 0], [1, 0], [-1, 0]], atol=1e-6)
    assert points.index.tolist() == [1, 0, 0] and points.gradient_norm.max() <= 1.5e-8


@pytest.mark.parametrize(
    "loss, start",
    [
        (lambda p: p[0] + p[1] ** 2, [3.0, 1.0]),  # a slope with a valley across
        (lambda p: p[0] ** 3 + p[0] + p[1] ** 2, [1.0, 1.0]),  # an inflection that is no stop
        (lambda p: p.sum(), [0.0, 0.0]),  # a plane
    ],
    ids=["valley", "inflection", "plane"],
)
def test_gradient_flat_points_are_rejected(loss, start):
    point = landscape.find_critical_point(loss, jnp.array(start))
    assert landscape.STATUSES[int(point.status)] == "gradient-flat"
    assert point.gradient_norm > 0.5


@pytest.mark.parametrize(
    "loss, steps",
    [(lambda p: jnp.exp(p).sum(), 3), (lambda p: jnp.sqrt(p - 10).sum(), 20)],
    ids=["no time", "not a number"],
)
def test_anything_else_has_failed(loss, steps):
    point = landscape.find_critical_point(loss, jnp.array([3.0, 2.0]), max_steps=steps)
    assert landscape.STATUSES[int(point.status)] == "failed"


def test_many_searches_in_one_program():
    """From 32 starts: whatever converged has no gradient left, recomputed independently."""
    loss, params, data = network((2, 2, 1))
    flat, unravel = ravel_pytree(params)
    starts = jax.vmap(unravel)(np.random.default_rng(1).normal(size=(32, flat.size)))
    points = once(jax.vmap(lambda p: landscape.find_critical_point(loss, p, *data, max_steps=200)))(
        starts
    )
    converged = np.asarray(points.status) == 0
    assert converged.mean() > 0.3

    @once
    @jax.vmap
    def again(p):
        gradient = ravel_pytree(jax.grad(loss)(p, *data))[0]
        return jnp.linalg.norm(gradient), landscape.index(landscape.spectrum(loss, p, *data))

    norms, indices = again(points.params)
    assert (np.asarray(norms)[converged] < 2e-8).all()
    np.testing.assert_array_equal(np.asarray(indices)[converged], points.index[converged])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_random_symmetric_matrices_are_rarely_positive_definite(n):
    oracle = json.loads(ORACLE.read_text())["goe_all_positive"]
    p, samples = oracle["p"][oracle["N"].index(n)], 100_000
    matrices = landscape.goe(jax.random.key(n), n, (samples,))
    share = float((jnp.linalg.eigvalsh(matrices)[:, 0] > 0).mean())
    assert abs(share - p) <= 3 * np.sqrt(p * (1 - p) / samples)


def test_goe_variances():
    a = landscape.goe(KEY, 3, (50_000,))
    np.testing.assert_array_equal(a, jnp.swapaxes(a, 1, 2))
    np.testing.assert_allclose(a[:, 0, 0].var(), 2, rtol=0.03)
    np.testing.assert_allclose(a[:, 0, 1].var(), 1, rtol=0.03)


def test_slices_are_the_loss_along_the_directions():
    loss, params, data = network((3, 2, 1))
    u, v = (jax.tree.map(lambda leaf, s=s: jnp.full_like(leaf, s), params) for s in (0.3, -0.1))
    a, b = np.linspace(-1, 1, 5), np.linspace(-2, 2, 3)
    costs = once(partial(landscape.plane, loss))(params, u, v, a, b, *data)
    assert costs.shape == (5, 3)
    np.testing.assert_allclose(costs[2, 1], loss(params, *data))
    there = jax.tree.map(lambda p, u, v: p + a[0] * u + b[2] * v, params, u, v)
    np.testing.assert_allclose(costs[0, 2], loss(there, *data))
    along = once(partial(landscape.line, loss))(params, u, a, *data)
    np.testing.assert_allclose(along, costs[:, 1])


def test_directions_are_as_long_as_the_columns():
    _, params, _ = network((5, 3))
    d = once(landscape.random_direction)(KEY, params)
    for ours, leaf in zip(jax.tree.leaves(d), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(
            jnp.linalg.norm(ours, axis=0), jnp.linalg.norm(leaf, axis=0), atol=1e-12
        )
