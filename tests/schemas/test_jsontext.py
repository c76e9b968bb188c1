"""A text is read as the contract reads JSON, whatever the fast path thinks of it."""

import json
import math
import re
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from intentproof_schemas import Duplicates, KeyValues, NotJson, SpanRejected, json_value, read_json

from tests.examples import examples


class _Slow:
    """An independent reading: one decoder, no fast path, every rule spelled out."""

    def __init__(self) -> None:
        self.dropped = 0

    def read(self, text: str) -> Any:
        outside = re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S)
        level = deepest = 0
        for letter in outside:
            level += (letter in "[{") - (letter in "]}")
            deepest = max(deepest, level)
        if deepest > 64:
            raise ValueError("too deep")
        return self._whole(
            json.loads(
                text,
                object_pairs_hook=self._object,
                parse_int=self._integer,
                parse_float=self._double,
                parse_constant=self._constant,
            )
        )

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in reversed(pairs):
            found[self._whole(key)] = self._whole(value)  # the first one comes last, and wins
        self.dropped += len(pairs) - len(found)
        return found

    def _whole(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._whole(item) for item in value]
        if not isinstance(value, str):
            return value
        pairs = re.compile("([\ud800-\udbff])([\udc00-\udfff])")
        joined = pairs.sub(lambda m: chr((ord(m[1]) << 10) + ord(m[2]) - 0x35FDC00), value)
        return re.sub("[\ud800-\udfff]", "\ufffd", joined)

    @staticmethod
    def _integer(digits: str) -> int | str:
        number = int(digits)
        if math.isinf(float(digits)):
            raise ValueError("too large")
        return number if abs(number) < 2**53 else str(number)

    @staticmethod
    def _double(digits: str) -> float:
        if math.isinf(float(digits)):
            raise ValueError("too large")
        return float(digits)

    @staticmethod
    def _constant(name: str) -> Any:
        raise ValueError(name)


def _slow(text: str) -> tuple[bytes, int] | None:
    slow = _Slow()
    try:
        return rfc8785.dumps(slow.read(text)), slow.dropped
    except ValueError:
        return None


def _ours(text: str) -> tuple[bytes, int] | None:
    duplicates = Duplicates()
    try:
        value, jcs = read_json(text, duplicates)
    except NotJson:
        assert duplicates.count == 0, "what is no JSON has no keys to drop"
        return None
    assert rfc8785.dumps(value) == jcs
    return jcs, duplicates.count


def _jcs(text: str) -> bytes:
    return read_json(text, Duplicates())[1]


_NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(repr),  # inf and nan are not JSON
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["-0", "-0.0", "1e400", "NaN", "-Infinity", "01", "1.", ".5", "+1", "0x1"]),
)
_ESCAPED = st.lists(
    st.sampled_from(
        [
            *(
                "a",
                "\\u0061",
                "\\n",
                '\\"',
                "\\\\",
                "\\/",
                "\\ud83d",
                "\\ude00",
                "\ud800",
                "\udc00",
            ),
            *("\ufffd", "\U0001f600", "\u00e9", "e\u0301", "\x7f", "\u2028", "\\x", "\\u12"),
        ]
    ),
    max_size=4,
).map("".join)
_STRINGS = st.one_of(_ESCAPED, st.sampled_from("abc"), st.text("ab{}[],: 1", max_size=4)).map(
    lambda inner: f'"{inner}"'
)
_SPACE = st.sampled_from(["", "", "", " ", "\n\t\r ", "\u00a0", "\ufeff"])


