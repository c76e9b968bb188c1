"""What a bundle holds, as its files and back. Pure; nothing read here is true before `prove`.

```
bundle.json                         what was asked for, of whom, and what is held back
events/<n>.leaf                     the leaf as it was hashed; n has six digits, in order of start
events/<n>.context, .payload        what each half's commitment hashes: domain, salt, JCS text
proofs/<n>.tlog-proof               C2SP tlog-proof: a receipt that holds the halves back
logs/<writer>/checkpoint.<size>     the signed checkpoint, with the cosignatures that were kept
logs/<writer>/growth.<a>-<b>        the consistency proof from checkpoint a to checkpoint b
logs/<writer>/anchor.<size>.…       time stamps and what leads to them, as they were kept
keys/<hex8>.vkey                    the logs' public keys, by key id
```
The halves are files of their own, so that `sha256sum` of one is the number in the leaf, and a
proof can be handed on without the data. What else is in a bundle follows from these.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from intentproof_schemas import CONTEXT_DOMAIN, PAYLOAD_DOMAIN, SALT_BYTES

from ..errors import BundleInvalid, NoteInvalid, ReceiptInvalid
from ..note import VerifierKey
from ..receipt import Half, Receipt, decode_receipt
from .head import FILE, Head, decode_head

_SIZE = r"(?:[1-9][0-9]{0,18})"
_WRITER = r"[a-z][a-z0-9-]{0,39}-[0-9a-f]{8}"
_EVENT = re.compile(r"(?:events|proofs)/([0-9]{6})\.(?:leaf|context|payload|tlog-proof)")
_LOG = re.compile(
    rf"logs/({_WRITER})/(checkpoint\.{_SIZE}|growth\.{_SIZE}-{_SIZE}"
    rf"|anchor\.{_SIZE}\.[0-9a-f]{{16}}(?:\.tsr)?)"
)
_KEY = re.compile(r"keys/([0-9a-f]{8})\.vkey")


@dataclass(frozen=True)
class Content:
    """What a bundle says, before its proofs.

    Of `events`, the one at place n is in the files numbered n + 1. `logs` has the files of each
    writer's log by name.
    """

    head: Head
    events: tuple[Receipt, ...]
    logs: Mapping[str, Mapping[str, bytes]]
    keys: tuple[VerifierKey, ...]


def number(place: int) -> str:
    """The number in the file names of the event at that place, counted from 0."""
    return f"{place + 1:06d}"


def content_files(content: Content) -> Iterator[tuple[str, bytes]]:
    """The files that hold the content."""
    yield FILE, content.head.encode()
    for place, receipt in enumerate(content.events):
        name = number(place)
        yield f"events/{name}.leaf", receipt.leaf
        context, payload = receipt.context, receipt.payload
        if context is not None:
            yield f"events/{name}.context", CONTEXT_DOMAIN + context.salt + context.text
        if payload is not None:
            yield f"events/{name}.payload", PAYLOAD_DOMAIN + payload.salt + payload.text
        held_back = replace(receipt, context=None, payload=None)
        yield f"proofs/{name}.tlog-proof", held_back.encode()
    for writer, files in content.logs.items():
        for file, raw in files.items():
            yield f"logs/{writer}/{file}", raw
    for key in content.keys:
        yield f"keys/{key.key_id.hex()}.vkey", f"{key.vkey()}\n".encode()


def read_content(files: Mapping[str, bytes]) -> Content:
    """The content of a bundle's files. Raises BundleInvalid where a file is missing or odd.

    That there are no other files, and each byte is as it follows from the content, is for
    `check_files` to see.
    """
    head = decode_head(_file(files, FILE, "bundle_invalid"))
    events = tuple(_event(files, number(place)) for place in range(head.events))
    named = {found[1] for name in files if (found := _EVENT.fullmatch(name))}
    if len(named) != head.events:
        raise BundleInvalid(
            "event_unproved", f"files of {len(named)} events, {FILE} names {head.events}", FILE
        )
    logs: dict[str, dict[str, bytes]] = {}
    for name, raw in files.items():
        if found := _LOG.fullmatch(name):
            logs.setdefault(found[1], {})[found[2]] = raw
    keys = tuple(_key(name, raw) for name, raw in files.items() if _KEY.fullmatch(name))
    return Content(head, events, logs, keys)


def _file(files: Mapping[str, bytes], name: str, code: str) -> bytes:
    if name not in files:
        raise BundleInvalid(code, "this file is missing", name)
    return files[name]


def _event(files: Mapping[str, bytes], name: str) -> Receipt:
    leaf = _file(files, f"events/{name}.leaf", "event_unproved")
    file = f"proofs/{name}.tlog-proof"
    proof = _file(files, file, "event_unproved")
    try:
        receipt = decode_receipt(proof)
    except ReceiptInvalid as error:
        raise BundleInvalid("receipt_differs", str(error), file) from error
    if receipt.leaf != leaf or receipt.context or receipt.payload:
        raise BundleInvalid("receipt_differs", "not a proof of the leaf, and of it alone", file)
    return replace(
        receipt,
        context=_half(files, f"events/{name}.context", CONTEXT_DOMAIN),
        payload=_half(files, f"events/{name}.payload", PAYLOAD_DOMAIN),
    )


def _half(files: Mapping[str, bytes], file: str, domain: bytes) -> Half | None:
    raw = files.get(file)
    if raw is None:
        return None
    if not raw.startswith(domain) or len(raw) < len(domain) + SALT_BYTES:
        raise BundleInvalid("commitment_differs", "not a half of an event", file)
    salt, text = raw[len(domain) :][:SALT_BYTES], raw[len(domain) + SALT_BYTES :]
    return Half(salt, text)


def _key(name: str, raw: bytes) -> VerifierKey:
    try:
        key = VerifierKey.parse(raw.decode().removesuffix("\n"))
    except (NoteInvalid, UnicodeDecodeError) as error:
        raise BundleInvalid("key_invalid", str(error), name) from error
    if name != f"keys/{key.key_id.hex()}.vkey":
        raise BundleInvalid("key_invalid", "not the key that its name says", name)
    return key
