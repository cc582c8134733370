"""One experiment as one HTML file that needs no network: words, numbers, interactive chart."""

import html
import importlib.metadata
import inspect
import json
import os
import pathlib
from types import ModuleType
from typing import Any

from jaxdl.lab import record

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6470; --line: #d8dde3;
  --paper: #ffffff; --tint: #f4f6f8; --accent: #0b63a5; --warn: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a2abb6; --line: #3a4048;
  --paper: #15181c; --tint: #1e2227; --accent: #7db8ea; --warn: #ff9d94; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 56rem; padding: 2rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; border-left: 3px solid var(--line);
  color: var(--soft); }
.verdict { background: var(--tint); border-radius: .5rem; padding: .9rem 1.1rem; margin: 1.2rem 0; }
.verdict b { color: var(--accent); text-transform: uppercase; letter-spacing: .04em;
  font-size: .85rem; display: block; }
.verdict.contradicted b { color: var(--warn); }
.verdict.inconclusive b, .verdict.smoke b { color: var(--soft); }
.chart { width: 100%; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
td, th { text-align: left; padding: .35rem .6rem .35rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; }
td:first-child { width: 60%; }
pre, code { font: .875rem/1.5 ui-monospace, monospace; }
pre { background: var(--tint); border-radius: .5rem; padding: .8rem 1rem; overflow-x: auto;
  white-space: pre-wrap; }
footer { margin-top: 2.5rem; color: var(--soft); font-size: .85rem; }
@media print { pre, .verdict { border: 1px solid var(--line); } }
"""

EMBED = """
const place = document.getElementById("chart");
const source = document.getElementById("spec").textContent;
let drawn = 0, view = null;
async function draw() {
  const room = place.clientWidth;
  if (room === drawn) return;
  drawn = room;
  try {
    view = await drawChart(place, source, view);
  } catch (error) {
    place.textContent = "The chart could not be drawn: " + error;
  }
}
draw();
addEventListener("resize", draw);
dark.addEventListener("change", () => { drawn = 0; draw(); });
"""


def write(
    module: ModuleType, result: dict[str, Any], chart: dict[str, Any], folder: pathlib.Path
) -> pathlib.Path:
    """Write `<claim>.html`, or `<claim>.smoke.html`; see `record.file_name`.

    Args:
        module: the experiment, whose docstring is shown.
        result: the content of its result file.
        chart: its Vega-Lite specification; see `spec`.
        folder: where to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.file_name(result)}.html"
    path.write_text(_render(module, result, chart))
    return path


def _render(module: ModuleType, result: dict[str, Any], chart: dict[str, Any]) -> str:
    text = html.escape
    verdict = result.get("verdict", "smoke run")
    sentence = result.get("sentence", "Too small to conclude anything from; it shows that it runs.")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(result["title"])}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{text(result["title"])}</h1>
<blockquote><p>{text(result["quote"])}<br>
<small>Notes, “{text(result["section"])}”</small></p></blockquote>
<p class="verdict {verdict.split()[0]}"><b>{text(verdict)}</b>{text(sentence)}</p>
<div class="chart" id="chart" role="img" aria-label="{text(sentence)}"></div>
<h2>Numbers</h2>
<table>{_rows(result)}</table>
<h2>What was asked, before the run</h2>
<pre>{text(inspect.cleandoc(module.__doc__ or ""))}</pre>
</main>
<footer>{text(_footer(result))}</footer>
<script type="application/json" id="spec">{_embedded(chart)}</script>
<script>{bundle()}</script>
<script>{drawing()}{EMBED}</script>
</body>
</html>
"""


def _rows(result: dict[str, Any]) -> str:
    estimate = result["estimate"]
    interval = f" [{show(estimate['low'])}, {show(estimate['high'])}]"
    shown = show(estimate["value"]) + ("" if estimate["low"] == estimate["high"] else interval)
    rows = [(estimate["name"], shown)]
    rows += [(name, show(value)) for name, value in result["figures"].items()]
    return "\n".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>"
        for name, value in rows
    )


def show(value: Any) -> str:
    """A number as a person writes it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _footer(result: dict[str, Any]) -> str:
    machine, versions = result["platform"], result["versions"]
    return (
        f"{result['size']} size · {result['seconds']:.1f} s on {machine['cores']} cores "
        f"({machine['system']} {machine['machine']}, {', '.join(machine['devices'])}) · "
        f"jax {versions['jax']} · commit {result['commit'] or 'unknown'} · "
        f"specification {result['spec_sha256'][:12]}"
    )


def spec(chart: Any) -> dict[str, Any]:
    """The Vega-Lite specification of an Altair chart."""
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict()


def _embedded(spec: dict[str, Any]) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(spec, separators=(",", ":")).replace("<", "\\u003c")


def drawing() -> str:
    """The JavaScript that draws a chart in the room and the colours of a page."""
    return (pathlib.Path(__file__).parent / "chart.js").read_text(encoding="utf-8")


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed; made once (it takes seconds), kept in the user's cache."""
    import pooch
    import vl_convert

    version = importlib.metadata.version("vl-convert-python")
    path = pathlib.Path(pooch.os_cache("jaxdl")) / f"vega-bundle-{version}.js"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        made = vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]
        partial.write_text(made)
        os.replace(partial, path)
    return path.read_text().replace("</script", "<\\/script")
