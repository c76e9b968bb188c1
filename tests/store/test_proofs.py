"""Proofs that we make, against the naive reading of RFC 6962 and from a log's own tiles."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_store.merkle import (
    Frontier,
    leaf_hash,
    root_of,
    subtree_root,
    verify_consistency,
    verify_inclusion,
)
from intentproof_store.proofs import consistency_proof, inclusion_proof
from intentproof_store.tilenodes import TileNodes
from intentproof_store.tree import TileTree

from tests.examples import examples
from tests.store.test_merkle import naive_consistency, naive_path

LARGE = 70_000  # leaves: three levels of tiles


def in_memory(hashes: list[bytes]) -> Callable[[int, int], bytes]:
    return lambda level, index: subtree_root(
        b"".join(hashes[index << level : (index + 1) << level])
    )


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=70), st.data())
def test_proofs_are_those_of_the_recursive_definition(
    leaves: list[bytes], data: st.DataObject
) -> None:
    """Inclusion and consistency proofs have the hashes of RFC 6962, in its order."""
    node = in_memory([leaf_hash(leaf) for leaf in leaves])
    index = data.draw(st.integers(0, len(leaves) - 1))
    size = data.draw(st.integers(1, len(leaves)))
    assert inclusion_proof(index, len(leaves), node) == naive_path(index, leaves)
    assert consistency_proof(size, len(leaves), node) == naive_consistency(size, leaves)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_a_leaf_that_the_tree_lacks_has_no_proof(index: int, size: int) -> None:
    """An index outside of the tree is refused."""
    with pytest.raises(ValueError, match="is not in a tree"):
        inclusion_proof(index, size, in_memory([]))


@pytest.mark.parametrize(("size1", "size2"), [(0, 3), (4, 3)])
def test_sizes_that_cannot_be_consistent_have_no_proof(size1: int, size2: int) -> None:
    """The empty tree and a larger one prove nothing."""
    with pytest.raises(ValueError, match="no consistency"):
        consistency_proof(size1, size2, in_memory([]))


@dataclass(frozen=True)
class Log:
    folder: Path
    hashes: list[bytes] = field(repr=False)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log's folder with the tiles of many leaves, written in pieces, and their hashes."""
    folder = tmp_path_factory.mktemp("log")
    hashes = [leaf_hash(str(number).encode()) for number in range(LARGE)]
    tree = TileTree.open(folder, 0)
    for first, end in ((0, 1), (1, 300), (300, 65_536), (65_536, LARGE)):
        tree.extend(b"".join(hashes[first:end]))
        tree.write_partial()
    return Log(folder, hashes)


@given(st.integers(1, LARGE), st.integers(0, LARGE - 1), st.integers(1, LARGE))
@settings(max_examples=examples(50), deadline=None)
def test_tiles_are_enough_for_every_proof(log: Log, size: int, index: int, before: int) -> None:
    """At any size that the tiles reach, both proofs follow from tiles alone, and hold."""
    folder, hashes = log.folder, log.hashes
    size = max(size, 65_536)  # sizes before have had their partial tiles dropped
    index, before = index % size, 1 + before % size
    nodes = TileNodes(folder, size)
    root, earlier = root_of(hashes[:size]), root_of(hashes[:before])
    verify_inclusion(
        index=index,
        size=size,
        hashed_leaf=hashes[index],
        proof=inclusion_proof(index, size, nodes.node),
        root=root,
    )
    verify_consistency(
        size1=before,
        size2=size,
        root1=earlier,
        root2=root,
        proof=consistency_proof(before, size, nodes.node),
    )


def test_a_proof_reads_a_few_tiles(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """One proof among 70,000 leaves reads a tile of each level's path, not the log."""
    read: list[Path] = []
    real = Path.read_bytes

    def counted(path: Path) -> bytes:
        read.append(path)
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    inclusion_proof(12_345, LARGE, TileNodes(log.folder, LARGE).node)
    assert 1 <= len(read) <= 6


def test_frontier_and_nodes_agree(log: Log) -> None:
    """The whole tree's full subtrees are the frontier's."""
    folder, hashes = log.folder, log.hashes
    frontier = Frontier()
    frontier.extend(b"".join(hashes))
    assert TileNodes(folder, LARGE).node(16, 0) == frontier.nodes[0]
