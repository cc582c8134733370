"""Every test runs under the strictest promotion rules, so that no shape or dtype slips."""

import gc
import json
import os
import pathlib
import tempfile

import jax
import pytest
from hypothesis import settings

from tests import compiling

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Compilation makes the first call slow, and a suite that people trust gives the same answer twice.
settings.register_profile("jaxdl", deadline=None, derandomize=True, database=None)
settings.load_profile("jaxdl")


def pytest_configure(config):
    """What one worker, or a program that a test starts, has compiled, the others read.

    The folder is empty at the start and goes with the session, unless the environment names one.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="jaxdl-", ignore_cleanup_errors=True)
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop("JAX_COMPILATION_CACHE_DIR"))
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compiling.use(quick=True)


def pytest_collection_finish():
    """What is there now stays: collections need not look through it again and again."""
    gc.freeze()


@pytest.fixture(scope="module")
def as_users_do():
    """For a module of laws about bits: its programs are compiled in full."""
    with compiling.as_users_do():
        yield


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
