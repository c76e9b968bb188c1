"""The story, step by step.

Every step is the real thing in a process of its own, on loopback and in one folder: the program of
`story.py`, the Collector where its binary is at hand, `serve`, and the commands that read.
Each command line is printed before its output, so that a newcomer can repeat it.
"""

import argparse
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from ..errors import Unusable
from .processes import Collector, Folder, find_collector
from .tampering import flip_one_bit
from .told import Differs, Told

OK, TAMPERED = 0, 2  # contract §7
TENANT = "acme"
_STORY = Path(__file__).with_name("story.py")
_EVENTS = 3  # of the four spans that the story ends
_SQL = (
    "SELECT correlation_id, action, status, inputs->>'amount' AS cents, error->>'message' AS error "
    "FROM events ORDER BY started_at"
)
_SQL_FORGED = "SELECT action, correlation_id FROM events ORDER BY started_at"


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `demo` to the command line."""
    demo = subparsers.add_parser("demo", help="the refund story, end to end")
    demo.add_argument("--keep", metavar="DIR", type=Path, help="keep the files in this new folder")
    demo.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Tell the story; 0 if everything went as told, else 1 with what differed."""
    try:
        with _interruptible(), _folder(args.keep) as path:
            _tell(Folder(path), kept=args.keep is not None)
    except Differs as error:
        sys.stdout.flush()
        sys.stderr.write(f"\nintentproof-otel demo: it did not go as told: {error}\n")
        return error.exit_code
    return OK


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the demo as Ctrl-C does: its children first."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="intentproof-demo-") as temporary:
            yield Path(temporary)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise Unusable(f"--keep {keep}: must be a new or an empty folder")
    except OSError as error:
        raise Unusable(f"--keep {keep}: cannot write there: {error.strerror}") from error
    yield keep.resolve()


def _tell(folder: Folder, *, kept: bool) -> None:
    """The story.

    1. A key: whose events they are.
    2. The receiver, and the Collector before it where there is one.
    3. A program with three intent spans and one other.
    4. The service stops: what was hot is sealed and signed.
    5. The trace as a table, then SQL.
    6. `verify`: nothing was touched.
    7. One bit flipped in a copy: SQL believes it, `verify` does not.
    """
    told = Told()
    told.title("The story of an order refunded: from a program to a proof, on this machine alone.")
    told.line(f"Everything lies in {folder.path}")
    _make_key(folder, told)  # (1)
    with ExitStack() as running:
        address = _start(folder, told, running)  # (2)
        trace_id = _run_program(folder, told, address)  # (3)
        folder.wait_until_stored(_EVENTS)
        told.step("Stop the service: it seals what it holds into a Parquet file, and signs it.")
        told.shell(f"kill -TERM {folder.pid}")
    folder.check_ended_well()  # (4)
    _read(folder, told, trace_id)  # (5)
    told.step("Prove it: every leaf rehashed, every root rebuilt, every signature checked.")
    report = folder.command(told, "verify")  # (6)
    _expect(report, "VERIFIED: ", f"{_EVENTS} events verified")
    _tamper(folder, told)  # (7)
    _part(folder, told, trace_id, kept=kept)


def _make_key(folder: Folder, told: Told) -> None:
    told.step("A key says whose events they are. The receiver keeps only its hash.")
    argv = ("keys", "create", "--tenant", TENANT)
    key = folder.command(told, *argv, shown=f"keys create --tenant {TENANT} > acme.key")
    folder.key_file.touch(mode=0o600)
    folder.key_file.write_text(key)


def _start(folder: Folder, told: Told, running: ExitStack) -> str:
    """Start the service; the address that the program sends to."""
    told.step("The receiver. It answers only when the bytes are fsynced.")
    told.shell("intentproof-otel serve --grpc 127.0.0.1:0 --http 127.0.0.1:0")
    address = running.enter_context(folder.serving())
    told.line(f"takes OTLP/gRPC on {address}")
    collector = find_collector()
    if collector is None:
        told.line("(no Collector here: `make collector` builds one, and the demo sends through it)")
        return address
    told.step("A stock OpenTelemetry Collector before it, with a queue on disk.")
    return running.enter_context(_collecting(folder, told, collector, receiver=address))


