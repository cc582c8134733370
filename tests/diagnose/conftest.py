"""Networks here are small and train for a few epochs: compiling is what takes long."""

import pytest

from tests import compiling


@pytest.fixture(autouse=True, scope="module")
def compiled_quickly():
    with compiling.quickly():
        yield
