"""The chart of a run: the cost, and what each layer does from epoch to epoch."""

from typing import Any

import numpy as np

from jaxdl.diagnose.watch import Run

SIZE = {"width": 360, "height": 190}
PANELS = (
    ("activation_rms", "activations (rms)", "log"),
    ("delta_rms", "gradient ∂L/∂z (rms)", "log"),
    ("update_ratio", "step / weight (norms)", "log"),
    ("dead", "dead units (share)", "linear"),
    ("saturated", "flat activations (share)", "linear"),
)


def update_ratios(run: Run) -> dict[str, np.ndarray]:
    """Mean norm of a step over that of the weights, one value an epoch, for each block's path.

    About 10⁻³ is usual; far above 10⁻² the weights are thrown about, far below 10⁻⁴ they stand.
    """
    h, found = run.history, {}
    for block in run.layers.blocks:
        leaf = f"{block.path}.w"
        size = np.asarray(h[f"weight_norm/{leaf}"])
        steps = np.asarray(h[f"update_norm/{leaf}"])
        found[block.path] = np.divide(steps, size, out=np.full_like(steps, np.nan), where=size > 0)
    return found


def chart(run: Run, title: str) -> Any:
    """An altair chart of panels that share the epochs; layers are coloured by depth."""
    import altair as alt

    panels = [_costs(run, alt)]
    rows = _layer_rows(run)
    for name, label, scale in PANELS:
        hidden = run.layers.blocks[:-1] if scale == "linear" else run.layers.blocks
        paths = {block.path for block in hidden}
        part = [row for row in rows if row["what"] == name and row["layer"] in paths]
        if any(row["value"] > 0 for row in part):
            panels.append(_layers(part, label, scale, alt))
    head = alt.TitleParams(title, anchor="start", fontSize=16, offset=12)
    return (
        alt.concat(*panels, columns=2, title=head)
        .resolve_scale(color="independent")
        .configure_axis(labelFontSize=11, titleFontSize=11, grid=False)
        .configure_view(strokeWidth=0)
        .configure_legend(orient="top", labelFontSize=11, titleFontSize=11, titlePadding=8)
    )


def _costs(run: Run, alt: Any) -> Any:
    rows = [
        {"epoch": epoch + 1, "part": part, "value": float(value)}
        for part, name in (("train", "cost"), ("dev", "dev_cost"))
        for epoch, value in enumerate(run.history.get(name, ()))
        if np.isfinite(value) and value > 0
    ]
    color = alt.Color("part:N").scale(domain=["train", "dev"], range=["#0b63a5", "#d1661c"])
    color = color.legend(title=None)
    lines = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2)
        .encode(
            _epochs(alt),
            alt.Y("value:Q").title("cost").scale(type="log").axis(tickCount=5, format="~g"),
            color,
            tooltip=["part:N", "epoch:Q", alt.Tooltip("value:Q", format=".4g")],
        )
    )
    constant = [{"value": run.constant_cost, "label": "best constant"}]
    rule = alt.Chart(alt.Data(values=constant)).mark_rule(strokeDash=[4, 3], color="#888888")
    note = rule.mark_text(align="left", x=4, dy=-6, color="#888888", fontSize=11)
    level = alt.Y("value:Q")
    layered = lines + rule.encode(level) + note.encode(level, text="label:N")
    return layered.properties(**SIZE)


def _epochs(alt: Any) -> Any:
    return alt.X("epoch:Q").title("epoch").axis(tickMinStep=1).scale(nice=False)


def _layers(rows: list[dict], label: str, scale: str, alt: Any) -> Any:
    y = alt.Y("value:Q").title(label).axis(tickCount=5, format="~g")
    y = y.scale(domain=[0, 1]) if scale == "linear" else y.scale(type="log")
    rows = [row for row in rows if scale == "linear" or row["value"] > 0]
    layers = sorted({row["layer"] for row in rows}, key=lambda name: [*map(int, name.split("."))])
    color = (
        alt.Color("layer:O")
        .sort(layers)
        .scale(scheme="viridis")
        .legend(title="layer", titleOrient="left")
    )
    return (
        alt.Chart(alt.Data(values=rows))
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=14))
        .encode(
            _epochs(alt),
            y,
            color,
            tooltip=["layer:O", "epoch:Q", alt.Tooltip("value:Q", format=".3g")],
        )
        .properties(**SIZE)
    )


def _layer_rows(run: Run) -> list[dict]:
    series = {
        (name, block.path): (0, run.layers.values[name][:, i])
        for name, _, _ in PANELS
        if name in run.layers.values
        for i, block in enumerate(run.layers.blocks)
    }
    series |= {("update_ratio", path): (1, values) for path, values in update_ratios(run).items()}
    return [
        {"what": what, "layer": layer, "epoch": first + t, "value": float(value)}
        for (what, layer), (first, values) in series.items()
        for t, value in enumerate(values)
        if np.isfinite(value)
    ]
