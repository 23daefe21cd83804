"""Transactions written by Google's protobuf and signed by other people's libraries, and what the chain says of them."""

from contextlib import suppress

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from chainserver import (
    CHAIN_ID,
    FIRST,
    HASH,
    HEALER,
    OTHER_HASH,
    SECOND,
    STRANGER,
    VECTOR,
    Draft,
    broadcast,
    chain_with_op,
    claim,
    connected,
    draft,
    ecdsa,
    key,
    kind,
    looked_up,
    op,
    server_of,
    simulated,
    tx_hash,
    vote,
)
from lep6.devnet.chain import Chain, ChainParams, GasRules
from lep6.devnet.chain.failures import TxFailed
from lep6.devnet.chain_server import decode_tx
from lep6.errors import RpcRefused
from lep6.keys import KeyKind
from lep6.model import HealOpStatus, Ticket
from lep6.wire.lumera.audit.v1 import QueryHealOpRequest, QueryStub

MISMATCH = (
    "signature verification failed; please verify account number ({}), sequence ({}) and chain-id ({}): unauthorized"
)


async def test_the_contracts_vector_is_accepted(autojump_clock):
    chain = Chain(genesis_params=ChainParams(epoch_length=10), chain_id=CHAIN_ID)
    chain.add_account(VECTOR.address, 10**6, number=12, sequence=5)
    chain.set_op(op(7, healer=VECTOR.address))
    chain.make_block(6.0)
    assert VECTOR.address == "lumera17w0adeg64ky0daxwd2ugyuneellmjgnxmzmf9j"
    written = Draft(signer=VECTOR, messages=(claim(VECTOR.address, 7),), sequence=5, number=12, gas=180_000, fee=4_500)
    assert written.messages[0].SerializeToString().hex() == (
        "0a2d6c756d657261313777306164656736346b7930646178776432756779756e65656c6c6d6a676e786d7a6d66396a10071a023432222c"
        "61414b4c4d4747745a375547686d43304568436868524b64586c4a724132674d33446a4175633458726f343d"
    )
    assert written.parts()[1].hex() == (
        "0a5a0a500a292f636f736d6f732e65766d2e63727970746f2e76312e657468736563703235366b312e5075624b657912230a21038318535b"
        "54105d4a7aae60c08fc45f9687181b4fdfc625bd1a753fa7397fed7512040a020801180512130a0d0a05756c756d6512043435303010a0fe"
        "0a"
    )
    digest = "a45d9dce0206cec66dc1c4b798c875b14122f53fa846197b10bb562ca3e7c878"
    assert VECTOR.digest(written.sign_bytes()).hex() == digest
    signature = (
        "3ba254ccdf7cffd6a51482545b10424b4fbf34bbd96ea41079b7cdb80e3dc92b0d8efd09031badb832f5d3136a611303489819660b94766c"
        "a090be6cbe94188c00"
    )
    assert written.signature().hex() + "00" == signature
    raw = written.raw(bytes.fromhex(signature))
    assert tx_hash(raw) == "7E771CF8884A8DE6507E969DB71CDB8F8C59626E14252D50810910D3ABF6BEE5"
    server = server_of(chain)
    async with connected(server) as channel:
        answer = await broadcast(channel, raw)
        assert (answer.code, answer.txhash) == (0, tx_hash(raw))
        server.blocks.make()
        assert (await looked_up(channel, raw)).code == 0
        told = await QueryStub(channel).heal_op(QueryHealOpRequest(7))
    assert told.heal_op.status == HealOpStatus.HEALER_REPORTED
    assert told.heal_op.result_hash == HASH


async def test_the_contracts_negative_vote_is_read(autojump_clock):
    placeholder = "ILlCdzdnx9TgulG604gtzFvX8wK+jQxPZtpym6ZhmI8="
    said = vote(VECTOR.address, 7, verified=False, hash_=placeholder, details="reason_fetch_failed:timeout")
    assert said.SerializeToString().hex() == (
        "0a2d6c756d657261313777306164656736346b7930646178776432756779756e65656c6c6d6a676e786d7a6d66396a1007222c494c6c4364"
        "7a646e78395467756c4736303467747a46765838774b2b6a5178505a7470796d365a686d49383d2a1b726561736f6e5f66657463685f6661"
        "696c65643a74696d656f7574"
    )
    chain = chain_with_op()
    chain.add_account(VECTOR.address, 10**6, number=12)
    chain.set_op(op(7, HealOpStatus.HEALER_REPORTED, verifiers=(VECTOR.address,)))
    server = server_of(chain)
    async with connected(server) as channel:
        assert (await broadcast(channel, draft(VECTOR, said, number=12).raw())).code == 0
    server.blocks.make()
    ended = chain.at().heal_op(7)
    assert (ended.status, ended.notes) == (HealOpStatus.FAILED, "reason_fetch_failed:timeout")


