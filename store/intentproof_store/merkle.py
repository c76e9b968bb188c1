"""The Merkle tree of RFC 6962 section 2.1, and its proofs. Pure.

Leaf hash: SHA-256(0x00 ‖ leaf). Node hash: SHA-256(0x01 ‖ left ‖ right).
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence

from .errors import ProofInvalid

EMPTY_ROOT = hashlib.sha256(b"").digest()
HASH_BYTES = 32
_LEAF, _NODE = hashlib.sha256(b"\x00"), hashlib.sha256(b"\x01")
_RUN_LEVEL = 8  # whole runs of 256 leaves are hashed level by level, in half the time
_RUN = 1 << _RUN_LEVEL


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Iterable[bytes | None]) -> list[bytes]:
    """The hash of each leaf; one that is absent counts as empty."""
    begun = _LEAF.copy
    hashes = []
    for leaf in leaves:
        # Begun once for all: a new one looks its algorithm up again.
        made = begun()
        made.update(leaf or b"")
        hashes.append(made.digest())
    return hashes


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtree_root(hashed_leaves: bytes) -> bytes:
    """The root over the leaf hashes of a full subtree, a power of two of them in one piece."""
    begun = _NODE.copy
    level = hashed_leaves
    while len(level) > HASH_BYTES:
        nodes = []
        for pair in struct.unpack("64s" * (len(level) // (2 * HASH_BYTES)), level):
            # What this loop does once a leaf is the whole cost of a tree.
            made = begun()
            made.update(pair)
            nodes.append(made.digest())
        level = b"".join(nodes)
    return level


class Frontier:
    """The roots of the full subtrees that make up a tree of `size` leaves, largest first.

    Appending is O(1) amortised and the root O(log size), in O(log size) memory. Not thread-safe.
    """

    __slots__ = ("nodes", "size")

    def __init__(self, size: int = 0, nodes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.nodes = list(nodes)
        if len(self.nodes) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} full subtrees")

    def append(self, hashed_leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        self.append_subtree(hashed_leaf, 0)

    def append_subtree(self, root: bytes, level: int) -> None:
        """Add the root of the next 2^level leaves; the tree must end at a multiple of that."""
        node, above = root, self.size >> level
        if self.size != above << level:
            raise ValueError(f"a tree of {self.size} leaves cannot take 2^{level} at once")
        while above & 1:
            node = node_hash(self.nodes.pop(), node)
            above >>= 1
        self.nodes.append(node)
        self.size += 1 << level

    def extend(self, hashed_leaves: bytes) -> None:
        """Add consecutive leaf hashes, 32 bytes each, in one piece."""
        at, end = 0, len(hashed_leaves)
        while at < end:
            if self.size % _RUN == 0 and end - at >= _RUN * HASH_BYTES:
                run = hashed_leaves[at : at + _RUN * HASH_BYTES]
                self.append_subtree(subtree_root(run), _RUN_LEVEL)
                at += _RUN * HASH_BYTES
            else:
                self.append(hashed_leaves[at : at + HASH_BYTES])
                at += HASH_BYTES

    def copy(self) -> "Frontier":
        """An independent frontier of the same tree."""
        return Frontier(self.size, self.nodes)

    def root(self) -> bytes:
        """The tree's root; that of the empty tree is SHA-256 of nothing."""
        if not self.nodes:
            return EMPTY_ROOT
        *rest, root = self.nodes
        for node in reversed(rest):
            root = node_hash(node, root)
        return root


def root_of(hashed_leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes in order."""
    frontier = Frontier()
    frontier.extend(b"".join(hashed_leaves))
    return frontier.root()


def frontier_ranges(size: int) -> list[tuple[int, int]]:
    """(level, index) of the full subtrees of a tree of `size` leaves, largest first.

    A subtree of level L and index N covers leaves [N·2^L, (N+1)·2^L).
    """
    ranges = []
    start = 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            ranges.append((level, start >> level))
            start += 1 << level
    return ranges


def verify_inclusion(
    *, index: int, size: int, hashed_leaf: bytes, proof: Sequence[bytes], root: bytes
) -> None:
    """Check that a leaf stands at `index` of the tree of `size` leaves with that root.

    RFC 9162 section 2.1.3.2. Raises ProofInvalid.
    """
    if not 0 <= index < size:
        raise ProofInvalid(f"index {index} is not in a tree of {size}")
    inner = (index ^ (size - 1)).bit_length()
    border = (index >> inner).bit_count()
    if len(proof) != inner + border:
        raise ProofInvalid(f"{len(proof)} hashes, {inner + border} expected")
    node = hashed_leaf
    for level, sibling in enumerate(proof):
        left_sibling = level >= inner or index >> level & 1
        node = node_hash(sibling, node) if left_sibling else node_hash(node, sibling)
    if node != root:
        raise ProofInvalid("the root does not follow from the leaf")


def verify_consistency(
    *, size1: int, size2: int, root1: bytes, root2: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree of `size2` extends that of `size1`. RFC 9162 section 2.1.4.2.

    A proof from the empty tree proves nothing and is refused. Raises ProofInvalid.
    """
    if not 0 < size1 <= size2:
        raise ProofInvalid(f"no consistency from {size1} to {size2}")
    if size1 == size2:
        if proof or root1 != root2:
            raise ProofInvalid("equal sizes need equal roots and no proof")
        return
    nodes = [root1, *proof] if size1 & (size1 - 1) == 0 else list(proof)
    if not nodes:
        raise ProofInvalid("an empty proof")
    shift = ((size1 - 1) ^ size1).bit_length() - 1  # trailing ones of size1 - 1
    fn, sn = (size1 - 1) >> shift, (size2 - 1) >> shift
    first = second = nodes[0]
    for node in nodes[1:]:
        if sn == 0:
            raise ProofInvalid("too many hashes")
        if fn & 1 or fn == sn:
            first, second = node_hash(node, first), node_hash(node, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = node_hash(second, node)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or first != root1 or second != root2:
        raise ProofInvalid("the roots do not follow from the proof")
