"""One claim as the page shows it: numbers in words, tabs, tables, the chart and its origin."""

import dataclasses
from typing import Any

from jaxdl.lab.ledger import charts, effects, strata, words
from jaxdl.lab.ledger.entries import Entry, share_of, shown


@dataclasses.dataclass(frozen=True)
class Card:
    """What the templates need to know of one finding."""

    entry: Entry
    result: dict[str, Any]
    letter: str
    verdict_key: str
    number: str
    estimate: str
    asked: str
    protocols: list[effects.Protocol]
    moderators: list[strata.Moderator]
    heatmaps: list[strata.Heatmap]
    sliders: list[str]
    command: str
    origin: list[tuple[str, str]]
    other: str
    again: list[str]


def card(entry: Entry) -> Card:
    """Everything about a finding in words."""
    result = entry.result
    moderators, heatmaps = strata.split(result.get("strata", []))
    return Card(
        entry=entry,
        result=result,
        letter=words.LETTERS.get(result["verdict"], "?"),
        verdict_key=words.slug(result["verdict"]),
        number=result.get("number") or "",
        estimate=shown(result),
        asked=_asked(result),
        protocols=effects.protocols(result),
        moderators=moderators,
        heatmaps=heatmaps,
        sliders=charts.sliders(entry.chart),
        command=f"python -m experiments {entry.name} --size {result['size']}",
        origin=_origin(entry),
        other=_other(entry.other),
        again=[_again(result) for result in entry.again],
    )


def _asked(result: dict[str, Any]) -> str:
    """What the claim's own word asks for."""
    if result.get("gamma") is None:
        return ""
    return f"“{result['quantifier']}” asks for {words.percent(result['gamma'])}"


def _origin(entry: Entry) -> list[tuple[str, str]]:
    """Size, time, machine and version of a run."""
    result = entry.result
    problems, seeds = result["n_problems"], result["n_seeds"]
    time = words.seconds(result["seconds"])
    if result.get("compile_seconds") is not None:
        time += f", {words.seconds(result['compile_seconds'])} of them compiling"
    arms = ", ".join(_arm(arm) for arm in result.get("arms", ()))
    return [
        *([("Arms", arms)] if arms else []),
        ("Size", f"{result['size']}, {entry.source}"),
        ("Problems", f"{problems:,}" + (f", {seeds:,} seeds each" if seeds > 1 else "")),
        ("Time", time),
        ("Machine", machine(result)),
        ("Specification", result["spec_sha256"][:12]),
        ("Commit", result.get("commit") or "unknown"),
    ]


def _arm(arm: dict[str, Any]) -> str:
    return str(arm["name"]) + (" (control)" if arm.get("role") == "control" else "")


def machine(result: dict[str, Any]) -> str:
    """Cores, system and devices that a result was measured on."""
    platform = result["platform"]
    devices = ", ".join(sorted({str(d) for d in platform["devices"]}))
    return f"{platform['cores']} cores, {platform['system']} {platform['machine']}, {devices}"


def _other(result: dict[str, Any] | None) -> str:
    """One line about a run of another size."""
    if result is None:
        return ""
    return f"The {result['size']} run beside it: {result['verdict']}; {_number(result)}."


def _again(result: dict[str, Any]) -> str:
    """One line about the same run on other problems."""
    return (
        f"Again, on other problems (draw {result['draw']}): {result['verdict']}; {_number(result)}."
    )


def _number(result: dict[str, Any]) -> str:
    number = shown(result)
    if share_of(result):
        return f"{number} of {result['n_problems']:,} problems"
    return f"{result['estimate']['name']}: {number}"
