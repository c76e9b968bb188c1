"""`report.html`: harmless wherever its words come from, and the same bytes for ever."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import canonical_text
from intentproof_store.bundle.page import page
from intentproof_store.bundle.proof import ProvedBundle, prove
from intentproof_store.bundle.readme import readme

from tests.examples import examples
from tests.store.bundle_support import MemoryLog, code_of, content, files_of, packed
from tests.store.reader_support import event

# Everything that a browser could run, fetch, frame or send.
ACTIVE = {
    *("script", "link", "img", "iframe", "object", "embed", "form", "input", "base", "a", "svg"),
    *("video", "audio", "source", "frame", "template", "math", "button"),
}


class Reading(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.style = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "style" and not self.style:
            self.style = data
        else:
            self.words.append(data)


def read(raw: bytes) -> Reading:
    reading = Reading()
    reading.feed(raw.decode())
    reading.close()
    return reading


def proved(*events_of: dict[str, str]) -> ProvedBundle:
    """A bundle of events of one trace with such members."""
    log = MemoryLog()
    for number, changes in enumerate(events_of):
        log.add(event(number, **changes))
    return prove(content(log, indexes=range(len(events_of))))


HOSTILE = (
    "<script>alert(1)</script>",
    "</title></style></td><img src=x onerror=alert(1)>",
    "\"'><svg/onload=alert(1)>",
    "&lt;b&gt; &amp;",
    "javascript:alert(1)",
    "\u202egnp.exe\u202c \u2066x\u2069",
    "\x1b[31mred\x07\x00\x9b",
    "--><!--",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_text(text: str) -> None:
    """Whatever an event says stands on the page as words, with controls written out."""
    encoded = canonical_text(text).decode()
    raw = page(proved({"intent": text, "action": text, "inputs": encoded, "correlation_id": text}))
    calm = page(proved({"intent": "x", "action": "y", "inputs": '"z"'}))
    reading = read(raw)
    assert reading.tags == read(calm).tags
    assert {name for name, _ in reading.attributes} == {name for name, _ in read(calm).attributes}
    shown = "".join(reading.words)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", raw.decode())
    assert all(part in shown for part in re.split(r"[\\\x00-\x1f\x7f-\uffff]+", text))


@given(text=st.text(max_size=400), asked=st.text(max_size=50))
@settings(max_examples=examples(200), deadline=None)
def test_no_text_makes_markup(text: str, asked: str) -> None:
    """No text of an event, and nothing that was asked for, changes the page's structure."""
    bundle = proved({"intent": f"x{text}", "action": f"y{text}"})
    head = replace(bundle.content.head, asked=asked)
    odd = replace(bundle, content=replace(bundle.content, head=head))
    markup = [tag for tag in read(page(odd)).tags if tag != "i"]  # of texts that are cut
    assert markup == [tag for tag in read(page(proved({}))).tags if tag != "i"]
    assert readme(odd).decode()


def test_the_page_reaches_for_nothing() -> None:
    """No script, no address, no element that could fetch or send, and a policy that says so."""
    raw = page(proved({}, {}))
    reading = read(raw)
    assert not ACTIVE & set(reading.tags)
    names = {name for name, _ in reading.attributes}
    assert names <= {"lang", "charset", "http-equiv", "content", "name", "class"}
    assert not re.search(rb"https?:|url\(|@import|src=|href=| on[a-z]+=", raw)
    (policy,) = [value for _, value in reading.attributes if value and "default-src" in value]
    digest = base64.b64encode(hashlib.sha256(reading.style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )


def test_the_page_prints() -> None:
    """The one style has rules for paper: the head on each page, and no row cut in two."""
    style = read(page(proved({}))).style
    printing = style[style.index("@media print") :]
    assert "table-header-group" in printing
    assert "break-inside:avoid" in printing


def test_long_texts_are_cut_and_say_so() -> None:
    """A page stays a page: what is long is cut, with the number of characters left out."""
    raw = page(proved({"intent": "x" * 1000})).decode()
    assert "x" * 280 in raw
    assert "x" * 281 not in raw
    assert "(and 720 characters)" in raw


def test_half_a_surrogate_pair_is_written_out() -> None:
    """JSON can hold half a character; the page has it as its number."""
    log = MemoryLog()
    log.add(event(0, inputs='{"x":"\\ud800"}'))
    assert "\\ud800" in page(prove(content(log, indexes=(0,)))).decode()
    assert code_of(packed(files_of(content(log, indexes=(0,))))) == "verified"


def test_deep_trees_stop_moving_to_the_right() -> None:
    """A chain of calls, however long, stays on the page, and a circle of parents ends."""
    chain = [{"parent_span_id": f"{number:016x}", "trace_id": "a" * 32} for number in range(30)]
    log = MemoryLog()
    for number, changes in enumerate(chain):
        log.add(event(number, **changes))
    log.add(event(30, parent_span_id=f"{32:016x}", trace_id="a" * 32))
    log.add(event(31, parent_span_id=f"{31:016x}", trace_id="a" * 32))
    asked = ("trace_id", "a" * 32)
    raw = page(prove(content(log, indexes=range(32), asked=asked))).decode()
    assert raw.count("<tr class=") == 32
    assert raw.count('class="d12"') == 30 - 12
    assert 'class="d13"' not in raw


# Verifiers make report and README again and compare bytes. Whoever changes one of them makes
# bundles of the version after `intentproof.bundle.v1`, and keeps this one for the old ones.
FROZEN = {
    "README.txt": "6489be4b6af8ba5c28d9f1699eb21c019bfe1088eaae3123540d5eead88d2f34",
    "report.html": "2cf438faec1c6ca8337b14a8a2c54c2e622eb8bfa6595ff239c6d350c5035956",
    "MANIFEST": "91ab81149372142d6dade2789e59e256cb791caaea3297c1086dbc8897d7afce",
}


@pytest.mark.parametrize("name", FROZEN)
def test_version_one_is_frozen(name: str) -> None:
    """The bytes of a bundle of version 1 are the same in every release."""
    files = files_of(content(sizes=(2, 7)))
    assert hashlib.sha256(files[name]).hexdigest() == FROZEN[name]
