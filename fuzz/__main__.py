"""`python -m fuzz --seconds 60`: with atheris where it is installed, else with hypothesis.

An input that breaks a property is left in `.fuzz/`, and the exit code is not 0. What is found
becomes a test with a name; inputs that reach new code stay in `.fuzz/corpus`, the seeds of all runs
are `fuzz/corpus`.
"""

import argparse
import importlib
import importlib.util
import sys
import time
from pathlib import Path

SEEDS = Path(__file__).with_name("corpus")
WORK = Path(".fuzz")
_HANG_SECONDS = 20
_MEMORY_MIB = 2048
_INPUT_BYTES_MAX = 1 << 16


def main() -> int:
    """Fuzz for a while; 0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    (WORK / "corpus").mkdir(parents=True, exist_ok=True)
    if importlib.util.find_spec("atheris") is not None:
        return _with_atheris(seconds)
    print("atheris is not installed: inputs are drawn by hypothesis, without coverage")
    return _with_hypothesis(seconds)


def _with_atheris(seconds: int) -> int:
    atheris = importlib.import_module("atheris")
    ours = ["intentproof_receiver", "intentproof_schemas"]
    with atheris.instrument_imports(include=ours, enable_loader_override=False):
        target = importlib.import_module("fuzz.target")
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={_HANG_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-max_len={_INPUT_BYTES_MAX}",
        f"-artifact_prefix={WORK}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(WORK / "corpus"), str(SEEDS)], target.check)
    atheris.Fuzz()  # ends the process
    return 0


def _with_hypothesis(seconds: int) -> int:
    hypothesis = importlib.import_module("hypothesis")
    strategies = importlib.import_module("hypothesis.strategies")
    target = importlib.import_module("fuzz.target")
    seeds = strategies.sampled_from(sorted(path.read_bytes() for path in SEEDS.iterdir()))
    pieces = strategies.lists(strategies.one_of(seeds, strategies.binary(max_size=20)), max_size=4)
    until = time.monotonic() + seconds

    def run(kind: int, parts: list[bytes]) -> None:
        target.check(bytes((kind,)) + b"".join(parts))

    drawn = hypothesis.given(strategies.integers(0, 255), pieces)(run)
    often = hypothesis.settings(max_examples=2_000, deadline=None)(drawn)
    while time.monotonic() < until:
        often()
    return 0


if __name__ == "__main__":
    sys.exit(main())
