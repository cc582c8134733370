"""Every test runs under the strictest promotion rules, so that no shape or dtype slips."""

import json
import pathlib

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compilation makes the first call slow, and a suite that people trust gives the same answer twice.
settings.register_profile("jaxdl", deadline=None, derandomize=True, database=None)
settings.load_profile("jaxdl")


@pytest.fixture
def x64():
    """float64 inside this test only."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def oracle():
    """Published outputs of the course's own assignments."""
    path = pathlib.Path(__file__).parent / "oracle" / "course_assignments.json"
    return json.loads(path.read_text())
