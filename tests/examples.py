"""How many examples a property is tried with: a few while one waits, all of them at night."""

import os

THOROUGH = bool(os.environ.get("INTENTPROOF_TEST_THOROUGH"))
_SHARE = 1 if THOROUGH else 5


def examples(thorough: int) -> int:
    """`thorough` where INTENTPROOF_TEST_THOROUGH is set, as `.ci/nightly` does; else a fifth."""
    return thorough // _SHARE
