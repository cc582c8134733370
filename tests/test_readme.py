"""What the README shows is true."""

import contextlib
import io
import pathlib
import re

import pytest

from jaxdl.lab import runner

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_its_programs_run_one_after_another():
    names, printed = {}, []
    for program in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile(program, "README.md", "exec"), names)
        printed.append(out.getvalue())
    assert float(printed[0]) >= 0.97
    assert "FAIL" in printed[1] and names["report"].findings[0].cause == "batch_mean_missing"
    assert "0.0010" in printed[2]


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
