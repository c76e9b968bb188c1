"""The Merkle tree against published vectors and a naive reading of RFC 6962 section 2.1."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentproof_store import ProofInvalid
from intentproof_store.merkle import (
    EMPTY_ROOT,
    Frontier,
    frontier_ranges,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

from tests.store.support import vectors

leaves_of_a_tree = st.lists(st.binary(max_size=40), min_size=1, max_size=70)


def split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_consistency(size: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    if size == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if size <= k:
        return [*naive_consistency(size, leaves[:k], whole=whole), naive_root(leaves[k:])]
    return [*naive_consistency(size - k, leaves[k:], whole=False), naive_root(leaves[:k])]


def cases(kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(vectors("proofs.json").read_text())[kind]
    return found


def test_published_roots_follow_from_their_leaves() -> None:
    """The roots of the published trees follow from their leaves."""
    document = json.loads(vectors("proofs.json").read_text())
    hashed = [leaf_hash(bytes.fromhex(leaf)) for leaf in document["leaves"]]
    for size, root in document["roots"].items():
        assert root_of(hashed[: int(size)]).hex() == root


def test_published_inclusion_proofs_are_judged_as_published() -> None:
    """Every published inclusion proof is taken or refused as its publisher says."""
    for case in cases("inclusion"):
        arguments: dict[str, Any] = {
            "index": case["index"],
            "size": case["size"],
            "hashed_leaf": bytes.fromhex(case["leaf_hash"]),
            "proof": [bytes.fromhex(each) for each in case["proof"]],
            "root": bytes.fromhex(case["root"]),
        }
        if case["valid"]:
            verify_inclusion(**arguments)
        else:
            with pytest.raises(ProofInvalid):
                verify_inclusion(**arguments)


def test_published_consistency_proofs_are_judged_as_published() -> None:
    """Every published consistency proof is taken or refused as its publisher says."""
    for case in cases("consistency"):
        arguments: dict[str, Any] = {
            "size1": case["size1"],
            "size2": case["size2"],
            "root1": bytes.fromhex(case["root1"]),
            "root2": bytes.fromhex(case["root2"]),
            "proof": [bytes.fromhex(each) for each in case["proof"]],
        }
        if case["valid"]:
            verify_consistency(**arguments)
        else:
            with pytest.raises(ProofInvalid):
                verify_consistency(**arguments)


def test_the_root_of_no_leaves_is_the_hash_of_nothing() -> None:
    """The empty tree's root is SHA-256 of nothing."""
    assert Frontier().root() == EMPTY_ROOT == naive_root([])


@given(leaves_of_a_tree)
def test_the_frontier_has_the_root_of_the_recursive_definition(leaves: list[bytes]) -> None:
    """A frontier's root is the recursive root of RFC 6962, after every single leaf."""
    frontier = Frontier()
    for count, leaf in enumerate(leaves, 1):
        frontier.append(leaf_hash(leaf))
        assert frontier.root() == naive_root(leaves[:count])
        assert frontier.size == count


@given(leaves_of_a_tree, st.integers(0, 70))
def test_a_frontier_extends_in_pieces_as_in_one(leaves: list[bytes], cut: int) -> None:
    """Extending a copy gives the root of extending in one piece, and leaves the first alone."""
    hashes = [leaf_hash(leaf) for leaf in leaves]
    first = Frontier()
    first.extend(b"".join(hashes[:cut]))
    before = first.root()
    second = first.copy()
    second.extend(b"".join(hashes[cut:]))
    assert second.root() == naive_root(leaves)
    assert first.root() == before


@given(leaves_of_a_tree)
def test_frontier_ranges_name_the_frontiers_subtrees(leaves: list[bytes]) -> None:
    """The ranges of a size are where the frontier's nodes stand, and cover every leaf once."""
    frontier = Frontier()
    frontier.extend(b"".join(map(leaf_hash, leaves)))
    covered: list[int] = []
    for (level, index), node in zip(frontier_ranges(len(leaves)), frontier.nodes, strict=True):
        start, end = index << level, (index + 1) << level
        assert naive_root(leaves[start:end]) == node
        covered += range(start, end)
    assert covered == list(range(len(leaves)))


