"""Transactions as bytes: the vectors, and other people's readings of them (chain contract §2.1-§2.4, §2.8)."""

from hashlib import pbkdf2_hmac, sha256
from hmac import digest as hmac
from pathlib import Path

import grpc_tools
import pytest
from Crypto.Hash import keccak
from ecdsa import SECP256k1, SigningKey, VerifyingKey, ellipticcurve, util
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc
from hypothesis import given
from hypothesis import strategies as st

from chain_wire import CHAIN_ID, KEY, ME, NUMBER
from lep6.chain.signing import Signer, Terms, for_simulation, hash_of, pack, signed
from lep6.keys import KeyKind, PrivateKey, pack_key
from lep6.model import Ticket
from lep6.transaction import Claim, Packed, Vote

MNEMONIC = "test test test test test test test test test test test junk"
ORDER = SECP256k1.order
PROTO = Path(__file__).parents[2] / "proto"


def derived(*path):
    """The key of the mnemonic on a path, by BIP-39 and BIP-32; hardened steps are negative."""
    seed = pbkdf2_hmac("sha512", MNEMONIC.encode(), b"mnemonic", 2048)
    made = hmac(b"Bitcoin seed", seed, "sha512")
    for step in path:
        secret, code = made[:32], made[32:]
        if step < 0:
            index, of = 2**31 - step - 1, b"\0" + secret
        else:
            index, of = step, SigningKey.from_string(secret, SECP256k1).verifying_key.to_string("compressed")
        made = hmac(code, of + index.to_bytes(4, "big"), "sha512")
        sum_of_both = (int.from_bytes(made[:32], "big") + int.from_bytes(secret, "big")) % ORDER
        made = sum_of_both.to_bytes(32, "big") + made[32:]
    return made[:32]


LEGACY = PrivateKey(KeyKind.COSMOS, derived(-45, -119, -1, 0, 0))
KEYS = {"eth": KEY, "legacy": LEGACY}
SIGNER = Signer(KEY, CHAIN_ID, NUMBER)
MANIFEST_HASH = "aAKLMGGtZ7UGhmC0EhChhRKdXlJrA2gM3DjAuc4Xro4="
CLAIM = Claim(7, Ticket("42"), MANIFEST_HASH)
NEGATIVE = Vote(7, False, "ILlCdzdnx9TgulG604gtzFvX8wK+jQxPZtpym6ZhmI8=", "reason_fetch_failed:timeout")
POSITIVE = Vote(7, True, MANIFEST_HASH, "")
HOSTS = Packed("/lumera.audit.v1.MsgSubmitEpochReport", b"\x0a\x01a\x10\x05")
TERMS = Terms(5, 180_000, 4_500, 0)

CLAIM_VALUE = (
    "0a2d6c756d657261313777306164656736346b7930646178776432756779756e65656c6c6d6a676e786d7a6d66396a10071a023432222c61"
    "414b4c4d4747745a375547686d43304568436868524b64586c4a724132674d33446a4175633458726f343d"
)
AUTH_INFO = (
    "0a5a0a500a292f636f736d6f732e65766d2e63727970746f2e76312e657468736563703235366b312e5075624b657912230a21038318535b"
    "54105d4a7aae60c08fc45f9687181b4fdfc625bd1a753fa7397fed7512040a020801180512130a0d0a05756c756d6512043435303010a0fe0a"
)
DIGEST = "a45d9dce0206cec66dc1c4b798c875b14122f53fa846197b10bb562ca3e7c878"
SIGNATURE = (
    "3ba254ccdf7cffd6a51482545b10424b4fbf34bbd96ea41079b7cdb80e3dc92b"
    "0d8efd09031badb832f5d3136a611303489819660b94766ca090be6cbe94188c00"
)
TX_HASH = "7E771CF8884A8DE6507E969DB71CDB8F8C59626E14252D50810910D3ABF6BEE5"
NEGATIVE_VALUE = (
    "0a2d6c756d657261313777306164656736346b7930646178776432756779756e65656c6c6d6a676e786d7a6d66396a1007222c494c6c4364"
    "7a646e78395467756c4736303467747a46765838774b2b6a5178505a7470796d365a686d49383d2a1b726561736f6e5f66657463685f6661"
    "696c65643a74696d656f7574"
)


