"""The ledger as a reader meets it, in headless Chromium."""

import pytest

from jaxdl.lab import ledger
from tests.lab import chromium
from tests.lab import ledger_results as made

pytestmark = pytest.mark.skipif(
    chromium.find() is None,
    reason=f"no Chromium on the path (looked for {', '.join(chromium.NAMES)})",
)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    made.write(folder, *made.many(), **made.CHARTS)
    return ledger.write(folder)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.page(tmp_path_factory.mktemp("profile")) as page:
        yield page


SHOWN = "[...document.querySelectorAll('.card:not([hidden])')].map(card => card.id)"
ROWS = "[...document.querySelectorAll('.row:not([hidden])')].map(row => row.dataset.claim)"
EVERYTHING = len(made.many())


def draw(browser, claim):
    """Scroll to a claim's chart and wait until it is drawn."""
    chart = f"document.querySelector('#{claim} [data-chart]')"
    browser.run(f"{chart}.scrollIntoView({{ behavior: 'instant' }})")
    browser.until(f"{chart}.classList.contains('drawn')")


def outside(browser):
    return [url for url in browser.requests if not url.startswith(("file:", "data:", "about:"))]


def test_it_loads_and_draws_everything_without_a_complaint_or_a_request(browser, path):
    browser.open(path)
    for claim in ("claim-9", "claim-666", "identity"):
        draw(browser, claim)
    assert browser.problems == []
    assert outside(browser) == []
    assert len([url for url in browser.requests if url.startswith("file:")]) == 1


def test_charts_wait_until_they_come_near(browser, path):
    browser.open(path)
    assert browser.run("document.querySelectorAll('.drawn').length") == 0
    assert browser.run(f"{SHOWN}.length") == EVERYTHING


def test_a_slider_changes_the_chart(browser, path):
    browser.open(path)
    draw(browser, "claim-9")
    bars = "document.querySelector('#claim-9 .live .mark-rect path').getAttribute('aria-label')"
    before = browser.run(bars)
    browser.run("""
        const slider = document.querySelector('#claim-9 input[type=range]');
        slider.value = 1;
        slider.dispatchEvent(new Event('input', { bubbles: true }));
    """)
    browser.until(f"{bars} !== {before!r}")
    assert (before, browser.run(bars)) == ("a: x; b: 1", "a: x; b: 5")


def test_a_slider_stays_where_it_was_when_the_window_changes(browser, path):
    browser.open(path)
    draw(browser, "claim-9")
    figure = "document.querySelector('#claim-9 [data-chart]')"
    browser.run(f"{figure}.view.signal('which', 1).runAsync().then(() => 0)")
    browser.run(f"{figure}.dataset.drawn = 'before'; dispatchEvent(new Event('resize'))")
    browser.until(f"{figure}.dataset.drawn !== 'before' && {figure}.view.signal('which') === 1")
    bar = "document.querySelector('#claim-9 .live .mark-rect path')"
    browser.until(f"{bar} && {bar}.getAttribute('aria-label') === 'a: x; b: 5'")


def click(browser, selector):
    browser.run(f"document.querySelector({selector!r}).click()")


def test_filters_filter_and_are_kept_in_the_address(browser, path):
    browser.open(path)
    click(browser, '[data-filter="verdict"][data-value="depends"]')
    click(browser, '[data-filter="week"][data-value="c2w2"]')
    assert browser.run(SHOWN) == browser.run(ROWS) == ["claim-9"]
    lists = "[...document.querySelectorAll('.list')].map(list => list.hidden)"
    assert browser.run(lists) == [False, True]  # of shares, of other numbers
    fragment = browser.run("location.hash")
    assert fragment == "#verdict=depends&week=c2w2"
    assert (
        browser.run("document.querySelector('#shown').textContent") == f"1 of {EVERYTHING} claims"
    )
    browser.open(path, fragment)
    assert browser.run(SHOWN) == ["claim-9"]
    pressed = "[...document.querySelectorAll('[aria-pressed=true]')].map(c => c.dataset.value)"
    assert browser.run(pressed) == ["depends", "c2w2"]
    click(browser, "#clear")
    assert browser.run(f"{SHOWN}.length") == EVERYTHING and browser.run("location.hash") == ""


def look_for(browser, words):
    browser.run(f"document.querySelector('#search').value = {words!r}")
    browser.run("document.querySelector('#search').dispatchEvent(new Event('input'))")


