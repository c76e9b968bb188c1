"""TLS on the HTTP port: contexts that are renewed, and the client's certificate for the app."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from .logs import log
from .tls import Certificates

CLIENT_CERTIFICATE = "client_certificate"
_log = logging.getLogger(__name__)


class RenewedContext(ssl.SSLContext):
    """What asyncio asks for each connection's TLS: answers with the context in force now."""

    _certificates: Certificates

    @classmethod
    def of(cls, certificates: Certificates) -> "RenewedContext":
        """A context that follows `certificates`."""
        made = cls(ssl.PROTOCOL_TLS_SERVER)
        made._certificates = certificates
        return made

    def wrap_bio(self, *args: Any, **options: Any) -> ssl.SSLObject:
        """The TLS of a new connection; those that are open keep theirs."""
        context = self._certificates.current().context
        context.sslobject_class = _Told
        made = context.wrap_bio(*args, **options)
        if isinstance(made, _Told):
            made.failed = self._certificates.count_failed_handshake
        return made


class _Told(ssl.SSLObject):
    """A handshake whose failure is logged and counted: asyncio says nothing of it."""

    failed: Callable[[], None]

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", None) or error.reason
            log(_log, logging.WARNING, "tls_handshake_failed", transport="http", reason=reason)
            self.failed()
            raise


class CertificateProtocol(H11Protocol):
    """uvicorn's HTTP/1.1, which also tells the application of the client's certificate.

    Its DER bytes are `request.state.client_certificate`, absent where there is none. It comes from
    the TLS connection alone, which has checked it; no header can stand in for it.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Remember the certificate for every request of this connection."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate:
            self.app_state = {**self.app_state, CLIENT_CERTIFICATE: certificate}
