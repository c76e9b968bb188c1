"""Trust policies (C2SP tlog-policy): the logs that count, the witnesses, and the quorum. Pure.

A checkpoint counts if one of the listed logs signed it and enough of the witnesses cosigned it.
Names are opaque octets; what is told of them is shown as text.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .cosignature import WitnessKey, cosigned_at
from .errors import NoteInvalid, PolicyInvalid
from .note import Checkpoint, VerifierKey, open_note, parse_checkpoint_text, split_vkey

POLICY_BYTES_MAX = 1 << 20
_NONE = b"none"
_ED25519_LOG = 0x01
# ECDSA, RFC 6962 and ML-DSA-44: kinds that logs sign with and that are not verified here.
_OTHER_LOGS = (0x02, 0x05, 0x06)
_THRESHOLD = re.compile(rb"[1-9][0-9]{0,5}")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Witness:
    """A witness of a policy: its name there, its key, its submission prefix if it is given."""

    name: bytes
    key: WitnessKey
    url: str = ""


@dataclass(frozen=True)
class Group:
    """Members, witnesses or groups, of which at least `threshold` have to have witnessed."""

    name: bytes
    threshold: int
    members: tuple[bytes, ...]


@dataclass(frozen=True)
class Policy:
    """A policy as read. `quorum` names a witness or a group; None asks for no witness.

    `unsupported_logs` are names of listed logs whose kind of key cannot be verified here: what they
    sign never counts.
    """

    logs: tuple[VerifierKey, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: bytes | None
    unsupported_logs: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[WitnessKey, ...]:
        """The keys of all witnesses."""
        return tuple(witness.key for witness in self.witnesses)


@dataclass(frozen=True)
class Judgement:
    """What witnesses say of one checkpoint.

    `times` has the Unix seconds of each witness that cosigned, by its name in the policy.
    `witnessed_at` is when the quorum was reached, None where it was not or no witness gave a time.
    `missing` names the witnesses of the quorum that did not cosign, `unsupported` those among them
    whose kind of key cannot be verified here.
    """

    checkpoint: Checkpoint
    times: dict[str, int]
    is_met: bool
    witnessed_at: int | None
    missing: tuple[str, ...]
    unsupported: tuple[str, ...]

    def why_not(self) -> str:
        """In words, who is missing."""
        named = [
            f"{name} (its kind of key is not supported here)" if name in self.unsupported else name
            for name in self.missing
        ]
        return f"not cosigned by {', '.join(named)}"


def parse_policy(raw: bytes) -> Policy:
    """Read a policy. Raises PolicyInvalid, which names the line."""
    if len(raw) > POLICY_BYTES_MAX:
        raise PolicyInvalid(0, f"over {POLICY_BYTES_MAX} bytes")
    reader = _Reader()
    for number, line in enumerate(raw.split(b"\n"), start=1):
        if _FORBIDDEN.search(line):
            raise PolicyInvalid(number, "a control character other than tab and newline")
        words = line.replace(b"\t", b" ").split(b" ")
        items = [word for word in words if word]
        if items and not items[0].startswith(b"#"):
            reader.take(number, items)
    return reader.policy()


@dataclass
class _Reader:
    """What the lines so far define."""

    logs: list[VerifierKey] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    quorum: bytes | None = None
    has_quorum: bool = False
    log_keys: set[bytes] = field(default_factory=set)
    names: set[bytes] = field(default_factory=lambda: {_NONE})
    members: set[bytes] = field(default_factory=set)

    def take(self, number: int, items: Sequence[bytes]) -> None:
        keyword, *rest = items
        takers = {
            b"log": self._log,
            b"witness": self._witness,
            b"group": self._group,
            b"quorum": self._quorum,
        }
        if keyword not in takers:
            raise PolicyInvalid(
                number, f"{_text(keyword)!r} is none of log, witness, group and quorum"
            )
        try:
            takers[keyword](number, rest)
        except NoteInvalid as error:
            raise PolicyInvalid(number, str(error)) from error

    def policy(self) -> Policy:
        if not self.has_quorum:
            raise PolicyInvalid(0, "there is no quorum line: exactly one is needed")
        return Policy(
            tuple(self.logs),
            tuple(self.witnesses),
            tuple(self.groups),
            self.quorum,
            tuple(self.unsupported),
        )

    def _log(self, number: int, items: Sequence[bytes]) -> None:
        if len(items) not in (1, 2):
            raise PolicyInvalid(number, "a log is: log <vkey> [<url>]")
        vkey = _utf8(items[0])
        name, _, raw = split_vkey(vkey)
        if raw[1:] in self.log_keys:
            raise PolicyInvalid(
                number,
                f"the key of {name} stands on another log line: each key once, whatever its name; "
                "give further logs of the same key with --key",
            )
        self.log_keys.add(raw[1:])
        if raw[0] in _OTHER_LOGS:
            self.unsupported.append(f"{name} (key type 0x{raw[0]:02x})")
        else:  # a witness's key, of type 0x04, is refused
            self.logs.append(VerifierKey.parse(vkey))

    def _witness(self, number: int, items: Sequence[bytes]) -> None:
        if len(items) not in (2, 3):
            raise PolicyInvalid(number, "a witness is: witness <name> <vkey> [<url>]")
        key = WitnessKey.parse(_utf8(items[1]))
        if any(known.key.key == key.key for known in self.witnesses):
            raise PolicyInvalid(number, f"the key of {_text(items[0])} stands on another line")
        self._define(number, items[0])
        url = _text(items[2]) if len(items) == 3 else ""
        self.witnesses.append(Witness(items[0], key, url))

    def _group(self, number: int, items: Sequence[bytes]) -> None:
        if len(items) < 3:
            raise PolicyInvalid(number, "a group is: group <name> all|any|<k> <name>...")
        name, rule, *members = items
        for member in members:
            self._check_defined(number, member, "a group's member")
            if member in self.members:
                raise PolicyInvalid(
                    number, f"{_text(member)!r} is a member already: a name counts in one way only"
                )
            self.members.add(member)
        self._define(number, name)
        self.groups.append(Group(name, _threshold(number, rule, len(members)), tuple(members)))

    def _quorum(self, number: int, items: Sequence[bytes]) -> None:
        if len(items) != 1:
            raise PolicyInvalid(number, "a quorum is: quorum <name>")
        if self.has_quorum:
            raise PolicyInvalid(number, "a second quorum line: exactly one is needed")
        self.has_quorum = True
        if items[0] != _NONE:
            self._check_defined(number, items[0], "the quorum")
            self.quorum = items[0]

    def _define(self, number: int, name: bytes) -> None:
        if name in self.names:
            raise PolicyInvalid(number, f"the name {_text(name)!r} is taken")
        self.names.add(name)

    def _check_defined(self, number: int, name: bytes, what: str) -> None:
        if name == _NONE or name not in self.names:
            raise PolicyInvalid(number, f"{what} is {_text(name)!r}, which no line above defines")


def _threshold(number: int, rule: bytes, members: int) -> int:
    if rule in (b"all", b"any"):
        return members if rule == b"all" else 1
    if not _THRESHOLD.fullmatch(rule) or int(rule) > members:
        raise PolicyInvalid(
            number, f"{_text(rule)!r} is neither all, any nor a number from 1 to {members}"
        )
    return int(rule)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _utf8(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise NoteInvalid("a vkey is not UTF-8") from error


def judge_checkpoint(raw: bytes, policy: Policy, *, logs: Iterable[VerifierKey] = ()) -> Judgement:
    """What the policy says of a checkpoint's note. `logs` count as if the policy listed them.

    Raises NoteInvalid where none of these logs signed it under its origin, or where a signature
    under the name and key id of one of the policy's keys does not hold.
    """
    keys = {key.key_id + key.name.encode(): key for key in (*policy.logs, *logs)}
    note, signers = open_note(raw, keys.values())
    checkpoint = parse_checkpoint_text(note.text)
    if checkpoint.origin not in {key.name for key in signers}:
        raise NoteInvalid(f"no key of {checkpoint.origin} signed this checkpoint")
    return weigh(policy, checkpoint, cosigned_at(note, policy.keys))


def weigh(policy: Policy, checkpoint: Checkpoint, found: Mapping[WitnessKey, int]) -> Judgement:
    """What the policy says of a checkpoint that these witnesses cosigned at these times.

    That its log signed it is for the caller to know.
    """
    times = {w.name: found[w.key] for w in policy.witnesses if w.key in found}
    asked = _asked(policy)
    return Judgement(
        checkpoint=checkpoint,
        times={_text(name): time_s for name, time_s in times.items()},
        is_met=_is_met(policy, set(times)),
        witnessed_at=_witnessed_at(policy, times),
        missing=tuple(_text(w.name) for w in asked if w.name not in times),
        unsupported=tuple(_text(w.name) for w in asked if not w.key.is_supported),
    )


def _is_met(policy: Policy, witnessed: set[bytes]) -> bool:
    """Whether these witnesses are enough: groups stand after their members, so one pass will do."""
    if policy.quorum is None:
        return True
    reached = set(witnessed)
    for group in policy.groups:
        if sum(member in reached for member in group.members) >= group.threshold:
            reached.add(group.name)
    return policy.quorum in reached


def _witnessed_at(policy: Policy, times: dict[bytes, int]) -> int | None:
    """The earliest moment at which those who had cosigned by then were enough."""
    if policy.quorum is None:
        return None
    for moment in sorted(set(times.values())):
        if _is_met(policy, {name for name, time_s in times.items() if time_s <= moment}):
            return moment or None  # of 1970 is what makes no statement about time
    return None


def _asked(policy: Policy) -> list[Witness]:
    """The witnesses that the quorum is made of, directly or in groups."""
    if policy.quorum is None:
        return []
    names, members = {policy.quorum}, {group.name: group.members for group in policy.groups}
    for group in reversed(policy.groups):
        if group.name in names:
            names.update(members[group.name])
    return [witness for witness in policy.witnesses if witness.name in names]
