"""Data-parallel training: 8 virtual devices, and two processes on loopback, against one device."""

import json
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests.train.devices import fit


@pytest.fixture(scope="module")
def one_device():
    return {size: np.asarray(fit(None, size).history["dev_cost"]) for size in (4, None)}


def start(*arguments):
    command = [sys.executable, "-m", "tests.train.devices", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def answer(process, seconds=100):
    try:
        return json.loads(process.communicate(timeout=seconds)[0].splitlines()[-1])
    finally:
        process.kill()


def check(found, one_device):
    for size, cost in one_device.items():
        np.testing.assert_allclose(found[f"cost {size}"], cost, rtol=1e-5)
    assert len(found["holders"]) == found["devices"]
    # Every step's batch lies on all devices, in different parts.
    assert found["splits"] == [[found["devices"], False]]
    assert found["population"] == [float(i * i) for i in range(11)]


def test_eight_devices_give_the_cost_of_one(one_device):
    found = answer(start())
    assert found["devices"] == 8
    check(found, one_device)


@pytest.mark.slow
def test_two_processes_give_the_cost_of_one_and_resume_together(one_device, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    pair = [start(address, i, tmp_path) for i in range(2)]
    for process in pair:
        found = answer(process)
        assert (found["processes"], found["devices"]) == (2, 4)
        check(found, one_device)
        assert found["resumed"] and found["steps"] == [3, 6]


def test_processes_that_do_not_come_together_are_given_up_with_a_sentence():
    program = "from jaxdl import devices; devices.join_processes('127.0.0.1:9', 2, 1, seconds=1)"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 2
    assert "not all processes came together at process 0 at 127.0.0.1:9 in 1 s" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
