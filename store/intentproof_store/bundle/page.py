"""`report.html`: one page for people, made of what a bundle proves and of nothing else. Pure.

Verifiers make it again and compare: a change of any byte here is a new version of bundles.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from html import escape
from importlib import resources

from intentproof_schemas import duration_ms, microseconds, timestamp

from ..note import parse_note
from ..present import shown
from ..receipt import Proved
from ..spantree import span_tree
from .content import number
from .proof import Log, ProvedBundle

_TEXT_MAX = 280
_DEPTH_MAX = 12
_STYLE = resources.files(__package__).joinpath("page.css").read_text("utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# Nothing is fetched, run, framed or sent; the one style is named by its hash.
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"
)
_ASKED = {"trace_id": "trace", "correlation_id": "correlation id", "period": "period"}
_COLUMNS = ("#", "Started (UTC)", "Took", "What was meant", "What ran", "Result", "Proof")
_WARNING = (
    "This page repeats what the files beside it prove. Anybody can write such a page: check the "
    "bundle before you rely on it, with a key that came to you another way: "
)
_MEANING = (
    "Proved: the signed log holds exactly this event, at this place. The log shows what was "
    "recorded and when it was received, not that it is true. The bundle shows that these events "
    "exist, not that there are no others. Times of start are the sender's own."
)


def page(bundle: ProvedBundle) -> bytes:
    """The page's bytes, UTF-8."""
    text = "".join(f"{line}\n" for line in _lines(bundle))
    return text.encode(errors="backslashreplace")  # JSON can hold half a surrogate pair


def _lines(bundle: ProvedBundle) -> Iterator[str]:
    head = bundle.content.head
    title = f"{head.tenant}: {_ASKED[head.asked_by]} {head.asked}"
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield '<head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(shown(title))}</title>"
    yield f"<style>{_STYLE}</style></head>"
    yield "<body>"
    yield "<h1>What was meant, and what ran</h1>"
    yield f"<p>Tenant {_text(head.tenant)}, {_ASKED[head.asked_by]} {_text(head.asked)}: "
    yield f"{head.events} event{'' if head.events == 1 else 's'}.</p>"
    if head.without_payload:
        yield "<p>Inputs, outputs and errors are held back from this bundle.</p>"
    yield f"<p>{_WARNING}<code>intentproof-otel verify BUNDLE --key log.vkey</code></p>"
    yield "<table><thead><tr>"
    yield "".join(f"<th>{column}</th>" for column in _COLUMNS) + "</tr></thead>"
    yield "<tbody>"
    yield from _rows(bundle)
    yield "</tbody></table>"
    yield "<h2>Logs</h2>"
    for log in bundle.logs:
        yield from _log_lines(bundle, log)
    yield f"<p>{_MEANING}</p>"
    yield "</body></html>"


def _rows(bundle: ProvedBundle) -> Iterator[str]:
    """A row an event, below the one that called it."""
    placed = list(enumerate(bundle.events))

    def ids(each: tuple[int, Proved]) -> tuple[str, str]:
        leaf = each[1].leaf
        trace = leaf.get("trace_id", "")
        names = (leaf.get("span_id", ""), leaf.get("parent_span_id", ""))
        span, parent = (f"{trace} {name}" if name else "" for name in names)
        return span, parent

    known = {leaf["event_id"] for leaf in _conflicts(bundle)}
    for depth, (place, proved) in span_tree(placed, ids):
        disputed = place in bundle.content.head.disputed or proved.leaf["event_id"] in known
        yield from _row(bundle, place, depth, disputed=disputed)


def _conflicts(bundle: ProvedBundle) -> Iterator[dict[str, str]]:
    return (proved.leaf for proved in bundle.events if proved.leaf["kind"] == "conflict")


def _row(bundle: ProvedBundle, place: int, depth: int, *, disputed: bool) -> Iterator[str]:
    proved = bundle.events[place]
    leaf = proved.leaf
    started, completed = int(leaf["started_ns"]), int(leaf["completed_ns"])
    gone = "held back" if bundle.content.head.without_payload else "erased"
    yield f'<tr class="{"error" if leaf["status"] == "error" else "ok"}">'
    yield f"<td>{number(place)}</td>"
    yield f"<td>{timestamp(microseconds(started))}</td>"
    yield f"<td>{duration_ms(started, completed):.3f} ms</td>"
    yield f'<td class="d{min(depth, _DEPTH_MAX)}">{_meant(proved)}</td>'
    yield f"<td>{_text(leaf['action'])}{_member(proved, 'inputs', gone)}</td>"
    yield f"<td>{_text(leaf['status'])}{_result(proved, gone)}</td>"
    yield "<td>" + ", ".join(_states(proved, gone, disputed=disputed))
    yield f'<div class="small">leaf {proved.index} of {_text(proved.checkpoint.origin)}</div>'
    yield "</td></tr>"


def _meant(proved: Proved) -> str:
    if proved.context is None:
        return '<i class="gone">erased</i>'
    intent = proved.context.get("intent")
    return _text(intent if isinstance(intent, str) else "")


def _result(proved: Proved, gone: str) -> str:
    payload = proved.payload
    if payload is None:
        return f'<div class="small"><i class="gone">{gone}</i></div>'
    return "".join(_member(proved, name, gone) for name in ("output", "error") if name in payload)


def _member(proved: Proved, name: str, gone: str) -> str:
    if proved.payload is None:
        value = f'<i class="gone">{gone}</i>'
    else:
        value = _text(json.dumps(proved.payload.get(name), ensure_ascii=False))
    return f'<div class="small">{name}: {value}</div>'


def _states(proved: Proved, gone: str, *, disputed: bool) -> Iterator[str]:
    """The state of proof in words, the good one first."""
    yield "<b>proved</b>"
    if proved.leaf["kind"] == "conflict":
        yield '<b class="bad">a conflicting second telling</b>'
    elif disputed:
        yield '<b class="bad">disputed: told again with other content</b>'
    if proved.leaf["provenance"] == "observed":
        yield "intent not declared, but taken from the call's description"
    if proved.context is None:
        yield "what was meant is erased"
    if proved.payload is None:
        yield f"data {gone}"


def _log_lines(bundle: ProvedBundle, log: Log) -> Iterator[str]:
    keys = {(key.name, key.key_id) for key in bundle.content.keys}
    yield "<ul>"
    for checkpoint, raw in log.checkpoints:
        signatures = parse_note(raw).signatures
        own = [line.key_id.hex() for line in signatures if (line.name, line.key_id) in keys]
        others = [_text(line.name) for line in signatures if (line.name, line.key_id) not in keys]
        yield f"<li>{_text(checkpoint.origin)}: checkpoint over {checkpoint.size} leaves, root "
        yield f"<code>{base64.b64encode(checkpoint.root).decode()}</code>, "
        yield f"signed with the key {', '.join(own)}"
        yield f"; also signed by {', '.join(others)} (not checked here)" if others else ""
        yield "</li>"
    stamps = sorted(name for name in bundle.content.logs[log.writer] if name.startswith("anchor."))
    if stamps:
        yield f"<li>Time stamps (not checked here): {_text(', '.join(stamps))}</li>"
    yield "</ul>"


def _text(value: str) -> str:
    """Text as HTML: cut where it is long, harmless wherever it came from."""
    cut = shown(value[:_TEXT_MAX])
    rest = f" <i>(and {len(value) - _TEXT_MAX} characters)</i>" if len(value) > _TEXT_MAX else ""
    return f"<bdi>{escape(cut)}</bdi>{rest}"
