"""What the README shows is true."""

import contextlib
import io
import pathlib
import re

import pytest

from jaxdl.lab import runner

README = (pathlib.Path(__file__).parents[1] / "README.md").read_text()


def test_its_first_program_runs_and_reads_the_digits():
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(program, "README.md", "exec"), {})
    assert float(out.getvalue()) >= 0.97


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
