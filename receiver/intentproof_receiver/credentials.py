"""Where a key stands in a request's headers, the same on both transports."""

from collections.abc import Mapping

_BEARER = "bearer "


def api_key_of(headers: Mapping[str, str]) -> str | None:
    """The key in `x-api-key`, else in `authorization: Bearer …`. Names are lower case."""
    given = headers.get("x-api-key", "").strip()
    if given:
        return given
    authorization = headers.get("authorization", "").strip()
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return authorization[len(_BEARER) :].strip() or None
    return None
