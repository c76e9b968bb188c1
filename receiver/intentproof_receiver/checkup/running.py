"""What the receiver that runs tells about itself at /metrics: who is refused, and why."""

import http.client
import json
import shlex
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from ..config import Config
from .finding import Finding

_SECONDS = 3.0
_PAGE_BYTES_MAX = 4 << 20
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not listened on


@dataclass(frozen=True)
class Running:
    """The samples of a running receiver, by name and labels."""

    state: str
    samples: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels; 0 if there is none."""
        wanted = labels.items()
        return sum(
            value
            for (sample, has), value in self.samples.items()
            if sample == name and wanted <= set(has)
        )

    def by(self, name: str, label: str) -> dict[str, float]:
        """The samples above 0, by the value of one label."""
        found: dict[str, float] = {}
        for (sample, has), value in self.samples.items():
            if sample == name and value:
                word = dict(has).get(label, "")
                found[word] = found.get(word, 0.0) + value
        return found

    @property
    def open_files_max(self) -> int | None:
        """How many files the process may open, if it says so."""
        value = self.value("process_max_fds")
        return int(value) if value else None


def local_address(address: str) -> tuple[str, int]:
    """Where what listens on `address` can be asked from this machine."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    return _ANYWHERE.get(host, host), int(port)


def find_running(config: Config, context: ssl.SSLContext | None = None) -> Running | None:
    """What answers at the configured HTTP address, or None if that is no receiver of ours.

    Asked in clear, then over TLS: in `context`, or without a look at the certificate, because
    nothing secret is sent. Blocks for a few seconds at most.
    """
    host, port = local_address(config.http)
    if not port:
        return None
    for connection in (
        http.client.HTTPConnection(host, port, timeout=_SECONDS),
        http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context or _unchecked()),
    ):
        try:
            ready = _get(connection, "/ready")
            page = _get(connection, "/metrics")
            state = str(json.loads(ready)["status"])
            families = list(text_string_to_metric_families(page))
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
            continue
        finally:
            connection.close()
        samples = {
            (one.name, frozenset(one.labels.items())): one.value
            for family in families
            for one in family.samples
        }
        if any(name == "intentproof_build_info" for name, _ in samples):
            return Running(state, samples)
    return None


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _get(connection: http.client.HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    return connection.getresponse().read(_PAGE_BYTES_MAX).decode()


class Symptom(NamedTuple):
    """Something that a receiver counts, and what to mend where it is above 0.

    In `mend`, `HOME` stands for the receiver's --home.
    """

    subject: str
    seen: Callable[[Running], float]
    mend: str
    urgent: bool = True


def _outcome(word: str, transport: str = "") -> Callable[[Running], float]:
    labels = {"outcome": word} | ({"transport": transport} if transport else {})
    return lambda running: running.value("intentproof_requests_total", **labels)


def _key(reason: str) -> Callable[[Running], float]:
    return lambda running: running.value("intentproof_unauthenticated_total", reason=reason)


def _sum(name: str, **labels: str) -> Callable[[Running], float]:
    return lambda running: running.value(f"intentproof_{name}", **labels)


# What a client is refused for good it deletes, so most of these mean lost evidence.
SYMPTOMS = (
    Symptom(
        "gRPC calls with an encoding that gRPC here does not know",
        _outcome("unsupported_encoding", "grpc"),
        "a Collector with compression zstd or snappy drops each batch: set compression: gzip in "
        "its otlp_grpc exporter, or use otlp_http, which takes zstd",
    ),
    Symptom(
        "gRPC messages that could not be read",
        _outcome("unreadable", "grpc"),
        "over message_bytes_max or damaged gzip, which clients drop, or connections that were cut, "
        "which they send again: raise message_bytes_max, or lower sending_queue.batch.max_size in "
        "the Collector",
    ),
    Symptom(
        "requests over a limit (413)",
        _outcome("too_large"),
        "raise message_bytes_max, or lower sending_queue.batch.max_size in the Collector",
    ),
    Symptom(
        "requests of an unknown media type or encoding (415)",
        _outcome("unsupported_media"),
        "Content-Type must be application/x-protobuf or application/json; the log names what came",
    ),
    Symptom(
        "requests that are no OTLP (400)",
        _outcome("invalid"),
        "see `request_refused` in the log: something else sends here, or a proxy damages bodies",
    ),
    Symptom(
        "requests with another method than POST (405)",
        _outcome("method_not_allowed"),
        "a health check or proxy asks /v1/traces: use /ready",
        urgent=False,
    ),
    Symptom(
        "requests with a revoked key (401)",
        _key("revoked"),
        "a sender still uses it and drops its data: give it the new key; next time, revoke last",
    ),
    Symptom(
        "requests with an expired key (401)",
        _key("expired"),
        "a sender still uses it and drops its data: keys create --home HOME --tenant NAME, "
        "and give it the new key",
    ),
    Symptom(
        "requests with an unknown key (401)",
        _key("unknown"),
        "a sender has a key of another --home, or one that was copied wrong, and drops its data",
    ),
    Symptom(
        "requests without a key (401)",
        _key("missing"),
        "set x-api-key or authorization: Bearer in the exporter's headers: such data is dropped",
    ),
    Symptom(
        "requests with a key that may not send (403)",
        _outcome("forbidden"),
        "make that sender a key: keys create --home HOME --tenant NAME --role ingest",
    ),
    Symptom(
        "requests whose spans hide behind snake_case names",
        _sum("warned_requests_total"),
        "a client writes OTLP/JSON with snake_case names; none of its spans is kept: mend it",
    ),
    Symptom(
        "texts by index (strindex)",
        _sum("strindex_texts_total"),
        "a client sends indices that traces do not have; they are treated as absent",
        urgent=False,
    ),
    Symptom(
        "spans in quarantine",
        _sum("rejected_spans_total"),
        "kept as bytes only: see the view `quarantine` for the reasons",
        urgent=False,
    ),
    Symptom(
        "events that were told differently before",
        _sum("events_total", result="conflict"),
        "two senders use one event id, or one changed its mind: see the view `conflicts`",
        urgent=False,
    ),
    Symptom(
        "requests that were told to come again (503)",
        _outcome("unavailable"),
        "clients keep and resend; if it goes on: see `request_refused` and `store_refused` in the "
        "log, and Size in docs/operations.md",
        urgent=False,
    ),
    Symptom(
        "requests beyond a tenant's quota (429)",
        _outcome("over_quota"),
        "clients keep and resend, each as long as its own limits allow: `request_refused` in the "
        "log names the quota; raise it in `quotas`, or have it send less",
        urgent=False,
    ),
    Symptom(
        "time stamps that could not be had",
        _sum("stamps_total", result="failed"),
        "tried again by itself; if none comes, see `not_stamped` in the log, which says why",
        urgent=False,
    ),
)


def running_findings(running: Running | None, config: Config) -> Iterator[Finding]:
    """What a running receiver suffers from, since its start. Nothing where none runs."""
    if running is None:
        return
    started = running.value("process_start_time_seconds")
    since = time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(started))
    if running.state in ("ready", "draining"):
        yield Finding("receiver", f"{running.state}, runs since {since}")
    else:
        yield Finding(
            "receiver", running.state, "see the log: the disk is full, or cannot be written"
        )
    if not running.value("intentproof_keys_readable"):
        yield Finding(
            "receiver",
            "cannot read the file of keys",
            "mend the file's owner and mode, or its content; clients are told to come again",
        )
    yield from _changed(running, config)
    for symptom in SYMPTOMS:
        count = symptom.seen(running)
        if count:
            mend = symptom.mend.replace("HOME", shlex.quote(str(config.home)))
            yield Finding(symptom.subject, f"{count:.0f} since {since}", mend, symptom.urgent)


def _changed(running: Running, config: Config) -> Iterator[Finding]:
    runs = next(iter(running.by("intentproof_build_info", "version")), "")
    installed = version("intentproof-otel")
    if runs != installed:
        yield Finding(
            "receiver", f"runs {runs}, installed is {installed}", "restart it", urgent=False
        )
    limit = running.value("intentproof_message_bytes_max")
    if limit != config.message_bytes_max:
        yield Finding(
            "receiver",
            f"runs with message_bytes_max {limit:.0f}, configured is {config.message_bytes_max}",
            "restart it, or give the doctor the same --config and environment",
            urgent=False,
        )
