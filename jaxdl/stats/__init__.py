"""Paired comparisons over many problems: estimates with intervals, tests, corrections."""

from jaxdl.stats.compare import Comparison, Spread, compare, differences
from jaxdl.stats.effect import Equivalence, Trend, equivalence, hodges_lehmann, holm, trend
from jaxdl.stats.intervals import Estimate, stratified_bootstrap, stratified_wilson

__all__ = [
    "Comparison",
    "Equivalence",
    "Estimate",
    "Spread",
    "Trend",
    "compare",
    "differences",
    "equivalence",
    "hodges_lehmann",
    "holm",
    "stratified_bootstrap",
    "stratified_wilson",
    "trend",
]
