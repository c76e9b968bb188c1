"""What a verifier is asked, and what it trusts: nothing that the evidence says of itself."""

from dataclasses import dataclass
from pathlib import Path

from ..identity import last_checkpoints, read_hot_key, trusted_keys
from ..note import Checkpoint, VerifierKey
from ..period import Period
from ..policy import Policy
from .event_ids import new_seed
from .outside import (
    known_checkpoints,
    outside_keys,
    outside_policy,
    policy_keys,
    trusted_authorities,
)
from .stamps import TokenJudge


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """What to verify, and what to trust. `home` None: trust nothing but what is given.

    With a `policy` it alone says which logs and witnesses count, with `keys` beside it for logs.
    """

    store: Path
    hot: Path
    home: Path | None = None
    tenant: str | None = None
    sealed: bool = False
    keys: Path | None = None
    known: Path | None = None
    policy: Path | None = None
    period: Period | None = None
    tsa: Path | None = None
    processes: int = 1


@dataclass(frozen=True)
class Trust:
    """Keys and checkpoints that count, and what this verification needs to know beside them."""

    keys: tuple[VerifierKey, ...]
    known: tuple[Checkpoint, ...]
    remembered: tuple[Checkpoint, ...]
    hot_key: bytes | None
    seed: int
    policy: Policy | None
    tokens: TokenJudge

    def of_log(self, tenant: str, writer: str) -> list[VerifierKey]:
        """The keys of one log."""
        return [key for key in self.keys if key.name.endswith(f"/{tenant}/{writer}")]


def trust_of(request: VerifyRequest) -> Trust:
    """What is trusted.

    Raises HomeInvalid, NoteInvalid, PolicyInvalid and AuthoritiesInvalid for what cannot be read.
    """
    policy = outside_policy(request.policy)
    keys = outside_keys(request.keys)
    if policy is not None:
        keys = policy_keys(policy, keys)
    remembered: tuple[Checkpoint, ...] = ()
    hot_key = None
    if request.home is not None:
        hot_key = read_hot_key(request.home)
        if request.keys is None and policy is None:
            keys = trusted_keys(request.home)
            remembered = tuple(last_checkpoints(request.home).values())
    known = known_checkpoints(request.known, keys)
    tokens = TokenJudge(trusted_authorities(request.tsa))
    return Trust(keys, known, remembered, hot_key, new_seed(), policy, tokens)
