"""How the process of the service is set up: memory is given back, what is not used not loaded."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder

_M_ARENA_MAX = -8  # malloc.h of glibc
_ARENAS = 2
_YOUNG_OBJECTS = 1_000  # those of some 50 calls


@contextmanager
def collecting_often() -> Iterator[None]:
    """Look for reference cycles often, but never among what is there already.

    grpcio leaves a small cycle behind each call, which keeps the call's message: hundreds of
    kilobytes each until it is found. Python looks through all objects only once a quarter as many
    are new; modules and what they hold are so many that messages for some 50 MiB waited for it.
    """
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.collect()  # counts what is left: before, all that is there
    gc.set_threshold(_YOUNG_OBJECTS, 5, 5)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


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