@pytest.fixture(scope="module")
def google(tmp_path_factory):
    """Messages by Google's protobuf, from the same .proto files, by their full names."""
    described = tmp_path_factory.mktemp("protoc") / "all.pb"
    include = Path(grpc_tools.__file__).parent / "_proto"
    names = [
        "cosmos/tx/v1beta1/tx.proto",
        "cosmos/tx/v1beta1/service.proto",
        "cosmos/auth/v1beta1/query.proto",
        "lumera/audit/v1/audit.proto",
    ]
    options = ["", f"-I{PROTO}", f"-I{include}", "--include_imports", f"--descriptor_set_out={described}", *names]
    assert protoc.main(options) == 0
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()).file:
        pool.Add(file)
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def as_google(google, key, message, terms, *, is_simulated=False):
    """A transaction, built independently."""
    any_of = google("google.protobuf.Any")
    if isinstance(message, Packed):
        packed = any_of(type_url=message.type_url, value=message.value)
    elif isinstance(message, Claim):
        inner = google("lumera.audit.v1.MsgClaimHealComplete")(
            creator=key.public.address,
            heal_op_id=message.op_id,
            ticket_id=message.ticket,
            heal_manifest_hash=message.manifest_hash,
        )
        packed = any_of(type_url="/lumera.audit.v1.MsgClaimHealComplete", value=inner.SerializeToString())
    else:
        inner = google("lumera.audit.v1.MsgSubmitHealVerification")(
            creator=key.public.address,
            heal_op_id=message.op_id,
            verified=message.verified,
            verification_hash=message.hash,
            details=message.details,
        )
        packed = any_of(type_url="/lumera.audit.v1.MsgSubmitHealVerification", value=inner.SerializeToString())
    body = google("cosmos.tx.v1beta1.TxBody")(messages=[packed], timeout_height=terms.timeout_height)
    is_eth = key.public.kind is KeyKind.ETHEREUM
    url = "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey" if is_eth else "/cosmos.crypto.secp256k1.PubKey"
    info = google("cosmos.tx.v1beta1.AuthInfo")()
    signer = info.signer_infos.add(sequence=terms.sequence)
    signer.public_key.type_url, signer.public_key.value = url, b"\x0a\x21" + key.public.compressed
    signer.mode_info.single.mode = 1
    info.fee.amount.add(denom="ulume", amount="1" if is_simulated else str(terms.fee))
    info.fee.gas_limit = 0 if is_simulated else terms.gas_limit
    raw = google("cosmos.tx.v1beta1.TxRaw")(
        body_bytes=body.SerializeToString(deterministic=True),
        auth_info_bytes=info.SerializeToString(deterministic=True),
    )
    document = google("cosmos.tx.v1beta1.SignDoc")(
        body_bytes=raw.body_bytes, auth_info_bytes=raw.auth_info_bytes, chain_id=CHAIN_ID, account_number=NUMBER
    )
    return raw, document.SerializeToString(deterministic=True)


def digest_of(kind, document):
    return (
        keccak.new(digest_bits=256, data=document).digest() if kind is KeyKind.ETHEREUM else sha256(document).digest()
    )


def oracle_signature(secret, digest):
    key = SigningKey.from_string(secret, SECP256k1)
    return key.sign_digest_deterministic(digest, hashfunc=sha256, sigencode=util.sigencode_string_canonize)


