"""The page itself: templates filled, scripts that may run named by their hash, the size kept."""

import base64
import collections
import contextlib
import dataclasses
import hashlib
import json
import pathlib
from typing import Any

from jaxdl import vega
from jaxdl.lab import record
from jaxdl.lab.claim import VERDICTS
from jaxdl.lab.ledger import card as cards
from jaxdl.lab.ledger import charts, curves, effects, pages, parts, together, words
from jaxdl.lab.ledger import entries as findings

ASSETS = pathlib.Path(__file__).parent / "assets"
MOST = 8_000_000
"""Bytes that the page may have."""
SPARE = 200_000
"""Bytes kept free for what is not measured one by one."""


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A chart as it goes into the page: what draws it live, and a picture; both may be left out."""

    spec: str = ""
    still: str = ""


def write(results: pathlib.Path, evidence: pathlib.Path | None = None) -> pathlib.Path:
    """Write `results/ledger.html`, one file that needs no network, of at most 8 MB.

    Of a claim that lies in both folders the larger size is shown, the other in a line beside it.

    Args:
        results: the folder of the reader's own runs; the page goes there.
        evidence: the folder of committed full-size runs; None leaves it out.
    """
    results.mkdir(parents=True, exist_ok=True)
    found, unreadable = findings.read(results, evidence)
    pictures = results / ".stills"
    text = render(found, unreadable, pictures)
    charts.forget(pictures, [entry.chart for entry in found if entry.chart is not None])
    return record.write_whole(results / "ledger.html", text)


def render(
    found: list[findings.Entry], unreadable: list[str], cache: pathlib.Path, most: int = MOST
) -> str:
    """The page as text; charts are left out, largest pictures first, where it would not fit."""
    scripts = {"bundle": vega.bundle(), "ledger": vega.drawing() + _asset("ledger.js")}
    drawings, found, unreadable = _drawings(found, cache), [*found], [*unreadable]
    for i, entry in enumerate(found):
        if entry.chart is not None and entry.name not in drawings:
            found[i] = dataclasses.replace(entry, chart=None)
            unreadable.append(f"{entry.name}.chart.json")
    listed = [cards.card(entry) for entry in found]
    context = {
        "cards": listed,
        "shares": [c for c in listed if c.entry.share],
        "others": [c for c in listed if not c.entry.share],
        "counts": collections.Counter(c.result["verdict"] for c in listed),
        "verdicts": [(v, words.slug(v), words.LETTERS[v]) for v in VERDICTS],
        "parts": [p for p in parts.PARTS if any(c.entry.part is p for c in listed)],
        "explorers": [c for c in listed if c.sliders],
        "errata": pages.formulas(found),
        "kills": pages.kill_matrix(found),
        "concepts": pages.concepts(),
        "together": together.holm(found),
        "anchors": {c.entry.name: c.entry.anchor for c in listed},
        "unreadable": unreadable,
        "about": _about([entry.result for entry in found]),
        "style": _asset("ledger.css"),
        "scripts": scripts,
        "policy": policy(scripts.values()),
        "drawings": {},
    }
    room = most - SPARE - len(_fill(context).encode())
    return _fill(context | {"drawings": fitting(drawings, room)})


def _drawings(found: list[findings.Entry], cache: pathlib.Path) -> dict[str, Drawing]:
    """Of every finding whose chart can be drawn."""
    drawn = {}
    for entry in found:
        if entry.chart is not None:
            with contextlib.suppress(ValueError):
                drawn[entry.name] = Drawing(embedded(entry.chart), charts.still(entry.chart, cache))
    return drawn


def fitting(drawings: dict[str, Drawing], room: int) -> dict[str, Drawing]:
    """As many drawings as the room holds: first the largest pictures go, then the live charts."""
    kept = dict(drawings)

    def drop(part: str) -> None:
        for name in sorted(kept, key=lambda n: len(getattr(kept[n], part)), reverse=True):
            if sum(len(d.spec.encode()) + len(d.still.encode()) for d in kept.values()) > room:
                kept[name] = dataclasses.replace(kept[name], **{part: ""})

    drop("still")
    drop("spec")
    return kept


def embedded(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def policy(scripts) -> str:
    """A content security policy: our own scripts by their hash, no other, and no network."""
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _about(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Where and when all of it was measured."""
    return {
        "machines": sorted({cards.machine(r) for r in results}),
        "seconds": words.seconds(sum(r["seconds"] for r in results)),
        "commits": sorted({r.get("commit") or "unknown" for r in results}),
        "jax": sorted({r["versions"].get("jax", "unknown") for r in results}),
    }


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _fill(context: dict[str, Any]) -> str:
    """Templates escape whatever they are given; only style, scripts and JSON are marked safe."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(words=words, curves=curves, effects=effects)
    environment.filters.update(figure=words.figure, slug=words.slug)
    return environment.get_template("ledger.html").render(context)
