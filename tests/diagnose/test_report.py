"""Planted pathologies are named, healthy runs are left alone, and the report can be read."""

import collections

import numpy as np
import pytest

from jaxdl import data, diagnose, models, optim
from tests.diagnose.planted import HEALTHY, PLANTS, SICK, parts, run

CASES = [
    (setting, plant)
    for setting in SICK
    for plant in PLANTS
    if plant != "dead_units" or setting.activation == "relu"
]


@pytest.mark.parametrize("setting, plant", CASES, ids=lambda v: v if isinstance(v, str) else v.name)
def test_a_planted_pathology_is_the_first_finding(setting, plant):
    found = diagnose.report(run(setting, 0, plant), show=False)
    assert [f.name for f in found.findings] == [plant]


@pytest.mark.parametrize(
    "setting", HEALTHY, ids=lambda s: f"{s.name}-{'-'.join(map(str, s.hidden))}-{s.activation}"
)
def test_a_healthy_run_has_no_finding(setting):
    assert diagnose.report(run(setting, 7), show=False).findings == ()
