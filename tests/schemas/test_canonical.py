"""The canonical form equals the reference, by whichever path it is made."""

import hashlib
import json
import math
import random
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import CanonicalError, NotJson, canonical, canonical_text, read_json
from intentproof_schemas.jsontext import Duplicates

from tests.examples import examples
from tests.schemas.support import vectors

# Hypothesis seldom thinks of surrogates, and of characters beyond U+FFFF, by itself.
LETTERS = st.one_of(
    st.characters(), st.sampled_from("\ud800\udbff\udc00\udfff\ue000\uffff\U00010000\U0010ffff")
)
ANY_TEXT = st.text(LETTERS, max_size=8)
ANY_NUMBER = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-(2**53) - 2, 2**53 + 2),
    st.sampled_from([2**53, 2**53 - 1, -(2**53), 1 - 2**53, 10**400]),
    st.floats(),
    st.floats(-1e-3, 1e-3),
    st.floats(1e14, 1e23),
    st.integers(-(2**60), 2**60).map(float),
    st.sampled_from([0.0, -0.0, 1e-4, 1e-5, 1e-6, 1e-7, 1e16, 1e20, 1e21, 5e-324, 0.1, 2.0**53]),
)
ANY_ATOM = st.one_of(st.none(), st.booleans(), ANY_NUMBER, ANY_TEXT, st.binary(max_size=2))
KEYS = st.one_of(ANY_TEXT, st.text("ab\ue000\U00010000", max_size=2), st.integers(), st.none())


class Level(IntEnum):
    LOW = 1


def _branches(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(children, max_size=4),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(ANY_TEXT, children, max_size=4),
        st.dictionaries(KEYS, children, max_size=3),
    )


def _ours(value: Any, write: Callable[[Any], bytes] = canonical) -> bytes | None:
    try:
        return write(value)
    except CanonicalError:
        return None


def _reference(value: Any) -> bytes | None:
    try:
        return rfc8785.dumps(value)
    except (ValueError, RecursionError):
        return None


@settings(max_examples=examples(1500), deadline=None)
@given(st.recursive(ANY_ATOM, _branches, max_leaves=12))
def test_any_tree_is_written_as_the_reference_writes_it_or_refused(tree: Any) -> None:
    """The fast path and the reference give the same bytes, or both refuse."""
    assert _ours(tree) == _reference(tree)


@settings(max_examples=examples(1500), deadline=None)
@given(st.floats())
def test_floats_of_every_magnitude_are_written_as_the_reference_does(value: float) -> None:
    """Every double has the reference's text."""
    assert _ours([value]) == _reference([value])


@pytest.mark.parametrize("levels", [199, 200, 201, 253, 254, 255, 400])
def test_deep_nesting_is_written_as_the_reference_does(levels: int) -> None:
    """Around the depths at which the fast path and orjson give up, the bytes stay the same."""
    tree: Any = 1
    for level in range(levels):
        tree = {"k": tree} if level % 2 else [tree]
    assert canonical(tree) == rfc8785.dumps(tree)


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        2**53,
        -(2**53),
        2**70,
        "\ud800",
        {"\udfff": 1},
        {1: 1},
        {None: 1},
        b"x",
        {1, 2},
        Ellipsis,
    ],
    ids=repr,
)
def test_what_rfc_8785_cannot_write_is_refused(value: Any) -> None:
    """A value without a canonical form raises CanonicalError, wherever it stands."""
    for tree in (value, [value], {"a": [value]}):
        with pytest.raises(CanonicalError):
            canonical(tree)


def test_an_integer_of_thousands_of_digits_is_refused_like_any_other() -> None:
    """An integer that Python will not even print raises CanonicalError too."""
    with pytest.raises(CanonicalError):
        canonical([10**5000])


def test_endless_nesting_is_refused() -> None:
    """A list that holds itself raises CanonicalError, not RecursionError."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(CanonicalError):
        canonical(endless)


def test_subclasses_are_written_as_the_type_they_extend() -> None:
    """An IntEnum is its number: what is not an exact JSON type takes the reference's path."""
    assert canonical({"a": Level.LOW}) == b'{"a":1}'


def test_keys_are_ordered_by_utf_16() -> None:
    """A key above the Basic Multilingual Plane sorts before U+E000, as UTF-16 has it."""
    assert canonical({"\ue000": 1, "\U00010000": 2}) == '{"\U00010000":2,"\ue000":1}'.encode()


