"""Charts in a page: the specification, and the JavaScript that draws it without a network."""

import importlib.metadata
import os
import pathlib
from typing import Any


def spec(chart: Any) -> dict[str, Any]:
    """The Vega-Lite specification of an Altair chart."""
    import altair as alt

    with alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict()


def drawing() -> str:
    """The JavaScript that draws a chart in the room and the colours of a page."""
    return (pathlib.Path(__file__).parent / "chart.js").read_text(encoding="utf-8")


def bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed; made once (it takes seconds), kept in the user's cache."""
    import pooch

    version = importlib.metadata.version("vl-convert-python")
    path = pathlib.Path(pooch.os_cache("jaxdl")) / f"vega-bundle-{version}.js"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        import vl_convert

        made = vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]
        partial.write_text(made)
        os.replace(partial, path)
    return path.read_text().replace("</script", "<\\/script")
