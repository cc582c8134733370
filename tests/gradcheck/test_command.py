"""`jaxdl gradcheck` and the pytest fixture, run as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxdl.gradcheck.command import command

ROOT = Path(__file__).parents[2]

MODULE = """
import jax.numpy as jnp
import numpy as np

def loss(w, x):
    return jnp.sum(jnp.tanh(x @ w))

def right(w, x):
    return x.T @ (1 - jnp.tanh(x @ w) ** 2)

def wrong(w, x):
    return -right(w, x)

def log(w, x):
    return jnp.sum(jnp.log(w - w))

def vector(w, x):
    return x @ w

point = np.array([0.3, -0.2], np.float32), np.array([[1.0, 2.0], [0.5, -1.0]], np.float32)

def make_point():
    return point
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    path = tmp_path_factory.mktemp("command") / "net_under_test.py"
    path.write_text(MODULE)
    return path


def run(net, loss, grad, at="point", *options):
    return command([f"{net}:{loss}", "--grad", f"{net}:{grad}", "--at", f"{net}:{at}", *options])


def test_exit_codes(net, capsys):
    assert run(net, "loss", "right", "make_point") == 0
    assert "GRADCHECK PASS" in capsys.readouterr().out
    assert run(net, "loss", "wrong", "point", "--no-diagnose", "--batch-argnums", "0") == 1
    assert "GRADCHECK FAIL" in capsys.readouterr().out
    assert run(net, "log", "right") == 2
    assert "-inf at the given point" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("loss", "nothing"), "has no 'nothing'"),
        (("loss", "point"), "Expected a function at"),
        (("vector", "right"), "Expected a scalar loss"),
        (("loss", "right", "loss"), "raises TypeError"),
    ],
)
def test_usage_errors(net, capsys, words, message):
    assert run(net, *words) == 3
    assert message in capsys.readouterr().err


def test_errors_of_the_command_line(capsys):
    assert command(["nowhere:loss", "--grad", "nowhere:g", "--at", "nowhere:p"]) == 3
    assert "Cannot import nowhere" in capsys.readouterr().err
    assert command(["loss", "--grad", "g", "--at", "p"]) == 3
    assert "Expected MODULE:NAME or FILE.py:NAME, got 'loss'" in capsys.readouterr().err
    assert command(["net:loss"]) == 3
    assert command(["--help"]) == 0


def test_json_and_html(net, capsys, tmp_path):
    page = tmp_path / "report.html"
    assert run(net, "loss", "right", "point", "--json", "--html", str(page)) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "PASS"
    assert "GRADCHECK PASS" in page.read_text()


TESTS = """
import sys

def test_nothing_heavy_is_imported_before_it_is_used():
    assert "jax" not in sys.modules

def test_right(gradcheck):
    from net_under_test import loss, point, right
    assert gradcheck(loss, right, *point).seed == 7

def test_wrong(gradcheck):
    from net_under_test import loss, point, wrong
    gradcheck(loss, wrong, *point, diagnose=False)
"""


def test_the_pytest_fixture(net):
    (net.parent / "test_net.py").write_text(TESTS)
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-m", "pytest", "-q", "-W", "error"),
            *("-p", "jaxdl.gradcheck.pytest_plugin", "--gradcheck-seed", "7", "test_net.py"),
        ],
        cwd=net.parent,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "GRADCHECK FAIL" in done.stdout
