"""Full-size findings, kept compactly where the ledger and the README's table look for them."""

import json
import pathlib

from jaxdl.lab import record

HEAVY = {"data": None, "curves": [], "effects": []}
"""What a finding on other problems is kept without: the first draw's are shown."""


def keep(results: pathlib.Path, evidence: pathlib.Path) -> list[pathlib.Path]:
    """Copy every full-size finding, those of other draws too; returns the files written.

    Args:
        results: the folder of one's own runs.
        evidence: the folder of committed full-size runs.
    """
    written = []
    for folder in (results, *sorted(results.glob(record.AGAIN.format("*")))):
        for path in sorted(folder.glob("*.json")):
            result = json.loads(path.read_text(encoding="utf-8"))
            if path.name.endswith(".chart.json") or result.get("size") != "full":
                continue
            target = evidence / folder.relative_to(results)
            target.mkdir(parents=True, exist_ok=True)
            if result.get("draw"):
                result |= HEAVY
            else:
                chart = path.with_name(f"{path.stem}.chart.json")
                record.write_whole(target / chart.name, chart.read_text(encoding="utf-8").strip())
            text = json.dumps(result, separators=(",", ":"), ensure_ascii=False)
            written.append(record.write_whole(target / path.name, text))
    return written
