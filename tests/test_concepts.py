"""The concept index: every section of the notes has a row, and every row points at something."""

import ast
import importlib
import pathlib
import re

import pytest

from tests.sections import SECTIONS

ROOT = pathlib.Path(__file__).parents[1]


def rows():
    lines = (ROOT / "docs" / "concepts.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_section_has_a_row_in_order():
    assert [row[0] for row in rows()] == SECTIONS


def codes(cell):
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_row_points_at_something(row):
    section, functions, tests, experiments = row
    if not codes(functions):
        assert functions and not tests and not experiments, f"{section}: say why there is no code"
        return
    for name in codes(functions):
        room, attribute = name.split(".")
        assert hasattr(importlib.import_module(f"jaxdl.{room}"), attribute), name
    assert codes(tests), f"{section}: no test proves it"
    for name in codes(tests):
        path, test = name.split("::")
        tree = ast.parse((ROOT / path).read_text())
        assert test in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, name
    for name in codes(experiments):
        assert (ROOT / "experiments" / f"{name}.py").exists(), name
