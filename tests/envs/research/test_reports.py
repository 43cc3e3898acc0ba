"""The form of a report: read leniently, never with an error, and read back as written."""

from hypothesis import given, settings
from hypothesis import strategies as st

from jaxrl.envs.research import reports
from jaxrl.envs.research.reports import Claim, Report, Section

TEXT = """Some words come before.
# The **Title**
## First
One two three [d1]. Four five six [d2, d30]; and [d4].
- seven eight nine ten
### Second
eleven twelve thirteen [ d5;d6 ]
## References
- [d1] A title of four words
"""


def test_a_report_is_read():
    report = reports.parse(TEXT)
    assert report.title == "The **Title"
    before, first, second = report.sections
    assert before == Section("", (Claim("Some words come before.", ()),))
    assert first.claims[:2] == (
        Claim("One two three", ("d1",)),
        Claim("Four five six", ("d2", "d30", "d4")),
    )
    assert first.claims[2] == Claim("seven eight nine ten", ()) and second.heading == "Second"
    assert second.claims == (Claim("eleven twelve thirteen", ("d5", "d6")),)
    assert report.cited == {"d1", "d2", "d30", "d4", "d5", "d6"} and report.words == 17


def test_what_is_no_citation_is_text():
    claims = reports.parse("# T\n## S\nIn [2012] it was [dx] so [d].").claims
    assert claims == (Claim("In [2012] it was [dx] so [d].", ()),)


WORDS = st.lists(st.sampled_from(("alpha", "Beta", "12", "γ")), min_size=3, max_size=6).map(
    " ".join
)
CLAIMS = st.builds(
    Claim, WORDS, st.lists(st.sampled_from(("d1", "d22")), min_size=1, max_size=3).map(tuple)
)
SECTIONS = st.builds(Section, WORDS, st.lists(CLAIMS, min_size=1, max_size=3).map(tuple))


@settings(deadline=None, max_examples=50)
@given(st.builds(Report, WORDS, st.lists(SECTIONS, max_size=3).map(tuple)))
def test_what_is_written_is_read_back(report):
    assert reports.parse(reports.write(report)) == report


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="#[]d1, \n.-x;*", max_size=80))
def test_no_text_is_an_error(text):
    report = reports.parse(text)
    assert all(len(c.text.split()) >= reports.FEWEST for c in report.claims)


def test_a_long_text_is_cut():
    """A megabyte of half a citation: read in time that grows with its length."""
    assert reports.parse("# T\n" + "word " * 200_000).words <= reports.LONGEST / 5
    assert reports.parse("[d1, " * 200_000).cited == set()
