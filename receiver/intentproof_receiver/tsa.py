"""Asking a time-stamping authority over HTTP (RFC 3161 section 3.4). Blocks; one request a call."""

import http.client
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from .errors import TsaFailed

_ANSWER_BYTES_MAX = 1 << 20
_CHUNK = 1 << 16
_WORDS_MAX = 200


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET, and carry credentials to another host."""

    def redirect_request(self, *_: Any) -> None:
        """Never."""


_OPENER = urllib.request.build_opener(_NoRedirect)


@dataclass(frozen=True)
class Tsa:
    """An authority: its URL, how long to wait for it, and what it knows us by, if anything.

    `authorization` is a file with the value of that header, read for each request. A proxy is taken
    from the environment (HTTPS_PROXY and so on), trust in the server's certificate from OpenSSL's
    defaults (SSL_CERT_FILE).
    """

    url: str
    timeout_s: float = 30.0
    authorization: Path | None = None

    def ask(self, query: bytes) -> bytes:
        """The answer to a TimeStampReq, as it came: nothing of it is looked at. Raises TsaFailed.

        Blocks for `timeout_s`, or a little longer where a resolver or a server dawdles.
        """
        deadline = time.monotonic() + self.timeout_s
        request = urllib.request.Request(  # noqa: S310 - http or https, see `validate`
            self.url, data=query, headers=self._headers(), method="POST"
        )
        try:
            with _OPENER.open(request, timeout=self.timeout_s) as answer:
                return _read(answer, deadline)
        except HTTPError as error:
            with error:
                raise TsaFailed(f"it answers {error.code} {_line(error.reason)}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise TsaFailed(_line(error) or type(error).__name__) from error

    def _headers(self) -> dict[str, str]:
        headers = {
            "Content-Type": "application/timestamp-query",
            "Accept": "application/timestamp-reply",
            "User-Agent": "intentproof-otel",
        }
        if self.authorization is not None:
            try:
                headers["Authorization"] = self.authorization.read_text("ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                message = f"tsa_authorization {self.authorization}: cannot be read"
                raise TsaFailed(message) from error
        return headers


def _read(answer: Any, deadline: float) -> bytes:
    found = bytearray()
    while chunk := answer.read1(_CHUNK):
        found += chunk
        if len(found) > _ANSWER_BYTES_MAX:
            raise TsaFailed(f"its answer is over {_ANSWER_BYTES_MAX} bytes")
        if time.monotonic() > deadline:
            raise TsaFailed("its answer does not end")
    return bytes(found)


def _line(words: object) -> str:
    return " ".join(str(words).split())[:_WORDS_MAX]