@given(ANY_TEXT)
def test_one_string_is_written_as_the_reference_does(value: str) -> None:
    """The short cut for a single string gives the reference's bytes, or both refuse."""
    assert _ours(value, canonical_text) == _reference(value)


def test_published_vectors_are_reproduced() -> None:
    """Every accepted case of the published JCS vectors gives its text and its SHA-256."""
    cases = json.loads(vectors("jcs/jcs.json").read_text("utf-8"))["cases"]
    for case in cases:
        if "canonical" in case:
            written = canonical(json.loads(case["json"]))
            assert written == case["canonical"].encode(), case["name"]
            assert hashlib.sha256(written).hexdigest() == case["sha256"], case["name"]
            assert read_json(case["json"], Duplicates())[1] == written, case["name"]


def test_published_refusals_are_refused_or_told() -> None:
    """Every rejected case is refused, or reading it shows what was wrong with it."""
    cases = json.loads(vectors("jcs/jcs.json").read_text("utf-8"))["cases"]
    told = {
        "int_2_53": b'"9007199254740992"',
        "lone_surrogate_key": '{"\ufffd":1}'.encode(),
        "duplicate_key_nested": b'{"x":[{"k":1}]}',
    }
    for case in cases:
        if "reject" in case and case["name"] in told:
            assert read_json(case["json"], Duplicates())[1] == told[case["name"]], case["name"]
        elif "reject" in case:
            with pytest.raises(NotJson):
                read_json(case["json"], Duplicates())


def test_canonicalization_cases_of_the_seed_spec_are_reproduced() -> None:
    """The seed specification's cases give our bytes and a line feed."""
    lines = vectors("intentproof/seed_spec_v1/canonicalization_cases.jsonl").read_text("utf-8")
    for case in map(json.loads, lines.splitlines()):
        assert canonical(case["input"]) + b"\n" == case["canonical"].encode(), case["caseId"]


# The doubles with which the ES6 number file begins, as in cyberphone/json-canonicalization.
_ES6_FIRST = """
0000000000000000 8000000000000000 0000000000000001 8000000000000001
{negative} {positive}
4024000000000000 4014000000000000 3fe0000000000000 3fa999999999999a
3f747ae147ae147b 3f40624dd2f1a9fc 3f0a36e2eb1c432d 3ed4f8b588e368f1
3ea0c6f7a0b5ed8d 3e6ad7f29abcaf48 3e35798ee2308c3a 3ed539223589fa95
3ed4ff26cd5a7781 3ed4f95a762283ff 3ed4f8c60703520c 3ed4f8b72f19cd0d
3ed4f8b5b31c0c8d 3ed4f8b58d1c461a 3ed4f8b5894f7f0e 3ed4f8b588ee37f3
3ed4f8b588e47da4 3ed4f8b588e3849c 3ed4f8b588e36bb5 3ed4f8b588e36937
3ed4f8b588e368f8 3ed4f8b588e368f1 3ff0000000000000 bff0000000000000
bfeffffffffffffa bfeffffffffffffb 3feffffffffffffa 3feffffffffffffb
3feffffffffffffc 3feffffffffffffe bfefffffffffffff bfefffffffffffff
3fefffffffffffff 3fefffffffffffff 3fd3333333333332 3fd3333333333333
3fd3333333333334 0010000000000000 000ffffffffffffd 000fffffffffffff
7fefffffffffffff ffefffffffffffff 4340000000000000 c340000000000000
4430000000000000 44b52d02c7e14af5 44b52d02c7e14af6 44b52d02c7e14af7
444b1ae4d6e2ef4e 444b1ae4d6e2ef4f 444b1ae4d6e2ef50 3eb0c6f7a0b5ed8c
3eb0c6f7a0b5ed8d 41b3de4355555553 41b3de4355555554 41b3de4355555555
41b3de4355555556 41b3de4355555557 becbf647612f3696 43143ff3c1cb0959
"""
# The same magnitudes stand there twice, first negative, then positive: from fd5... on they lie
# below 2, and begin with b or 3 instead of c or 4.
_ES6_MAGNITUDES = """
46696695dbd1cc3 43211ede4974a35 3fce97ca0f21056 3c7213080c1a6ac 39280f39a348556 35d9b1f5d20d557
327af4c4a80aaac 2f2f2a36ecd5556 2be51057e155558 28840d131aaaaac 253670dc1555557 21f0b4935555557
1e8d5d42aaaaaac 1b3de4355555556 17fca0555555556 1496e6aaaaaaaab 114585555555555 0e046aaaaaaaaab
0aa0aaaaaaaaaaa 074d55555555555 040aaaaaaaaaaab 00aaaaaaaaaaaab fd5555555555555 fa1111111111111
f6b4e81b4e81b4f f35d867c3ece2a5 f0179ec9cbd821e ecbf647612f3696 e965e9f80f29212 e61e54c672874db
e2ca213d840baf8 df6e80fe033c8c6 dc2533fe68fd3d2 d8d51ffd74c861c d5774ccac3d3817 d22c3d6f030f9ac
cee0624b3818f79 cb804ea293472c7 c833721ba905bd3 c4ebe9c5db3c61e c18987d17c304e5 be3ad30dfcf371d
baf7b816618582f b792f9ab81379bf b442615600f9499 b101e77800c76e1 ad9ca58cce0be35 aa4a1e0a3e6fe90
a708180831f320d a3a68cd9e985016
"""


