"""`chart.html`: the learning curves of a run, interactive, in one file that needs no network."""

import html
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

from jaxdl import vega

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --paper: #ffffff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e8eaed; --soft: #a2abb6;
  --paper: #15181c; }} }}
body {{ margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.4rem; margin: 0 0 .3rem; }}
p {{ color: var(--soft); margin: 0 0 1.2rem; }}
#chart {{ width: 100%; overflow-x: auto; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{subtitle}</p>
<div id="chart" role="img" aria-label="{title}: {subtitle}"></div>
<script type="application/json" id="spec">{spec}</script>
<script>{bundle}</script>
<script>
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const spec = JSON.parse(document.getElementById("spec").textContent);
vegaEmbed("#chart", spec, {{ theme: dark ? "dark" : undefined, actions: false, renderer: "svg" }});
</script>
</body>
</html>
"""

LINEAR = {"type": "linear", "zero": False, "nice": True}
NAMES = {"cost": "cost", "accuracy": "accuracy", "r2": "R²"}


def write(
    path: pathlib.Path, rows: list[dict[str, Any]], title: str, subtitle: str, score: str
) -> None:
    """Cost and score on the training and dev part against epochs."""
    text = PAGE.format(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        spec=json.dumps(spec(rows, score), separators=(",", ":")).replace("<", "\\u003c"),
        bundle=vega.bundle(),
    )
    path.write_text(text, encoding="utf-8")


def spec(rows: list[dict[str, Any]], score: str) -> dict[str, Any]:
    """The Vega-Lite description: two panels that share the epochs, with values on hovering."""
    values = [
        {"epoch": row["epoch"], "part": part, "what": name, "value": row[key]}
        for row in rows
        for name in ("cost", score)
        for part, key in (("train", name), ("dev", f"dev_{name}"))
        if row.get(key) is not None
    ]
    costs = [v["value"] for v in values if v["what"] == "cost"]
    few = len(rows) < 3  # a line through one point cannot be seen
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "background": "transparent",
        "data": {"values": values},
        "vconcat": [
            _panel("cost", *cost_axis(costs), few, False),
            _panel(score, LINEAR, {"tickCount": 5}, few, True),
        ],
        "resolve": {"scale": {"x": "shared"}},
        "config": {
            "font": "system-ui, sans-serif",
            "axis": {"labelFontSize": 12, "titleFontSize": 12},
            "legend": {"labelFontSize": 12, "title": None, "orient": "top"},
        },
    }


def cost_axis(values: Sequence[float]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(scale, axis) of costs: logarithmic if they span more than a decade and none is zero.

    Vega's own round ends of a logarithmic axis are whole decades, and it labels 2 to 9 in between
    or nothing; here it ends at 1, 2 or 5 times a power of ten, and these are its labels.
    """
    if not values or min(values) <= 0 or max(values) < 10 * min(values):
        return LINEAR, {"tickCount": 5}
    low, high = (math.floor(math.log10(v)) for v in (min(values), max(values)))
    steps = (1, 2, 5) if high - low < 3 else (1,)
    every = max(1, (high - low) // 6)
    marks = [float(f"{s}e{e}") for e in range(low - every, high + every + 1, every) for s in steps]
    first = max(i for i, mark in enumerate(marks) if mark <= min(values))
    last = next(i for i, mark in enumerate(marks) if mark >= max(values))
    marks = marks[first : last + 1]
    scale = {"type": "log", "domain": [marks[0], marks[-1]], "nice": False}
    return scale, {"values": marks, "format": "~e" if marks[0] < 1e-3 or marks[-1] > 1e5 else "~g"}


def _panel(name, scale, axis, few, last):
    x = {"field": "epoch", "type": "quantitative", "title": "epoch" if last else None}
    x |= {"axis": {"tickMinStep": 1, "labels": last, "grid": False}}
    x |= {"scale": {"zero": False, "nice": False, "padding": 8}}
    y = {"field": "value", "type": "quantitative", "title": NAMES[name]}
    y |= {"scale": scale, "axis": axis}
    color = {
        "field": "part",
        "type": "nominal",
        "scale": {"domain": ["train", "dev"], "range": ["#0b63a5", "#d1661c"]},
    }
    near = {"param": f"near_{name}", "empty": False}
    point = {"name": f"near_{name}", "select": {"type": "point", "on": "pointerover",
             "nearest": True, "fields": ["epoch"], "clear": "pointerout"}}  # fmt: skip
    tips = [
        {"field": "part", "type": "nominal"},
        {"field": "epoch", "type": "quantitative"},
        {"field": "value", "type": "quantitative", "format": ".4g", "title": NAMES[name]},
    ]
    encoding = {"x": x, "y": y, "color": color}
    return {
        "width": 720,
        "height": 220,
        "transform": [{"filter": f"datum.what == '{name}'"}],
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 2, "point": few}, "encoding": encoding},
            {
                "mark": {"type": "point", "filled": True, "size": 60},
                "params": [point],
                "encoding": encoding
                | {"tooltip": tips, "opacity": {"condition": near | {"value": 1}, "value": 0}},
            },
        ],
    }