async def test_both_kinds_of_keys_vote_an_op_to_its_end(autojump_clock):
    chain = chain_with_op()
    server = server_of(chain)
    async with connected(server) as channel:
        for signer, message in [
            (HEALER, claim(HEALER.address)),
            (FIRST, vote(FIRST.address)),
            (SECOND, vote(SECOND.address)),
        ]:
            raw = draft(signer, message).raw()
            assert (await broadcast(channel, raw)).code == 0
            server.blocks.make()
            assert (await looked_up(channel, raw)).code == 0
    assert chain.at().heal_op(1).status is HealOpStatus.VERIFIED


@pytest.mark.parametrize("signer", [HEALER, FIRST], ids=["eth", "cosmos"])
async def test_an_account_learns_its_key_with_its_first_transaction(autojump_clock, signer):
    chain = chain_with_op()
    server = server_of(chain)
    async with connected(server) as channel:
        silent = draft(signer, claim(signer.address), shows_key=False)
        refused = await broadcast(channel, silent.raw())
        assert (refused.code, refused.raw_log) == (8, "pubkey on account is not set: invalid pubkey")
        assert chain.at().account(signer.address).public_key is None
        assert (await broadcast(channel, draft(signer, claim(signer.address)).raw())).code == 0
        server.blocks.make()
        shown = chain.at().account(signer.address).public_key
        assert shown.compressed == signer.compressed
        assert shown.kind is (KeyKind.ETHEREUM if signer.is_eth else KeyKind.COSMOS)
        assert (await broadcast(channel, evolve(silent, sequence=1).raw())).code == 0


def high_s(signature: bytes) -> bytes:
    s = ecdsa.SECP256k1.order - int.from_bytes(signature[32:], "big")
    return signature[:32] + s.to_bytes(32, "big")


FORMS = {
    "eth, r s": (HEALER, lambda made: made, 0),
    "eth, r s v": (HEALER, lambda made: made + b"\1", 0),
    "eth, r s v as Ethereum writes it": (HEALER, lambda made: made + b"\x1c", 0),
    "eth, too long": (HEALER, lambda made: made + b"\0\0", 4),
    "eth, too short": (HEALER, lambda made: made[:63], 4),
    "eth, high s": (HEALER, high_s, 4),
    "eth, high s and v": (HEALER, lambda made: high_s(made) + b"\0", 4),
    "eth, none": (HEALER, lambda _: b"", 4),
    "eth, zeros": (HEALER, lambda _: bytes(64), 4),
    "cosmos, r s": (FIRST, lambda made: made, 0),
    "cosmos, r s v": (FIRST, lambda made: made + b"\0", 4),
    "cosmos, high s": (FIRST, high_s, 4),
}


@pytest.mark.parametrize(("signer", "form", "code"), FORMS.values(), ids=FORMS)
async def test_a_signature_has_the_form_of_its_key(autojump_clock, server, signer, form, code):
    one = draft(signer, claim(signer.address))
    async with connected(server) as channel:
        answer = await broadcast(channel, one.raw(form(one.signature())))
    assert (answer.code, answer.codespace) == (code, "sdk" if code else "")
    if code:
        assert answer.raw_log == MISMATCH.format(one.number, 0, CHAIN_ID)


IN_ORDER = draft(HEALER, claim(HEALER.address))
SWAPPED = draft(STRANGER, claim(HEALER.address), number=0)

