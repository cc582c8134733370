"""What the ledger draws: colours that can be read, strips, curves and axes."""

import re

import numpy as np
import pytest

from jaxdl.lab.ledger import curves, document, effects, words
from tests.lab import ledger_results as made


def luminance(colour):
    """WCAG 2: linear light of #rrggbb."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_can_be_read_on_every_ground(scheme):
    css = (document.ASSETS / "ledger.css").read_text()
    light, dark = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[:2]
    named = dict(re.findall(r"--(\w+): (#\w{6})", light + (dark if scheme == "dark" else "")))
    inks = [name for name in named if name not in ("paper", "tint", "line", "on")]
    assert len(inks) > 12
    for name in inks:
        for ground in ("paper", "tint"):
            assert contrast(named[name], named[ground]) >= 4.5, (name, ground)
    for name in (
        "supported",
        "contradicted",
        "depends",
        "equivalent",
        "inconclusive",
        "exact",
        "out",
    ):
        assert contrast(named["on"], named[name]) >= 4.5, name


def points(path):
    return [float(x) for x in re.findall(r"M(-?\d+) ", path)]


def test_a_dot_for_each_problem_and_infinity_at_the_edge():
    shown = effects.comparison(made.effect("p", 0, families=("f",)))
    (row,) = shown.rows
    drawn = {side: points(path) for side, path in row.dots.items()}
    assert sum(map(len, drawn.values())) == 32
    assert drawn["tie"] == [500.0]
    assert drawn["better"].count(992.0) == 2 and drawn["than"].count(8.0) == 1
    assert sum(x > 920 for x in drawn["better"]) == 2 and sum(x < 80 for x in drawn["than"]) == 1
    assert all(x > 500 for x in drawn["better"]) and all(x < 500 for x in drawn["than"])
    assert row.counts == f"{len(drawn['better'])} of 32, 3 at ∞"


def test_many_infinite_differences_stand_beside_each_other():
    many = made.effect("p", 0) | {"differences": ["inf"] * 28, "families": ["f"] * 28}
    (row,) = effects.comparison(many).rows
    dots = re.findall(r"M\d+ \d+", row.dots["better"])
    assert len(dots) == len(set(dots)) == 28 and row.counts == "28 of 28, 28 at ∞"


def test_swapping_the_arms_mirrors_the_strip():
    there = made.effect("p", 1, families=("f",))
    back = there | {"differences": [-words.number(d) for d in there["differences"]]}
    (row,), (mirrored,) = (effects.comparison(e).rows for e in (there, back))
    there, back = sorted(points(row.dots["better"])), sorted(points(mirrored.dots["than"]))
    assert [1000 - x for x in reversed(there)] == pytest.approx(back, abs=1)


def test_a_curve_is_interrupted_where_it_has_no_value():
    item = made.curve("p", "f", "a", 0.1) | {
        "x": [0, 1, 2, 3], "median": [1.0, "nan", 2.0, 1.0], "low": [1] * 4, "high": [2] * 4,
    }  # fmt: skip
    (panel,) = curves.panels([item])
    # Places of x: 92 + 16 to the right, 572 wide with 4 % room: 0 → 113, 2 → 466, 3 → 643.
    line = panel.arms[0].line
    assert re.fullmatch(r"M113 \d+M466 \d+l177 \d+", line), line


def test_an_axis_by_hand():
    # 0 and 10 with 4 % room on both sides: 340 − 46 − 8 = 286 wide, 5 lies in the middle.
    scale = curves._scale([np.array([0.0, 10.0])], 46, 332, wide=30)
    assert float(scale(5.0)) == pytest.approx(46 + 286 / 2)
    assert [label for _, label in scale.ticks()] == ["0", "5", "10"]
    decades = curves._scale([np.array([1e-4, 1.0])], 0, 100, wide=30)
    assert decades.log and float(decades(1e-2)) == pytest.approx(50)


def test_a_curve_without_any_value_is_still_a_panel():
    nothing = {key: ["nan"] * 2 for key in ("median", "low", "high")}
    (panel,) = curves.panels([made.curve("p", "f", "a", 0.1) | nothing | {"x": [0, 1]}])
    assert panel.arms[0].line == panel.arms[0].band == ""
