"""What a person sees."""

import json

import pytest
from rich.console import Console

from jaxdl.gradcheck import Finding, GradientError, Report
from jaxdl.gradcheck.report import SHOWN, Leaf

WRONG = Leaf("1.w", (7, 5), 0.22, 0.22, 1.0, (3, 1), "given", "WRONG")
GOOD = Leaf("0.w", (4, 7), 0.41, 5.6e-17, 1.4e-16, (0, 0), "given", "ok")
FAILED = Report(
    verdict="FAIL",
    leaves=(GOOD, WRONG),
    findings=(Finding("scale", ("path_dropped",), ("1.w",), "1.w: 2 times the truth", 2e-16),),
    notes=("a note",),
    adequacy=("a penalty on b",),
    referee="agrees with finite differences to 3e-11 (16 directions)",
    points=("given", "perturbed 1"),
    parameters=63,
    seconds=0.9,
)


def test_plain_text():
    assert str(FAILED).splitlines() == [
        "GRADCHECK FAIL   2 leaves, 63 parameters, float64   0.9 s",
        " leaf  shape  |g|      max err  rel      worst  at     verdict",
        " 0.w   (4,7)  4.1e-01  5.6e-17  1.4e-16                ok",
        " 1.w   (7,5)  2.2e-01  2.2e-01  1.0e+00  [3,1]  given  WRONG",
        " points: given, perturbed 1",
        " autodiff: agrees with finite differences to 3e-11 (16 directions)",
        "FOUND",
        "  1. scale (or: path_dropped): 1.w: 2 times the truth",
        "NOTES",
        "  a note",
        "This check could NOT have seen",
        "  a penalty on b",
    ]


def test_many_right_leaves_are_summed_up_and_wrong_ones_never():
    leaves = (GOOD,) * 40 + (WRONG,) * 3
    text = str(Report("FAIL", leaves))
    assert text.count("WRONG") == 3
    assert f"... {43 - SHOWN} more ok" in text


def test_terminal_and_notebook_say_the_same():
    console = Console(width=120, force_terminal=False)
    with console.capture() as capture:
        console.print(FAILED)
    html = FAILED._repr_html_()
    for word in ("GRADCHECK FAIL", "1.w", "WRONG", "scale", "a note", "a penalty on b"):
        assert word in capture.get()
        assert word in html


def test_html_is_escaped():
    report = Report("PASS", notes=("<script>",))
    assert "<script>" not in report._repr_html_()


def test_to_dict_survives_json():
    report = Report("FAIL", (WRONG,))
    assert json.loads(json.dumps(report.to_dict()))["leaves"][0]["shape"] == [7, 5]
    nan = Report("FAIL", (Leaf("w", (), 1.0, float("inf"), float("nan"), (), "given", "WRONG"),))
    assert json.loads(json.dumps(nan.to_dict(), allow_nan=False))["leaves"][0]["error"] is None


def test_raise_if_failed():
    with pytest.raises(GradientError, match="2 times the truth"):
        FAILED.raise_if_failed()
    with pytest.raises(GradientError, match="INCONCLUSIVE"):
        Report("INCONCLUSIVE", doubts=("who knows",)).raise_if_failed()
    passed = Report("PASS")
    assert passed.raise_if_failed() is passed and passed.passed