REFUSED_BY_CHECK_TX = {
    "signed for another chain": (evolve(IN_ORDER, chain_id="testing"), 4, MISMATCH.format(0, 0, CHAIN_ID)),
    "signed for another number": (evolve(IN_ORDER, number=9), 4, MISMATCH.format(0, 0, CHAIN_ID)),
    "signed by another, who shows the key of the account": (
        evolve(SWAPPED, shows=HEALER),
        4,
        MISMATCH.format(0, 0, CHAIN_ID),
    ),
    "another's key": (
        SWAPPED,
        8,
        f"pubKey does not match signer address {HEALER.address} with signer index: 0: invalid pubkey",
    ),
    "the same key, of the other kind": (
        evolve(IN_ORDER, shows=evolve(HEALER, is_eth=False)),
        8,
        f"pubKey does not match signer address {HEALER.address} with signer index: 0: invalid pubkey",
    ),
    "a sequence that was": (
        evolve(IN_ORDER, sequence=7854),
        32,
        "account sequence mismatch, expected 0, got 7854: incorrect account sequence",
    ),
    "an account that is not": (
        draft(key("nobody"), claim(key("nobody").address)),
        9,
        f"fee payer address: {key('nobody').address} does not exist: unknown address",
    ),
    "no fee": (evolve(IN_ORDER, fee=0), 13, "gas prices too low, got: "),
    "too low a fee": (evolve(IN_ORDER, fee=499), 13, "gas prices too low, got: 0.002495ulume required: 0.002500ulume"),
    "more than there is": (
        evolve(IN_ORDER, fee=10**10),
        5,
        "spendable balance 1000000000ulume is smaller than 10000000000ulume: insufficient funds",
    ),
    "more than there is at all": (evolve(IN_ORDER, fee=10**200), 5, "spendable balance 1000000000ulume is smaller"),
    "another's money": (
        evolve(IN_ORDER, fees={"amount": [{"denom": "uatom", "amount": "5000"}]}),
        10,
        "expected only native token ulume for fee, but got uatom: invalid coins",
    ),
    "two kinds of money": (
        evolve(IN_ORDER, fees={"amount": [{"denom": "ulume", "amount": "5000"}] * 2}),
        10,
        "expected one coin for fee, but got 2: invalid coins",
    ),
    "an amount that is none": (
        evolve(IN_ORDER, fees={"amount": [{"denom": "ulume", "amount": "-5"}]}),
        2,
        "'-5' is not an amount: tx parse error",
    ),
    "another payer": (
        evolve(IN_ORDER, fees={"payer": FIRST.address}),
        4,
        "wrong number of signers; expected 2, got 1: unauthorized",
    ),
    "a granter": (evolve(IN_ORDER, fees={"granter": FIRST.address}), 38, f"{FIRST.address} does not allow to pay"),
    "too little gas": (
        evolve(IN_ORDER, gas=1000),
        11,
        "out of gas in location: WriteFlat; gasWanted: 1000, gasUsed: 60000: out of gas",
    ),
    "a time-out that has passed": (
        evolve(IN_ORDER, body={"timeout_height": 1}),
        30,
        "block height: 2, timeout height: 1: tx timeout height",
    ),
    "a memo of 257 bytes": (
        evolve(IN_ORDER, body={"memo": "é" * 128 + "x"}),
        12,
        "maximum number of characters is 256 but received 257 characters: memo too large",
    ),
    "an extension": (
        evolve(IN_ORDER, body={"extension_options": [{"type_url": "/x"}]}),
        31,
        "unknown extension options",
    ),
    "no order": (evolve(IN_ORDER, body={"unordered": True}), 18, "the box takes neither unordered"),
    "no message": (evolve(IN_ORDER, messages=()), 2, "the box takes one message"),
    "two messages": (evolve(IN_ORDER, messages=(claim(HEALER.address),) * 2), 2, "the box takes one message"),
    "a message of another kind": (
        evolve(IN_ORDER, messages=(kind("lumera.audit.v1.QueryHealOpRequest")(heal_op_id=1),)),
        2,
        "unable to resolve type URL /lumera.audit.v1.QueryHealOpRequest: tx parse error",
    ),
    "a creator that is none": (evolve(IN_ORDER, messages=(claim("lumera1x"),)), 2, ""),
    "no creator": (evolve(IN_ORDER, messages=(claim(""),)), 2, ""),
    "sign mode TEXTUAL": (evolve(IN_ORDER, mode=2), 2, "sign mode 2 is not SIGN_MODE_DIRECT: tx parse error"),
    "sign mode AMINO": (evolve(IN_ORDER, mode=127), 2, "sign mode 127 is not SIGN_MODE_DIRECT: tx parse error"),
    "no sign mode": (evolve(IN_ORDER, mode=0), 2, "sign mode 0 is not SIGN_MODE_DIRECT: tx parse error"),
}


