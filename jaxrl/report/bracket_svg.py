"""A bracket as an SVG of its own, for notebooks and papers: as on the page, in the light theme.

Colours and the font stand in it as they are, since not every viewer of SVG knows CSS variables.
"""

import re

from markupsafe import Markup

from jaxrl.report import brackets, page


def svg(row):
    """A row of tournaments.jsonl -> SVG text. Round-robins are no brackets, and are refused."""
    topology, drawn = row["topology"], brackets.drawn(row)
    if drawn["svg"] is None:
        raise ValueError(
            f"topology={topology!r} with {len(row['matches'])} matches has no bracket: give one of "
            f"{', '.join(brackets.LAYOUTS)}, of two players or more"
        )
    light = page.template("light.css.jinja").render()
    values = dict(re.findall(r"(--[\w-]+): ([^;]+);", light))
    of_page = page.template("bracket.css.jinja").render()
    style = re.sub(r"var\((--[\w-]+)\)", lambda found: values[found[1]], of_page)
    draw = page.template("bracket.html.jinja").module.drawing
    return draw(drawn["svg"], f"{topology.replace('_', ' ')} bracket", Markup(style)).strip()