@contextmanager
def _collecting(
    folder: Folder, told: Told, collector: Collector, *, receiver: str
) -> Iterator[str]:
    told.shell("otelcol-intentproof --config collector-config.yaml   # its head says what to set")
    with folder.collecting(collector, receiver) as address:
        told.line(f"takes OTLP/gRPC on {address}, keeps intent spans only, sends to {receiver}")
        yield address


def _run_program(folder: Folder, told: Told, address: str) -> str:
    """Run the shop; the trace id that it tells."""
    told.step(
        "A shop with OpenTelemetry. Three spans say what they are for; the fourth is not kept."
    )
    shutil.copyfile(_STORY, folder.path / "shop.py")
    endpoint = f"http://{address}"
    told.shell(
        f"INTENTPROOF_ENDPOINT={endpoint} INTENTPROOF_API_KEY=$(cat acme.key) python shop.py"
    )
    output = folder.program(told, "shop.py", endpoint)
    found = re.search(r"\b3 events acknowledged, trace ([0-9a-f]{32})\b", output)
    if found is None:
        raise Differs(f"the program told no trace:\n{output}")
    return found[1]


def _read(folder: Folder, told: Told, trace_id: str) -> None:
    told.step("The trace: the declined payment with its error, the receipt below its refund.")
    table = folder.command(told, "trace", trace_id, "--tenant", TENANT)
    _expect(table, "order.refund", "receipt.send", "payment.capture")
    if len(table.splitlines()) != _EVENTS + 1:
        raise Differs(f"the trace should have {_EVENTS} events")
    told.step("SQL, as an analyst would write it. The receipt inherited its correlation id.")
    rows = folder.command(told, "sql", _SQL, "--tenant", TENANT)
    _expect(rows, "order-1043", "insufficient funds")
    if rows.count("order-1042") != _EVENTS - 1:
        raise Differs("refund and receipt should share one correlation id")


def _tamper(folder: Folder, told: Told) -> None:
    told.step("Flip one bit in a copy: the refund moves to another order. SQL believes it.")
    told.shell("cp -r proofs forged   # and there, in the segment, 2 → 3 in order-1042")
    forged = folder.path / "forged"
    shutil.copytree(folder.path / "proofs", forged)
    file = flip_one_bit(forged)
    told.line(f"byte {file.offset} of {file.path.relative_to(folder.path)}")
    rows = folder.command(told, "sql", _SQL_FORGED, "--store", "forged")
    if rows.count("order-1043") != _EVENTS:
        raise Differs("SQL should show order-1043 throughout")
    told.step("verify does not believe it: it names the file, and exits with 2.")
    report = folder.command(told, "verify", "forged", code=TAMPERED, about=file.path.name)
    _expect(report, "TAMPERED: ", file.path.name)


def _expect(output: str, *words: str) -> None:
    for word in words:
        if word not in output:
            raise Differs(f"{word!r} should stand in\n{output}")


def _part(folder: Folder, told: Told, trace_id: str, *, kept: bool) -> None:
    told.title(f"All as told: {_EVENTS} events kept, {time.monotonic() - told.began:.1f} s.")
    if kept:
        told.line("Try next:")
        told.shell(f"cd {folder.path}")
        told.shell(f"intentproof-otel trace {trace_id} --tenant {TENANT} --json")
        told.shell("intentproof-otel serve   # then change shop.py, and run it against 4317")
    else:
        told.line("These files are gone now. Try next, to keep them and repeat each line yourself:")
        told.shell("intentproof-otel demo --keep refund-story")