@pytest.mark.parametrize(("wrong", "code", "log"), REFUSED_BY_CHECK_TX.values(), ids=REFUSED_BY_CHECK_TX)
async def test_check_tx_refuses_with_code_and_text_and_without_effect(autojump_clock, wrong, code, log):
    chain = chain_with_op()
    chain.make_block(1_700_000_012.0)
    raw = wrong.raw()
    async with connected(server_of(chain)) as channel:
        answer = await broadcast(channel, raw)
    assert (answer.code, answer.codespace, answer.height, answer.txhash) == (code, "sdk", 0, tx_hash(raw))
    assert answer.raw_log.startswith(log)
    assert chain.mempool() == ()
    assert chain.at().account(HEALER.address).sequence == 0


BODY, AUTH = IN_ORDER.parts()
SIGNATURE = IN_ORDER.signature()


def field(number: int, data: bytes, *, length: bytes | None = None) -> bytes:
    """A field of bytes, by hand."""
    size = len(data)
    varint = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([number << 3 | 2]) + (varint if length is None else length) + data


GOOD = field(1, BODY) + field(2, AUTH) + field(3, SIGNATURE)
UNKNOWN = b"\xa0\x06\x01"
"""Field 100."""


def resigned(body: bytes, auth: bytes) -> bytes:
    document = kind("SignDoc")(body_bytes=body, auth_info_bytes=auth, chain_id=CHAIN_ID, account_number=0)
    return field(1, body) + field(2, auth) + field(3, HEALER.sign(document.SerializeToString()))


def with_value(value: bytes) -> bytes:
    """A body whose message has this value."""
    return kind("TxBody")(
        messages=[{"type_url": "/lumera.audit.v1.MsgClaimHealComplete", "value": value}]
    ).SerializeToString()


NOT_READ = {
    "rubbish": b"\xff\xff",
    "a field of the envelope is unknown": GOOD + UNKNOWN,
    "fields out of order": field(2, AUTH) + field(1, BODY) + field(3, SIGNATURE),
    "a signature in front": field(3, SIGNATURE) + field(1, BODY) + field(2, AUTH),
    "a field twice": field(1, BODY) + GOOD,
    "an explicit default": field(1, b"") + field(2, AUTH) + field(3, SIGNATURE),
    "an overlong length": field(1, BODY) + field(2, AUTH) + field(3, SIGNATURE, length=b"\xc0\x00"),
    "cut off": GOOD[:-1],
    "a field of the body is unknown": resigned(BODY + UNKNOWN, AUTH),
    "a field of the authentication is unknown": resigned(BODY, AUTH + UNKNOWN),
    "a field of the fee is unknown": resigned(BODY, AUTH + field(2, UNKNOWN)),
    "a field of the message is unknown": resigned(
        with_value(claim(HEALER.address).SerializeToString() + UNKNOWN), AUTH
    ),
    "a message that is cut off": resigned(with_value(claim(HEALER.address).SerializeToString()[:-1]), AUTH),
    "a text that is none": resigned(with_value(b"\x0a\x01\xff"), AUTH),
    "a key of a kind that is unknown": resigned(
        BODY,
        kind("AuthInfo")(
            signer_infos=[{"public_key": {"type_url": "/x"}, "mode_info": {"single": {"mode": 1}}}]
        ).SerializeToString(),
    ),
}


def test_what_is_written_by_hand_here_is_what_protobuf_writes():
    assert IN_ORDER.raw() == GOOD == resigned(BODY, AUTH)


@pytest.mark.parametrize("raw", NOT_READ.values(), ids=NOT_READ)
async def test_what_is_not_canonical_and_known_is_no_transaction(autojump_clock, server, raw):
    async with connected(server) as channel:
        answer = await broadcast(channel, raw)
        with pytest.raises(RpcRefused) as refused:
            await simulated(channel, raw)
    assert (answer.code, answer.codespace, answer.txhash) == (2, "sdk", tx_hash(raw))
    assert answer.raw_log.endswith("tx parse error")
    assert refused.value.message.startswith(f"{answer.raw_log} [")
    assert refused.value.message.endswith("] with gas used: '0'")


@pytest.mark.parametrize("compressed", [b"", bytes(33), b"\x02" * 32])
async def test_a_key_that_is_no_point_is_refused(autojump_clock, server, compressed):
    public = {"type_url": HEALER.url, "value": kind("lumera.audit.v1.EpochAnchor")().SerializeToString()}
    public["value"] = b"\x0a" + bytes([len(compressed)]) + compressed
    auth = kind("AuthInfo")(
        signer_infos=[{"public_key": public, "mode_info": {"single": {"mode": 1}}}],
        fee={"amount": [{"denom": "ulume", "amount": "5000"}], "gas_limit": 200_000},
    )
    async with connected(server) as channel:
        assert (await broadcast(channel, resigned(BODY, auth.SerializeToString()))).code == 8


