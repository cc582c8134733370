"""How often `jaxdl.gradcheck` is right: bugs found, false alarms, causes named, time taken.

Every gradient of a corpus goes through `gradcheck.check` twice, with float64 and with float32
arrays, and through the peers at their default settings. Misses are listed by name.

    python -m benchmarks gradcheck
    python -m benchmarks gradcheck --quick
    python -m benchmarks.gradcheck --family mlp --limit 20 --no-peers
"""

import argparse
import importlib
import json
import math
import os
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import numpy as np

RESULTS = Path("results/benchmarks/gradcheck.json")
SLOW_CHECK_CASES = 500  # parameters: "small" in the timing targets
QUICK_CASES = 8


def measure(case, dtype=None, budget_s: float = 10.0) -> dict:
    """One check of one case; with `dtype`, after casting the caller's float64 arrays to it.

    The causes are counted in float64 alone, so the other precisions are checked undiagnosed.
    """
    from jaxdl import gradcheck

    record = {
        "name": case.name,
        "family": case.family,
        "style": case.style,
        "correct": case.correct,
        "visible": case.visible,
        "truth": [case.cause, *case.also] if not case.correct else [],
        "n_params": sum(np.size(leaf) for leaf in jax.tree.leaves(case.params)),
    }
    options = case.check_options() | {"budget_s": budget_s}
    if dtype is not None:
        case, options = case.cast(dtype), options | {"diagnose": False}
    with jax.enable_x64(dtype is None):
        start = time.perf_counter()
        try:
            report = gradcheck.check(case.loss, case.grad, case.params, *case.args, **options)
        except Exception as error:
            return record | {
                "verdict": "ERROR",
                "first": f"{type(error).__name__}: {error}"[:200],
                "named": [],
                "seconds": time.perf_counter() - start,
            }
        seconds = time.perf_counter() - start
    findings = report.findings if report.verdict == "FAIL" else ()
    first = findings[0] if findings else None
    return record | {
        "verdict": report.verdict,
        "first": first.cause if first else "unknown",
        "named": [first.cause, *first.equivalent] if first else [],
        "warned": bool(report.adequacy),
        "seconds": seconds,
    }


def right_cause(record: dict) -> bool:
    return record["verdict"] == "FAIL" and record["first"] in record["truth"]


def wrong_cause(record: dict) -> bool:
    """Another cause was named with confidence, the true one neither first nor as equivalent."""
    return (
        record["verdict"] == "FAIL"
        and record["first"] != "unknown"
        and not set(record["named"]) & set(record["truth"])
    )


