"""A real witness answers as C2SP tlog-witness says, whatever it is sent."""

import base64
import os
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from intentproof_receiver.errors import Unavailable, Unusable
from intentproof_receiver.witness.key import load_cosigner
from intentproof_receiver.witness.state import WitnessState
from intentproof_store import SizeConflict, VerifierKey, read_submission
from intentproof_store.merkle import EMPTY_ROOT
from intentproof_store.note import Checkpoint, sign_note

from tests.receiver.serving import until
from tests.witness.support import LOG_KEY, NAME, ORIGIN, Log, Witness, command, vkeys_file, witness

OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIZE_TYPE = "text/x.tlog.size"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    """A witness that knows hundred logs, one for each test that wants a fresh one."""
    folder = tmp_path_factory.mktemp("witness")
    known = vkeys_file(folder / "logs", *(Log(f"log.example/t{n}/w-1") for n in range(100)))
    with witness(folder / "home", [known]) as started:
        yield started


@pytest.fixture
def log(request: pytest.FixtureRequest) -> Log:
    """A log that no other test used."""
    number = getattr(request.config, "next_log", 0)
    request.config.next_log = number + 1  # type: ignore[attr-defined]
    return Log(f"log.example/t{number}/w-1")


def test_the_first_checkpoint_is_cosigned(running: Witness, log: Log) -> None:
    """From old size 0 with an empty proof a known log's checkpoint is cosigned, at this time."""
    before = int(time.time())
    answer = running.post(log.submission(0, 5))
    assert answer.status == 200
    assert answer.body.startswith("— ".encode())
    assert answer.body.endswith(b"\n")
    assert before <= running.cosigned_at(log, 5, answer) <= time.time()


def test_growth_is_cosigned_step_by_step(running: Witness, log: Log) -> None:
    """Each checkpoint that provably extends the last is cosigned, also the same one again."""
    for old, size in ((0, 1), (1, 1), (1, 2), (2, 7), (7, 300), (300, 300)):
        answer = running.post(log.submission(old, size))
        assert answer.status == 200, (old, size)
        running.cosigned_at(log, size, answer)


def test_an_empty_log_is_cosigned(running: Witness, log: Log) -> None:
    """Size 0 has one root, that of nothing, and what follows starts from old size 0."""
    assert running.post(log.submission(0, 0)).status == 200
    assert running.post(log.submission(0, 0)).status == 200
    assert running.post(log.submission(0, 3)).status == 200


def test_an_empty_log_of_another_root_is_a_conflict(running: Witness, log: Log) -> None:
    """Size 0 with a root that is not the empty tree's is no history."""
    text = Checkpoint(log.origin, 0, bytes(32)).text()
    assert bytes(32) != EMPTY_ROOT
    raw = b"old 0\n\n" + sign_note(text, name=log.origin, key=LOG_KEY)
    assert running.post(raw).status == 409


def test_the_wrong_old_size_is_told_the_right_one(running: Witness, log: Log) -> None:
    """409 with the size of the last cosigned checkpoint, a newline, and its own media type."""
    assert running.post(log.submission(3, 5)).body == b"0\n"
    assert running.post(log.submission(0, 5)).status == 200
    for old in (0, 3, 8):
        answer = running.post(log.submission(old, 8))
        assert (answer.status, answer.type, answer.body) == (409, SIZE_TYPE, b"5\n")


def test_a_smaller_log_is_refused(running: Witness, log: Log) -> None:
    """What was truncated cannot be cosigned: its old size is above, or not the last."""
    assert running.post(log.submission(0, 9)).status == 200
    assert running.post(b"old 9\n\n" + log.note(5)).status == 400
    assert running.post(log.submission(5, 5)).status == 409


def test_another_history_is_refused(running: Witness, log: Log) -> None:
    """The log's own key does not help: another root at the same size, or a rewritten leaf."""
    assert running.post(log.submission(0, 9)).status == 200
    forked = Log(log.origin, name="other")
    assert running.post(forked.submission(9, 9)).status == 409
    assert running.post(forked.submission(9, 12)).status == 422
    assert running.post(log.submission(9, 12)).status == 200


