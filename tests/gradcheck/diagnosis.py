"""A problem as the checker would make it, from a loss and a hand-derived gradient."""

import functools

import jax
import numpy as np

from jaxdl.gradcheck.diagnose import diagnose
from jaxdl.gradcheck.problem import Point, Problem
from tests.compiling import once


@functools.cache
def derivative(loss):
    """`jax.grad(loss)`, compiled once for all mutants."""
    return once(jax.grad(loss))


def problem(loss, grad, params, args, batch=None, sizes=(3, 4), seed=0) -> Problem:
    """The given point, a perturbed one and, where `batch` names arguments, smaller batches."""
    rng = np.random.default_rng(seed)
    size = None if batch is None else len(args[batch[0]])

    def moved():
        return jax.tree.map(lambda v: v + 0.2 * rng.normal(size=np.shape(v)), params)

    def cut(n):
        return tuple(a[:n] if i in batch else a for i, a in enumerate(args))

    settings = [("given", params, args, size), ("perturbed 1", moved(), args, size)]
    settings += [(f"batch {n}", moved(), cut(n), n) for n in sizes if batch is not None]
    points = []
    with jax.enable_x64(True):
        auto = derivative(loss)
        for label, p, a, m in settings:
            hand = jax.tree.map(np.asarray, grad(p, *a))
            points.append(Point(label, p, a, hand, jax.tree.map(np.asarray, auto(p, *a)), m))
    return Problem(loss, grad, tuple(points), batch)


def findings(loss, grad, params, args, **options):
    """What the diagnosis says about a gradient."""
    return diagnose(problem(loss, grad, params, args, **options), budget_s=30.0)


def causes(*args, **options) -> list[str]:
    """The first-named cause of every finding."""
    return [finding.cause for finding in findings(*args, **options)]
