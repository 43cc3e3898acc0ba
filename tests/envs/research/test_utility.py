"""Every part of the utility can be broken, is then noticed by name, and lowers the utility."""

import pytest
import tiny_corpus

from jaxrl.envs.research import calls, expert, reports, scores
from jaxrl.envs.research import task as tasks
from jaxrl.envs.research.reports import Claim, Section
from jaxrl.envs.research.utility import utility
from jaxrl.messages import ToolCall


def trajectory(task):
    """The expert's calls with results, and its Report."""
    messages = expert.solve(task)
    wanted = [call for m in messages for call in m.calls]
    results = [m.content for m in messages if m.role == "tool"]
    made = tuple(zip(wanted, results, strict=True))
    return made, reports.parse(messages[-1].content)


def claimed(change):
    """Changes all claims of a report."""
    of = lambda s: s._replace(claims=tuple(change(c) for c in s.claims))
    return lambda r: r._replace(sections=tuple(map(of, r.sections)))


def last_section(change):
    return lambda r: r._replace(sections=(*r.sections[:-1], *change(r.sections[-1])))


INVENTED = "Something that no document has ever said about anybody anywhere"
BROKEN = {
    "coverage": last_section(lambda s: [s._replace(claims=(Claim(INVENTED, s.claims[0].cited),))]),
    "support": claimed(lambda c: c._replace(text=f"{c.text} {INVENTED} {INVENTED.swapcase()}x")),
    "cited": lambda r: r._replace(
        sections=(
            *r.sections[:-1],
            r.sections[-1]._replace(claims=(*r.sections[-1].claims, Claim(INVENTED, ()))),
        )
    ),
    "structure": last_section(lambda s: [s._replace(heading="")]),
    "length": last_section(lambda s: [s._replace(claims=s.claims * 30)]),
    "distinct": last_section(lambda s: [s._replace(claims=s.claims * 2)]),
    "citations": last_section(
        lambda s: [s._replace(claims=(*s.claims, Claim(s.claims[0].text, ("d9999",))))]
    ),
}


def written(report):
    """As reports.write, claims without a citation and sections without a heading too."""
    lines = [f"# {report.title}"]
    for s in report.sections:
        lines += [f"## {s.heading}"] if s.heading else []
        lines += [c.text + (f" [{', '.join(c.cited)}]" if c.cited else "") for c in s.claims]
    return "\n".join(lines)


@pytest.mark.parametrize("index", range(3), ids=tasks.KINDS)
def test_the_expert_gets_nearly_all(names, index):
    made, report = trajectory(tiny_corpus.task(names, "rl", index))
    whole = utility(tiny_corpus.task(names, "rl", index), made, written(report))
    assert whole.valid and whole.value > 0.9
    assert all(v == 1 for k, v in whole.parts.items() if k != "coverage")


@pytest.mark.parametrize("part", BROKEN)
@pytest.mark.parametrize("index", range(3), ids=tasks.KINDS)
def test_a_broken_part_is_noticed(names, part, index):
    task = tiny_corpus.task(names, "rl", index)
    made, report = trajectory(task)
    whole = utility(task, made, written(report))
    broken = utility(task, made, written(BROKEN[part](report)))
    assert broken.parts[part] < whole.parts[part] and broken.value < whole.value
    assert all(0 <= v <= 1 for v in (broken.value, *broken.parts.values()))


@pytest.mark.parametrize("title", ["", "A report"])
def test_a_title_must_name_the_topic(names, title):
    task = tiny_corpus.task(names, "rl", 0)
    made, report = trajectory(task)
    found = utility(task, made, written(report._replace(title=title)))
    assert found.parts["structure"] == (0.75 if title else 0) and found.valid == bool(title)


def test_a_document_that_was_never_seen_must_not_be_cited(names):
    task = tiny_corpus.task(names, "rl", 0)
    made, report = trajectory(task)
    seen = calls.found(made)
    unseen = next(f"d{i}" for i in range(1, 73) if f"d{i}" not in seen)
    added = last_section(lambda s: [s._replace(claims=(*s.claims, Claim(INVENTED, (unseen,))))])
    assert not utility(task, made, written(added(report))).valid


def test_a_document_that_was_only_listed_counts_half(names):
    task = tiny_corpus.task(names, "rl", 0)
    made, report = trajectory(task)
    listed = [(call, text) for call, text in made if call.name == "search"]
    found = utility(task, listed, written(report))
    assert found.parts["citations"] == 0.5 and found.valid and found.parts["support"] < 1
    none = utility(task, (), written(report))
    assert none.parts["citations"] == none.parts["support"] == 0 and not none.valid


def test_subjects_that_are_open_may_be_any_that_are_related(names):
    task = tiny_corpus.task(names, "rl", 1)
    assert task.kind == "ideation"
    world = tasks.world(task)
    used = {c for claim in trajectory(task)[1].claims for c in claim.cited}
    others = [d for d in tasks.subjects(task) if f"d{d.id}" not in used]
    assert len(others) > task.count  # more than are asked for count no more
    opened = [ToolCall("open", {"id": f"d{d.id}"}) for d in (tasks.topic(task), *others)]
    made = tuple((call, calls.run(world, call)) for call in opened)
    quote = lambda d: Section(d.title, (Claim(d.text, (f"d{d.id}",)),))
    report = reports.Report(
        tasks.topic(task).title, tuple(map(quote, (tasks.topic(task), *others)))
    )
    assert utility(task, made, written(report)).parts["coverage"] == 1


@pytest.mark.parametrize(
    "text", ["", "I do not know.", "# T", "# T\n## S", "[d1]", "## S\n[d1] [d2]"]
)
def test_what_says_nothing_gets_nothing(names, text):
    task = tiny_corpus.task(names, "rl", 0)
    made, _ = trajectory(task)
    assert utility(task, made, text).value == 0 and not utility(task, made, text).valid


def test_words_count_for_the_document_that_is_cited(names):
    """The right sentences under the wrong ids: nothing is covered, and nothing supports them."""
    task = tiny_corpus.task(names, "rl", 0)
    made, report = trajectory(task)
    ids = [s.claims[0].cited for s in report.sections]
    turned = [
        s._replace(claims=tuple(c._replace(cited=id) for c in s.claims))
        for s, id in zip(report.sections, [*ids[1:], ids[0]], strict=True)
    ]
    right = utility(task, made, written(report))
    wrong = utility(task, made, written(report._replace(sections=tuple(turned))))
    assert wrong.parts["coverage"] < 0.5 * right.parts["coverage"]
    assert wrong.parts["support"] < 0.6 * right.parts["support"]
    assert wrong.parts["citations"] == 1 and wrong.valid


def test_a_report_can_be_too_short(names):
    task = tiny_corpus.task(names, "rl", 0)
    made, report = trajectory(task)
    first = report.sections[0]._replace(claims=report.sections[0].claims[:1])
    short = report._replace(sections=(first,))
    found = utility(task, made, written(short)).parts
    assert found["length"] == short.words / task.low < 1 and found["structure"] == 0.75


def test_structure_is_a_title_sections_enough_none_empty_none_twice(names):
    task = tiny_corpus.task(names, "rl", 0)
    _, report = trajectory(task)
    first, *others = report.sections
    changes = {
        "title": report._replace(title="A report"),
        "few": report._replace(sections=(first, *others[1:])),
        "empty": report._replace(sections=(*report.sections, Section("More", ()))),
        "twice": report._replace(sections=(*report.sections, first)),
    }
    assert scores.structure(task, report) == 1
    assert {k: scores.structure(task, r) for k, r in changes.items()} == dict.fromkeys(
        changes, 0.75
    )