def wilson(hits: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a rate (Wilson 1927)."""
    if not n:
        return 0.0, 1.0
    p = hits / n
    centre, spread = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    low, high = (centre - spread) / (1 + z * z / n), (centre + spread) / (1 + z * z / n)
    return max(low, 0.0), min(high, 1.0)


def rate(records: Sequence[dict], hit) -> dict:
    """{hits, n, low, high, misses}: the share of `records` for which `hit` holds."""
    hits = [record for record in records if hit(record)]
    low, high = wilson(len(hits), len(records))
    return {"hits": len(hits), "n": len(records), "low": low, "high": high}


def summary(records64: Sequence[dict], records32: Sequence[dict]) -> dict:
    """The rates of the table for one family or for all."""
    seen = [r for r in records64 if not r["correct"] and r["visible"]]
    seen32 = [r for r in records32 if not r["correct"] and r["visible"]]
    hidden = [r for r in records64 if not r["correct"] and not r["visible"]]
    controls = [r for r in (*records64, *records32) if r["correct"]]
    seconds = [r["seconds"] for r in records64]
    small = [r["seconds"] for r in records64 if r["n_params"] < SLOW_CHECK_CASES]
    return {
        "found_float64": rate(seen, lambda r: r["verdict"] == "FAIL"),
        "found_float32": rate(seen32, lambda r: r["verdict"] == "FAIL"),
        "hidden_found": rate(hidden, lambda r: r["verdict"] == "FAIL" or r.get("warned")),
        "false_alarms": rate(controls, lambda r: r["verdict"] in ("FAIL", "ERROR")),
        "inconclusive": rate(controls, lambda r: r["verdict"] == "INCONCLUSIVE"),
        "cause_right": rate(seen, right_cause),
        "cause_wrong": rate(seen, wrong_cause),
        "median_s": statistics.median(seconds) if seconds else 0.0,
        "max_s": max(seconds, default=0.0),
        "small_median_s": statistics.median(small) if small else 0.0,
    }


def misses(records: Iterable[dict], precision: str) -> list[dict]:
    """Everything that went wrong, with what was said instead."""
    kinds = []
    for r in records:
        if r["correct"] and r["verdict"] != "PASS":
            kinds.append(("false alarm" if r["verdict"] == "FAIL" else r["verdict"].lower(), r))
        elif not r["correct"] and r["verdict"] != "FAIL":
            hidden = "" if r["visible"] else " (cannot be seen at the point)"
            kinds.append((f"not found{hidden}", r))
        elif precision != "float64":
            continue
        elif not r["correct"] and wrong_cause(r):
            kinds.append(("wrong cause", r))
        elif not r["correct"] and not right_cause(r):
            kinds.append(("cause not first" if r["first"] != "unknown" else "cause unknown", r))
    return [
        {"precision": precision, "name": r["name"], "family": r["family"], "kind": kind}
        | {"said": r["named"] or [r["verdict"], r["first"]], "truth": r["truth"]}
        for kind, r in kinds
    ]


def chosen(cases: Sequence, family: str, limit: int) -> list:
    """The cases of the families whose name contains `family`; with `limit`, evenly spread."""
    cases = [case for case in cases if family in case.family]
    if not cases:
        raise ValueError(f"Expected a family of the corpus, got {family!r}.")
    if 0 < limit < len(cases):
        cases = [cases[i * len(cases) // limit] for i in range(limit)]
    return cases


def evaluate(cases: Sequence, budget_s: float, progress=lambda iterable: iterable) -> dict:
    """Both precisions over all cases: {families, total, misses, records}."""
    records64 = [measure(case, budget_s=budget_s) for case in progress(cases)]
    records32 = [measure(case, np.float32) for case in progress(cases)]
    families = {}
    for family in dict.fromkeys(case.family for case in cases):
        families[family] = summary(
            [r for r in records64 if r["family"] == family],
            [r for r in records32 if r["family"] == family],
        )
    return {
        "families": families,
        "total": summary(records64, records32),
        "misses": misses(records64, "float64") + misses(records32, "float32"),
        "records": {"float64": records64, "float32": records32},
    }


def run(
    quick: bool = False,
    *,
    family: str = "",
    limit: int = 0,
    no_peers: bool = False,
    no_timing: bool = False,
    budget_s: float = 10.0,
    corpus: str = "tests.gradcheck_corpus",
    output: Path = RESULTS,
) -> dict:
    """Run the benchmark, print the tables, write the JSON.

    Args:
        quick: a few cases, each timing once: shows that it runs.
        family: only families whose name contains this; "" for all.
        limit: at most this many cases, evenly spread; 0 for all.
        no_peers: leave out jax, chex and torch.
        no_timing: leave out the timing targets.
        budget_s: seconds that one diagnosis may take; more where other work shares the machine.
        corpus: the package whose `cases()` gives the corpus.
        output: the JSON file.

    Returns:
        What the JSON holds.
    """
    from rich.console import Console
    from rich.progress import track

    from benchmarks import _gradcheck_tables as tables

    if quick:
        limit = limit or QUICK_CASES
    console = Console(width=max(Console().width, 110))
    cases = chosen(importlib.import_module(corpus).cases(), family, limit)
    wrong = sum(not case.correct for case in cases)
    title = f"jaxdl.gradcheck on {wrong} wrong and {len(cases) - wrong} correct gradients"
    result = evaluate(
        cases, budget_s, lambda xs: track(xs, "checking", console=console, transient=True)
    )
    tables.show(result, console, title)
    if not no_peers:
        from benchmarks import _gradcheck_peers as peers

        result["peers"] = peers.evaluate(
            cases, lambda xs: track(xs, "peers", console=console, transient=True)
        )
        peers.show(result["peers"], result["total"], console)
    if not no_timing:
        from benchmarks import _gradcheck_timing as timing

        result["timing"] = timing.measure(quick)
        timing.show(result["timing"], console)
    result["machine"] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1))
    console.print(f"Written to {output}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few cases, each timing once")
    parser.add_argument("--family", default="", help="only families whose name contains this")
    parser.add_argument("--limit", type=int, default=0, help="at most so many cases")
    parser.add_argument("--no-peers", action="store_true", help="leave out jax, chex and torch")
    parser.add_argument("--no-timing", action="store_true", help="leave out the timing targets")
    parser.add_argument("--budget-s", type=float, default=5.0, help="seconds for one diagnosis")
    parser.add_argument("--corpus", default="tests.gradcheck_corpus", help="package with cases()")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the JSON file")
    run(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
