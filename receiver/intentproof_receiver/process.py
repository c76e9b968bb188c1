"""How the process of the service is set up: memory is given back, what is not used not loaded."""

import ctypes
import gc
import sys
from importlib.abc import MetaPathFinder

_M_ARENA_MAX = -8  # malloc.h of glibc
_ARENAS = 2


def collect_rarely() -> None:
    """Look for reference cycles every 20,000 allocations instead of every 700.

    Events are tuples of texts, in which cycles cannot be: at the default, looking through those
    that wait costs a tenth of all the work.
    """
    gc.set_threshold(20_000, 20, 100)


def use_little_memory() -> None:
    """For a process that serves and does nothing else; before its threads are started.

    By default glibc has eight arenas a core, and each keeps what its threads once needed. And
    pyarrow imports pandas where that is installed, only to recognise arrays that we never hand it.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _WithoutPandas())


class _WithoutPandas(MetaPathFinder):
    """Answers as if pandas were not installed."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuse pandas; anything else is found by others."""
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is not used by the service", name=fullname)