def test_proofs_are_exact(running: Witness, log: Log) -> None:
    """A proof with a hash more, fewer or changed, or one from size 0, is a 422."""
    head, _, rest = log.submission(5, 8).partition(b"\n\n")
    spare = base64.b64encode(bytes(32))
    assert running.post(b"old 0\n" + spare + b"\n\n" + log.note(5)).status == 422
    assert running.post(log.submission(0, 5)).status == 200
    lines = head.split(b"\n")
    assert running.post(b"\n".join([*lines, spare]) + b"\n\n" + rest).status == 422
    assert running.post(b"\n".join(lines[:-1]) + b"\n\n" + rest).status == 422
    assert running.post(b"\n".join([*lines[:-1], spare]) + b"\n\n" + rest).status == 422
    same = b"old 5\n" + spare + b"\n\n" + log.note(5)
    assert running.post(same).status == 422
    assert running.post(log.submission(5, 8)).status == 200


def test_an_unknown_origin_is_not_found(running: Witness) -> None:
    """404 for a log that nobody told the witness of."""
    assert running.post(Log("log.example/stranger/w-1").submission(0, 1)).status == 404


def test_an_unsigned_checkpoint_is_forbidden(running: Witness, log: Log) -> None:
    """403 where no trusted key of that origin signed, or the signature does not hold."""
    assert running.post(Log(log.origin, OTHER_KEY).submission(0, 1)).status == 403
    raw = log.submission(0, 1)
    wrong = raw.replace(log.checkpoint(1).text().encode(), log.checkpoint(2).text().encode())
    assert wrong != raw
    assert running.post(wrong).status == 403


def test_one_known_log_cannot_sign_for_another(running: Witness, log: Log) -> None:
    """A signature under another known log's name counts for that name only."""
    text = log.checkpoint(1).text()
    raw = b"old 0\n\n" + sign_note(text, name="log.example/t99/w-1", key=LOG_KEY)
    assert running.post(raw).status == 403


def test_unknown_signatures_are_ignored(running: Witness, log: Log) -> None:
    """Signatures of others beside the log's own are passed over, and not cosigned."""
    other = sign_note(log.checkpoint(4).text(), name="someone.else", key=OTHER_KEY)
    extra = other.partition(b"\n\n")[2]
    answer = running.post(log.submission(0, 4) + extra)
    assert answer.status == 200
    running.cosigned_at(log, 4, answer)


def test_extension_lines_are_cosigned_unread(running: Witness, log: Log) -> None:
    """Other logs may say more than three lines: the cosignature is over the whole body."""
    text = log.checkpoint(4).text() + "an extension\n"
    note = sign_note(text, name=log.origin, key=LOG_KEY)
    answer = running.post(b"old 0\n\n" + note)
    assert answer.status == 200
    signature = base64.b64decode(answer.body.split()[-1])[4:]
    running.key.verify(text, signature)


