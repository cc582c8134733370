"""Numbers, names and verdicts as a reader sees them."""

import math
import re
from typing import Any

from jaxdl.lab.shares import percent

LETTERS = {
    "supported": "S",
    "contradicted": "C",
    "depends": "D",
    "equivalent": "E",
    "inconclusive": "I",
    "exact": "X",
    "out of scope": "O",
}
"""Verdicts by letter, so that no verdict is told by its colour alone."""


INFINITE = {math.inf: "∞", -math.inf: "−∞", "inf": "∞", "-inf": "−∞", None: "–"}
"""As result files write what JSON has no number for."""


def plain(heading: str) -> str:
    """A heading without the accidents of typing: case, spaces, the form of apostrophes."""
    return " ".join(heading.replace("’", "'").casefold().split())


def slug(name: str) -> str:
    """A name as part of an address: lower-case letters, digits, underscores and hyphens."""
    return re.sub(r"[^a-z0-9_]+", "-", name.casefold()).strip("-") or "x"


def number(value: Any) -> float:
    """A number of a result file; those that are not finite stand there as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def percents(share: dict[str, Any]) -> str:
    """71 % [63, 79]: a share with its interval, narrow enough for a phone."""
    value, low, high = (percent(number(share[end])) for end in ("value", "low", "high"))
    return f"{value} [{low.removesuffix(' %')}, {high.removesuffix(' %')}]"


def figure(value: Any) -> str:
    """Four digits of a number, with thousands separated; text as it is."""
    if value in INFINITE:
        return INFINITE[value]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}".replace("-", "−")


def estimate(value: dict[str, Any]) -> str:
    """A number with its interval where it has one."""
    shown = figure(value["value"])
    if value["low"] == value["high"]:
        return shown
    return f"{shown} [{figure(value['low'])}, {figure(value['high'])}]"


def seconds(value: float) -> str:
    """4.2 s, 3 min 20 s, 1 h 5 min."""
    if value < 100:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