def test_a_frontier_refuses_nodes_that_do_not_fit_its_size() -> None:
    """A frontier of five leaves has two nodes, not one."""
    with pytest.raises(ValueError, match="2 full subtrees"):
        Frontier(5, [EMPTY_ROOT])


@given(leaves_of_a_tree, st.data())
def test_true_inclusion_proofs_hold_and_altered_ones_do_not(
    leaves: list[bytes], data: st.DataObject
) -> None:
    """A proof made by definition holds; with any part of it altered, it is refused."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    good: dict[str, Any] = {
        "index": index,
        "size": len(leaves),
        "hashed_leaf": leaf_hash(leaves[index]),
        "proof": naive_path(index, leaves),
        "root": naive_root(leaves),
    }
    verify_inclusion(**good)
    altered = dict(good)
    part = data.draw(st.sampled_from(["leaf", "root", "index", "longer", "shorter", "hash"]))
    if part == "leaf":
        altered["hashed_leaf"] = flipped(good["hashed_leaf"], data)
    elif part == "root":
        altered["root"] = flipped(good["root"], data)
    elif part == "index":
        others = [i for i in range(-1, len(leaves) + 1) if leaves[i : i + 1] != [leaves[index]]]
        altered["index"] = data.draw(st.sampled_from(others))
    else:
        altered["proof"] = altered_proof(good["proof"], part, data)
    with pytest.raises(ProofInvalid):
        verify_inclusion(**altered)


@given(leaves_of_a_tree, st.data())
def test_true_consistency_proofs_hold_and_altered_ones_do_not(
    leaves: list[bytes], data: st.DataObject
) -> None:
    """A consistency proof made by definition holds; with any part altered, it is refused."""
    size = data.draw(st.integers(1, len(leaves)))
    good: dict[str, Any] = {
        "size1": size,
        "size2": len(leaves),
        "root1": naive_root(leaves[:size]),
        "root2": naive_root(leaves),
        "proof": naive_consistency(size, leaves),
    }
    verify_consistency(**good)
    altered = dict(good)
    part = data.draw(st.sampled_from(["root1", "root2", "longer", "shorter", "hash"]))
    if part.startswith("root"):
        altered[part] = flipped(good[part], data)
    else:
        altered["proof"] = altered_proof(good["proof"], part, data)
    with pytest.raises(ProofInvalid):
        verify_consistency(**altered)


@pytest.mark.parametrize(("size1", "size2"), [(0, 1), (0, 0), (2, 1), (-1, 1)])
def test_consistency_from_nothing_or_backwards_is_refused(size1: int, size2: int) -> None:
    """No proof leads from the empty tree, nor from a larger tree to a smaller one."""
    with pytest.raises(ProofInvalid):
        verify_consistency(
            size1=size1, size2=size2, root1=EMPTY_ROOT, root2=EMPTY_ROOT, proof=[EMPTY_ROOT]
        )


def test_a_node_is_no_leaf() -> None:
    """Leaves and nodes are hashed under different prefixes: neither can pose as the other."""
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    assert node_hash(left, right) != leaf_hash(left + right)


def flipped(value: bytes, data: st.DataObject) -> bytes:
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    changed = bytearray(value)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def altered_proof(proof: list[bytes], part: str, data: st.DataObject) -> list[bytes]:
    if part == "longer" or not proof:
        return [*proof, sha256(b"more").digest()]
    at = data.draw(st.integers(0, len(proof) - 1))
    if part == "shorter":
        return proof[:at] + proof[at + 1 :]
    return [*proof[:at], flipped(proof[at], data), *proof[at + 1 :]]
