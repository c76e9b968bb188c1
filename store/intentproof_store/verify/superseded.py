"""Files that a later revision replaced, and that are still there.

Readers of ours pass over them; whoever reads all files of the folder does not. So each must be what
was signed, stand where its leaves do, and is told: what was erased can still be read in it.
"""

from collections.abc import Iterator, Sequence

from ..segments import Segment, file_sha256
from .report import Problem


def check_superseded(
    superseded: Sequence[Segment], kept: Sequence[Segment]
) -> Iterator[tuple[str, Problem]]:
    """What there is to say of each, and of whose log it is. Blocks on the disk."""
    for segment in superseded:
        file, writer = segment.path.name, segment.name.writer
        try:
            is_signed = file_sha256(segment.path) == segment.note.sha256
        except FileNotFoundError:
            continue  # deleted while we read
        days = {each.day for each in kept if each.covers(segment)}
        if not is_signed:
            problem = Problem("sha256_differs", "the file's bytes are not what was signed", file)
        elif segment.day not in days:
            message = f"an earlier revision under {segment.day}, where its leaves are not"
            problem = Problem("wrong_date", message, file)
        else:
            message = "an earlier revision is still here, with what was erased from it"
            problem = Problem("erasure_unfinished", message, file)
        yield writer, problem
