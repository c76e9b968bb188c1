"""Hash tiles: the same tree as the naive one, at every size, however often it is reopened."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intentproof_store import StoreError
from intentproof_store import tree as tree_module
from intentproof_store.merkle import HASH_BYTES, root_of
from intentproof_store.tree import TileTree, read_tile, tile_hashes

HASHES = [hashlib.sha256(b"\x00%d" % number).digest() for number in range(70_000)]


def joined(first: int, end: int) -> bytes:
    return b"".join(HASHES[first:end])


@pytest.mark.parametrize(
    "size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792, 66_000]
)
def test_a_tree_reopened_from_its_tiles_is_the_naive_tree(tmp_path: Path, size: int) -> None:
    """At every size, full levels and partial tiles included, the root is the naive one."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, size))
    tree.write_partial()
    assert tree.root() == root_of(HASHES[:size])
    again = TileTree.open(tmp_path, size)
    assert (again.size, again.root()) == (size, tree.root())
    again.extend(joined(size, size + 300))
    assert again.root() == root_of(HASHES[: size + 300])


@given(st.lists(st.integers(0, 300), min_size=1, max_size=6))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25
)
def test_a_tree_can_be_reopened_at_any_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int]
) -> None:
    """Whatever was written later, the tree of each earlier checkpoint opens with its root."""
    folder = tmp_path_factory.mktemp("log")
    tree = TileTree.open(folder, 0)
    sizes = []
    for step in steps:
        tree.extend(joined(tree.size, tree.size + step))
        tree.write_partial()
        sizes.append(tree.size)
    for size in sizes:
        again = TileTree.open(folder, size)
        assert again.root() == root_of(HASHES[:size])
        again.extend(joined(size, size + 10))
        assert again.root() == root_of(HASHES[: size + 10])


def test_tiles_hold_what_c2sp_says(tmp_path: Path) -> None:
    """A full tile has 256 hashes, its parents stand one level up, a partial one has its width."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 600))
    tree.write_partial()
    tiles = tmp_path / "tile"
    assert (tiles / "0/000").read_bytes() == joined(0, 256)
    assert (tiles / "0/001").read_bytes() == joined(256, 512)
    assert (tiles / "0/002.p/88").read_bytes() == joined(512, 600)
    parents = root_of(HASHES[:256]) + root_of(HASHES[256:512])
    assert (tiles / "1/000.p/2").read_bytes() == parents
    assert tile_hashes(tiles, 100, 590) == joined(100, 590)


def test_partial_tiles_go_when_the_full_one_is_there(tmp_path: Path) -> None:
    """A full tile replaces its partial ones, which readers then find in it."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 100))
    tree.write_partial()
    tree.extend(joined(100, 256))
    assert [path.name for path in (tmp_path / "tile/0").iterdir()] == ["000"]
    assert read_tile(tmp_path / "tile", 0, 0, 100) == joined(0, 100)


def test_a_missing_tile_is_named(tmp_path: Path) -> None:
    """Where no tile reaches far enough, the error says which one is missing."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 10))
    tree.write_partial()
    with pytest.raises(StoreError, match="no tile 0/0 of 11 hashes"):
        TileTree.open(tmp_path, 11)


def test_a_tile_cut_short_is_no_tile(tmp_path: Path) -> None:
    """A tile with fewer bytes than its hashes need is not read."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 10))
    tree.write_partial()
    partial = tmp_path / "tile/0/000.p/10"
    partial.write_bytes(joined(0, 10)[: 9 * HASH_BYTES + 1])
    with pytest.raises(StoreError):
        TileTree.open(tmp_path, 10)
    assert TileTree.open(tmp_path, 9).root() == root_of(HASHES[:9])


def test_a_tile_of_another_width_does_not_hide_the_right_one(tmp_path: Path) -> None:
    """Among partial tiles that reach, the one of exactly the wanted width counts."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 20))
    tree.write_partial()
    stale = b"".join(hashlib.sha256(each).digest() for each in HASHES[:100])
    (tmp_path / "tile/0/000.p/100").write_bytes(stale)
    assert TileTree.open(tmp_path, 20).root() == root_of(HASHES[:20])


def test_a_refused_write_leaves_the_tree_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the disk refuses a tile, the same hashes may be added again, once."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 100))

    def refuse(files: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(tree_module, "write_files", refuse)
        with pytest.raises(OSError, match="No space"):
            tree.extend(joined(100, 400))
    assert (tree.size, tree.root()) == (100, root_of(HASHES[:100]))
    tree.extend(joined(100, 400))
    tree.write_partial()
    assert TileTree.open(tmp_path, 400).root() == root_of(HASHES[:400])


def test_many_tiles_are_written_in_pieces(tmp_path: Path) -> None:
    """Whoever has something more urgent comes in between: once for each 64 tiles."""
    rests: list[int] = []

    def rest() -> None:
        rests.append(len([path for path in tmp_path.rglob("*") if path.is_file()]))

    TileTree.open(tmp_path, 0).extend(joined(0, 65 * 256), rest=rest)
    assert rests == [0, 64]


def test_a_file_left_aside_is_no_tile(tmp_path: Path) -> None:
    """What a crash left beside the partial tiles is not read as one."""
    tree = TileTree.open(tmp_path, 0)
    tree.extend(joined(0, 5))
    tree.write_partial()
    (partial,) = tmp_path.rglob("5")
    (partial.parent / ".6.1.2.tmp").write_bytes(bytes(9 * HASH_BYTES))
    assert read_tile(tmp_path / "tile", 0, 0, 3) == joined(0, 3)