async def test_there_is_one_signature_of_one_signer(autojump_clock, server):
    async with connected(server) as channel:
        none = await broadcast(channel, field(1, BODY) + field(2, AUTH))
        two = await broadcast(channel, IN_ORDER.raw(SIGNATURE, SIGNATURE))
        signer = kind("AuthInfo").FromString(AUTH).signer_infos[0]
        both = kind("AuthInfo")(signer_infos=[signer, signer], fee=kind("AuthInfo").FromString(AUTH).fee)
        signers = await broadcast(channel, resigned(BODY, both.SerializeToString()))
    assert (none.code, none.raw_log) == (15, "no signatures supplied")
    assert (two.code, two.raw_log) == (4, "wrong number of signers; expected 1, got 2: unauthorized")
    assert (signers.code, signers.raw_log) == (4, two.raw_log)


async def test_the_mempool_itself_refuses_with_a_code_and_no_text(autojump_clock):
    chain = chain_with_op(mempool_capacity=1, max_tx_size=2000)
    big = draft(HEALER, claim(HEALER.address, details="x" * 2000)).raw()
    async with connected(server_of(chain)) as channel:
        large = await broadcast(channel, big)
        assert (await broadcast(channel, GOOD)).code == 0
        full = await broadcast(channel, draft(FIRST, claim(FIRST.address)).raw())
    assert [(answer.code, answer.codespace, answer.raw_log) for answer in (large, full)] == [
        (21, "sdk", ""),
        (20, "sdk", ""),
    ]


@pytest.mark.parametrize("memo", ["", "by hand", "é" * 128])
async def test_any_memo_of_256_bytes_is_taken(autojump_clock, server, memo):
    async with connected(server) as channel:
        assert (await broadcast(channel, evolve(IN_ORDER, body={"memo": memo}).raw())).code == 0


async def test_a_time_out_height_is_the_last_block(autojump_clock):
    chain = chain_with_op()
    server = server_of(chain)
    raw = evolve(IN_ORDER, body={"timeout_height": 2}).raw()
    async with connected(server) as channel:
        assert (await broadcast(channel, raw)).code == 0
        server.blocks.make()
        assert (await looked_up(channel, raw)).height == 2


async def test_sequences_follow_each_other_in_the_mempool(autojump_clock):
    chain = chain_with_op()
    server = server_of(chain)
    raws = [draft(HEALER, claim(HEALER.address, details=str(n)), sequence=n).raw() for n in range(50)]
    async with connected(server) as channel:
        assert [(await broadcast(channel, raw)).code for raw in raws] == [0] * 50
        server.blocks.make()
        assert [(await looked_up(channel, raw)).code for raw in raws] == [0] + [13] * 49
    assert chain.at().account(HEALER.address).sequence == 50


# Simulations


async def test_a_simulation_needs_one_empty_signature_and_no_gas(autojump_clock, server):
    one = evolve(IN_ORDER, gas=0, fee=1)
    async with connected(server) as channel:
        assert await simulated(channel, one.raw(b"")) == GasRules().ante + GasRules().claim
        assert await simulated(channel, one.raw(b"anything")) == 100_000
        assert await simulated(channel, evolve(one, shows=STRANGER).raw(b"")) == 100_000
        for signatures, text in [
            ((), "no signatures supplied ["),
            ((b"", b""), "wrong number of signers; expected 1, "),
        ]:
            raw = field(1, one.parts()[0]) + field(2, one.parts()[1]) + b"".join(field(3, s) for s in signatures)
            with pytest.raises(RpcRefused, match="UNKNOWN") as refused:
                await simulated(channel, raw)
            assert refused.value.message.startswith(text)
    assert server.chain.mempool() == ()
    assert server.chain.at().account(HEALER.address).public_key is None


async def test_a_simulation_checks_the_sequence(autojump_clock, server):
    async with connected(server) as channel:
        with pytest.raises(RpcRefused) as refused:
            await simulated(channel, evolve(IN_ORDER, sequence=7, gas=0, fee=1).raw(b""))
        assert refused.value.message == (
            "account sequence mismatch, expected 0, got 7: incorrect account sequence"
            " [cosmos/cosmos-sdk/x/auth/ante/sigverify.go:1] with gas used: '60000'"
        )
        await broadcast(channel, GOOD)
        with pytest.raises(RpcRefused, match="expected 1, got 0"):
            await simulated(channel, evolve(IN_ORDER, gas=0, fee=1).raw(b""))