BAD: dict[str, Callable[[Log], bytes]] = {
    "nothing": lambda log: b"",
    "no old size": lambda log: b"\n" + log.note(1),
    "old size with a zero in front": lambda log: b"old 00\n\n" + log.note(1),
    "old size with a sign": lambda log: b"old +0\n\n" + log.note(1),
    "old size with two spaces": lambda log: b"old  0\n\n" + log.note(1),
    "no old size number": lambda log: b"old \n\n" + log.note(1),
    "CRLF": lambda log: log.submission(0, 1).replace(b"\n", b"\r\n"),
    "no checkpoint": lambda log: b"old 0\n\n",
    "no signature": lambda log: b"old 0\n\n" + log.checkpoint(1).text().encode(),
    "no last newline": lambda log: log.submission(0, 1)[:-1],
    "bytes left over": lambda log: log.submission(0, 1) + b"\n",
    "base64 not canonical": lambda log: b"old 1\n" + b"A" * 42 + b"B=\n\n" + log.note(2),
    "a hash too short": lambda log: b"old 1\nAAAA\n\n" + log.note(2),
    "over 63 hashes": lambda log: (
        b"old 1\n" + (base64.b64encode(bytes(32)) + b"\n") * 64 + b"\n" + log.note(2)
    ),
    "old size above the checkpoint's": lambda log: b"old 2\n\n" + log.note(1),
    "no UTF-8": lambda log: log.submission(0, 1).replace(b"\xe2", b"\xff"),
    "a size with a zero in front": lambda log: (
        b"old 0\n\n"
        + sign_note(
            log.checkpoint(1).text().replace("\n1\n", "\n01\n"), name=log.origin, key=LOG_KEY
        )
    ),
    "a size beyond 63 bits": lambda log: (
        b"old 0\n\n"
        + sign_note(Checkpoint(log.origin, 2**63, bytes(32)).text(), name=log.origin, key=LOG_KEY)
    ),
    "a root of 31 bytes": lambda log: (
        b"old 0\n\n"
        + sign_note(Checkpoint(log.origin, 1, bytes(31)).text(), name=log.origin, key=LOG_KEY)
    ),
    "a signature line that is none": lambda log: log.submission(0, 1) + b"- x AAAAAAAA\n",
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_malformed_is_a_bad_request(running: Witness, log: Log, what: str) -> None:
    """400, and the witness is none the wiser."""
    assert running.post(BAD[what](log)).status == 400
    assert running.post(log.submission(0, 1)).status == 200


def test_a_body_without_end_is_cut(running: Witness, log: Log) -> None:
    """A body over the limit is refused, and the witness goes on."""
    assert running.post(log.submission(0, 1) + b"x" * (300 << 10)).status == 413
    assert running.post(log.submission(0, 1)).status == 200


def test_other_methods_and_paths_are_refused(running: Witness, log: Log) -> None:
    """Only POST adds a checkpoint, and only there."""
    assert running.post(b"", method="GET").status == 405
    assert running.post(log.submission(0, 1), path="/v1/add-checkpoint").status == 404
    assert running.post(b"", path="/health", method="GET").status == 200


def test_connections_are_kept(running: Witness, log: Log) -> None:
    """Several requests go over one connection."""
    connection = HTTPConnection(running.address, timeout=20)
    try:
        for old, size in ((0, 1), (1, 2)):
            connection.request("POST", "/add-checkpoint", log.submission(old, size))
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, None)
            answer.read()
    finally:
        connection.close()


def test_of_two_requests_at_once_one_wins(running: Witness, log: Log) -> None:
    """Many histories race from the same old size: one is cosigned, all others get a 409."""
    assert running.post(log.submission(0, 4)).status == 200
    forks = [Log(log.origin, name=log.name) for _ in range(12)]
    bodies = [fork.submission(4, 5 + number) for number, fork in enumerate(forks)]
    barrier = threading.Barrier(len(bodies))

    def send(body: bytes) -> int:
        barrier.wait(20)
        return running.post(body).status

    with ThreadPoolExecutor(len(bodies)) as pool:
        statuses = sorted(pool.map(send, bodies))
    assert statuses == [200, *[409] * 11]


def test_new_logs_are_known_without_a_restart(tmp_path: Path) -> None:
    """The file of vkeys is read again when it changes; a broken one takes nothing away."""
    first, second = Log("log.example/a/w-1"), Log("log.example/b/w-1")
    known = vkeys_file(tmp_path / "logs", first)
    with witness(tmp_path / "home", [known]) as running:
        assert running.post(second.submission(0, 1)).status == 404
        vkeys_file(known, first, second)
        until(lambda: running.post(second.submission(0, 1)).status != 404, what="the new log")
        known.write_text("rubbish\n")
        running.post(first.submission(0, 1))
        until(
            lambda: (
                running.post(first.submission(1, 2)).status in (200, 409)
                and any(line["event"] == "log_keys_not_renewed" for line in running.lines)
            ),
            what="a word about the broken file",
        )
        assert running.post(first.submission(2, 3)).status == 200


