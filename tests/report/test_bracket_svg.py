"""A bracket outside the page: XML that a viewer of SVG can draw without it."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxrl.report import brackets
from jaxrl.report.bracket_svg import svg
from tests.report import synthetic_agents

SVG = "{http://www.w3.org/2000/svg}"


def played(topology, n=8):
    rng = np.random.default_rng(0)
    return synthetic_agents.played(topology, np.round(rng.random(n), 2), rng)


@pytest.mark.parametrize("topology", sorted(brackets.LAYOUTS.keys() & synthetic_agents.SCHEDULES))
def test_it_is_xml_with_a_box_a_match(topology):
    row = played(topology)
    root = ElementTree.fromstring(svg(row))
    assert root.tag == f"{SVG}svg" and len(list(root.iter(f"{SVG}rect"))) == len(row["matches"])
    titles = [title.text for title in root.iter(f"{SVG}title")]
    met = {tuple(sorted(p + 1 for p in m["players"])) for m in row["matches"]}
    assert {tuple(sorted(map(int, re.findall(r"#(\d+)", t)))) for t in titles} == met


def test_its_colours_need_no_page():
    """Inkscape and many viewers leave out what is coloured by a variable."""
    text = svg(played("single_elimination"))
    style = text[text.index("<style>") : text.index("</style>")]
    assert "var(" not in text and style.count("#") >= 5 and "--" not in style


def test_a_round_robin_is_refused_by_name():
    with pytest.raises(ValueError, match=r"topology='round_robin' with 28 matches.*swiss"):
        svg(played("round_robin"))