def _es6_first() -> list[int]:
    def signed(above: str, below: str) -> str:
        found = _ES6_MAGNITUDES.split()
        return " ".join((below if bits >= "a" else above) + bits for bits in found)

    text = _ES6_FIRST.format(negative=signed("c", "b"), positive=signed("4", "3"))
    return [int(bits, 16) for bits in text.split()]


def _es6_doubles() -> Iterator[float]:
    """The doubles of the ES6 number file: chosen, serial, then a chain of SHA-256."""
    chosen = [*_es6_first(), *range(1 << 52, (1 << 52) + 2000)]
    yield from (struct.unpack("<d", bits.to_bytes(8, "little"))[0] for bits in chosen)
    block = bytes(32)
    while True:
        block = hashlib.sha256(block).digest()
        for (value,) in struct.iter_unpack("<d", block):
            if value != 0 and math.isfinite(value):
                yield value


@pytest.mark.parametrize("number", [0, 1])
def test_the_es6_number_file_is_reproduced(number: int) -> None:
    """The first lines of the ES6 number file have the published SHA-256."""
    wanted = json.loads(vectors("jcs/jcs.json").read_text("utf-8"))["es6_numbers"]["checksums"]
    lines, digest = wanted[number]["lines"], hashlib.sha256()
    for _, value in zip(range(lines), _es6_doubles(), strict=False):
        bits = int.from_bytes(struct.pack("<d", value), "little")
        digest.update(b"%x,%s\n" % (bits, canonical(value)))
    assert digest.hexdigest() == wanted[number]["sha256"]


_NODE = """
const lines = require("fs").readFileSync(0, "utf8").split("\\n");
function jcs(value) {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return "[" + value.map(jcs).join(",") + "]";
  const keys = Object.keys(value).sort();
  return "{" + keys.map((key) => JSON.stringify(key) + ":" + jcs(value[key])).join(",") + "}";
}
process.stdout.write(lines.filter(Boolean).map((line) => jcs(JSON.parse(line)) + "\\n").join(""));
"""


def _random_value(chance: random.Random, levels: int) -> Any:
    kind = chance.randrange(9 if levels else 6)
    if kind == 0:
        return chance.choice([None, True, False])
    if kind == 1:
        return chance.randint(1 - 2**53, 2**53 - 1)
    if kind == 2:
        value = struct.unpack("<d", chance.randbytes(8))[0]
        return value if math.isfinite(value) else 0.5
    if kind == 3:
        return chance.uniform(-1, 1) * 10.0 ** chance.randint(-10, 25)
    if kind in (4, 5):
        return _random_text(chance)
    size = chance.randrange(5)
    if kind == 6:
        return [_random_value(chance, levels - 1) for _ in range(size)]
    return {_random_text(chance): _random_value(chance, levels - 1) for _ in range(size)}


def _random_text(chance: random.Random) -> str:
    letters = 'ab01"\\/\x00\x1f\x7f\u2028\u2029\u00e9\ud7ff\ue000\ufffd\U00010000\U0001f600'
    return "".join(chance.choice(letters) for _ in range(chance.randrange(6)))


def test_node_writes_the_same_bytes(tmp_path: Path) -> None:
    """ECMAScript's own JSON, sorted by UTF-16, gives our bytes for thousands of random values."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: no second oracle of RFC 8785")
    chance = random.Random(8785)
    values = [_random_value(chance, 4) for _ in range(4000)]
    script = tmp_path / "jcs.js"
    script.write_text(_NODE, "utf-8")
    written = subprocess.run(
        [node, str(script)],
        input="".join(json.dumps(value) + "\n" for value in values).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    ).stdout
    assert written.splitlines(keepends=True) == [canonical(value) + b"\n" for value in values]
