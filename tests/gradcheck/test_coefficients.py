"""The law that coefficients at several batch sizes follow."""

import pytest

from jaxdl.gradcheck.coefficients import Law, law


@pytest.mark.parametrize(
    ("coefficients", "sizes", "found"),
    [
        ([0.5, 0.5], [6, 5], Law(0.5, 0, True)),
        ([0.5, 0.5], [6, 6], Law(0.5, 0, False)),
        ([6.0, 5.0], [6, 5], Law(1.0, 1, True)),
        ([2 / 6, 2 / 5], [6, 5], Law(2.0, -1, True)),
        ([-1e-9, -1.1e-9], [6, 5], Law(0.0, 0, True)),  # what an ε leaves of a lost path
        ([0.5, 0.7], [6, 5], None),
        ([0.5, 0.7], [6, None], None),
    ],
)
def test_laws(coefficients, sizes, found):
    said = law(coefficients, sizes)
    assert (said is None) == (found is None)
    if found is not None:
        assert said.factor == pytest.approx(found.factor, rel=1e-12)
        assert (said.power, said.sure) == (found.power, found.sure)
