"""Whether a witness has seen more than the store holds, before `serve` takes anything.

A restored copy looks whole to itself; only somebody outside knows of what came after it. Asked is
for what cannot be cosigned anew: the newest checkpoint, as if the witness had that very size.
"""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from intentproof_store import StoreError, WitnessedLog, own_logs

from .config import Config
from .errors import WitnessDisagrees, WitnessFailed
from .logs import log
from .witness_client import WitnessClient
from .witness_settings import WitnessSetting

_CONFLICT = HTTPStatus.CONFLICT
_TIMEOUT_SECONDS = 3.0
_SECONDS_MAX = 10.0  # for all logs of one witness: a start does not wait for ever
_UNTIL_NEW_WRITER = (
    "Bring the missing files back, or start a new log with --new-writer, which names the old one"
)
_log = logging.getLogger(__name__)


def check_witnesses(config: Config) -> None:
    """Raises WitnessDisagrees where a witness saw a larger log, or another one.

    A witness that cannot be asked is told in the log and keeps nothing from starting: what clients
    send must be kept. Blocks for some seconds at most.
    """
    if not config.witnesses:
        return
    logs = own_logs(config.store, config.home)
    if not logs:
        return
    with ThreadPoolExecutor(len(config.witnesses)) as pool:
        list(pool.map(lambda one: _ask(one, logs), config.witnesses))


def _ask(setting: WitnessSetting, logs: Sequence[WitnessedLog]) -> None:
    client = WitnessClient(setting, timeout=_TIMEOUT_SECONDS)
    deadline = time.monotonic() + _SECONDS_MAX
    try:
        for number, one in enumerate(logs):
            if time.monotonic() >= deadline:
                _not_asked(setting, f"too slow: {number} of {len(logs)} logs were asked for")
                return
            size = one.signed_size()
            if size:
                _judge(setting, one, size, client)
    except (WitnessFailed, StoreError, OSError) as error:
        _not_asked(setting, str(error))
    finally:
        client.close()


def _judge(setting: WitnessSetting, one: WitnessedLog, size: int, client: WitnessClient) -> None:
    answer = client.post(one.submission(size, size))
    told = answer.size
    if told is not None and told > size:
        raise WitnessDisagrees(
            f"the witness {setting.name} cosigned {told} leaves of {one.tenant}, and this store "
            f"has signed {size}: it was restored from an older copy. {_UNTIL_NEW_WRITER}"
        )
    if answer.status == _CONFLICT and told in (None, size):
        raise WitnessDisagrees(
            f"the witness {setting.name} cosigned another history of {one.tenant}: at {size} "
            f"leaves its root is not the one that this store signed. {_UNTIL_NEW_WRITER}"
        )
    if told is not None and 0 < told < size:
        _compare(setting, one, told, client)
    if answer.status not in (HTTPStatus.OK, _CONFLICT):
        _not_asked(setting, f"{one.tenant}: status {answer.status}")


def _compare(setting: WitnessSetting, one: WitnessedLog, told: int, client: WitnessClient) -> None:
    """What the witness cosigned must be a checkpoint of this store, with the same root."""
    if one.has_checkpoint(told) and client.post(one.submission(told, told)).status != _CONFLICT:
        return
    raise WitnessDisagrees(
        f"the witness {setting.name} cosigned {told} leaves of {one.tenant} that this store never "
        f"signed: it was restored from an older copy, and went on. {_UNTIL_NEW_WRITER}"
    )


def _not_asked(setting: WitnessSetting, reason: str) -> None:
    log(_log, logging.WARNING, "witness_not_asked", witness=setting.name, reason=reason)
