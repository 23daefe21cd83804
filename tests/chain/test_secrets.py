"""The private key shows nowhere: no representation, no event, no exception tells it."""

import base64
import traceback

import pytest
import structlog
from grpclib.const import Status
from structlog.testing import capture_logs

from chain_wire import CHAIN_ID, KEY, SECRET, Node, Pool, a_chain, answer_to_broadcast, cut, in_turn, refused, simulated
from lep6.chain.client import LumeraChain
from lep6.chain.signing import Signer, Terms, for_simulation, signed
from lep6.errors import ChainUnavailable, InvalidKey, WrongChain
from lep6.keys import KeyKind, PrivateKey
from lep6.model import Ticket
from lep6.transaction import Claim, Pooled, Transaction

CLAIM = Claim(1, Ticket("42"), "aAKL")
FORMS = [
    SECRET.hex(),
    SECRET.hex().upper(),
    base64.b64encode(SECRET).decode(),
    repr(SECRET)[2:-1],
    str(int.from_bytes(SECRET, "big")),
    str(list(SECRET))[1:-1],
]
PARTS = [form[at : at + 16] for form in FORMS for at in (0, len(form) // 2)]


def shows(text):
    return any(part in text for part in PARTS)


def test_what_would_show_it_is_noticed():
    assert all(shows(f"key={form}") for form in FORMS)
    assert shows(repr(vars(type("Leak", (), {"secret": SECRET}))))


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, lambda value: f"{value!s:>10}"])
@pytest.mark.parametrize(
    "value",
    [KEY, PrivateKey(KeyKind.COSMOS, SECRET), Signer(KEY, CHAIN_ID, 12), [KEY], {"key": KEY}, (KEY, KEY.public)],
)
def test_no_representation_shows_it(value, show):
    assert not shows(show(value) if not isinstance(value, list | dict | tuple) else repr(value))


async def test_no_representation_of_what_uses_it_shows_it(autojump_clock):
    pool = Pool()
    async with a_chain(pool.node()) as chain:
        transaction = await chain.prepare(CLAIM, last_height=None)
        for value in (chain, chain.sender, chain.queries, chain.sender.nodes, transaction, LumeraChain):
            assert not shows(repr(value))
            assert not shows(str(value))


def test_transactions_do_not_carry_it():
    signer, terms = Signer(KEY, CHAIN_ID, 12), Terms(5, 180_000, 4_500, 120)
    assert SECRET not in signed(signer, CLAIM, terms)
    assert SECRET not in for_simulation(signer, CLAIM, terms)


def test_a_transaction_does_not_show_its_bytes():
    raw = signed(Signer(KEY, CHAIN_ID, 12), CLAIM, Terms(5, 180_000, 4_500, 120))
    text = repr(Transaction(CLAIM, "AB", 5, 120, raw))
    assert raw.hex() not in text
    assert repr(raw)[2:-1] not in text


def told_in_full(error):
    """An exception as the loudest of loggers shows it."""
    plain = "".join(traceback.format_exception(error))
    event = {"event": "failed", "exc_info": (type(error), error, error.__traceback__)}
    return (
        plain
        + repr(error)
        + structlog.processors.JSONRenderer()(None, "error", structlog.processors.format_exc_info(None, "error", event))
    )


@pytest.mark.parametrize("kind", KeyKind)
@pytest.mark.parametrize("secret", [SECRET + b"\1", SECRET[:-1], SECRET * 2, b"\xff" * 16 + SECRET[:16], b""])
def test_a_key_that_is_none_is_not_shown(secret, kind):
    if len(secret) == 32:
        secret = b"\xff" * 32  # beyond the order
    with pytest.raises(InvalidKey) as caught:
        PrivateKey(kind, secret)
    text = told_in_full(caught.value)
    assert not shows(text)
    assert "f" * 16 not in text.lower()


@pytest.mark.parametrize("size", [1, 31, 33, 64])
def test_neither_is_any_part_of_it(size):
    secret = bytes(range(0x41, 0x41 + size))
    with pytest.raises(InvalidKey) as caught:
        PrivateKey(KeyKind.ETHEREUM, secret)
    text = told_in_full(caught.value)
    if size > 4:
        assert secret[:8].decode() not in text
        assert secret[:8].hex() not in text


def loudly(logs):
    return repr(logs) + "".join(structlog.processors.KeyValueRenderer()(None, "", dict(log)) for log in logs)


async def test_no_event_of_a_bad_day_shows_it(autojump_clock):
    pool = Pool()
    one, two = pool.node("one"), pool.node("two", network="lumera-mainnet-1")
    one.answers["AccountInfo"] = in_turn(refused(Status.NOT_FOUND, "account x not found"), pool.account_info)
    one.answers["Simulate"] = in_turn(
        refused(Status.UNAVAILABLE),
        simulated("something new"),
        simulated("out of gas"),
        simulated("incorrect account sequence"),
        pool.simulate,
    )
    one.answers["BroadcastTx"] = in_turn(
        answer_to_broadcast(4, "sdk", "unauthorized"), cut, refused(Status.INTERNAL), pool.broadcast
    )
    one.answers["GetTx"] = refused(Status.INTERNAL, "transaction indexing is disabled")
    ended = []
    with capture_logs() as logs:
        async with a_chain(one, two) as chain:
            while Pooled() not in ended:
                prepared = await chain.prepare(CLAIM, last_height=None)
                answer = await chain.broadcast(prepared) if isinstance(prepared, Transaction) else prepared
                ended.append(answer)
                assert not shows(repr(prepared))
            await chain.lookup("AB" * 32)
    assert len(ended) > 5
    assert {log["event"] for log in logs} >= {
        "account_unknown",
        "chain_node_left",
        "simulation_failed",
        "transaction_not_prepared",
        "transaction_refused",
        "transactions_not_indexed",
    }
    assert not shows(loudly(logs))


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (Node(fault=OSError("refused")), ChainUnavailable),
        (Node(network="lumera-mainnet-1"), WrongChain),
        (Node(answers={"AccountInfo": refused(Status.INTERNAL)}), ChainUnavailable),
    ],
)
async def test_no_exception_shows_it(node, error, autojump_clock):
    async with a_chain(node) as chain:
        with pytest.raises(error) as caught:
            await chain.queries.account_info(KEY.public.address)
    assert not shows(told_in_full(caught.value))


async def test_an_error_of_the_core_while_signing_does_not_show_it(monkeypatch, autojump_clock):
    pool = Pool()

    def fail(*_):
        raise RuntimeError("the core is ill")

    async with a_chain(pool.node()) as chain:
        monkeypatch.setattr("lep6.keys.account._core.secp256k1_sign", fail)
        with pytest.raises(RuntimeError, match="ill") as caught:
            await chain.prepare(CLAIM, last_height=None)
        monkeypatch.undo()
        assert not shows(told_in_full(caught.value))
        assert isinstance(await chain.prepare(CLAIM, last_height=None), Transaction)
