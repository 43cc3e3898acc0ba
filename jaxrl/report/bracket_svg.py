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
    env = page.templates()
    of_page = env.get_template("bracket.css.jinja").render()
    light = dict(re.findall(r"(--[\w-]+): ([^;]+);", env.get_template("light.css.jinja").render()))
    style = re.sub(r"var\((--[\w-]+)\)", lambda found: light[found[1]], of_page)
    draw = env.get_template("bracket.html.jinja").module.drawing
    return draw(drawn["svg"], f"{topology.replace('_', ' ')} bracket", Markup(style)).strip()
