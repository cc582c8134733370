import html.parser
import json
import pathlib

import pytest

from jaxdl.lab import VERDICTS, ledger
from jaxdl.lab.ledger import __main__ as command
from jaxdl.lab.ledger import (
    card,
    charts,
    document,
    entries,
    pages,
    parts,
    strata,
    together,
    words,
)
from tests.lab import ledger_results as made
from tests.sections import SECTIONS

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    made.write(folder, *made.many(), made.result("tiny", size="smoke"), **made.CHARTS)
    return ledger.write(folder)


class Tags(html.parser.HTMLParser):
    """Every start tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def ids(self):
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


@pytest.fixture(scope="module")
def tags(page):
    return Tags(page.read_text())


def test_one_file_of_at_most_8_mb_that_names_nothing_outside(page, tags):
    assert page.name == "ledger.html" and page.stat().st_size <= 8_000_000
    for tag, attrs in tags.tags:
        for name in {"src", "href", "action", "srcset"} & set(attrs):
            assert attrs[name].startswith(("#", "data:")), (tag, attrs[name][:80])


def test_every_finding_has_a_row_and_a_card_and_a_smoke_run_has_none(page, tags):
    cards = [a["id"] for t, a in tags.tags if t == "article"]
    rows = [a["data-claim"] for t, a in tags.tags if t == "li" and "data-claim" in a]
    assert sorted(cards) == sorted(rows) and len(cards) == len(made.many())
    assert {"claim-9", "claim-20", "claim-666", "identity", "kill_matrix"} <= set(cards)
    assert "tiny" not in page.read_text().split("<script")[0]


def test_ids_are_unique_and_every_link_leads_somewhere(tags):
    ids = tags.ids()
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for t, a in tags.tags if t == "a"}
    assert links <= set(ids)


def test_every_address_of_the_page_is_reserved(tags):
    own = {a["id"] for t, a in tags.tags if t in ("header", "section", "form", "input", "output")
           and "id" in a and "-protocol-" not in a["id"]}  # fmt: skip
    assert own <= set(entries.PAGES)


def test_two_findings_of_one_number_have_two_addresses(tmp_path):
    made.write(tmp_path, made.result("a", number="46/50"), made.result("b", number="46/50"))
    found, _ = entries.read(tmp_path, None)
    assert [entry.anchor for entry in found] == ["claim-46-50", "b"]
    assert [entry.aliases for entry in found] == [("claim-46", "claim-50"), ()]


def test_a_claim_named_like_a_part_of_the_page_gets_another_address(tmp_path):
    made.write(tmp_path, made.result("search"))
    (entry,), _ = entries.read(tmp_path, None)
    assert entry.anchor == "search-0"


def test_hostile_names_are_text(page, tags):
    text = page.read_text()
    assert not [a for t, a in tags.tags if t == "img" and not a["src"].startswith("data:")]
    assert not [a for _, a in tags.tags if any(name.startswith("on") for name in a)]
    scripts = [a for t, a in tags.tags if t == "script"]
    assert len(scripts) == text.count("</script>") == len(made.CHARTS) + 2
    assert "onerror=&#34;document.title" in text


def test_only_our_own_scripts_may_run():
    allowed = document.policy(["1 + 1"])
    # printf '1 + 1' | openssl dgst -sha256 -binary | base64
    assert "script-src 'sha256-cvzllEegH0iLEWnS10JnnP4waol3LWf+8Bi8/pVDH2g='" in allowed
    assert allowed.startswith("default-src 'none'") and "unsafe-eval" not in allowed
    assert "unsafe-inline" not in allowed.split("script-src")[1].split(";")[0]


def read_one(tmp_path, own, committed):
    made.write(tmp_path / "own", *own)
    made.write(tmp_path / "evidence", *committed)
    (entry,), _ = entries.read(tmp_path / "own", tmp_path / "evidence")
    return entry


@pytest.mark.parametrize(
    ("own", "committed", "shown", "beside"),
    [
        ("default", "full", "committed evidence", "default"),
        ("full", "full", "run on this machine", "full"),
        ("full", None, "run on this machine", None),
        (None, "full", "committed evidence", None),
        ("smoke", "full", "committed evidence", None),
    ],
)
def test_the_larger_size_is_shown_and_the_other_beside_it(tmp_path, own, committed, shown, beside):
    runs = [[made.result("a", size=size)] if size else [] for size in (own, committed)]
    entry = read_one(tmp_path, *runs)
    assert entry.source == shown and entry.result["size"] == (committed or own)
    assert (entry.other and entry.other["size"]) == beside


def test_the_same_on_other_problems_stands_beside_it(tmp_path):
    def on(draw, folder, **changes):
        made.write(tmp_path / folder / f"draw-{draw}", made.result("a", draw=draw, **changes))

    made.write(tmp_path / "own", made.result("b"))
    made.write(tmp_path / "evidence", made.result("a", size="full"))
    on(2, "evidence", size="full")
    on(1, "evidence", size="full", verdict="depends")
    on(1, "own")  # a smaller size, which says nothing about the full one
    entry, _ = entries.read(tmp_path / "own", tmp_path / "evidence")[0]
    assert [(r["draw"], r["verdict"]) for r in entry.again] == [(1, "depends"), (2, "supported")]
    lines = card.card(entry).again
    assert lines[0] == (
        "Again, on other problems (draw 1): depends; 95 % [92, 97] of 320 problems."
    )
    on(1, "own", size="full", verdict="contradicted")  # one's own run goes first
    entry, _ = entries.read(tmp_path / "own", tmp_path / "evidence")[0]
    assert entry.again[0]["verdict"] == "contradicted"
    assert "| depends, 95 % [92, 97]; supported, 95 % [92, 97] |" in ledger.readme_table(
        tmp_path / "evidence"
    )


def test_full_size_findings_are_kept_and_others_are_not(tmp_path):
    own, evidence = tmp_path / "own", tmp_path / "evidence"
    drawn = {"size": "full", "data": {"x": [1]}, "effects": [made.effect("tuned", 0)]}
    made.write(own, made.result("a", **drawn), made.result("b"), a=made.chart())
    made.write(own / "draw-1", made.result("a", draw=1, **drawn))
    assert ledger.keep(own, evidence) == [evidence / "a.json", evidence / "draw-1" / "a.json"]
    first, second = (json.loads(p.read_text()) for p in ledger.keep(own, evidence))
    assert first["data"] == {"x": [1]} and first["effects"]
    assert second["data"] is None and second["effects"] == []
    assert (evidence / "a.chart.json").exists() and not (evidence / "b.json").exists()
    entry = next(e for e in entries.read(evidence, None)[0] if e.name == "a")
    assert len(entry.again) == 1


def test_a_broken_file_is_named_and_the_rest_is_shown(tmp_path):
    made.write(tmp_path, made.result("a"))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "strange.json").write_text("[1, 2]")
    text = ledger.write(tmp_path).read_text()
    assert "Could not be read: broken.json." in text and 'id="a"' in text


@pytest.mark.parametrize(
    "changes",
    [
        *({key: None} for key in ("title", "estimate", "platform", "seconds", "strata", "figures")),
        {"verdict": ["supported"]},
        {"verdict": "proved"},
        {"number": 9},
        {"seconds": float("nan")},
        {"n_problems": True},
        {"gamma": "usually"},
        {"estimate": {"name": "share", "value": 0.5}},
        {"effects": [made.effect("tuned", 0) | {"families": ["one"]}]},
        {"literature": ["Polyak 1964"]},
        {"claim": "of another file"},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_result_of_another_shape_does_not_cost_the_page(tmp_path, changes):
    made.write(tmp_path, made.result("a"))
    (tmp_path / "b.json").write_text(json.dumps(made.result("b") | changes))
    found, unreadable = entries.read(tmp_path, None)
    assert [entry.name for entry in found] == ["a"] and unreadable == ["b.json"]


@pytest.mark.parametrize("chart", [[1], {}, {"mark": "nonsense"}, {"params": 5}])
def test_a_chart_that_cannot_be_drawn_costs_only_itself(tmp_path, chart):
    made.write(tmp_path, made.result("a"), a=chart)
    text = ledger.write(tmp_path).read_text()
    assert "Could not be read: a.chart.json." in text and 'id="a"' in text


def test_an_empty_folder_says_what_to_do(tmp_path):
    text = ledger.write(tmp_path / "none yet", tmp_path / "nor this").read_text()
    assert "No findings yet: run <code>python -m experiments</code>" in text


@pytest.mark.parametrize(
    ("changes", "value"),
    [
        ({}, 0.95),
        ({"estimate": {"name": "Probability of improvement", **made.share(0.6)}}, 0.6),
        ({"estimate": {"name": "log ratio", "value": 0.3, "low": 0.2, "high": 0.4}}, None),
        ({"estimate": {"name": "share of bugs", "value": 0.2, "low": 0.2, "high": 0.2}}, None),
        ({"estimate": {"name": "share gained", "value": 1.2, "low": 1.0, "high": 1.4}}, None),
        ({"gamma": None}, None),
        (
            {
                "estimate": {"name": "log ratio", "value": 0.3, "low": 0.2, "high": 0.4},
                "effects": [made.effect("p", 0), made.effect("q", 0, primary=True)],
            },
            0.71,
        ),
    ],
)
def test_what_stands_on_the_axis_of_shares(changes, value):
    share = entries.share_of(made.result("a", **changes))
    assert (share and share["value"]) == value


def test_every_section_of_the_notes_is_in_one_week():
    listed = [section for part in parts.PARTS for section in part.sections]
    assert sorted(listed) == sorted(SECTIONS)
    assert all(parts.part_of(section).key != "other" for section in SECTIONS)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("gradient descent with  momentum", "c2w2"),
        ("Vectorizing Logistic Regression's Gradient", "c1w2"),
        ("Dropout Regularization; Understanding Dropout", "c2w1"),
        ("something else", "other"),
    ],
)
def test_sections_written_otherwise_are_recognised(section, key):
    assert parts.part_of(section).key == key


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.714, "71 %"),
        (0.996, "99.6 %"),
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.004, "0.4 %"),
        (0.99, "99 %"),
    ],
)
def test_percents_do_not_hide_that_it_is_not_all_or_none(share, shown):
    assert words.percent(share) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234, "1,234"), (-0.5, "−0.5"), ("inf", "∞"), (float("-inf"), "−∞"), (None, "–"), ("a", "a")],
)
def test_numbers_as_a_reader_sees_them(value, shown):
    assert words.figure(value) == shown


def test_every_verdict_has_a_letter_of_its_own():
    assert set(words.LETTERS) == set(VERDICTS)
    assert len(set(words.LETTERS.values())) == len(VERDICTS)


def test_two_moderators_are_a_table_and_one_is_a_list():
    moderators, heatmaps = strata.split(made.rich()["strata"])
    assert [m.name for m in moderators] == ["family"]
    (heatmap,) = heatmaps
    assert (heatmap.rows, heatmap.columns) == (["1", "10⁴"], ["16", "full"])
    assert heatmap.cells["10⁴", "full"].shown == "100 % [90, 100]"


def test_verdicts_taken_together_by_hand(tmp_path):
    # 98 of 100 against ½: p = 2 Σₖ₌₀² C(100, k) / 2¹⁰⁰ = 2 · 5051 / 2¹⁰⁰ ≈ 8e-27, Holm: 2 · that.
    # 60 of 100 against ½: p = 0.0569 (R's binom.test), the larger of two, so it stays.
    numbers = {"gamma": 0.5, "n_problems": 100}
    shares = [{"estimate": {"name": "share", **made.share(value)}} for value in (0.98, 0.6)]
    made.write(
        tmp_path,
        *(made.result(n, **numbers, **e) for n, e in zip("ab", shares, strict=True)),
        made.result("c", **numbers | {"gamma": None}),
    )
    found, _ = entries.read(tmp_path, None)
    said = together.holm(found)
    assert set(said) == {"a", "b"} and "2 claims" in said["a"]
    assert "it stands (exact binomial, Holm: p < 0.001)" in said["a"]
    assert "it would not stand at 5 % (exact binomial, Holm: p = 0.057)" in said["b"]


def test_a_share_without_an_interval_is_shown_in_percent():
    count = {"name": "share of bugs", "value": 1 / 6, "low": 1 / 6, "high": 1 / 6}
    assert entries.shown(made.result("a", estimate=count)) == "17 %"


def test_explorers_are_the_charts_with_knobs():
    assert charts.sliders(made.chart(slider=True)) == ["which"]
    unnamed = {"params": [{"name": "table", "bind": {"input": "select", "options": []}}]}
    assert charts.sliders(unnamed) == ["table"]
    assert charts.sliders(made.chart()) == charts.sliders(None) == []


def test_pictures_go_first_and_live_charts_stay_where_there_is_little_room():
    full = {n: document.Drawing("s" * 10 * n, "p" * 100 * n) for n in (1, 2, 3)}
    names = dict(zip("abc", full.values(), strict=True))
    assert document.fitting(names, 660) == names
    kept = document.fitting(names, 659)
    assert [len(d.still) for d in kept.values()] == [100, 200, 0]
    kept = document.fitting(names, 40)
    assert [(len(d.spec), d.still) for d in kept.values()] == [(10, ""), (20, ""), (0, "")]


def test_a_page_that_would_be_too_large_says_what_it_left_out(tmp_path):
    made.write(tmp_path, made.result("identity"), **made.CHARTS)
    found, _ = entries.read(tmp_path, None)
    small = document.render(found, [], tmp_path, most=document.SPARE)
    assert "The chart is left out here" in small


def test_errata_and_kills_come_from_the_results(tmp_path):
    made.write(tmp_path, *made.many())
    found, _ = entries.read(tmp_path, None)
    wrong, right = pages.formulas(found)
    assert [f.printed for f in wrong] == ["c = d <"] and [f.printed for f in right] == ["a = b"]
    assert (wrong[0].error, wrong[0].error_corrected, right[0].error) == ("∞", "1e-16", "0")
    matrix = pages.kill_matrix(found)
    assert matrix.totals == ["50 %", "100 %"] and matrix.rows[1][1] == [False, True]


def test_the_index_of_concepts_has_every_section(tmp_path):
    assert sorted(c.section for c in pages.concepts()) == sorted(SECTIONS)
    assert pages.concepts(tmp_path / "not there.md") == []


def test_the_table_for_the_readme_by_hand(tmp_path):
    exact = {"gamma": None, "estimate": {"name": "a | b", "value": 2.0, "low": 2.0, "high": 2.0}}
    made.write(tmp_path, made.rich(size="full"), made.result("x", title="X", **exact))
    assert ledger.readme_table(tmp_path).splitlines()[2:] == [
        "| 9 · Momentum almost always works faster | depends | 71 % [67, 75] of 320 problems; "
        "“almost always” asks for 90 % |  |",
        "| X | supported | a \\| b: 2 |  |",
    ]
    assert ledger.readme_table(tmp_path / "no evidence") == ""


def test_a_readme_keeps_everything_outside_the_markers():
    before = "a\n<!-- verdicts -->\nold\n<!-- end of verdicts -->\nb\n"
    after = ledger.with_table(before, "| new |")
    assert after == "a\n<!-- verdicts -->\n| new |\n<!-- end of verdicts -->\nb\n"
    assert ledger.with_table(after, "") == "a\n<!-- verdicts -->\n<!-- end of verdicts -->\nb\n"
    with pytest.raises(ValueError, match="end of verdicts"):
        ledger.with_table("no markers", "")


def test_the_table_in_the_readme_is_the_one_that_the_evidence_gives():
    table = ledger.readme_table(ROOT / "experiments" / "evidence")
    readme = (ROOT / "README.md").read_text()
    if table or "<!-- verdicts -->" in readme:
        assert ledger.with_table(readme, table) == readme, (
            "python -m jaxdl.lab.ledger --readme README.md"
        )


def test_the_command_writes_the_page_and_the_table(tmp_path, capsys):
    made.write(tmp_path / "evidence", made.result("a", size="full"))
    readme = tmp_path / "README.md"
    readme.write_text("<!-- verdicts -->\n<!-- end of verdicts -->\n")
    folders = ["--results", tmp_path / "r", "--evidence", tmp_path / "evidence"]
    assert command.main([*map(str, folders), "--readme", str(readme)]) == 0
    assert "| The title of a | supported |" in readme.read_text()
    assert str(tmp_path / "r" / "ledger.html") in capsys.readouterr().out


def test_a_lean_picture_is_still_one():
    import xml.etree.ElementTree as xml

    import vl_convert

    whole = vl_convert.vegalite_to_svg(made.chart(made.HOSTILE))
    small = charts.lean(whole)
    assert len(small) < 0.7 * len(whole)
    texts = [[e.text for e in xml.fromstring(svg).iter() if e.text] for svg in (whole, small)]
    assert texts[0] == texts[1]
    assert charts.lean('<path d="M0.123,-4.56"><text>0.123</text>') == (
        "<path d='M0.1,-4.5'><text>0.123</text>"
    )


def test_pictures_are_kept_by_what_they_show(tmp_path, monkeypatch):
    first = charts.still(made.chart(), tmp_path)
    monkeypatch.setattr(charts, "_picture", lambda chart: "data:again")
    assert charts.still(made.chart(), tmp_path) == first
    assert charts.still(made.chart("other"), tmp_path) == "data:again"
    charts.forget(tmp_path, [made.chart("other")])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["data:again\n"]


def test_a_chart_cannot_end_its_script_element():
    hostile = document.embedded(made.chart(made.HOSTILE))
    assert "<" not in hostile and json.loads(hostile) == made.chart(made.HOSTILE)