def test_the_search_finds_words_and_says_when_nothing_fits(browser, path):
    browser.open(path)
    look_for(browser, "heavy κ")
    assert browser.run(SHOWN) == ["claim-9"] and "q=heavy" in browser.run("location.hash")
    look_for(browser, "onerror=")
    assert browser.run(SHOWN) == ["claim-666"]
    look_for(browser, "no such words")
    assert browser.run(SHOWN) == []
    assert browser.run("document.querySelector('.nothing').offsetHeight") > 0


def test_a_link_to_a_claim_wins_over_filters(browser, path):
    browser.open(path, "#verdict=supported")
    assert "claim-9" not in browser.run(SHOWN)
    browser.run("location.hash = '#claim-9'")
    browser.until("document.activeElement.id === 'claim-9'")
    assert browser.run(f"{SHOWN}.length") == EVERYTHING


TUNED = "each tuned, equal budgets"


def test_tabs_by_keyboard(browser, path):
    browser.open(path)
    chosen = "document.querySelector('#claim-9 [aria-selected=true]')"
    panels = "[...document.querySelectorAll('#claim-9 [role=tabpanel]:not([hidden])')]"
    assert browser.run(f"{chosen}.textContent") == TUNED  # the one that decides
    browser.run(f"{chosen}.focus()")
    for key, name in (("ArrowRight", "same rate"), ("ArrowRight", "defaults"), ("End", TUNED)):
        browser.press(key)
        assert browser.run(f"{chosen}.textContent") == name
        assert browser.run(f"{panels}.map(p => p.dataset.tab)") == [name]
        assert browser.run("document.activeElement.textContent") == name


def test_the_first_key_reaches_the_claims(browser, path):
    browser.open(path)
    browser.press("Tab")
    assert browser.run("document.activeElement.getAttribute('href')") == "#claims"


def test_hostile_names_do_nothing(browser, path):
    browser.open(path)
    draw(browser, "claim-666")
    assert browser.run("document.title").startswith("The ledger")
    assert browser.run("document.querySelectorAll('img[src=x], .card b > b').length") == 0
    assert "</script>" in browser.run("document.querySelector('#claim-666 h3').textContent")


def test_nothing_leaves_the_page_and_no_other_script_runs(browser, path):
    browser.open(path)
    answer = browser.run("fetch('https://example.org/').then(() => 'left', () => 'stopped')")
    assert answer == "stopped"
    browser.run("""
        const image = new Image(); image.src = 'https://example.org/x.png';
        const script = document.createElement('script');
        script.textContent = 'window.ran = true';
        document.body.append(image, script);
    """)
    assert browser.run("window.ran === undefined")
    blocked = [p for p in browser.problems if "Content Security Policy" in str(p)]
    assert len(blocked) >= 3


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_no_window_is_too_narrow(browser, path, width):
    browser.open(path, width=width)
    assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0


def test_it_is_all_there_without_scripts(browser, path):
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(path)
        tall = "[...document.querySelectorAll('#claim-9 .panel')].map(p => p.offsetHeight > 50)"
        assert browser.run(tall) == [True] * 3
        assert browser.run("document.querySelector('#claim-9 .still').offsetHeight") > 50
        assert browser.run("document.querySelector('#filters').offsetHeight") == 0
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


def test_it_is_all_there_in_print(browser, path):
    browser.open(path)
    draw(browser, "claim-9")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        tall = "[...document.querySelectorAll('#claim-9 .panel')].map(p => p.offsetHeight > 50)"
        assert browser.run(tall) == [True] * 3
        assert browser.run("document.querySelector('#claim-9 .still').offsetHeight") > 50
        assert browser.run("document.querySelector('#claim-9 .live').offsetHeight") == 0
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


def test_dark_follows_the_reader(browser, path):
    colour = "getComputedStyle(document.body).backgroundColor"
    browser.open(path)
    light = browser.run(colour)
    browser.open(path, dark=True)
    assert browser.run(colour) != light


def test_black_marks_can_be_seen_in_the_dark(browser, path):
    fill = "document.querySelector('#identity .live .mark-rect path').getAttribute('fill')"
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--ink').trim()"
    browser.open(path)
    draw(browser, "identity")
    assert browser.run(fill) == "#101418"
    browser.open(path, dark=True)
    draw(browser, "identity")
    assert browser.run(fill) == browser.run(ink)
