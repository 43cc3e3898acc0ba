"""What an agent can do in the corpus: typed functions whose first argument is the world.

Each returns a short JSON text, or raises a ToolError that names key, value and fix.
"""

import json
import re

from jaxrl.envs.calls import within
from jaxrl.envs.research.corpus import Corpus
from jaxrl.tools import ToolError

LONGEST = 300  # characters of a query
MOST = 10  # rows of a search
PAGE = 2500  # characters: longer ones are cut in ArenaRL too, where a model summarises them


def search(world: Corpus, query: str, count: int = 5) -> str:
    """Search the documents by words, the best match first.

    query: words to look for
    count: how many results at most, 1 to 10
    """
    within("count", count, 1, MOST)
    if len(query) > LONGEST:
        raise ToolError("query", query, f"{len(query)} characters; give at most {LONGEST}")
    if not re.search(r"\w", query):
        raise ToolError("query", query, "it has no word; write words to look for")
    rows = world.search(query, count)
    return _json([{"id": name(r.id), "title": r.title, "snippet": r.snippet} for r in rows])


def open(world: Corpus, id: str, page: int = 1) -> str:
    """Read a document, one page of at most 2500 characters at a time.

    id: as a search gave it, such as d17
    page: which page, from 1
    """
    found = world.document(number(id))
    if found is None:
        raise ToolError("id", id, "no such document; give an id that a search returned")
    pages = max(1, -(-len(found.text) // PAGE))
    within("page", page, 1, pages)
    text = found.text[(page - 1) * PAGE : page * PAGE]
    return _json(
        {"id": name(found.id), "title": found.title, "page": page, "pages": pages, "text": text}
    )


TOOLS = (search, open)


def name(id):
    """17 -> "d17"."""
    return f"d{id}"


def number(text):
    """ "d17" -> 17; 0, which no document has, for what is no id."""
    return int(text[1:]) if re.fullmatch(r"d[0-9]{1,9}", text) else 0


def _json(value):
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
