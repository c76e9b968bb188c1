"""Asking a witness, over HTTP (C2SP tlog-witness): one request, and what its answer means."""

import http.client
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from intentproof_store import NoteInvalid, WitnessedLog, WitnessKey

from .errors import WitnessDisagrees, WitnessFailed
from .witness_settings import WitnessSetting

TIMEOUT_SECONDS = 10.0
_ANSWER_BYTES_MAX = 64 << 10
_SIZE_TYPE = "text/x.tlog.size"
_DIGITS_MAX = 19
_TRIES = 3  # its size may move between two tries only if somebody else submits as well


@dataclass(frozen=True)
class Answer:
    """What came back: status, media type without parameters, body."""

    status: int
    media_type: str
    body: bytes

    @property
    def size(self) -> int | None:
        """The size in a 409: that of the latest checkpoint that the witness cosigned."""
        text = self.body.removesuffix(b"\n")
        if self.status != HTTPStatus.CONFLICT or self.media_type != _SIZE_TYPE:
            return None
        sound = text.isdigit() and len(text) <= _DIGITS_MAX and str(int(text)).encode() == text
        return int(text) if sound else None


class WitnessClient:
    """Keeps one connection to a witness. One thread only; blocks for some seconds at most."""

    def __init__(self, setting: WitnessSetting, *, timeout: float = TIMEOUT_SECONDS) -> None:
        self._path = f"{urlsplit(setting.url).path}/add-checkpoint"
        self._connection = _connection(setting.url, timeout)
        self.key: WitnessKey = setting.key

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def post(self, body: bytes) -> Answer:
        """Send one request. Redirects are not followed. Raises WitnessFailed `unreachable`."""
        reused = self._connection.sock is not None
        try:
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if not reused:
                raise WitnessFailed("unreachable", _reason(error)) from error
        try:  # a kept connection may have been closed meanwhile
            return self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise WitnessFailed("unreachable", _reason(error)) from error

    def _post(self, body: bytes) -> Answer:
        headers = {"content-type": "text/plain; charset=utf-8"}
        self._connection.request("POST", self._path, body=body, headers=headers)
        answer = self._connection.getresponse()
        content = answer.read(_ANSWER_BYTES_MAX + 1)
        if len(content) > _ANSWER_BYTES_MAX:
            self._connection.close()
            raise WitnessFailed("invalid", f"an answer over {_ANSWER_BYTES_MAX} bytes")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Answer(answer.status, media_type, content)


def cosign_log(client: WitnessClient, log: WitnessedLog, *, old_size: int, size: int) -> int:
    """Have the checkpoint of `size` cosigned and keep the cosignature; its time in Unix seconds.

    `old_size` is a guess at what the witness has: if it tells another, the proof starts there.
    Raises WitnessDisagrees where the witness saw what this store does not have, WitnessFailed, and
    what `submission` does. Blocks.
    """
    for _ in range(_TRIES):
        answer = client.post(log.submission(old_size, size))
        if answer.status == HTTPStatus.OK:
            return _kept(log, size, answer.body, client.key)
        told = answer.size
        if told is None or told == old_size:
            _raise_refusal(answer, client.key.name, old_size, size)
        elif told > size:
            raise WitnessDisagrees(
                f"{client.key.name} cosigned {told} leaves, and this store has signed {size}: it "
                "was restored from an older copy, or another process writes as this writer"
            )
        else:
            old_size = told
    raise WitnessFailed("refused", "its size changed with every try: who else submits this log?")


def _kept(log: WitnessedLog, size: int, answer: bytes, key: WitnessKey) -> int:
    try:
        return log.keep(size, answer, key)
    except NoteInvalid as error:
        raise WitnessFailed("invalid", str(error)) from error


def _raise_refusal(answer: Answer, name: str, old_size: int, size: int) -> None:
    if answer.status in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
        raise WitnessDisagrees(
            f"{name} cosigned another history of this log: its {old_size} leaves are not those "
            f"that the {size} leaves here extend (status {answer.status})"
        )
    unknown = answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
    reason = "unknown_log" if unknown else "refused"
    words = answer.body[:200].decode("utf-8", "replace").strip()
    raise WitnessFailed(reason, f"status {answer.status}: {words}")


def _connection(url: str, timeout: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=timeout)


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
