"""The report in a real headless Chromium: what a person sees, and what must not happen."""

import pytest

from jaxrl.report import page
from tests.report import synthetic

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return page.write(synthetic.write(tmp_path_factory.mktemp("runs") / "demo"))


def test_it_opens_offline_without_a_complaint(view, report):
    _, requests, complaints = view
    assert requests == [report.as_uri()]
    assert complaints == []


def test_the_headline_is_visible_and_every_drawing_has_a_size(view):
    tab, _, _ = view
    assert tab.locator("h1").inner_text() == "demo"
    assert tab.locator(".big").is_visible() and "→" in tab.locator(".big").inner_text()
    sizes = [tab.locator("svg").nth(i).bounding_box() for i in range(tab.locator("svg").count())]
    assert len(sizes) == 9  # a run without agents: eight panels, and held-out accuracy
    assert all(s["width"] > 250 and s["height"] > 120 for s in sizes)


def test_the_body_never_scrolls_sideways_but_wide_tables_do_in_their_box(view):
    tab, _, _ = view
    width = tab.viewport_size["width"]
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    box = "document.querySelector('.tasks').parentElement"
    assert tab.evaluate(f"{box}.scrollWidth > {box}.clientWidth") == (width == 400)


def test_hostile_text_is_read_and_not_run(view):
    tab, _, _ = view
    assert "owned" not in tab.title() and tab.locator("main script, main img").count() == 0
    assert "<script>" in tab.locator("main").inner_text()


def test_text_stands_out_from_the_page_in_both_schemes(view):
    """A theme whose variable is missing paints ink on ink."""
    tab, _, _ = view
    light = "c => c.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765"
    for where in ("body", ".tokens span.p1, .tokens span.p2", "figure svg text"):
        ink = "fill" if "svg" in where else "color"
        at = f"getComputedStyle(document.querySelector('{where}')).{ink}"
        page_colour = "getComputedStyle(document.body).backgroundColor"
        contrast = tab.evaluate(f"Math.abs(({light})({at}) - ({light})({page_colour}))")
        assert contrast > 0.3, where


def test_a_token_tells_its_figures_and_the_config_opens(view):
    tab, _, _ = view
    assert "log-prob" in tab.locator(".tokens span").first.get_attribute("title")
    assert not tab.locator("details pre").is_visible()
    tab.locator("summary").click()
    assert tab.locator("details pre").is_visible()
