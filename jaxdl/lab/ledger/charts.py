"""An experiment's own chart: the sliders it has, and a picture of it where no script runs."""

import base64
import hashlib
import json
import pathlib
import re
import urllib.parse
from typing import Any

from jaxdl.lab import record

LARGE = 150_000
"""Bytes above which a picture may be cheaper as dots than as lines."""


def sliders(chart: dict[str, Any] | None) -> list[str]:
    """What a reader can turn, by name, in a Vega-Lite specification."""
    knobs = [p for p in (chart or {}).get("params", ()) if "input" in _bind(p)]
    return [str(_bind(p).get("name") or p["name"]).split(":")[0].strip() for p in knobs]


def _bind(parameter: dict[str, Any]) -> dict[str, Any]:
    bind = parameter.get("bind")
    return bind if isinstance(bind, dict) else {}


def still(chart: dict[str, Any], cache: pathlib.Path) -> str:
    """The chart as it stands before anyone turns a slider, as a `data:` address.

    Args:
        chart: a Vega-Lite specification.
        cache: a folder in which pictures are kept by the hash of what they show.

    Raises:
        ValueError: if that is no chart.
    """
    path = cache / f"{_key(chart)}.txt"
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except FileNotFoundError:  # not drawn yet, or forgotten by another run in this folder
        picture = _picture(chart)
    cache.mkdir(parents=True, exist_ok=True)
    record.write_whole(path, picture)
    return picture


def forget(cache: pathlib.Path, shown: list[dict[str, Any]]) -> None:
    """Delete the pictures of charts that are no longer shown."""
    used = {_key(chart) for chart in shown}
    for path in cache.glob("*.txt"):
        if path.stem not in used:
            path.unlink(missing_ok=True)


def _key(chart: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(chart, sort_keys=True).encode()).hexdigest()[:24]


def lean(svg: str) -> str:
    """The same picture in about half the bytes: no roles or classes, to a tenth of a pixel."""
    svg = re.sub(r' (?:aria-[a-z]+|role|class|pointer-events)="[^"]*"', "", svg)
    svg = re.sub(r">[^<]*<", lambda text: text.group().replace('"', "&quot;"), svg)
    svg = re.sub(
        r' (?:d|transform|[xy][12]?)="[^"]*"',
        lambda attribute: re.sub(r"(\.\d)\d+", r"\1", attribute.group()),
        svg,
    )
    # In an address a double quote takes three bytes.
    return svg if "'" in svg else svg.replace('"', "'")


def _picture(chart: dict[str, Any]) -> str:
    import vl_convert

    config = {"aria": False, "background": "white"}
    svg = lean(vl_convert.vegalite_to_svg(chart, config=config))
    as_lines = "data:image/svg+xml," + urllib.parse.quote(svg, safe=" /:;=,<>()'?!*@$+-_.~")
    if len(as_lines) <= LARGE:
        return as_lines
    png = vl_convert.vegalite_to_png(chart, scale=1.5, config=config)
    as_dots = "data:image/png;base64," + base64.b64encode(png).decode()
    return min(as_lines, as_dots, key=len)
