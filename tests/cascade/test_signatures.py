"""Whose the signatures over index and layout are (docs/formats.md, "Signatures")."""

from base64 import b64decode, b64encode
from collections import Counter
from hashlib import sha256
from types import SimpleNamespace

import pytest
from Crypto.Hash import keccak
from ecdsa import SECP256k1, SigningKey, util
from hypothesis import given
from hypothesis import strategies as st

from lep6.cascade.signatures import SignedBy, adr36_document, check_signatures, messages, normalise
from lep6.devnet.registration import KnownAccounts
from lep6.errors import InvalidArtefact
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Action, ActionState, Ticket
from world import VECTORS

EXAMPLE = VECTORS["signed_example_1000B"]
SECRET = bytes.fromhex(EXAMPLE["private_key_hex"])
COSMOS, ETHEREUM = (PrivateKey(kind, SECRET) for kind in KeyKind)
CREATOR = EXAMPLE["cosmos_address"]
INDEX = EXAMPLE["index_b64"]
LAYOUT = EXAMPLE["layout_b64"]
GOOD_INDEX = (INDEX, EXAMPLE["creator_signature_b64"])
GOOD_LAYOUT = (LAYOUT, EXAMPLE["layout_signature_b64"])
STRANGER = PrivateKey(KeyKind.COSMOS, sha256(b"a stranger").digest())
NEW_KEY = PrivateKey(KeyKind.ETHEREUM, sha256(b"after the migration").digest())
NEW = NEW_KEY.public.address
ORDER = SECP256k1.order

numbers = st.integers(1, ORDER - 1) | st.sampled_from([1, 0x7F, 0x80, 1 << 255, (1 << 255) - 1, ORDER - 1])


def text(data):
    return b64encode(data).decode()


def action(creator=CREATOR, app_pubkey=b""):
    return Action(Ticket("7"), creator, ActionState.DONE, b"", app_pubkey)


def accounts(keys=None, legacy=None):
    return KnownAccounts({CREATOR: COSMOS.public} if keys is None else keys, legacy or {})


async def signers(index=GOOD_INDEX, layout=GOOD_LAYOUT, *, of=None, known=None):
    found = await check_signatures(of or action(), index=index, layout=layout, accounts=known or accounts())
    return found.index, found.layout


def der_of(r, s):
    return util.sigencode_der(r, s, ORDER)


def split(raw):
    return int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")


def test_the_four_messages_are_those_of_the_vectors_in_their_order():
    tried = list(messages(INDEX, CREATOR))
    assert tried == [
        INDEX.encode(),
        EXAMPLE["adr36_doc_legacy"].encode(),
        EXAMPLE["index_json"].encode(),
        EXAMPLE["adr36_doc_js_style"].encode(),
    ]
    assert [len(message) for message in tried] == [372, 701, 279, 577]
    assert [sha256(message).hexdigest()[:8] for message in tried] == ["df6ae27a", "8b4ff4a2", "c686acc0", "8c6c2b4e"]
    assert keccak.new(digest_bits=256, data=tried[0]).hexdigest()[:8] == "d0070a36"


def test_the_document_of_a_wallet_names_signer_and_data():
    assert adr36_document(b"<&>", 'a "signer"') == (
        b'{"account_number":"0","chain_id":"","fee":{"amount":[],"gas":"0"},"memo":"","msgs":[{"type":'
        b'"sign/MsgSignData","value":{"data":"PCY+","signer":"a \\"signer\\""}}],"sequence":"0"}'
    )


@pytest.mark.parametrize(
    "signature",
    [
        EXAMPLE["creator_signature_b64"],
        EXAMPLE["adr36_sig_legacy_b64"],
        text(COSMOS.sign(EXAMPLE["index_json"].encode())),
        EXAMPLE["adr36_sig_js_style_b64"],
    ],
)
async def test_each_of_the_four_signatures_is_the_creators(signature):
    assert await signers((INDEX, signature)) == (SignedBy.CREATOR, SignedBy.CREATOR)


async def test_a_key_of_the_other_kind_signs_the_keccak_digest():
    known = accounts({CREATOR: ETHEREUM.public})
    index = (INDEX, EXAMPLE["eth_sig_over_index_b64_64byte_b64"])
    assert text(ETHEREUM.sign(INDEX.encode())) == index[1]
    assert await signers(index, known=known) == (SignedBy.CREATOR, SignedBy.NOBODY)
    assert await signers(index) == (SignedBy.NOBODY, SignedBy.CREATOR)


@pytest.mark.parametrize("key", [COSMOS, ETHEREUM])
async def test_the_layouts_signature_may_be_over_any_of_the_four_as_well(key):
    known = accounts({CREATOR: key.public})
    for message in messages(LAYOUT, CREATOR):
        assert (await signers(layout=(LAYOUT, text(key.sign(message))), known=known))[1] is SignedBy.CREATOR


