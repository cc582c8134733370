"""A pytest fixture: `gradcheck(loss, grad, params, *args)` fails the test with the report.

Loaded by pytest through its entry point, so nothing heavy is imported before a test asks.
"""

from collections.abc import Callable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gradcheck-seed`."""
    group = parser.getgroup("gradcheck", "gradient checking")
    group.addoption(
        "--gradcheck-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the random points and directions of gradient checks (default 0)",
    )


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`jaxdl.gradcheck.check` that fails the test unless the verdict is PASS.

    Takes what `check` takes; the seed comes from `--gradcheck-seed` unless given. Returns the
    report.
    """
    seed = request.config.getoption("--gradcheck-seed")

    def run(loss: Callable, grad: Callable, params: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        from jaxdl.gradcheck.compare import check

        report = check(loss, grad, params, *args, **{"seed": seed, **options})
        if not report.passed:
            pytest.fail(str(report), pytrace=False)
        return report

    return run
