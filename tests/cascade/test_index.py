"""The index: the example of the vectors, and what is refused (docs/formats.md, "Id files")."""

import json
from base64 import b64decode, b64encode

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lep6.cascade.index import index_document, parse_index
from lep6.errors import InvalidArtefact
from world import VECTORS

EXAMPLE = VECTORS["signed_example_1000B"]
IDS = [file["id"] for file in EXAMPLE["layout_files"]]
KEYS = tuple(base58.b58decode(text) for text in IDS)


def signed(index=None, **members):
    document = json.loads(EXAMPLE["index_json"]) | members if index is None else index
    return b64encode(json.dumps(document).encode()).decode() + ".c2lnbmF0dXJl"


def test_the_examples_index_is_read():
    index = parse_index(EXAMPLE["signatures_field"])
    assert index.layout_keys == KEYS
    assert index.layout_signature == EXAMPLE["layout_signature_b64"]
    assert index.document == EXAMPLE["index_b64"]
    assert index.signature == EXAMPLE["creator_signature_b64"]
    assert index.signed == EXAMPLE["signatures_field"].encode()


def test_the_examples_index_is_written():
    document = index_document(KEYS, EXAMPLE["layout_signature_b64"])
    assert document == EXAMPLE["index_b64"]
    assert b64decode(document).decode() == EXAMPLE["index_json"]


def test_what_was_signed_is_kept_as_it_was_spelled():
    strange = json.dumps({"more": 1, **json.loads(EXAMPLE["index_json"])}, indent=3)
    text = b64encode(strange.encode()).decode() + "." + EXAMPLE["creator_signature_b64"]
    index = parse_index(text)
    assert index.layout_keys == KEYS
    assert b64decode(index.document).decode() == strange
    assert index.signed == text.encode()


@given(
    st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=60, unique=True),
    st.text(st.characters(codec="ascii")),
)
def test_an_index_reads_back(keys, signature):
    index = parse_index(index_document(tuple(keys), signature) + ".s")
    assert (index.layout_keys, index.layout_signature, index.signature) == (tuple(keys), signature, "s")


@pytest.mark.parametrize("version", [0, 1])
def test_the_version_is_1_or_left_out_as_0_would_be(version):
    assert parse_index(signed(version=version)).layout_keys == KEYS
    document = json.loads(EXAMPLE["index_json"])
    del document["version"]
    assert parse_index(signed(document)).layout_keys == KEYS


@pytest.mark.parametrize("version", [2, -1, 257, 10**30])
def test_another_version_is_refused(version):
    with pytest.raises(InvalidArtefact, match="version"):
        parse_index(signed(version=version))


@pytest.mark.parametrize(
    "text",
    ["", EXAMPLE["index_b64"], EXAMPLE["signatures_field"] + ".", EXAMPLE["signatures_field"] + ".7", "...", "a.b.c"],
)
def test_a_signatures_field_of_other_than_two_parts_is_refused(text):
    with pytest.raises(InvalidArtefact, match="parts"):
        parse_index(text)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("", "not JSON"),
        ("eyJ", "not base64"),
        (EXAMPLE["index_b64"][:-1], "not base64"),
        (EXAMPLE["index_b64"].replace("J", "-"), "not base64"),
        ("ü", "not base64"),
        (b64encode(b"\xff").decode(), "not JSON"),
        (b64encode(b"[]").decode(), "not a JSON object"),
        (b64encode(b"[" * 100_000).decode(), "not JSON"),
        (b64encode(b'{"version":1}').decode(), "layout_ids"),
    ],
)
def test_a_document_that_is_no_index_is_refused(document, why):
    with pytest.raises(InvalidArtefact, match=why):
        parse_index(document + ".c2lnbmF0dXJl")


@pytest.mark.parametrize(
    "ids",
    [None, [], "", IDS[0], {"0": IDS[0]}, [1], [None], [""], [IDS[0], IDS[1][:-2]], [IDS[0] + "1"], ["\ud800"], ["é"]],
)
def test_layout_ids_that_are_no_list_of_ids_are_refused(ids):
    with pytest.raises(InvalidArtefact):
        parse_index(signed(layout_ids=ids))


@pytest.mark.parametrize("signature", [None, 1, ["a"], "é", "\udfff"])
def test_a_layout_signature_that_is_no_text_is_refused(signature):
    with pytest.raises(InvalidArtefact, match="layout_signature"):
        parse_index(signed(layout_signature=signature))


@given(st.text() | st.text(".=Aey", max_size=20) | st.binary().map(lambda data: b64encode(data).decode() + ".s"))
def test_any_other_text_is_an_invalid_artefact(text):
    with pytest.raises(InvalidArtefact):
        parse_index(text)


@pytest.mark.parametrize("version", ["1", "x", 1.5, 2.0, True, [1], {}])
def test_a_version_that_is_no_integer_is_refused(version):
    with pytest.raises(InvalidArtefact, match="version"):
        parse_index(signed(version=version))
