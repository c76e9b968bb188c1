"""`README.txt`: how to check a bundle with and without our software. Pure.

Its commands are run by our tests. As the report's, its every byte is compared by verifiers.
"""

from collections.abc import Iterable, Iterator
from importlib import resources
from string import Template

from ..note import parse_note
from ..present import shown
from .proof import ProvedBundle

_FOLDER = resources.files(__package__)
_TEMPLATE = Template(_FOLDER.joinpath("README.in").read_text("utf-8"))
_PROGRAM = _FOLDER.joinpath("check.go").read_text("utf-8")
_ASKED = {"trace_id": "the trace", "correlation_id": "the correlation id", "period": "the period"}


def readme(bundle: ProvedBundle) -> bytes:
    """The text's bytes, UTF-8."""
    head = bundle.content.head
    events = f"{head.events} event{'' if head.events == 1 else 's'}"
    asked = shown(f"{_ASKED[head.asked_by]} {head.asked}")
    text = _TEMPLATE.substitute(
        summary=f"Tenant {head.tenant}, {asked}: {events}.",
        absent="The payloads are held back from this bundle."
        if head.without_payload
        else "One that is not here was erased.",
        signatures=_commands(_signature_commands(bundle)),
        commitments=_commands(_commitment_commands(bundle)),
        program="".join(f"    {line}".rstrip() + "\n" for line in _PROGRAM.splitlines())[:-1],
    )
    return text.encode(errors="backslashreplace")


def _commands(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines) or "(There is none here.)"


def _signature_commands(bundle: ProvedBundle) -> Iterator[str]:
    keys = {(key.name, key.key_id) for key in bundle.content.keys}
    for log in bundle.logs:
        for checkpoint, raw in log.checkpoints:
            file = f"logs/{log.writer}/checkpoint.{checkpoint.size}"
            yield f"head -n 3 {file} | cmp - {file}.body"
            for line in parse_note(raw).signatures:
                if (line.name, line.key_id) in keys:
                    key = line.key_id.hex()
                    yield f"openssl pkeyutl -verify -pubin -inkey keys/{key}.pem -rawin \\"
                    yield f"    -in {file}.body -sigfile {file}.{key}.sig"


def _commitment_commands(bundle: ProvedBundle) -> Iterator[str]:
    shown_members = [
        member
        for member in ("context", "payload")
        if any(getattr(event, member) is not None for event in bundle.content.events)
    ]
    for member in shown_members:
        yield f"( for f in events/*.{member}; do"
        yield "  sum=$(sha256sum < $f | cut -c 1-64)"
        yield f"  grep -qF '\"{member}\":\"sha256:'$sum'\"' ${{f%.{member}}}.leaf || exit 1"
        yield "done )"
