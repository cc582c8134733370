"""What is checked here is small, and each program runs a few times at most."""

import pytest

from tests import compiling


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly():
    with compiling.quickly():
        yield
