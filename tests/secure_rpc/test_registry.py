"""Whom the chain knows: asked once at a time, remembered for an hour, and never guessed."""

import pytest
import trio
import trio.testing

from lep6.errors import HandshakeFailed, HandshakeFailure
from lep6.secure_rpc import PeerRegistry, PeerType
from secure_rpc.parties import HEALER, UNKNOWN, VERIFIER, Chain, refused

HOUR = 3600
SUPERNODE, SIMPLENODE = PeerType.SUPERNODE, PeerType.SIMPLENODE
ACCOUNT = VERIFIER.account


async def test_a_positive_answer_holds_for_an_hour(autojump_clock):
    chain = Chain()
    registry = PeerRegistry(chain)
    for _ in range(3):
        await registry.check(ACCOUNT, SUPERNODE)
    await trio.sleep(HOUR - 1)
    await registry.check(ACCOUNT, SUPERNODE)
    assert chain.asked == [ACCOUNT]
    await trio.sleep(1)
    await registry.check(ACCOUNT, SUPERNODE)
    assert chain.asked == [ACCOUNT] * 2


async def test_who_was_deregistered_is_refused_after_the_hour(autojump_clock):
    chain = Chain()
    registry = PeerRegistry(chain)
    await registry.check(ACCOUNT, SUPERNODE)
    del chain.supernodes[ACCOUNT]
    await registry.check(ACCOUNT, SUPERNODE)
    await trio.sleep(HOUR)
    with refused(HandshakeFailure.UNREGISTERED):
        await registry.check(ACCOUNT, SUPERNODE)


async def test_a_negative_answer_is_not_kept(autojump_clock):
    chain = Chain()
    registry = PeerRegistry(chain)
    for _ in range(2):
        with refused(HandshakeFailure.UNREGISTERED):
            await registry.check(UNKNOWN.account, SUPERNODE)
    chain.supernodes[UNKNOWN.account] = "127.0.0.1"
    await registry.check(UNKNOWN.account, SUPERNODE)
    assert len(chain.asked) == 3


async def test_a_chain_that_is_away_is_no_answer_and_not_kept(autojump_clock):
    chain = Chain(is_away=True)
    registry = PeerRegistry(chain)
    with refused(HandshakeFailure.UNCHECKED):
        await registry.check(ACCOUNT, SUPERNODE)
    chain.is_away = False
    await registry.check(ACCOUNT, SUPERNODE)


async def test_who_is_remembered_is_known_while_the_chain_is_away(autojump_clock):
    chain = Chain()
    registry = PeerRegistry(chain)
    await registry.check(ACCOUNT, SUPERNODE)
    chain.is_away = True
    await registry.check(ACCOUNT, SUPERNODE)
    with refused(HandshakeFailure.UNCHECKED):
        await registry.check(HEALER.account, SUPERNODE)


async def test_a_chain_has_five_seconds(autojump_clock):
    chain = Chain(answers_after=5.1)
    registry = PeerRegistry(chain)
    with refused(HandshakeFailure.UNCHECKED):
        await registry.check(ACCOUNT, SUPERNODE)
    chain.answers_after = 4.9
    before = trio.current_time()
    await registry.check(ACCOUNT, SUPERNODE)
    assert trio.current_time() - before == pytest.approx(4.9)


async def test_a_query_that_hangs_is_given_up_after_five_seconds(autojump_clock):
    registry = PeerRegistry(Chain(answers_after=1e6))
    before = trio.current_time()
    with refused(HandshakeFailure.UNCHECKED):
        await registry.check(ACCOUNT, SUPERNODE)
    assert trio.current_time() - before == pytest.approx(5)


async def test_as_what_an_account_presents_itself_is_what_is_asked(autojump_clock):
    chain = Chain(accounts={UNKNOWN.account})
    registry = PeerRegistry(chain)
    await registry.check(UNKNOWN.account, SIMPLENODE)
    with refused(HandshakeFailure.UNREGISTERED):
        await registry.check(UNKNOWN.account, SUPERNODE)
    with refused(HandshakeFailure.UNREGISTERED):
        await PeerRegistry(Chain()).check(UNKNOWN.account, SIMPLENODE)


async def test_what_is_remembered_of_an_account_is_bounded_and_the_oldest_goes(autojump_clock):
    accounts = [f"account {number}" for number in range(4)]
    chain = Chain(dict.fromkeys(accounts, "127.0.0.1"))
    registry = PeerRegistry(chain, remembered=3)
    for account in accounts:
        await registry.check(account, SUPERNODE)
    chain.asked.clear()
    for account in accounts[1:]:
        await registry.check(account, SUPERNODE)
    assert chain.asked == []
    await registry.check(accounts[0], SUPERNODE)
    assert chain.asked == accounts[:1]
    assert len(registry._known) == 3


async def test_many_who_ask_the_same_at_once_make_one_query(autojump_clock):
    chain = Chain(answers_after=1)
    registry = PeerRegistry(chain)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(registry.check, ACCOUNT, SUPERNODE)
            nursery.start_soon(registry.check, HEALER.account, SUPERNODE)
    assert sorted(chain.asked) == sorted([ACCOUNT, HEALER.account])


@pytest.mark.parametrize(
    ("account", "is_away", "why"),
    [
        (UNKNOWN.account, False, HandshakeFailure.UNREGISTERED),
        (ACCOUNT, True, HandshakeFailure.UNCHECKED),
    ],
)
async def test_many_who_ask_the_same_at_once_fail_alike(autojump_clock, account, is_away, why):
    chain = Chain(answers_after=1, is_away=is_away)
    registry = PeerRegistry(chain)
    failures = []

    async def ask():
        try:
            await registry.check(account, SUPERNODE)
        except HandshakeFailed as error:
            failures.append(error.why)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
    assert failures == [why] * 20
    assert chain.asked == [account]
    assert not registry._questions._asking


async def test_who_asked_may_give_up_and_the_others_still_have_their_answer(autojump_clock):
    chain = Chain(answers_after=2)
    registry = PeerRegistry(chain)
    before = trio.current_time()
    known = []

    async def ask():
        await registry.check(ACCOUNT, SUPERNODE)
        known.append(trio.current_time() - before)

    async with trio.open_nursery() as nursery:
        impatient = trio.CancelScope(deadline=before + 1)

        async def give_up():
            with impatient:
                await registry.check(ACCOUNT, SUPERNODE)

        nursery.start_soon(give_up)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            nursery.start_soon(ask)
    assert impatient.cancelled_caught
    assert known == [pytest.approx(3)] * 5
    assert chain.asked == [ACCOUNT] * 2
    assert not registry._questions._asking


async def test_a_bug_in_a_query_is_no_answer_for_those_who_wait(autojump_clock):
    chain = Chain(answers_after=1)
    registry = PeerRegistry(chain)
    honest, chain.supernodes = chain.supernodes, None
    known = []

    async def fail():
        with pytest.raises(AttributeError):
            await registry.check(ACCOUNT, SUPERNODE)
        chain.supernodes = honest

    async def ask():
        await registry.check(ACCOUNT, SUPERNODE)
        known.append(ACCOUNT)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fail)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask)
    assert known == [ACCOUNT]
    assert chain.asked == [ACCOUNT] * 2


async def test_what_a_dialer_found_out_need_not_be_asked_again(autojump_clock):
    chain = Chain()
    registry = PeerRegistry(chain)
    registry.remember(ACCOUNT, SUPERNODE)
    await registry.check(ACCOUNT, SUPERNODE)
    assert chain.asked == []
