"""The service of an event, by its attributes. Pure; the writer and the judge share it."""

import orjson
from intentproof_schemas import names

SERVICE_MARK = f'"{names.SERVICE_NAME}":'


def service_name(attributes: str) -> str | None:
    """The service's name, where an event's attributes have one that is text.

    Attributes are flat and quotation marks in strings are escaped: the mark is the member itself.
    """
    at = attributes.find(SERVICE_MARK)
    if at < 0:
        return None
    start = at + len(SERVICE_MARK)
    end = attributes.find('"', start + 1)
    if attributes[start] == '"' and "\\" not in attributes[start:end]:
        return attributes[start + 1 : end] or None
    value = orjson.loads(attributes).get(names.SERVICE_NAME)
    return value or None if isinstance(value, str) else None