def test_two_files_of_logs_and_two_keys_of_one(tmp_path: Path) -> None:
    """Several files count together, and so do an old and a new key of one origin."""
    old, new = Log(), Log(key=OTHER_KEY)
    files = [vkeys_file(tmp_path / "a", old), vkeys_file(tmp_path / "b", new)]
    with witness(tmp_path / "home", files) as running:
        assert running.post(old.submission(0, 3)).status == 200
        assert running.post(new.submission(3, 5)).status == 200


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    """After a stop and a start the same key cosigns on from the same state."""
    known, log = vkeys_file(tmp_path / "logs", Log()), Log()
    with witness(tmp_path / "home", [known]) as running:
        assert running.post(log.submission(0, 6)).status == 200
        key = running.key
        assert running.stop() == 0
    with witness(tmp_path / "home", [known]) as running:
        assert running.key == key
        assert running.post(log.submission(0, 8)).body == b"6\n"
        assert running.post(log.submission(6, 8)).status == 200


def test_the_home_of_a_receiver_is_refused(tmp_path: Path) -> None:
    """A witness of one's own, in one's own home, counts for nothing: it is not made."""
    (tmp_path / "signing.key").write_text("a log's key")
    with pytest.raises(Unusable, match="is a receiver's"):
        load_cosigner(tmp_path, "witness.example/1")
    assert [path.name for path in tmp_path.iterdir()] == ["signing.key"]


def test_its_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """`witness key` prints one vkey, makes it once, and nobody else may read the secret."""
    home = str(tmp_path / "home")
    assert command("witness", "key", "--home", home).returncode == 6
    first = command("witness", "key", "--home", home, "--name", NAME)
    again = command("witness", "key", "--home", home)
    assert (first.returncode, first.stdout) == (0, again.stdout)
    assert first.stdout.startswith(f"{NAME}+")
    assert (tmp_path / "home" / "witness.key").stat().st_mode & 0o777 == 0o600
    other = command("witness", "key", "--home", home, "--name", "witness.example/2")
    assert other.returncode == 8
    assert NAME in other.stderr


def test_without_its_memory_it_cosigns_nothing(tmp_path: Path) -> None:
    """A key whose memory was lost could cosign a second history: it never starts again."""
    known, home = vkeys_file(tmp_path / "logs", Log()), tmp_path / "home"
    with witness(home, [known]) as running:
        assert running.post(Log().submission(0, 3)).status == 200
    (home / "witness.sqlite").unlink()
    done = command("witness", "serve", "--home", str(home), "--log", str(known), "--name", NAME)
    assert done.returncode == 8
    assert "second history" in done.stderr
    assert not (home / "witness.sqlite").exists()


def test_a_clock_that_went_back_gives_no_earlier_time(tmp_path: Path) -> None:
    """Times never fall; where the clock went back by over a minute nothing is cosigned."""
    state = WitnessState(tmp_path / "state")
    keys = [VerifierKey.parse(Log().vkey())]

    def take(old: int, size: int, now_s: int) -> int:
        return state.take(read_submission(Log().submission(old, size), keys), lambda: now_s)

    assert [take(0, 1, 5_000), take(1, 2, 4_950), take(2, 3, 5_001)] == [5_000, 5_000, 5_001]
    with pytest.raises(Unavailable, match="clock"):
        take(3, 4, 4_900)
    with pytest.raises(SizeConflict):
        take(4, 5, 5_002)
    assert take(3, 4, 5_002) == 5_002
    state.close()


def test_what_cannot_be_stored_is_not_cosigned(tmp_path: Path) -> None:
    """Where the memory cannot be written there is no answer, and nothing was taken."""
    state = WitnessState(tmp_path / "state")
    keys = [VerifierKey.parse(Log().vkey())]
    state._database.execute("PRAGMA query_only = 1")
    with pytest.raises(Unavailable, match="memory"):
        state.take(read_submission(Log().submission(0, 1), keys), lambda: 1)
    state._database.execute("PRAGMA query_only = 0")
    assert state.take(read_submission(Log().submission(0, 1), keys), lambda: 1) == 1
    state.close()


