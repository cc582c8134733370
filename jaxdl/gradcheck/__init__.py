"""Check a hand-derived gradient, and find out what is wrong with it."""

from jaxdl.gradcheck.compare import check
from jaxdl.gradcheck.numerical import relative_difference
from jaxdl.gradcheck.problem import CAUSES, Finding, Point, Problem
from jaxdl.gradcheck.report import GradientError, Report

__all__ = [
    "CAUSES",
    "Finding",
    "GradientError",
    "Point",
    "Problem",
    "Report",
    "check",
    "relative_difference",
]