def recovered(digest, signature):
    """The key that made a signature of 65 bytes, by SEC 1 §4.1.6."""
    r, s, odd = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    point = ellipticcurve.PointJacobi.from_bytes(SECP256k1.curve, bytes([2 + odd]) + signature[:32], order=ORDER)
    inverse = pow(r, -1, ORDER)
    minus_digest = -int.from_bytes(digest, "big") % ORDER
    made = point * (s * inverse % ORDER) + SECP256k1.generator * (minus_digest * inverse % ORDER)
    return VerifyingKey.from_public_point(made, SECP256k1).to_string("compressed")


def test_the_mnemonics_keys_have_their_addresses():
    assert derived(-45, -61, -1, 0, 0) == KEY._secret
    assert KEY.public.compressed.hex() == "038318535b54105d4a7aae60c08fc45f9687181b4fdfc625bd1a753fa7397fed75"
    assert ME == "lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j"
    assert LEGACY.public.compressed.hex() == "0223aa679d6d5344e201e0df9f02ab15a84726eee0dfb4e953c46a9e2cb52349dc"
    assert LEGACY.public.address == "lumera15yk64u7zc9g9k2yr2wmzeva5qgwxps6y7d05hv"


def test_the_claim_of_the_vectors_is_theirs_to_the_byte():
    assert pack(ME, CLAIM).type_url == "/lumera.audit.v1.MsgClaimHealComplete"
    assert pack(ME, CLAIM).value.hex() == CLAIM_VALUE


def test_the_signed_claim_of_the_vectors_is_theirs_to_the_byte(google):
    raw = signed(SIGNER, CLAIM, TERMS)
    read = google("cosmos.tx.v1beta1.TxRaw").FromString(raw)
    assert read.auth_info_bytes.hex() == AUTH_INFO
    assert [signature.hex() for signature in read.signatures] == [SIGNATURE]
    assert hash_of(raw) == TX_HASH


def test_the_digest_of_the_vectors_is_signed(google):
    _, document = as_google(google, KEY, CLAIM, TERMS)
    assert digest_of(KeyKind.ETHEREUM, document).hex() == DIGEST
    assert oracle_signature(KEY._secret, bytes.fromhex(DIGEST)).hex() == SIGNATURE[:128]


def test_a_negative_vote_has_no_field_for_its_no():
    packed = pack(ME, NEGATIVE)
    assert packed.type_url == "/lumera.audit.v1.MsgSubmitHealVerification"
    assert packed.value.hex() == NEGATIVE_VALUE


def test_a_positive_vote_says_yes_and_nothing_else():
    value = pack(ME, POSITIVE).value
    assert bytes.fromhex("10071801222c") + MANIFEST_HASH.encode() in value
    assert value.endswith(MANIFEST_HASH.encode())


def test_a_hosts_message_is_carried_as_it_is():
    assert pack(ME, HOSTS).type_url == HOSTS.type_url
    assert pack(ME, HOSTS).value == HOSTS.value
    assert bytes(pack(ME, HOSTS)) in signed(SIGNER, HOSTS, TERMS)


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_key_is_packed_by_its_kind(key):
    packed = pack_key(key.public)
    assert packed.value == b"\x0a\x21" + key.public.compressed
    assert (
        packed.type_url
        == {
            KeyKind.ETHEREUM: "/cosmos.evm.crypto.v1.ethsecp256k1.PubKey",
            KeyKind.COSMOS: "/cosmos.crypto.secp256k1.PubKey",
        }[key.kind]
    )


MESSAGES = [CLAIM, NEGATIVE, POSITIVE, HOSTS, Packed("/a.B", b""), Claim(2**64 - 1, Ticket("ä" * 200), "x")]
SPREAD = [TERMS, Terms(0, 1, 1, 0), Terms(1, 0, 0, 1), Terms(2**64 - 1, 2**64 - 1, 2**70, 2**64 - 1)]