REFUSED_BY_HANDLER = [
    (HEALER, claim(HEALER.address, 0), 11, "heal_op_id is required: heal op not found"),
    (HEALER, claim(HEALER.address, ticket=""), 14, "ticket_id is required: heal op ticket mismatch"),
    (HEALER, claim(HEALER.address, manifest_hash=""), 13, "heal_manifest_hash is required: heal op invalid state"),
    (HEALER, claim(HEALER.address, 9), 11, "heal op 9 not found: heal op not found"),
    (
        HEALER,
        claim(HEALER.address, ticket="4"),
        14,
        'ticket_id "4" does not match heal op ticket_id "42": heal op ticket',
    ),
    (FIRST, claim(FIRST.address), 12, "creator is not assigned healer for this heal op: heal op unauthorized actor"),
    (
        HEALER,
        claim(HEALER.address, 2),
        13,
        "heal op status HEAL_OP_STATUS_HEALER_REPORTED does not accept healer completion claim: heal op invalid state",
    ),
    (HEALER, claim(HEALER.address, 3), 13, "heal op has no independent verifier assignments: heal op invalid state"),
    (FIRST, vote(FIRST.address, 0), 11, "heal_op_id is required: heal op not found"),
    (FIRST, vote(FIRST.address, 2, hash_=""), 13, "verification_hash is required: heal op invalid state transition"),
    (FIRST, vote(FIRST.address, 9), 11, "heal op 9 not found: heal op not found"),
    (
        FIRST,
        vote(FIRST.address, 1),
        13,
        "heal op status HEAL_OP_STATUS_SCHEDULED does not accept verification: heal op invalid state transition",
    ),
    (HEALER, vote(HEALER.address, 2), 12, "creator is not assigned verifier for this heal op: heal op unauthorized"),
    (SECOND, vote(SECOND.address, 2), 15, "verification already submitted by creator: heal verification already"),
    (
        FIRST,
        vote(FIRST.address, 2, hash_=OTHER_HASH),
        17,
        f"positive attestation hash {OTHER_HASH.encode().hex()} mismatches heal-op result hash {HASH.encode().hex()}",
    ),
]


def chain_of_every_state():
    chain = chain_with_op()
    chain.set_op(op(2, HealOpStatus.HEALER_REPORTED, ticket=Ticket("42"), result_hash=HASH))
    chain.set_op(op(3, verifiers=()))
    chain._become(chain.state.with_vote(2, SECOND.address, verified=True))
    return chain


@pytest.mark.parametrize(("signer", "message", "code", "detail"), REFUSED_BY_HANDLER)
async def test_handlers_refuse_in_simulation_by_text_and_in_blocks_by_code(
    autojump_clock, signer, message, code, detail
):
    server = server_of(chain_of_every_state())
    one = draft(signer, message)
    text = f"failed to execute message; message index: 0: {detail}"
    async with connected(server) as channel:
        with pytest.raises(RpcRefused, match="UNKNOWN") as refused:
            await simulated(channel, evolve(one, gas=0, fee=1).raw(b""))
        assert (await broadcast(channel, one.raw())).code == 0
        server.blocks.make()
        found = await looked_up(channel, one.raw())
    assert refused.value.message.startswith(text)
    assert refused.value.message.startswith(f"{found.raw_log} [")
    assert refused.value.message.endswith("0'")
    assert (found.code, found.codespace, found.height) == (code, "audit", 2)
    assert found.raw_log.startswith(text)
    account = server.chain.at().account(signer.address)
    assert (account.sequence, account.balance) == (1, 10**9 - 5_000)


def test_no_byte_of_a_transaction_can_be_another(chain):
    for place in range(len(GOOD)):
        changed = bytearray(GOOD)
        changed[place] ^= 1 << place % 8
        try:
            tx = decode_tx(bytes(changed))
        except TxFailed:
            continue
        assert chain.submit(tx).code in (4, 5, 8, 9, 11, 13, 30, 32), place
    assert chain.submit(decode_tx(GOOD)).code == 0


@given(st.binary(max_size=100), st.integers(0, len(GOOD)), st.integers(0, 20))
def test_no_bytes_but_those_of_a_transaction_are_read(noise, place, gone):
    with suppress(TxFailed):
        assert decode_tx(GOOD[:place] + noise + GOOD[place + gone :]).encoded is not None
