"""Places for connections: an address that takes too many takes them from itself."""

import random
from contextlib import ExitStack

import pytest
import trio
import trio.testing

from lep6.errors import HandshakeFailure
from lep6.secure_rpc import SeenKeys
from lep6.secure_rpc.places import Lobby, Places, source_of
from secure_rpc.parties import refused


class Guest:
    """One who waits in a lobby until sent away or told to go."""

    def __init__(self, lobby, source):
        self.lobby, self.source = lobby, source
        self.was_sent_away = False
        self.scope = trio.CancelScope()

    async def wait(self):
        with self.scope, self.lobby.waiting(self.source) as place:
            await trio.sleep_forever()
        self.was_sent_away = place.cancelled_caught


async def come(nursery, lobby, source):
    guest = Guest(lobby, source)
    nursery.start_soon(guest.wait)
    await trio.testing.wait_all_tasks_blocked()
    return guest


async def gather(nursery, lobby, sources):
    return [await come(nursery, lobby, source) for source in sources]


async def test_an_address_that_has_its_share_loses_its_oldest():
    lobby = Lobby(in_all=10, from_one=2)
    async with trio.open_nursery() as nursery:
        guests = await gather(nursery, lobby, "aabaca")
        assert [guest.was_sent_away for guest in guests] == [True, True, False, False, False, False]
        nursery.cancel_scope.cancel()
    assert not lobby._waiting


async def test_a_full_lobby_loses_the_oldest_of_the_address_that_has_most():
    lobby = Lobby(in_all=5, from_one=4)
    async with trio.open_nursery() as nursery:
        guests = await gather(nursery, lobby, "abbbc")
        assert not any(guest.was_sent_away for guest in guests)
        late = await come(nursery, lobby, "d")
        assert [guest.was_sent_away for guest in guests] == [False, True, False, False, False]
        assert not late.was_sent_away
        nursery.cancel_scope.cancel()
    assert not lobby._waiting


async def test_who_keeps_silent_on_many_connections_pushes_out_nobody_else():
    lobby = Lobby(in_all=64, from_one=16)
    async with trio.open_nursery() as nursery:
        honest = await gather(nursery, lobby, [f"honest {number}" for number in range(32)])
        silent = await gather(nursery, lobby, ["loud"] * 200)
        more = await gather(nursery, lobby, [f"late {number}" for number in range(16)])
        assert not any(guest.was_sent_away for guest in honest + more)
        assert sum(guest.was_sent_away for guest in silent) >= 184
        nursery.cancel_scope.cancel()
    assert not lobby._waiting


async def test_a_lobby_holds_no_more_than_it_has_room_for_and_forgets_who_has_gone():
    lobby, chance = Lobby(in_all=7, from_one=3), random.Random(2)
    async with trio.open_nursery() as nursery:
        guests = []
        for _ in range(150):
            if guests and chance.random() < 0.3:
                chance.choice(guests).scope.cancel()
            else:
                guests.append(await come(nursery, lobby, chance.choice("abcdef")))
            await trio.testing.wait_all_tasks_blocked()
            held = {source: len(waiting) for source, waiting in lobby._waiting.items()}
            assert sum(held.values()) <= 7
            assert all(1 <= count <= 3 for count in held.values())
        for guest in guests:
            guest.scope.cancel()
    assert not lobby._waiting


async def test_who_leaves_on_an_error_leaves_nothing_behind():
    lobby, places = Lobby(in_all=1, from_one=1), Places(in_all=1, from_one=1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), lobby.waiting("a"), places.taken("a"):
            raise ZeroDivisionError
    assert not lobby._waiting
    assert not places._taken


def test_places_are_bounded_for_one_and_for_all():
    places = Places(in_all=3, from_one=2)
    with ExitStack() as stack:
        for source in "aab":
            stack.enter_context(places.taken(source))
        with refused(HandshakeFailure.CROWDED), places.taken("c"):
            pass
    with ExitStack() as stack:
        stack.enter_context(places.taken("a"))
        stack.enter_context(places.taken("a"))
        with refused(HandshakeFailure.CROWDED), places.taken("a"):
            pass
        stack.enter_context(places.taken("b"))
    assert not places._taken


async def test_a_place_is_waited_for_and_given_when_one_is_left():
    places = Places(in_all=2, from_one=1)
    got = []

    async def take(source):
        await places.take(source)
        with places.kept(source):
            got.append(source)

    async with trio.open_nursery() as nursery:
        await places.take("a")
        with places.kept("a"):
            nursery.start_soon(take, "a")
            await trio.testing.wait_all_tasks_blocked()
            assert got == [], "one address has one place"
            nursery.start_soon(take, "b")
            await trio.testing.wait_all_tasks_blocked()
            assert got == ["b"]
        await trio.testing.wait_all_tasks_blocked()
    assert got == ["b", "a"]
    assert not places._taken


async def test_who_gives_up_waiting_has_taken_nothing():
    places = Places(in_all=1, from_one=1)
    await places.take("a")
    with places.kept("a"):
        with trio.move_on_after(0.01) as scope:
            await places.take("b")
        assert scope.cancelled_caught
        assert places._taken == {"a": 1}
    await places.take("b")
    with places.kept("b"):
        pass
    assert not places._taken


async def test_many_who_wait_are_never_more_than_there_is_room_for():
    places, chance = Places(in_all=4, from_one=2), random.Random(3)
    most, inside = 0, 0

    async def visit(source):
        nonlocal most, inside
        await places.take(source)
        with places.kept(source):
            inside += 1
            most = max(most, inside)
            for _ in range(chance.randrange(5)):
                await trio.lowlevel.checkpoint()
            inside -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(visit, chance.choice("abc"))
    assert most == 4
    assert not places._taken


class Socketlike:
    """The address of a peer, where there is none at hand."""

    def __init__(self, name):
        self.name = name

    def getpeername(self):
        if isinstance(self.name, OSError):
            raise self.name
        return self.name


@pytest.mark.parametrize(
    ("name", "source"),
    [
        (("10.1.2.3", 5), "10.1.2.3"),
        (("::ffff:10.1.2.3", 5, 0, 0), "10.1.2.3"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        (OSError("not connected"), ""),
        ("", ""),
        (("a name", 5), ""),
    ],
)
def test_a_source_is_an_address_or_the_network_of_a_site(name, source):
    stream = trio.SocketStream.__new__(trio.SocketStream)
    stream.socket = Socketlike(name)
    assert source_of(stream) == source


async def test_a_stream_in_memory_comes_from_this_machine():
    assert source_of(trio.testing.memory_stream_pair()[0]) == ""


def test_a_key_is_new_once():
    seen = SeenKeys()
    assert seen.add(b"one")
    assert seen.add(b"two")
    assert not seen.add(b"one")


def test_seen_keys_are_bounded_and_the_oldest_goes():
    seen = SeenKeys(most=3)
    assert all(seen.add(bytes([number])) for number in range(4))
    assert len(seen._keys) == 3
    assert not any(seen.add(bytes([number])) for number in range(1, 4))
    assert seen.add(b"\0")