async def test_a_signature_in_der_is_as_good():
    index, layout = ((document, text(der_of(*split(b64decode(raw))))) for document, raw in (GOOD_INDEX, GOOD_LAYOUT))
    assert await signers(index, layout) == (SignedBy.CREATOR, SignedBy.CREATOR)


async def test_a_high_s_is_nobodys_in_either_form():
    r, s = split(b64decode(EXAMPLE["creator_signature_b64"]))
    raw = r.to_bytes(32, "big") + (ORDER - s).to_bytes(32, "big")
    high = SigningKey.from_string(SECRET, SECP256k1).verifying_key
    assert high.verify_digest(raw, sha256(INDEX.encode()).digest())
    assert (await signers((INDEX, text(raw))))[0] is SignedBy.NOBODY
    assert (await signers((INDEX, text(der_of(r, ORDER - s)))))[0] is SignedBy.NOBODY


@given(numbers, numbers)
def test_der_becomes_r_and_s_of_32_bytes_whatever_follows_it(r, s):
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert normalise(text(raw)) == raw
    if len(der_of(r, s)) != 64:
        assert normalise(text(der_of(r, s))) == raw
    if len(der_of(r, s)) != 60:
        assert normalise(text(der_of(r, s) + b"more")) == raw


def test_64_bytes_are_r_and_s_even_where_they_are_der_too():
    encoded = der_of(1 << 230, 1 << 230)
    assert len(encoded) == 64
    assert normalise(text(encoded)) == encoded


@pytest.mark.parametrize("length", [0, 1, 63, 65, 128])
def test_other_lengths_that_are_no_der_are_refused(length):
    with pytest.raises(InvalidArtefact, match="neither r, s nor DER"):
        normalise(text(b"\x11" * length))


@pytest.mark.parametrize("recovery", [0, 1, 27, 28])
async def test_a_signature_with_a_recovery_byte_is_nobodys(recovery):
    signature = text(b64decode(EXAMPLE["creator_signature_b64"]) + bytes([recovery]))
    assert (await signers((INDEX, signature)))[0] is SignedBy.NOBODY


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x30\x24\x02\x21\x01" + bytes(32) + b"\x02\x01\x01",  # 33 bytes that count
        b"\x30\x26\x02\x01\x01\x02\x21\x7f" + b"\xff" * 32,
        b"\x31" + der_of(1, 2)[1:],
        b"\x30\x06\x03\x01\x01\x02\x01\x02",
        b"\x30\x06\x02\x01\x01\x04\x01\x02",
        b"\x30\x03\x02\x01\x01",
        b"\x30\x00",
        b"\x30\x06\x02\x05\x01\x02\x01\x02",
        b"\x30\x06\x02\x01\x01\x02\x02\x02",
        b"\x30\x80\x02\x01\x01\x02\x01\x02\x00\x00",
        b"\x30\x81\x06\x02\x01\x01\x02\x01\x02",
        b"\x30\x81\x02\x01\x01\x02\x01\x02" + bytes(200),
    ],
)
def test_der_other_than_two_numbers_of_32_bytes_is_refused(encoded):
    with pytest.raises(InvalidArtefact):
        normalise(text(encoded))


def test_der_that_was_cut_short_is_refused():
    encoded = der_of(ORDER - 1, ORDER - 2)
    for length in set(range(len(encoded))) - {64}:
        with pytest.raises(InvalidArtefact):
            normalise(text(encoded[:length]))


@given(st.binary(max_size=80).map(text) | st.binary(max_size=80).map(lambda rest: text(b"\x30" + rest)) | st.text())
def test_any_text_is_64_bytes_or_an_invalid_artefact(signature):
    try:
        assert len(normalise(signature)) == 64
    except InvalidArtefact:
        return


async def test_the_key_of_the_interchain_account_comes_first():
    of = action(app_pubkey=COSMOS.public.compressed)
    assert await signers(of=of) == (SignedBy.APP_KEY, SignedBy.APP_KEY)
    assert await signers(of=of, known=accounts({})) == (SignedBy.APP_KEY, SignedBy.APP_KEY)


async def test_the_account_key_comes_after_another_interchain_key():
    of = action(app_pubkey=STRANGER.public.compressed)
    index = (INDEX, text(STRANGER.sign(INDEX.encode())))
    assert await signers(of=of) == (SignedBy.CREATOR, SignedBy.CREATOR)
    assert await signers(index, of=of) == (SignedBy.APP_KEY, SignedBy.CREATOR)


async def test_an_interchain_key_is_of_the_first_kind():
    index = (INDEX, EXAMPLE["eth_sig_over_index_b64_64byte_b64"])
    of = action(app_pubkey=ETHEREUM.public.compressed)
    assert await signers(index, of=of, known=accounts({})) == (SignedBy.NOBODY, SignedBy.APP_KEY)