@pytest.mark.parametrize("terms", SPREAD)
@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_googles_protobuf_makes_the_same_bytes_and_ecdsa_the_same_signature(google, key, message, terms):
    expected, document = as_google(google, key, message, terms)
    digest = digest_of(key.kind, document)
    raw = signed(Signer(key, CHAIN_ID, NUMBER), message, terms)
    read = google("cosmos.tx.v1beta1.TxRaw").FromString(raw)
    assert (read.body_bytes, read.auth_info_bytes) == (expected.body_bytes, expected.auth_info_bytes)
    assert read.SerializeToString(deterministic=True) == raw
    (signature,) = read.signatures
    assert signature[:64] == oracle_signature(key._secret, digest)
    assert int.from_bytes(signature[32:64], "big") <= ORDER // 2
    theirs = VerifyingKey.from_string(key.public.compressed, SECP256k1)
    assert theirs.verify_digest(signature[:64], digest, sigdecode=util.sigdecode_string)
    if key.kind is KeyKind.ETHEREUM:
        assert recovered(digest, signature) == key.public.compressed
    else:
        assert len(signature) == 64


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_what_is_simulated_has_the_same_body_no_gas_and_one_empty_signature(google, key, message):
    terms = Terms(5, 180_000, 4_500, 120)
    expected, _ = as_google(google, key, message, terms, is_simulated=True)
    expected.signatures.append(b"")
    raw = for_simulation(Signer(key, CHAIN_ID, NUMBER), message, terms)
    assert raw == expected.SerializeToString(deterministic=True)
    assert raw.endswith(b"\x1a\x00")
    sent = google("cosmos.tx.v1beta1.TxRaw").FromString(signed(Signer(key, CHAIN_ID, NUMBER), message, terms))
    assert expected.body_bytes == sent.body_bytes
    info = google("cosmos.tx.v1beta1.AuthInfo").FromString(expected.auth_info_bytes)
    assert [(coin.denom, coin.amount) for coin in info.fee.amount] == [("ulume", "1")]
    assert (info.fee.gas_limit, info.signer_infos[0].sequence) == (0, 5)


def test_what_is_not_said_takes_no_byte(google):
    raw = google("cosmos.tx.v1beta1.TxRaw").FromString(signed(SIGNER, HOSTS, Terms(0, 0, 1, 0)))
    body = google("cosmos.tx.v1beta1.TxBody").FromString(raw.body_bytes)
    assert [field.name for field, _ in body.ListFields()] == ["messages"]
    info = google("cosmos.tx.v1beta1.AuthInfo").FromString(raw.auth_info_bytes)
    assert [field.name for field, _ in info.signer_infos[0].ListFields()] == ["public_key", "mode_info"]
    assert [field.name for field, _ in info.fee.ListFields()] == ["amount"]


def test_the_time_out_height_is_in_what_is_signed(google):
    raw = google("cosmos.tx.v1beta1.TxRaw").FromString(signed(SIGNER, CLAIM, Terms(5, 180_000, 4_500, 120)))
    body = google("cosmos.tx.v1beta1.TxBody").FromString(raw.body_bytes)
    assert (body.timeout_height, body.memo, body.unordered) == (120, "", False)


@pytest.mark.parametrize(
    "other",
    [
        Signer(KEY, "lumera-devnet-2", NUMBER),
        Signer(KEY, CHAIN_ID, NUMBER + 1),
        Signer(PrivateKey(KeyKind.COSMOS, KEY._secret), CHAIN_ID, NUMBER),
    ],
)
def test_chain_number_and_kind_are_signed(other):
    assert signed(other, HOSTS, TERMS) != signed(SIGNER, HOSTS, TERMS)


def test_the_same_is_signed_the_same():
    assert signed(SIGNER, CLAIM, TERMS) == signed(SIGNER, CLAIM, TERMS)


@given(st.binary(max_size=300))
def test_hashes_are_upper_case_hexadecimal(raw):
    assert hash_of(raw) == sha256(raw).hexdigest().upper()
