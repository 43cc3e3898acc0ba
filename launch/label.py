"""Has a chat model rank the documents of rows, and writes rows for E2Rank's second stage.

    python -m launch.label --rows=FILE --url=http://127.0.0.1:8000/v1 --model=NAME --out=FILE
    ... --law='{"temperature": 0, "chat_template_kwargs": {"enable_thinking": false}}'

Rows are those of jaxrl/data/embedding_rows.py with query and positives, best after launch.mine: a
row's positives and negatives are ranked, but none of kind classification. The same command goes on
where it stopped, and asks again for what was dropped.
"""

import json
import sys

from absl import app, flags

from jaxrl.chat.http import Endpoint, HttpConfig
from jaxrl.chat.waiting import wait
from jaxrl.data import embedding_rows
from jaxrl.retrieval import labelling
from jaxrl.retrieval.labelling import LabelConfig

ROWS = flags.DEFINE_string("rows", None, "What is to be ranked.", required=True)
URL = flags.DEFINE_string("url", None, "An endpoint that speaks OpenAI's chat.", required=True)
MODEL = flags.DEFINE_string("model", None, "The model there.", required=True)
OUT = flags.DEFINE_string("out", None, "Where ranked rows are added.", required=True)
KEY = flags.DEFINE_string("key", "OPENAI_API_KEY", "Variable that holds the key; empty = none.")
LAW = flags.DEFINE_string("law", '{"temperature": 0}', "More of each request, as JSON.")
CONCURRENT = flags.DEFINE_integer("concurrent", 16, "Requests under way at once.", lower_bound=1)
DOCUMENT = flags.DEFINE_integer("document", LabelConfig.document, "Characters shown of one.")
SEED = flags.DEFINE_integer("seed", LabelConfig.seed, "Of the order in which they are shown.")


def main(argv):
    """Refuses in one line what cannot work; asks, and says what became of the rows."""
    try:
        if argv[1:]:
            raise ValueError(f"unexpected argument {argv[1]!r}: see --help")
        c = LabelConfig(document=DOCUMENT.value, seed=SEED.value, together=4 * CONCURRENT.value)
        settings = {"law": _law(), "key": KEY.value, "concurrent": CONCURRENT.value}
        model = Endpoint(HttpConfig(URL.value, MODEL.value, **settings))
        rows, doubled = embedding_rows.read_rows(ROWS.value)
        asked = [labelling.task_of(row, c) for row in rows if not row.own_only]
        out = labelling.Ranked(OUT.value)
    except (ValueError, OSError, RuntimeError) as error:
        sys.exit(f"launch.label: {error}")
    tasks = [task for task in asked if len(task.documents) > 1]
    left = out.missing(tasks)
    counts = {
        "of kind classification": len(rows) - len(asked),
        "with a single document": len(asked) - len(tasks),
        "there already, or twice": len(tasks) - len(left),
    }
    try:
        counts |= wait(labelling.label(model, left, out.keep, c))
    except OSError as error:
        sys.exit(f"launch.label: {OUT.value}: {error}")
    finally:
        out.close()
    told = [f"{n:,} {name}" for name, n in (doubled | counts).items() if n]
    print(f"{OUT.value}: of {len(rows):,} rows {', '.join(told)}")
    if left and not counts["ranked"]:
        sys.exit("launch.label: no row was ranked")


def _law():
    try:
        law = json.loads(LAW.value)
    except ValueError as error:
        raise ValueError(f"--law={LAW.value} is no JSON ({error})") from None
    if not isinstance(law, dict):
        raise ValueError(f"--law={LAW.value}: give a JSON object")
    return law


if __name__ == "__main__":
    app.run(main)
