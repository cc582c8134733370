"""Planted pathologies are named, healthy runs are left alone, and the report can be read."""

import functools

import numpy as np
import pytest

from jaxdl import diagnose
from jaxdl.diagnose import labels, tables
from tests.diagnose.planted import HEALTHY, PLANTS, SICK, run

# Each pathology once, on one setting after the other; `python -m tests.diagnose.planted` runs all.
CASES = [(SICK[i % 3], plant) for i, plant in enumerate(PLANTS)]


@pytest.fixture(autouse=True, scope="module")
def look_once_at_the_same_data():
    """Forests that see data alone: settings with the same data share what they find."""

    def once(look):
        known = {}

        @functools.wraps(look)
        def looked(*parts, seed=0):
            seen = [(np.asarray(a), p.feature_names) for p in parts if p for a in (p.x, p.y)]
            key = (seed, *((a.dtype.str, a.shape, a.tobytes(), names) for a, names in seen))
            if key not in known:
                known[key] = look(*parts, seed=seed)
            return known[key]

        return looked

    with pytest.MonkeyPatch.context() as patch:
        looks = ((tables, "shift"), (tables, "telling_features"), (labels, "second_opinion"))
        for module, name in looks:
            patch.setattr(module, name, once(getattr(module, name)))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("setting, plant", CASES, ids=lambda v: v if isinstance(v, str) else v.name)
def test_a_planted_pathology_is_the_first_finding(setting, plant):
    found = diagnose.report(run(setting, 0, plant), show=False)
    assert [f.name for f in found.findings] == [plant]


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting", HEALTHY[:10], ids=lambda s: f"{s.name}-{'-'.join(map(str, s.hidden))}-{s.activation}"
)
def test_a_healthy_run_has_no_finding(setting):
    assert diagnose.report(run(setting, 7), show=False).findings == ()


@pytest.fixture(scope="module")
def killed():
    """Weights × 100 on tanh: one cause with consequences."""
    return diagnose.report(run(SICK[3], 1, "large_init"), show=False)


def test_consequences_stand_under_their_cause(killed):
    (cause,) = killed.findings
    assert {"saturated_units", "initial_loss"} <= {f.name for f in cause.consequences}
    assert "multiply the size" in cause.seen and "init=" in cause.advice
    assert str(cause).startswith("large_init: ")


def test_the_report_in_words_and_pictures(killed, tmp_path, capsys):
    again = diagnose.report(killed.run, folder=tmp_path)
    printed = " ".join(capsys.readouterr().out.split())
    text = (tmp_path / "diagnosis.txt").read_text()
    assert text == str(again) and "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    for part in ("Found: large init", "iris: 105 examples to train, 45 for dev", "✗ first loss"):
        assert part in printed and part in " ".join(text.split())
    assert "Repair what was found first" in printed
    page = (tmp_path / "diagnosis.html").read_text()
    assert "Found: large init" in page and "<script src" not in page
    spec = diagnose.chart(again).to_dict()
    titles = [p["encoding"]["y"]["title"] for p in spec["concat"][1:]]
    assert titles[:3] == ["activations (rms)", "gradient ∂L/∂z (rms)", "step / weight (norms)"]


def test_only_a_run_can_be_reported():
    with pytest.raises(TypeError, match=r"report takes the Run that diagnose\.observe returns"):
        diagnose.report({"cost": [1.0]})
