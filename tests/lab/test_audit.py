import jax
import numpy as np
import pytest

from jaxdl.lab import audit, formulas
from tests.sections import SECTIONS

TOLERANCE = 1e-6


@pytest.mark.parametrize("formula", formulas.FORMULAS, ids=lambda f: f.printed)
def test_a_formula_fails_as_printed_exactly_when_an_erratum_says_so(formula, x64):
    holds = audit.error(formula.sides, seed=1, draws=2) <= TOLERANCE
    assert holds == (not formula.erratum)
    assert (formula.corrected is not None) == bool(formula.erratum)
    if formula.corrected is not None:
        assert audit.error(formula.corrected, seed=1, draws=2) <= TOLERANCE


def test_sections_are_those_of_the_notes():
    assert {f.section for f in formulas.FORMULAS} <= set(SECTIONS)


def test_error_by_hand():
    # Sides (1, 2) and (1, 4): largest difference 2, relative to 4: one half.
    assert audit.error(lambda rng: (np.array([1.0, 2.0]), np.array([1.0, 4.0])), 0, 1) == 0.5
    assert audit.error(lambda rng: (np.ones(2), np.ones(3)), 0, 1) == float("inf")
    assert audit.error(lambda rng: (np.array(np.nan), np.array(0.0)), 0, 1) == float("inf")


def test_autodiff_is_what_the_network_is_compared_with(x64):
    net = audit.Network.draw(np.random.default_rng(0))
    step = 1e-6
    moved = jax.numpy.asarray(net.W1).at[2, 1].add(step)
    cost = net.cost_from("W1")
    slope = (cost(moved) - cost(jax.numpy.asarray(net.W1))) / step
    assert float(slope) == pytest.approx(net.true("W1")[2, 1], rel=1e-4)
