"""JSON and base64 as the network writes them: what is read, and that nothing else gets through."""

import json
import sys
from base64 import b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.cascade.text import compact_json, from_base64, integer, member, parse_json, string, strings, to_base64
from lep6.errors import InvalidArtefact

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
documents = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


def test_compact_json_keeps_the_order_and_has_no_blanks():
    assert compact_json({"b": [1, 2, {"z": "ü", "a": None}], "a": True}) == (
        b'{"b":[1,2,{"z":"\\u00fc","a":null}],"a":true}'
    )


@given(st.dictionaries(st.text(), documents.filter(lambda value: value == value)))  # noqa: PLR0124 - NaN is not itself
def test_an_object_reads_back_from_its_compact_json(document):
    assert json.dumps(parse_json(compact_json(document), "thing")) == json.dumps(document)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"{}}", b"{'a':1}", b'{"a":01}', b"\xff\xfe{", b'{"a":"\xc3("}', b'{"a":"\n"}', b"\x80"]
)
def test_what_is_not_json_is_refused_by_its_name(text):
    with pytest.raises(InvalidArtefact, match="the thing is not JSON"):
        parse_json(text, "thing")


@pytest.mark.parametrize("text", [b"[]", b"[{}]", b'"a"', b"1", b"null", b"true", b"NaN"])
def test_json_other_than_an_object_is_refused(text):
    with pytest.raises(InvalidArtefact, match="the thing is not a JSON object"):
        parse_json(text, "thing")


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":['])
@pytest.mark.parametrize("depth", [sys.getrecursionlimit(), 100_000])
def test_nesting_that_is_too_deep_is_refused(opening, depth):
    with pytest.raises(InvalidArtefact, match="not JSON"):
        parse_json(b'{"a":' + opening * depth, "thing")


def test_a_number_with_more_digits_than_python_converts_is_refused():
    with pytest.raises(InvalidArtefact, match="not JSON"):
        parse_json(b'{"a":' + b"9" * 5000 + b"}", "thing")


@given(st.binary())
def test_any_bytes_are_an_object_or_an_invalid_artefact(text):
    with suppress(InvalidArtefact):
        assert isinstance(parse_json(text, "thing"), dict)


@given(st.binary())
def test_base64_is_the_standard_one_and_reads_back(data):
    assert to_base64(data) == b64encode(data).decode()
    assert from_base64(to_base64(data), "thing") == data


@pytest.mark.parametrize(
    "text",
    ["_-8=", "QQ", "QQ=", "Q", "QQ==\n", " QQ==", "Q Q==", "QQ==QQ==", "QQ===", "=", "====", "QüQ=", "\ud800", "QUJD."],
)
def test_other_spellings_of_base64_are_refused_by_the_name_of_the_thing(text):
    with pytest.raises(InvalidArtefact, match="the thing is not base64"):
        from_base64(text, "thing")


@pytest.mark.parametrize("value", [True, False, 1.0, float("nan"), "1", None, [1], {}])
def test_only_integers_are_integers(value):
    assert integer(value) is None


@pytest.mark.parametrize("value", [0, -1, 10**400])
def test_integers_have_no_bounds_of_their_own(value):
    assert integer(value) == value


@pytest.mark.parametrize("value", ["ü", "\ud800", "\u0661", 1, None, b"a", ["a"]])
def test_strings_are_ascii(value):
    assert string(value) is None
    assert strings([value, "a"]) is None


@pytest.mark.parametrize("value", ["a", None, {"a": "b"}, 1])
def test_strings_come_in_a_list(value):
    assert strings(value) is None
    assert strings(["a", ""]) == ["a", ""]


@pytest.mark.parametrize("value", [None, 7, "\ud800", ["x" * 1000], {"b": "x" * 1000}])
def test_an_unusable_member_is_named_and_shown_in_part(value):
    with pytest.raises(InvalidArtefact, match=r"the thing has no usable 'a'") as refusal:
        member({"a": value, "b": 1}, "a", string, "thing")
    assert len(str(refusal.value)) < 100
    assert str(refusal.value).isascii()


def test_a_member_that_is_not_there_is_unusable():
    with pytest.raises(InvalidArtefact, match="no usable 'c': None"):
        member({"a": 1}, "c", integer, "thing")
