"""The stamper: behind the receiver, and never in its way, it has checkpoints stamped.

One thread. What it fails at it tries again, later each time, with what is newest then; ingestion,
sealing and signing know nothing of it.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable

from intentproof_store import (
    Authorities,
    AuthoritiesInvalid,
    Checkpoint,
    HomeInvalid,
    Stamping,
    last_stamp,
    read_authorities,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .config import Config
from .cosigning import Sizes
from .errors import ConfigInvalid
from .logs import log
from .tsa import Tsa

_FIRST_S = 5.0  # after the start: until then logs have signed what they replayed
_LOOK_S = 60.0  # between two looks at whether anything is new
_RETRY_S = (5.0, 300.0)
_BETWEEN_LOGS_S = 0.02  # for the disk, which acknowledgements wait for
_CLOSE_S = 2.0
_LAG_LOOK_S = 5.0  # while a log's newest checkpoint lags behind it
_log = logging.getLogger(__name__)


class Stamper(Collector):
    """Stamps what is new, once in `every_s`. `start` and `close` it; metrics from any thread."""

    def __init__(
        self,
        stamping: Stamping,
        ask: Callable[[bytes], bytes],
        *,
        every_s: float,
        last_s: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stamping = stamping
        self._ask = ask
        self._every_s = every_s
        self._sizes: Sizes | None = None
        self._last_s = last_s
        self._clock = clock
        self._ahead_s: float | None = None
        self._retry_s = 0.0
        self._kept = self._failed = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="intentproof-stamper", daemon=True)

    def start(self, sizes: Sizes) -> None:
        """Begin: soon after the start, but not sooner after the last stamp than at other times.

        While a checkpoint lags behind its log by `sizes`, nothing is stamped, so that a leaf above
        a stamped checkpoint came about then or later.
        """
        self._sizes = sizes
        self._thread.start()

    def close(self) -> None:
        """Stop. Waits a little: for an authority that does not answer it does not wait."""
        self._stop.set()
        self._thread.join(_CLOSE_S)

    def collect(self) -> Iterable[Metric]:
        """What became of the tries, and when the last stamp was kept."""
        tries = CounterMetricFamily(
            "intentproof_stamps", "Tries to have checkpoints stamped", labels=("result",)
        )
        tries.add_metric(("kept",), self._kept)
        tries.add_metric(("failed",), self._failed)
        yield tries
        yield GaugeMetricFamily(
            "intentproof_last_stamp_timestamp_seconds",
            "Before when the last time stamp was made, 0 if there is none",
            value=self._last_s,
        )
        ahead = GaugeMetricFamily(
            "intentproof_stamp_clock_ahead_seconds",
            "How far the authority's clock was ahead of ours at the last stamp",
        )
        if self._ahead_s is not None:
            ahead.add_metric([], self._ahead_s)
        yield ahead

    def _run(self) -> None:
        since = self._clock() - self._last_s
        wait = min(self._every_s, max(_FIRST_S, self._every_s - since))
        while not self._stop.wait(wait):
            wait = self._turn()

    def _turn(self) -> float:
        """Stamp what is new, if anything is; the seconds until the next turn."""
        try:
            if self._sizes is not None:
                self._sizes.look()
            wanted = self._stamping.unstamped()
            if wanted is None:
                return min(_LOOK_S, self._every_s)
            if not all(self._is_recent(checkpoint) for checkpoint, _ in wanted.logs):
                return min(_LAG_LOOK_S, self._every_s)
            kept = self._stamping.keep(wanted, self._ask(wanted.request.query), between=self._rest)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the thread either
            self._failed += 1
            self._retry_s = min(max(_RETRY_S[0], 2 * self._retry_s), _RETRY_S[1], self._every_s)
            reason = f"{type(error).__name__}: {error}"
            log(_log, logging.WARNING, "not_stamped", reason=reason, again_in_s=self._retry_s)
            return self._retry_s * random.uniform(0.8, 1.2)  # noqa: S311 - so that many do not meet
        self._kept += 1
        self._retry_s = 0.0
        self._last_s, self._ahead_s = kept.seconds, kept.seconds - self._clock()
        log(_log, logging.INFO, "stamped", logs=kept.logs, existed_before=kept.seconds)
        return self._every_s

    def _is_recent(self, checkpoint: Checkpoint) -> bool:
        _, tenant, writer = checkpoint.origin.rsplit("/", 2)
        if self._sizes is None or writer != self._sizes.writer:
            return True  # a log that ended
        return self._sizes.is_recent(tenant, checkpoint.size)

    def _rest(self) -> None:
        self._stop.wait(_BETWEEN_LOGS_S)


def make_stamper(config: Config) -> Stamper | None:
    """The stamper that the settings ask for, or None. Raises ConfigInvalid."""
    if config.tsa_url is None:
        return None
    stamping = Stamping(
        store=config.store,
        home=config.home,
        log_name=config.log_name,
        authorities=authorities_of(config),
    )
    tsa = Tsa(config.tsa_url, config.tsa_timeout_seconds, config.tsa_authorization)
    try:
        last_s = last_stamp(config.home).seconds
    except HomeInvalid:
        last_s = 0  # told at each turn: no reason to take no events
    return Stamper(stamping, tsa.ask, every_s=config.tsa_seconds, last_s=last_s)


def authorities_of(config: Config) -> Authorities | None:
    """Whose stamps are kept: None keeps those of anybody. Raises ConfigInvalid."""
    if config.tsa_roots is None:
        return None
    try:
        return read_authorities(config.tsa_roots.read_bytes())
    except (OSError, AuthoritiesInvalid) as error:
        raise ConfigInvalid(f"tsa_roots {config.tsa_roots}: {error}") from error
