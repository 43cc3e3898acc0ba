"""The report of an agent's run in a real headless Chromium: a person clicks through it."""

import re

import pytest

from jaxrl.report import page
from tests.report import synthetic_agents

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return page.write(synthetic_agents.write(tmp_path_factory.mktemp("runs") / "trip"))


def shown(tab, what):
    """What can be seen of `what` in the group that is chosen."""
    return tab.locator(f"section:visible {what}:visible")


def choose(tab, words):
    shown(tab, ".members > label").filter(has_text=words).first.click()


def test_it_opens_offline_without_a_complaint_or_a_sideways_scroll(view, report):
    tab, requests, complaints = view
    choose(tab, "side by side")
    assert requests == [report.as_uri()] and complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= tab.viewport_size["width"]


def test_an_episode_opens_with_its_turns_calls_and_answer(view):
    tab, _, _ = view
    episode = tab.locator("details.episode").first
    assert "utility" in episode.inner_text() and not episode.locator(".talk").is_visible()
    episode.locator("summary").first.click()
    told = episode.locator(".talk").inner_text()
    for words in ("reply, turn 1", "around_search", "radius_km", "5.0", "final answer, turn 2"):
        assert words in told


def test_a_long_observation_unfolds(view):
    tab, _, _ = view
    choose(tab, "#2")
    fold = shown(tab, ".msg.sees details")
    assert "99,999 characters" in fold.inner_text() and "left out" not in fold.inner_text()
    fold.locator("summary").click()
    assert "characters left out" in fold.locator(".text").inner_text()
    assert fold.locator(".text").bounding_box()["height"] < 500


def test_one_member_is_shown_at_a_time_and_all_by_choice(view):
    tab, _, _ = view
    for member in ("#1", "#5"):
        choose(tab, member)
        assert shown(tab, "article").count() == 1
        assert shown(tab, "article header > b").inner_text() == member
    choose(tab, "side by side")
    boxes = [article.bounding_box() for article in shown(tab, "article").all()]
    assert len(boxes) == 8 and len({box["y"] for box in boxes}) == 1
    assert len({box["x"] for box in boxes}) == 8


def test_the_keyboard_chooses_too(view):
    tab, _, _ = view
    choose(tab, "#1")
    tab.keyboard.press("ArrowRight")
    assert shown(tab, "article header > b").inner_text() == "#2"


def test_the_bracket_of_each_update_is_drawn_with_both_calls(view):
    tab, _, _ = view
    asked = set()
    for update in (0, 2, 4):
        tab.locator(".tabs > label", has_text=f"update {update}").click()
        svg = shown(tab, "svg.bracket")
        assert svg.count() == 1 and svg.bounding_box()["height"] > 200
        assert svg.locator("rect").count() == 14 and "final" in svg.text_content()
        both = r"Shown in this order \d+\.\d+ : \d+\.\d+, in the other \d+\.\d+ : \d+\.\d+"
        assert re.search(both, svg.locator("title").first.text_content())
        asked.add(tab.locator("section:visible > .note").first.inner_text())
        calls = tab.locator("section:visible details.calls")
        assert not calls.locator("td").first.is_visible()
        calls.locator("summary").click()
        assert calls.locator("tbody tr:visible").count() == 14
    assert len(asked) == 3  # each update has a task of its own


def test_a_player_of_the_standings_leads_to_its_episode(view):
    tab, _, _ = view
    first = shown(tab, ".standings label").first
    name = first.inner_text()
    first.click()
    article = shown(tab, "article")
    assert article.locator("header > b").inner_text() == name
    assert "reward 1.000" in article.locator("header").inner_text()


def test_hovering_over_a_player_marks_it_in_all_its_matches(view):
    tab, _, _ = view
    tab.locator("section:visible .standings td.m0").hover()
    mark = "e => getComputedStyle(e).textDecorationLine"
    of = lambda n: [t.evaluate(mark) for t in shown(tab, f"svg.bracket .m{n} text").all()]
    assert set(of(0)) == {"underline"} and "underline" not in of(1)


def test_tokens_tell_whose_they_were(view):
    tab, _, _ = view
    choose(tab, "#1")
    shown(tab, "article details.drawn summary").click()
    tokens = shown(tab, "article .drawn .tokens")
    assert "turn 2" in tokens.inner_text()
    assert "log-prob" in tokens.locator(".turn > span[class*=u]").first.get_attribute("title")
    world, mine = tokens.locator(".world").first, tokens.locator("span.u0").first
    assert "not trained on" in world.get_attribute("title")
    colour = "e => getComputedStyle(e).backgroundColor"
    assert world.evaluate(colour) != mine.evaluate(colour)


def test_hostile_text_is_read_and_not_run(view):
    tab, _, _ = view
    choose(tab, "#3")
    told = shown(tab, "article .talk").inner_text()
    assert "<script>document.title='owned'</script>" in told and "‹U+202E›" in told
    assert "owned" not in tab.title() and tab.locator("main script, main img").count() == 0


def test_text_of_the_viewer_stands_out_from_the_page_in_both_schemes(view):
    tab, _, _ = view
    light = "c => c.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 765"
    for where, ink in ((".msg .text", "color"), (".bracket text", "fill"), (".upset text", "fill")):
        at = f"getComputedStyle(document.querySelector('{where}')).{ink}"
        page_colour = "getComputedStyle(document.body).backgroundColor"
        contrast = tab.evaluate(f"Math.abs(({light})({at}) - ({light})({page_colour}))")
        assert contrast > 0.3, where
