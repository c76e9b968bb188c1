"""Time stamps: whether they are asked for, by whom, and how old the last one is."""

import time
from collections.abc import Iterator

from intentproof_store import HomeInvalid, last_stamp

from ..config import Config
from ..errors import ConfigInvalid
from ..stamper import authorities_of
from .finding import Finding

EXPIRES_SOON_S = 90 * 86_400
_LATE = 3  # times of tsa_seconds


def stamp_findings(config: Config, now: float) -> Iterator[Finding]:
    """Nothing is asked of the authority: each answer is a stamp, and may cost money."""
    if config.tsa_url is None:
        yield Finding("time stamps", "off: tsa_url is not set")
        return
    subject = f"time stamps {config.tsa_url}"
    try:
        authorities = authorities_of(config)
        last_s = last_stamp(config.home).seconds
    except (ConfigInvalid, HomeInvalid) as error:
        yield Finding(subject, "cannot be used", str(error))
        return
    if authorities is None:
        yield Finding(
            subject,
            "tokens are kept whoever signed them",
            "set tsa_roots, so that a wrong answer is found now and not by an auditor",
            urgent=False,
        )
    else:
        soon = min(one.not_valid_after_utc.timestamp() for one in authorities.roots)
        if soon <= now + EXPIRES_SOON_S:
            yield Finding(
                f"tsa_roots {config.tsa_roots}",
                f"a root expires on {time.strftime('%Y-%m-%d', time.gmtime(soon))}",
                "get the authority's new root; what is stamped stays stamped",
                urgent=False,
            )
    yield _age(subject, config, last_s, now)


def _age(subject: str, config: Config, last_s: int, now: float) -> Finding:
    if not last_s:
        return Finding(subject, "none yet")
    state = f"the last one is of {time.strftime('%Y-%m-%dT%H:%MZ', time.gmtime(last_s))}"
    if now - last_s <= _LATE * config.tsa_seconds:
        return Finding(subject, state)
    mend = (
        "well if nothing came since, or no receiver ran; else see `not_stamped` in the log, which "
        "says what the authority or the network answered"
    )
    return Finding(subject, state, mend, urgent=False)
