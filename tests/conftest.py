"""Every test runs under the strictest promotion rules, so that no shape or dtype slips."""

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def x64():
    """float64 inside this test only."""
    with jax.enable_x64(True):
        yield
