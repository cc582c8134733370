"""What the README shows is true."""

import contextlib
import importlib.util
import io
import json
import pathlib
import re
import sys

import pytest

from jaxdl.lab import runner

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROGRAMS = [block for block in BLOCKS if "CLAIM = " not in block]
EXPERIMENTS = [block for block in BLOCKS if "CLAIM = " in block]


def test_its_programs_run_one_after_another():
    names, printed = {}, []
    for program in PROGRAMS:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(program, "README.md", "exec"), names)
        printed.append(out.getvalue())
    assert float(printed[0]) >= 0.97
    assert "FAIL" in printed[1] and names["report"].findings[0].cause == "batch_mean_missing"
    assert "0.0010" in printed[2]
    assert "learning_rate_too_large" in printed[3]


def test_its_claim_runs_as_a_file_of_its_own(tmp_path, monkeypatch, capsys):
    (program,) = EXPERIMENTS
    (tmp_path / "nesterov.py").write_text(program)
    spec = importlib.util.spec_from_file_location("nesterov", tmp_path / "nesterov.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "nesterov", module)
    spec.loader.exec_module(module)
    arguments = ["--size", "smoke", "--out", str(tmp_path / "results")]
    assert runner.main("nesterov", arguments) == 0
    assert "a smoke run concludes nothing" in capsys.readouterr().out
    result = json.loads((tmp_path / "results" / "nesterov.smoke.json").read_text())
    assert result["n_problems"] == 4 and result["gamma"] == 0.75
    assert len(program.splitlines()) <= 45


def test_it_names_every_experiment():
    import experiments

    for name in runner.names(experiments):
        assert f"`{name}`" in README


@pytest.mark.parametrize(
    "line", re.findall(r"^  (\w[\w/.]*(?:, \w+\.py)*)  +\w", README, re.MULTILINE)
)
def test_its_file_tree_exists(line):
    for name in line.split(", "):
        assert (pathlib.Path(__file__).parents[1] / "jaxdl" / name).exists(), name
