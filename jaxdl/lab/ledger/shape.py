"""Whether a result file holds what a card needs: other versions and editors write others."""

import math
from typing import Any

from jaxdl.lab.claim import VERDICTS

RESULT = {
    "claim": str, "title": str, "quote": str, "section": str, "quantifier": str, "sentence": str,
    "number": str, "estimate": dict, "n_problems": int, "n_seeds": int, "figures": dict,
    "literature": list, "strata": list, "arms": list, "effects": list, "curves": list,
    "spec_sha256": str, "seconds": (int, float), "versions": dict, "platform": dict,
}  # fmt: skip
"""Every result has these, of these types."""

OPTIONAL = {
    "gamma": (int, float), "compile_seconds": (int, float), "commit": str, "asked": str,
    "draw": int,
}  # fmt: skip
"""These may be null, and all but gamma left out."""

ROWS = {
    "literature": {"reference": str, "says": str, "stance": str},
    "strata": {"by": dict, "n": int, "value": None, "low": None, "high": None},
    "arms": {"name": None},
    "effects": {"differences": list, "families": list},
    "curves": {"arm": None, "x": list, "median": list, "low": list, "high": list},
}
"""Their rows have these; None stands for any type."""

LISTED = {"cores": None, "system": None, "machine": None, "devices": list}


def fits(result: dict[str, Any]) -> bool:
    """Whether a finding can be shown."""
    return (
        result.get("verdict") in VERDICTS
        and "gamma" in result
        and _has(result, RESULT)
        and all(_is(result.get(name), kind) or result.get(name) is None
                for name, kind in OPTIONAL.items())
        and _has(result["estimate"], {"name": str, "value": None, "low": None, "high": None})
        and _has(result["platform"], LISTED)
        and all(_has(row, kinds) for name, kinds in ROWS.items() for row in result[name])
        and all(_matches(effect) for effect in result["effects"])
    )  # fmt: skip


def _has(value: Any, kinds: dict[str, Any]) -> bool:
    return isinstance(value, dict) and all(
        name in value and _is(value[name], kind) for name, kind in kinds.items()
    )


def _is(value: Any, kind: Any) -> bool:
    if kind is None:
        return True
    finite = not isinstance(value, float) or math.isfinite(value)
    return isinstance(value, kind) and not isinstance(value, bool) and finite


def _matches(effect: dict[str, Any]) -> bool:
    """As many families as differences; the numbers beside them whole or left out."""
    shares = (effect.get(name) for name in ("problem_poi", "run_poi", "effect"))
    ends = {"value": None, "low": None, "high": None}
    return len(effect["differences"]) == len(effect["families"]) and all(
        share is None or _has(share, ends) for share in shares
    )
