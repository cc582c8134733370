"""The house rules that a reader relies on: directions of imports, quiet and quick imports."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "jaxdl"

# Who may import whom, by first name inside jaxdl. What is not named as a key may be imported by
# nobody but the rows that list it.
ALLOWED = {
    "types": set(),
    "tree": {"types"},
    "errors": {"types"},
    "activations": {"errors", "types"},
    "initializers": {"errors", "types"},
    "losses": {"errors", "types", "tree"},
    "layers": {"activations", "initializers", "errors", "types"},
    "models": {"activations", "initializers", "layers", "types"},
    "backprop": {"errors", "losses", "layers", "types"},
    "optim": {"errors", "tree", "types"},
    "averages": {"errors", "types"},
    "gradcheck": {"errors", "tree", "types"},
    "data": {"errors", "types"},
    "metrics": {"errors", "types", "losses"},
    "stats": {"errors", "types"},
    "landscape": {"errors", "tree", "types"},
    "devices": {"types"},
    "vega": set(),
    "checkpoint": {"devices", "errors", "tree", "types"},
    "train": {"data", "devices", "optim", "errors", "tree", "types", "checkpoint", "metrics"},
    "population": {"data", "devices", "errors", "train", "tree", "types"},
    "diagnose": {
        *("activations", "data", "errors", "layers", "losses", "metrics", "models", "optim"),
        *("population", "stats", "train", "tree", "types"),
    },
    "recipe": {
        "data",
        "diagnose",
        "errors",
        "layers",
        "losses",
        "metrics",
        "models",
        "optim",
        "population",
        "stats",
        "train",
        "types",
    },
}
TOP = {"cli", "run", "lab"}
"""Rooms that put the others together and may import all of them."""


def rooms():
    return sorted(
        p.stem for p in PACKAGE.iterdir() if p.name[0] not in "_." and p.suffix in ("", ".py")
    )


def files_of(room):
    folder = PACKAGE / room
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{room}.py"]


def imports(path):
    """Full names of all modules a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).with_suffix("").parts[: -node.level or None]
            base = ".".join([*(package if node.level else ()), *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def rooms_imported_by(path):
    return {name.split(".")[1] for name in imports(path) if name.startswith("jaxdl.")}


@pytest.mark.parametrize("room", rooms())
def test_imports_go_one_way(room):
    assert room in ALLOWED or room in TOP, f"say in {__file__} what {room} may import"
    if room in ALLOWED:
        for path in files_of(room):
            extra = rooms_imported_by(path) - ALLOWED[room] - {room}
            assert not extra, f"{path.relative_to(ROOT)} imports {sorted(extra)}"


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").glob("*.py")), ids=lambda p: p.stem)
def test_experiments_never_import_each_other(path):
    if path.name != "__main__.py":
        assert not [name for name in imports(path) if name.split(".")[0] == "experiments"]


AUTODIFF = {"grad", "value_and_grad", "vjp", "jvp", "linearize", "jacfwd", "jacrev", "hessian"}


@pytest.mark.parametrize("room", ["activations", "losses", "layers", "backprop"])
def test_hand_derived_rules_never_call_autodiff(room):
    (path,) = files_of(room)
    for node in ast.walk(ast.parse(path.read_text())):
        # Any attribute of that name but a loss's own `.grad`: however jax was imported.
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) != "loss":
            assert node.attr not in AUTODIFF, f"{room}.py:{node.lineno} calls {node.attr}"
    assert not {name.split(".")[-1] for name in imports(path)} & AUTODIFF


def test_optim_never_imports_optax():
    for path in files_of("optim"):
        assert not [name for name in imports(path) if name.split(".")[0] == "optax"]


PROBE = """
import sys
import jax, optax
before = dict(jax.config.values)
import jaxdl
from jaxdl import activations, backprop, data, gradcheck, initializers, layers, losses, metrics
from jaxdl import models, optim, train, tree
after = dict(jax.config.values)
assert before == after, {k: (before[k], after[k]) for k in before if before[k] != after[k]}
heavy = {"sklearn", "pandas", "altair", "orbax", "rich", "tyro", "scipy.stats", "pyarrow"}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_changes_no_setting_and_loads_nothing_heavy():
    out = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, cwd=ROOT)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "[]"