@pytest.mark.parametrize("name", ["a b", "a+b", "", "a\tb"])
def test_a_name_that_no_note_can_hold_is_refused(tmp_path: Path, name: str) -> None:
    """A key name has no space, no plus, and is not empty."""
    done = command("witness", "key", "--home", str(tmp_path / "home"), "--name", name)
    assert done.returncode == 6
    assert not (tmp_path / "home" / "witness.key").exists()


def test_it_does_not_listen_in_clear_beyond_this_machine(tmp_path: Path) -> None:
    """As the receiver: loopback, TLS, or --insecure."""
    known = vkeys_file(tmp_path / "logs", Log())
    start = ["witness", "serve", "--home", str(tmp_path / "h"), "--log", str(known)]
    done = command(*start, "--name", NAME, "--http", "0.0.0.0:0")
    assert done.returncode == 8
    assert "--insecure" in done.stderr


def test_it_speaks_tls(tmp_path: Path) -> None:
    """With a certificate it answers over TLS only."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "cert")
    leaf.private_key_pem.write_to_path(tmp_path / "key")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    known = vkeys_file(tmp_path / "logs", Log())
    tls = ("--tls-certificate", str(tmp_path / "cert"), "--tls-key", str(tmp_path / "key"))
    with witness(tmp_path / "home", [known], *tls) as running:
        port = running.address.rpartition(":")[2]
        connection = HTTPSConnection(f"localhost:{port}", timeout=20, context=context)
        connection.request("POST", "/add-checkpoint", Log().submission(0, 2))
        assert connection.getresponse().status == 200
        connection.close()


@pytest.mark.parametrize(("content", "words"), [(None, "no such file"), ("#\n", "holds no vkey")])
def test_without_logs_it_does_not_start(tmp_path: Path, content: str | None, words: str) -> None:
    """A witness that knows nobody is a mistake, and says so."""
    if content is not None:
        (tmp_path / "logs").write_text(content)
    start = ["witness", "serve", "--home", str(tmp_path / "h"), "--name", NAME]
    done = command(*start, "--log", str(tmp_path / "logs"))
    assert done.returncode == 6
    assert words in done.stderr


def test_killed_at_any_moment_it_never_cosigns_two_histories(tmp_path: Path) -> None:
    """Whatever it answered with 200 before a SIGKILL binds it after the next start."""
    known = vkeys_file(tmp_path / "logs", Log())
    size, cosigned = 0, {0}
    for round_number in range(8):
        with witness(tmp_path / "home", [known]) as running:
            told = running.post(Log().submission(0, size + 1)) if size else None
            if told is not None:
                assert told.status == 409
                assert int(told.body) >= max(cosigned), "it forgot what it cosigned"
                size = int(told.body)
            killer = threading.Timer(
                0.02 + 0.03 * round_number, os.kill, (running.popen.pid, signal.SIGKILL)
            )
            killer.start()
            size = _grow_until_killed(running, size, cosigned)
            killer.join()
    assert len(cosigned) > 8
    with witness(tmp_path / "home", [known]) as running:
        last = int(running.post(Log().submission(0, size + 1)).body)
        assert last >= max(cosigned)
        fork = Log(ORIGIN, name="other")
        assert running.post(fork.submission(last, last)).status == 409
        assert running.post(fork.submission(last, last + 5)).status == 422


def _grow_until_killed(running: Witness, size: int, cosigned: set[int]) -> int:
    """Send one leaf more each time, from what was cosigned last, until nobody answers."""
    while True:
        try:
            answer = running.post(Log().submission(size, size + 1))
        except (OSError, HTTPException):  # also in the middle of an answer
            return size
        if answer.status != 200:
            return size
        running.cosigned_at(Log(), size + 1, answer)
        size += 1
        cosigned.add(size)
