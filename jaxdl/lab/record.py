"""The result file of an experiment: what was asked, what was found, and on what machine."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import json
import math
import os
import pathlib
import platform
import subprocess
from types import ModuleType
from typing import Any

import numpy as np

from jaxdl.lab.claim import Claim, Judgement

PACKAGES = ("jaxdl-foundations", "jax", "jaxlib", "optax", "numpy", "scikit-learn")


def to_plain(value: Any) -> Any:
    """Arrays, dataclasses and tuples as what JSON knows; numbers that are not finite as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    plain = getattr(value, "to_plain", None)
    if plain is not None:
        value = plain()
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if hasattr(value, "__array__"):
        return to_plain(np.asarray(value).tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def spec_sha256(module: ModuleType, config: Any) -> str:
    """Hash of everything that is fixed before the run: claim, configuration, the file itself."""
    spec = {
        "claim": to_plain(module.CLAIM),
        "config": to_plain(config),
        "source": inspect.getsource(module),
    }
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()


@functools.cache
def code_sha256() -> str:
    """Hash of the library's own source: a finding of other code is not of this one.

    What only shows findings is left out.
    """
    root = pathlib.Path(__file__).parents[1]
    shows = [root / name for name in ("lab/ledger", "lab/screen.py", "vega.py")]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        if any(path == part or part in path.parents for part in shows):
            continue
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def kept(module: ModuleType, config: Any, size: str, folder: pathlib.Path) -> dict[str, Any] | None:
    """The finding in the folder if it is of this specification, code and machine's versions.

    A smoke run is never kept: it is there to show that the code runs.
    """
    name = module.CLAIM.name
    path = folder / f"{name}.json"
    if size == "smoke":
        return None
    try:
        result, chart = (
            json.loads(p.read_text(encoding="utf-8")) for p in (path, folder / f"{name}.chart.json")
        )
    except (OSError, ValueError):
        return None
    if not (isinstance(result, dict) and isinstance(chart, dict)):
        return None
    now = {
        "size": size,
        "spec_sha256": spec_sha256(module, config),
        "code_sha256": code_sha256(),
        "versions": _versions(),
        "platform": _platform(),
    }
    return result if all(result.get(key) == value for key, value in now.items()) else None


AGAIN = "draw-{}"
"""The folder of another draw's findings, in that of the first's."""


def build(
    module: ModuleType,
    config: Any,
    size: str,
    measured: Any,
    judgement: Judgement,
    times: tuple[float, float],
    draw: int = 0,
) -> dict[str, Any]:
    """The content of `<claim>.json`; a smoke run has no verdict.

    Args:
        module: the experiment.
        config: its configuration of that size.
        size: smoke, default or full.
        measured: what its `run` gave.
        judgement: what its `judge` made of it.
        times: seconds of both together, and how many of them JAX compiled.
        draw: which draw of its problems.
    """
    claim: Claim = module.CLAIM
    result = {
        "claim": claim.name,
        "title": claim.title,
        "quote": claim.quote,
        "section": claim.section,
        "asked": inspect.cleandoc(module.__doc__ or ""),
        "quantifier": claim.quantifier,
        "gamma": claim.gamma,
        "verdict": judgement.verdict,
        "sentence": judgement.sentence,
        "estimate": to_plain(judgement.estimate),
        "n_problems": judgement.n_problems,
        "n_seeds": judgement.n_seeds,
        "number": claim.number,
        "headline": claim.headline,
        "literature": to_plain(claim.literature),
        "strata": to_plain(judgement.strata),
        "arms": to_plain(judgement.arms),
        "effects": to_plain(judgement.effects),
        "curves": to_plain(judgement.curves),
        "figures": to_plain(judgement.figures),
        "data": to_plain(measured),
        "size": size,
        "draw": draw,
        "config": to_plain(config),
        "spec_sha256": spec_sha256(module, config),
        "code_sha256": code_sha256(),
        "seconds": round(times[0], 3),
        "compile_seconds": round(times[1], 2),
        "versions": _versions(),
        "platform": _platform(),
        "commit": _commit(pathlib.Path(inspect.getfile(module)).parent),
    }
    if size == "smoke":
        del result["verdict"], result["sentence"]
    return result


def file_name(result: dict[str, Any]) -> str:
    """Without its ending; a smoke run has a file of its own and never replaces a finding."""
    return result["claim"] + (".smoke" if result["size"] == "smoke" else "")


def write(result: dict[str, Any], chart: dict[str, Any], folder: pathlib.Path) -> pathlib.Path:
    """Write `<claim>.json` and its Vega-Lite `<claim>.chart.json`, each whole or not at all.

    The result comes last: where it is, the chart is too. See `file_name`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(result)
    write_whole(folder / f"{name}.chart.json", json.dumps(chart, separators=(",", ":")))
    text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    return write_whole(folder / f"{name}.json", text)


def write_whole(path: pathlib.Path, text: str) -> pathlib.Path:
    """Write a text file, or, if that is interrupted, leave what was there."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # two runs may share a folder
    try:
        partial.write_text(text + "\n", encoding="utf-8", newline="\n")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _platform() -> dict[str, Any]:
    import jax

    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()],
    }


def _commit(folder: pathlib.Path) -> str | None:
    def git(*arguments):
        return subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None