@pytest.mark.parametrize(
    "app_pubkey", [b"\0", bytes(33), b"\x02" + b"\xff" * 32, COSMOS.public.compressed + b"\0", b"lumera1l3e9pgs3mm"]
)
async def test_a_malformed_interchain_key_is_passed_over(app_pubkey):
    assert await signers(of=action(app_pubkey=app_pubkey)) == (SignedBy.CREATOR, SignedBy.CREATOR)


async def test_without_a_key_of_the_account_signatures_are_nobodys():
    assert await signers(known=accounts({})) == (SignedBy.NOBODY, SignedBy.NOBODY)


async def test_a_strangers_signature_is_nobodys():
    index = (INDEX, text(STRANGER.sign(INDEX.encode())))
    assert await signers(index) == (SignedBy.NOBODY, SignedBy.CREATOR)


async def test_a_signature_over_another_document_is_nobodys():
    assert await signers((INDEX, GOOD_LAYOUT[1]), (LAYOUT, GOOD_INDEX[1])) == (SignedBy.NOBODY, SignedBy.NOBODY)


async def test_a_wallets_document_for_another_signer_is_nobodys():
    foreign = adr36_document(INDEX.encode(), STRANGER.public.address)
    assert (await signers((INDEX, text(COSMOS.sign(foreign)))))[0] is SignedBy.NOBODY


@pytest.mark.parametrize("garbage", ["", "!", "AAA", "é", "\ud800", text(bytes(64)), text(b"\xff" * 64), GOOD_INDEX[0]])
async def test_garbage_for_a_signature_is_nobodys(garbage):
    known = accounts(legacy={CREATOR: STRANGER.public.address})
    assert await signers((INDEX, garbage), known=known) == (SignedBy.NOBODY, SignedBy.CREATOR)


@pytest.mark.parametrize("garbage", ["!", "AAA", "é", INDEX[:-1], f"{INDEX}\n"])
async def test_a_document_that_is_not_base64_is_signed_by_nobody(garbage):
    known = accounts(legacy={CREATOR: CREATOR})
    layout = (garbage, text(COSMOS.sign(garbage.encode())))
    assert await signers(layout=layout, known=known) == (SignedBy.CREATOR, SignedBy.NOBODY)


@pytest.mark.parametrize("new_keys", [{}, {NEW: NEW_KEY.public}])
async def test_after_a_migration_the_old_key_is_recovered_from_each_of_the_four(new_keys):
    known, of = accounts(new_keys, {NEW: CREATOR}), action(NEW)
    for message in messages(INDEX, CREATOR):
        index = (INDEX, text(COSMOS.sign(message)))
        assert await signers(index, of=of, known=known) == (SignedBy.LEGACY_CREATOR, SignedBy.LEGACY_CREATOR)


async def test_after_a_migration_each_signature_may_be_of_another_key():
    known = accounts({NEW: NEW_KEY.public}, {NEW: CREATOR})
    layout = (LAYOUT, text(NEW_KEY.sign(LAYOUT.encode())))
    assert await signers(layout=layout, of=action(NEW), known=known) == (SignedBy.LEGACY_CREATOR, SignedBy.CREATOR)


async def test_the_old_keys_documents_name_the_old_address():
    known = accounts({}, {NEW: CREATOR})
    index = (INDEX, text(COSMOS.sign(adr36_document(INDEX.encode(), NEW))))
    assert await signers(index, of=action(NEW), known=known) == (SignedBy.NOBODY, SignedBy.LEGACY_CREATOR)


async def test_a_recovered_key_of_another_address_is_nobodys():
    known = accounts({}, {NEW: STRANGER.public.address})
    assert await signers(of=action(NEW), known=known) == (SignedBy.NOBODY, SignedBy.NOBODY)


async def test_the_chain_is_asked_once_for_the_key_and_for_a_migration_only_when_it_matters():
    asked = Counter()
    known = accounts()

    async def public_key(address):
        asked["key", address] += 1
        return await known.public_key(address)

    async def legacy_address(address):
        asked["legacy", address] += 1
        return await known.legacy_address(address)

    counting = SimpleNamespace(public_key=public_key, legacy_address=legacy_address)
    assert await signers(known=counting) == (SignedBy.CREATOR, SignedBy.CREATOR)
    assert asked == {("key", CREATOR): 1}
    assert await signers((INDEX, ""), (LAYOUT, ""), known=counting) == (SignedBy.NOBODY, SignedBy.NOBODY)
    assert asked == {("key", CREATOR): 2, ("legacy", CREATOR): 1}


async def test_signatures_are_good_only_together():
    for index, layout, are_good in (
        (GOOD_INDEX, GOOD_LAYOUT, True),
        ((INDEX, ""), GOOD_LAYOUT, False),
        (GOOD_INDEX, (LAYOUT, ""), False),
    ):
        found = await check_signatures(action(), index=index, layout=layout, accounts=accounts())
        assert found.are_good is are_good
