"""`export --format proof-records`: events as proof records, in a bundle with their chain."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
from intentproof_schemas import completed_us, duration_ms, microseconds, timestamp

from .durable import make_folder, move_into_place, write_files
from .export import STDOUT, Export
from .lookups import Told
from .present import shown
from .proofrecords import Unreadable
from .proofrecords.keys import SigningKey, read_signing_key
from .proofrecords.making import chain_text, linked, manifest_text, record_text
from .proofrecords.manifest import CHAIN, MANIFEST
from .proofrecords.record import Record

FORMAT = "proof-records"
SOURCE = "intentproof-otel"
CHAIN_BYTES_MAX = 64 << 20
_TYPE = "tool_invocation"
_AGENT = "gen_ai.agent.id"
_KEY_BYTES_MAX = 16 << 10
_WHOLE_SECONDS = len("2026-11-21T12:00:00")


def records_of(
    told: Iterable[Told], *, tenant: str, without_payload: bool = False, key: SigningKey | None
) -> Iterator[Record]:
    """Each event or conflict as a record of type `tool_invocation`, linked into a chain.

    In `event`: what was meant, what ran, inputs, output, error, outcome, times. In `metadata`:
    how it is known, and where it stands in the log. What was erased, or is held back, is left
    out, and `metadata.erased` or `metadata.withheld` names it. Records of fewer than all events
    of a chain are another chain. Raises Unreadable.
    """
    drafts = (_draft(each, tenant, without_payload=without_payload) for each in told)
    return linked(drafts, key=key)


def _draft(told: Told, tenant: str, *, without_payload: bool) -> dict[str, Any]:
    event = told.event
    attributes: dict[str, Any] = orjson.loads(event.attributes or b"{}")
    started = timestamp(microseconds(event.started_ns))
    draft: dict[str, Any] = {
        "timestamp": started[:_WHOLE_SECONDS] + "Z",
        "source": SOURCE,
        "source_product": SOURCE,
        "record_type": _TYPE,
        "event": _event(told, attributes, without_payload=without_payload),
        "controls": {"permissions_enforced": False},
        "metadata": _metadata(told, tenant, without_payload=without_payload),
    }
    agent = attributes.get(_AGENT)
    if isinstance(agent, str) and agent.strip():
        draft["agent_id"] = agent.strip()
    relationship: dict[str, Any] = {"entity_refs": [{"kind": "tool", "id": event.action}]}
    if event.trace_id:
        relationship["parent_ref"] = {"kind": "trace", "id": event.trace_id}
    return {**draft, "relationship": relationship}


def _event(told: Told, attributes: dict[str, Any], *, without_payload: bool) -> dict[str, Any]:
    event = told.event
    members: dict[str, Any] = {
        "event_id": event.event_id,
        "action": event.action,
        "status": event.status,
        "started_at": timestamp(microseconds(event.started_ns)),
        "completed_at": timestamp(completed_us(event.started_ns, event.completed_ns)),
        "duration_ms": duration_ms(event.started_ns, event.completed_ns),
        **_present(event, "trace_id", "span_id", "parent_span_id", "run_id", "stage"),
    }
    if not told.context_erased:
        members |= {"intent": event.intent, **_present(event, "correlation_id")}
        if attributes:
            members["attributes"] = attributes
    if not told.payload_erased and not without_payload:
        members["inputs"] = orjson.loads(event.inputs)
        for name, text in (("output", event.output), ("error", event.error)):
            if text is not None:
                members[name] = orjson.loads(text)
    return members


def _metadata(told: Told, tenant: str, *, without_payload: bool) -> dict[str, Any]:
    event = told.event
    members: dict[str, Any] = {
        "kind": "event" if told.is_event else "conflict",
        "tenant": tenant,
        "writer": told.writer,
        "log_index": told.log_index,
        "received_at": timestamp(microseconds(told.received_ns)),
        "provenance": event.provenance,
        "mapping_rule": event.mapping_rule,
        "disputed": told.disputed,
        **_present(event, "stream_id", "sequence"),
        **_present(event, "dropped_attributes_count", "dropped_events_count"),
        **_present(event, "dropped_links_count"),
    }
    erased = {"context": told.context_erased, "payload": told.payload_erased}
    if told.erased:
        members["erased"] = [half for half, gone in erased.items() if gone]
    if without_payload:
        members["withheld"] = ["payload"]
    event_hash = None if without_payload else told.hash()
    if event_hash is not None:  # unsalted: of what is not shown it would let one guess
        members["event_hash"] = event_hash
    return members


def _present(event: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(event, name) for name in names if getattr(event, name)}


def write_proof_records(export: Export, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
    """Write a bundle: a file a record, `chain.json` and `manifest.json`, all signed with a key.

    The folder must not be there, or be empty; it is there whole, or not at all. Blocks on the
    disk. Raises Unreadable, with exit code 6, and OSError.
    """
    _check_output(export.output)
    key = None if export.sign_key is None else _signing_key(export.sign_key)
    files: dict[str, bytes] = {}
    texts, size, head = [], 0, ""
    records = records_of(
        export.told, tenant=export.tenant, without_payload=export.without_payload, key=key
    )
    for number, record in enumerate(records, start=1):
        text, head = record_text(record), record.record_hash
        size += len(text)
        if size > CHAIN_BYTES_MAX:
            raise Unreadable(
                f"over {CHAIN_BYTES_MAX >> 20} MiB of records in one chain: export less at once, "
                "such as a shorter --period"
            )
        texts.append(text)
        files[f"{number:08d}.json"] = text + b"\n"
    created_at = timestamp(microseconds(clock_ns()))[:_WHOLE_SECONDS] + "Z"
    chain_id = f"{SOURCE}/{export.tenant}/{export.asked_by}/{export.asked}"
    files[CHAIN] = chain_text(texts, chain_id=chain_id, created_at=created_at, head=head, key=key)
    files[MANIFEST] = manifest_text(files, key=key)
    _put(export.output, files)
    words = f"{len(texts)} records; the chain ends with {head}: keep this hash elsewhere"
    sys.stderr.write(f"{words}, for verify --head\n")
    if key is not None:
        sys.stderr.write(f"signed; verify with --signatures --public-key {key.public.raw.hex()}\n")


def check_sign_key(path: Path | None, asked_format: str) -> None:
    """Raise Unreadable for a key with which nothing would be signed."""
    if path is not None and asked_format != FORMAT:
        raise Unreadable(f"--sign-key is for --format {FORMAT}, not {asked_format}")


def _check_output(output: Path) -> None:
    if output == STDOUT:
        raise Unreadable("proof records are a folder of files: give -o FOLDER")
    there = output.exists() or output.is_symlink()
    if there and (not output.is_dir() or any(output.iterdir())):
        raise Unreadable(f"{shown(str(output))} is there, and is no empty folder: give another")


def _signing_key(path: Path) -> SigningKey:
    try:
        with path.open("rb") as file:
            return read_signing_key(file.read(_KEY_BYTES_MAX), str(path))
    except OSError as error:
        raise Unreadable(f"--sign-key {path} cannot be read: {error.strerror}") from error


def _put(output: Path, files: dict[str, bytes]) -> None:
    """All files in one step: written aside, fsynced, then the folder gets its name."""
    output = output.resolve()  # `.` has no name
    aside = output.with_name(f".{output.name}.{os.getpid()}.tmp")
    make_folder(aside)
    try:
        write_files([(aside / name, content) for name, content in files.items()])
        move_into_place(aside, output)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