def _nested(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.builds("{}{}:{}".format, _STRINGS, _SPACE, children)
    return st.one_of(
        st.lists(children, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        st.lists(member, max_size=5).map(lambda items: "{" + ",".join(items) + "}"),
    )


_ATOMS = st.one_of(_NUMBERS, _STRINGS, st.sampled_from(["true", "false", "null", "nul"]))
_TEXTS = st.builds("{}{}{}".format, _SPACE, st.recursive(_ATOMS, _nested, max_leaves=10), _SPACE)


@settings(max_examples=examples(3000), deadline=None)
@given(_TEXTS)
def test_a_text_is_read_as_a_slow_reader_reads_it(text: str) -> None:
    """Value, RFC 8785 bytes and number of dropped keys are those of an independent reading."""
    assert _ours(text) == _slow(text)


@settings(max_examples=examples(500), deadline=None)
@given(st.text(st.sampled_from('[]{}",:\\u0061de-+.ntrf \ufeff\ud800\udc00'), max_size=12))
def test_noise_is_read_as_a_slow_reader_reads_it(text: str) -> None:
    """Whatever letters come, the answer is the slow reader's."""
    assert _ours(text) == _slow(text)


@pytest.mark.parametrize(
    ("text", "jcs"),
    [
        ("9007199254740991", b"9007199254740991"),
        ("-9007199254740991", b"-9007199254740991"),
        ("9007199254740992", b'"9007199254740992"'),
        ("-9007199254740992", b'"-9007199254740992"'),
        ("9007199254740992.0", b"9007199254740992"),
        ("18446744073709551616", b'"18446744073709551616"'),
        ("12345678901234567890", b'"12345678901234567890"'),
        ("1e20", b"100000000000000000000"),
        ("1e21", b"1e+21"),
        ("1E2", b"100"),
        ("-0", b"0"),
        ("-0.0", b"0"),
        ("1.0", b"1"),
        ("1e-400", b"0"),
        ("1.7976931348623157e308", b"1.7976931348623157e+308"),
        ("1" + "0" * 308, b'"1' + b"0" * 308 + b'"'),
    ],
)
def test_numbers(text: str, jcs: bytes) -> None:
    """An integer beyond 2^53 - 1 becomes its decimal text; a double stays a number."""
    assert _jcs(f"[{text}]") == b"[" + jcs + b"]"
    assert _jcs(text) == jcs


@pytest.mark.parametrize("text", ["1e400", "-1e400", "1" + "0" * 309, "9" * 5000, "9" * 400 + ".0"])
def test_a_number_beyond_a_double_is_not_json(text: str) -> None:
    """A number that no double can hold makes the text something else than JSON."""
    for whole in (text, f"[{text}]", f'{{"a":1,"b":{text}}}'):
        with pytest.raises(NotJson):
            read_json(whole, Duplicates())


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", "[NaN]", "", " ", "[1,]", "{'a':1}", "01", "1 2", '"a'),
        *("\ufeff1", "\u00a01", "\x0b1", '"\t"', "[\u0663]", "nul", "/**/1", "\ufeff{}"),
    ],
)
def test_what_rfc_8259_does_not_know_is_not_json(text: str) -> None:
    """JavaScript's constants, a byte-order mark, foreign white space and the like are not JSON."""
    with pytest.raises(NotJson):
        read_json(text, Duplicates())


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"\\u0061":', '{"a":1,"a":2,"b":'])
def test_64_levels_are_json_and_65_are_not(opening: str) -> None:
    """A text may be nested 64 levels deep, whichever path reads it."""
    closing = "]" if opening == "[" else "}"
    assert _jcs(opening * 64 + "1" + closing * 64)
    with pytest.raises(NotJson):
        read_json(opening * 65 + "1" + closing * 65, Duplicates())
    with pytest.raises(NotJson):
        read_json("[" * 100_000 + "]" * 100_000, Duplicates())


def test_65_levels_in_a_dropped_member_are_not_json_either() -> None:
    """The depth is the text's: a member that loses to an earlier key counts as well."""
    with pytest.raises(NotJson):
        read_json('{"a":1,"a":' + "[" * 64 + "]" * 64 + "}", Duplicates())


def test_the_caller_s_stack_does_not_change_what_json_is() -> None:
    """A text is read alike from a shallow and from a deep stack: bridge and receiver agree."""
    text = '{"a":1,"a":' + "[" * 600 + "]" * 600 + "}"

    def below(frames: int) -> tuple[bytes, int] | None:
        return below(frames - 1) if frames else _ours(text)

    assert below(0) == below(500)


@pytest.mark.parametrize(
    ("text", "jcs", "dropped"),
    [
        ('{"a":1,"a":2}', b'{"a":1}', 1),
        ('{"a":1,"\\u0061":2,"a":3}', b'{"a":1}', 2),
        ('[{"a":{"b":1,"b":2}},{"c":[{"d":1,"d":2}]}]', b'[{"a":{"b":1}},{"c":[{"d":1}]}]', 2),
        ('{"a":{},"a":[],"b":""}', b'{"a":{},"b":""}', 1),
        ('{"a":1,"a":"\\u0022\\u0022"}', b'{"a":1}', 1),
        ('{"a":"\\u0022","b":1,"b":"\\""}', b'{"a":"\\"","b":1}', 1),
        ('{"\\ud800":1,"\\udfff":2,"\ufffd":3}', '{"\ufffd":1}'.encode(), 2),
        ('{"\\u00e9":1,"e\u0301":2}', '{"e\u0301":2,"\u00e9":1}'.encode(), 0),
    ],
)
def test_of_duplicate_keys_the_first_wins_and_the_others_are_counted(
    text: str, jcs: bytes, dropped: int
) -> None:
    """Keys are compared after escapes and lone surrogates, at every level, without normalising."""
    assert _ours(text) == (jcs, dropped)


def test_duplicates_are_added_to_what_was_counted_before() -> None:
    """One counter serves several texts."""
    duplicates = Duplicates()
    read_json('{"a":1,"a":2}', duplicates)
    read_json('{"b":1,"b":2,"b":3}', duplicates)
    assert duplicates.count == 3


@pytest.mark.parametrize(
    ("text", "jcs"),
    [
        ('"\\ud83d\\ude00"', '"\U0001f600"'),
        ('"\\ud83dx\\ude00"', '"\ufffdx\ufffd"'),
        ('["\\udc00\\ud800"]', '["\ufffd\ufffd"]'),
        ('"\ud800"', '"\ufffd"'),
        ('{"a":["\\ud800"]}', '{"a":["\ufffd"]}'),
    ],
)
def test_lone_surrogates_become_the_replacement_character(text: str, jcs: str) -> None:
    """A surrogate without its partner becomes U+FFFD; a pair is one character."""
    assert _jcs(text) == jcs.encode()


@pytest.mark.parametrize(
    ("value", "json_form"),
    [
        (None, None),
        (True, True),
        (2**53 - 1, 2**53 - 1),
        (2**53, "9007199254740992"),
        (-(2**63), "-9223372036854775808"),
        (1.5, 1.5),
        (1e300, 1e300),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (b"\x00\xff", "AP8="),
        (b"", ""),
        ("{}", "{}"),
        ("\ud800", "\ufffd"),
        ([1, [b"a"]], [1, ["YQ=="]]),
        (KeyValues((("a", 1), ("b", KeyValues()))), {"a": 1, "b": {}}),
    ],
    ids=repr,
)
def test_an_otlp_value_as_json(value: Any, json_form: Any) -> None:
    """Every kind of OTLP value has its JSON form; text in it is never parsed."""
    assert json_value(value, Duplicates()) == json_form


def test_an_otlp_map_keeps_the_first_of_equal_keys() -> None:
    """Duplicate keys of a map are dropped and counted, after lone surrogates are replaced."""
    duplicates = Duplicates()
    pairs = KeyValues((("\ud800", 1), ("\udfff", KeyValues((("a", 1), ("a", 2)))), ("b", 1)))
    assert json_value([pairs], duplicates) == [{"\ufffd": 1, "b": 1}]
    assert duplicates.count == 1


def test_an_otlp_value_may_have_64_levels() -> None:
    """64 levels of arrays and maps are taken, 65 are refused."""
    value: Any = 1
    for level in range(64):
        value = KeyValues((("k", value),)) if level % 2 else [value]
    assert json_value(value, Duplicates())
    with pytest.raises(SpanRejected) as caught:
        json_value([value], Duplicates())
    assert caught.value.reason == "nesting"
