"""Making inclusion and consistency proofs (RFC 6962 section 2.1). Pure: nodes come from the caller.

A node is the root of a full subtree: `node(level, index)` covers leaves
[index·2^level, (index+1)·2^level), all of which the tree has. A proof asks for O(log n) of them.
"""

from collections.abc import Callable

from .merkle import node_hash

Node = Callable[[int, int], bytes]


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The hashes from a leaf's sibling up to the root's child. Raises ValueError.

    RFC 6962 section 2.1.1, PATH(m, D[n]).
    """
    if not 0 <= index < size:
        raise ValueError(f"index {index} is not in a tree of {size}")
    proof = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            proof.append(_root(middle, end, node))
            end = middle
        else:
            proof.append(_root(first, middle, node))
            first = middle
    return proof[::-1]


def consistency_proof(size1: int, size2: int, node: Node) -> list[bytes]:
    """The hashes that show that the tree of `size2` extends that of `size1`. Raises ValueError.

    RFC 6962 section 2.1.2, PROOF(m, D[n]); empty where both sizes are the same.
    """
    if not 0 < size1 <= size2:
        raise ValueError(f"no consistency from {size1} to {size2}")
    proof = []
    first, end = 0, size2
    while size1 != end:
        middle = first + _split(end - first)
        if size1 <= middle:
            proof.append(_root(middle, end, node))
            end = middle
        else:
            proof.append(_root(first, middle, node))
            first = middle
    if first:  # else the old tree is a full subtree of the new one, and its root is known
        proof.append(_root(first, end, node))
    return proof[::-1]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)


def _root(first: int, end: int, node: Node) -> bytes:
    """The root of leaves [first, end), whose left part is full as RFC 6962 splits trees."""
    size = end - first
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, first >> level)
    middle = first + _split(size)
    return node_hash(_root(first, middle, node), _root(middle, end, node))
