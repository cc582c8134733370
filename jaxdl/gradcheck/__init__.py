"""Check a hand-derived gradient, and find out what is wrong with it.

    from jaxdl import gradcheck
    gradcheck.check(loss, grad, params, x, y, batch_argnums=(0, 1)).raise_if_failed()

Names are imported when they are first used, so that the pytest plugin, which lives here, costs a
test run that checks no gradients nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxdl.gradcheck.compare import check as check
    from jaxdl.gradcheck.numerical import relative_difference as relative_difference
    from jaxdl.gradcheck.problem import CAUSES as CAUSES
    from jaxdl.gradcheck.problem import Finding as Finding
    from jaxdl.gradcheck.problem import Point as Point
    from jaxdl.gradcheck.problem import Problem as Problem
    from jaxdl.gradcheck.report import GradientError as GradientError
    from jaxdl.gradcheck.report import Report as Report
    from jaxdl.gradcheck.rules import check_hvp as check_hvp
    from jaxdl.gradcheck.rules import check_rule as check_rule
    from jaxdl.gradcheck.rules import check_vjp as check_vjp

_HOMES = {
    "CAUSES": "problem",
    "Finding": "problem",
    "GradientError": "report",
    "Point": "problem",
    "Problem": "problem",
    "Report": "report",
    "check": "compare",
    "check_hvp": "rules",
    "check_rule": "rules",
    "check_vjp": "rules",
    "relative_difference": "numerical",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_HOMES[name]}")
    globals()[name] = value = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
