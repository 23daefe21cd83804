import json
import random
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from hashlib import sha256

import apsw
import blake3
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from lep6.devnet.network import EmbeddedNetwork, node_account
from lep6.devnet.store import Behaviour
from lep6.errors import StoreDamaged
from lep6.keys import KeyKind, PrivateKey
from lep6.model import key_of
from lep6.ports import Placement
from networks import Collector
from world import BLOCKING, noise


@asynccontextmanager
async def a_network(directory, *, nodes=5, replicas=2, seed=0, **options):
    async with EmbeddedNetwork.open(
        directory, blocking=BLOCKING, random=random.Random(seed), nodes=nodes, replicas=replicas, **options
    ) as network:
        yield network


def values(count, seed=0, size=100):
    return {key_of(value): value for value in (noise(size, f"{seed} {number}") for number in range(count))}


def distance(account, key):
    position = blake3.blake3(account.encode()).digest()
    return int.from_bytes(position, "big") ^ int.from_bytes(key, "big")


def closest(network, key):
    """The accounts of all nodes by their distance to a key."""
    return sorted((node.account for node in network.nodes), key=lambda account: distance(account, key))


async def holding(network, key):
    return {node.account for node in network.nodes if key in await node.keys()}


async def ask(network, keys, need=None):
    sink = Collector()
    retrieval = await network.retrieve(list(keys), need=len(keys) if need is None else need, sink=sink)
    assert retrieval.found == sink.values.keys()
    return retrieval, sink


# Placement.


def test_the_account_of_a_node_is_that_of_a_key_which_anyone_can_compute():
    secret = sha256(b"lep6 devnet node 3").digest()
    assert node_account(3) == PrivateKey(KeyKind.ETHEREUM, secret).public.address
    assert node_account(3).startswith("lumera1")


@pytest.mark.parametrize(("nodes", "replicas"), [(3, 1), (5, 2), (9, 6)])
async def test_a_value_is_placed_on_the_nodes_closest_to_its_key(tmp_path, nodes, replicas):
    async with a_network(tmp_path, nodes=nodes, replicas=replicas) as network:
        items = values(40)
        placements = await network.store(list(items.items()))
        assert list(placements) == [Placement(key, replicas, replicas) for key in items]
        for key in items:
            assert await holding(network, key) == set(closest(network, key)[:replicas])


async def test_a_node_that_is_down_is_passed_over_for_the_next_closest(tmp_path):
    async with a_network(tmp_path) as network:
        down = network.nodes[2]
        await down.behave(Behaviour(down=True))
        items = values(40)
        assert all(placement.is_placed for placement in await network.store(list(items.items())))
        for key in items:
            up = [account for account in closest(network, key) if account != down.account]
            assert await holding(network, key) == set(up[:2])
        retrieval, sink = await ask(network, items)
        assert sink.values == items
        assert not retrieval.missing | retrieval.unreachable


async def test_a_value_on_fewer_nodes_than_it_should_be_is_not_placed(tmp_path):
    async with a_network(tmp_path, nodes=3, replicas=2) as network:
        for node in network.nodes[1:]:
            await node.behave(Behaviour(down=True))
        (placement,) = await network.store(list(values(1).items()))
        assert (placement.copies, placement.wanted, placement.is_placed) == (1, 2, False)
        await network.nodes[0].behave(Behaviour(down=True))
        (placement,) = await network.store(list(values(1).items()))
        assert placement.copies == 0


async def test_storing_again_changes_nothing(tmp_path):
    async with a_network(tmp_path) as network:
        items = values(10)
        for _ in range(2):
            assert all(placement.copies == 2 for placement in await network.store(list(items.items())))
        assert set((await network.holders(items)).values()) == {2}


async def test_values_that_were_placed_while_a_node_was_down_are_found_when_it_is_back(tmp_path):
    async with a_network(tmp_path, nodes=4, replicas=1) as network:
        items = values(40)
        await network.nodes[0].behave(Behaviour(down=True))
        await network.store(list(items.items()))
        await network.nodes[0].behave(Behaviour())
        _, sink = await ask(network, items)
        assert sink.values == items


# What a retrieval tells.


async def test_what_nobody_holds_is_missing(tmp_path):
    async with a_network(tmp_path) as network:
        items = values(6)
        lost, *held = items
        await network.store([(key, items[key]) for key in held])
        retrieval, _ = await ask(network, items)
        assert (retrieval.missing, retrieval.unreachable, retrieval.false) == ({lost}, set(), set())


async def test_what_a_silent_node_may_hold_is_missing_and_unreachable(tmp_path):
    async with a_network(tmp_path, nodes=3, replicas=1) as network:
        items = values(30)
        await network.store(list(items.items()))
        silent = network.nodes[1]
        await silent.behave(Behaviour(down=True))
        retrieval, _ = await ask(network, items)
        assert retrieval.missing == retrieval.unreachable == await silent.keys()
        assert retrieval.missing


async def test_a_value_that_the_sink_refuses_is_asked_for_at_the_next_node(tmp_path):
    async with a_network(tmp_path) as network:
        items = values(40)
        await network.store(list(items.items()))
        liar = network.nodes[0]
        await liar.behave(Behaviour(lying=1.0))
        retrieval, sink = await ask(network, items)
        asked_first = {key for key in items if closest(network, key)[0] == liar.account}
        assert asked_first
        assert retrieval.false == set(sink.refused) == asked_first
        assert sink.values == items
        assert not retrieval.missing


async def test_a_value_that_is_false_everywhere_is_missing(tmp_path):
    async with a_network(tmp_path) as network:
        items = values(1)
        await network.store(list(items.items()))
        for node in network.nodes:
            await node.behave(Behaviour(lying=1.0))
        retrieval, sink = await ask(network, items)
        assert retrieval.missing == retrieval.false == set(items)
        assert len(sink.refused) == 2


@given(
    held=st.lists(st.booleans(), min_size=1, max_size=12),
    need=st.integers(0, 14),
    lying=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_a_sink_never_accepts_more_than_is_needed(tmp_path_factory, held, need, lying):
    async def run():
        async with a_network(tmp_path_factory.mktemp("network"), nodes=2, replicas=2) as network:
            items = values(len(held))
            await network.store([item for item, is_held in zip(items.items(), held, strict=True) if is_held])
            await network.nodes[0].behave(Behaviour(lying=lying))
            retrieval, sink = await ask(network, items, need)
            # A liar is never the only one of two holders.
            assert sink.accepted == len(retrieval.found) == min(need, sum(held))
            assert not retrieval.found & retrieval.missing

    trio.run(run)


async def test_keys_are_asked_for_in_the_order_given_and_no_further_than_needed(tmp_path):
    async with a_network(tmp_path) as network:
        items = values(900)
        await network.store(list(items.items()))
        order = random.Random(5).sample(list(items), 900)
        await network.delete(order[:7])
        retrieval, sink = await ask(network, order, need=600)
        assert sink.accepted == 600
        assert retrieval.missing == set(order[:7])
        assert retrieval.found == set(order[7:607])


# Time.


async def test_a_node_that_takes_too_long_to_take_a_value_is_passed_over(tmp_path, autojump_clock):
    async with a_network(tmp_path) as network:
        slow = network.nodes[1]
        await slow.behave(Behaviour(delay=10.5))
        items = values(40)
        placements = await network.store(list(items.items()))
        assert trio.current_time() == pytest.approx(10.0)
        assert all(placement.is_placed for placement in placements)
        assert await slow.keys() == set()
        assert set((await network.holders(items)).values()) == {2}


async def test_a_node_that_takes_too_long_to_answer_counts_as_silent(tmp_path, autojump_clock):
    async with a_network(tmp_path, nodes=3, replicas=1) as network:
        items = values(30)
        await network.store(list(items.items()))
        slow = network.nodes[1]
        await slow.behave(Behaviour(delay=10.5))
        retrieval, _ = await ask(network, items)
        assert retrieval.unreachable == await slow.keys()
        await slow.behave(Behaviour(delay=9.5))
        begun = trio.current_time()
        retrieval, sink = await ask(network, items)
        assert sink.values == items
        assert trio.current_time() - begun == pytest.approx(9.5)


async def test_nodes_are_asked_at_the_same_time(tmp_path, autojump_clock):
    async with a_network(tmp_path, nodes=9, replicas=9) as network:
        for node in network.nodes:
            await node.behave(Behaviour(delay=5.0))
        items = values(100)
        await network.store(list(items.items()))
        await ask(network, items)
        assert trio.current_time() == pytest.approx(10.0)


# Bad behaviour, to order.


async def test_a_lossy_node_acknowledges_what_it_does_not_keep(tmp_path):
    async with a_network(tmp_path, nodes=2, replicas=2) as network:
        items = values(20)
        await network.nodes[0].behave(Behaviour(lossy=1.0))
        assert all(placement.is_placed for placement in await network.store(list(items.items())))
        assert set((await network.holders(items)).values()) == {1}


async def test_a_lossy_node_does_not_give_what_it_holds(tmp_path):
    async with a_network(tmp_path, nodes=1, replicas=1) as network:
        items = values(20)
        await network.store(list(items.items()))
        await network.nodes[0].behave(Behaviour(lossy=1.0))
        retrieval, _ = await ask(network, items)
        assert retrieval.missing == set(items)
        assert not retrieval.unreachable


async def test_a_share_of_the_values_is_false_or_lost(tmp_path):
    async with a_network(tmp_path, nodes=1, replicas=1) as network:
        items = values(400)
        await network.store(list(items.items()))
        await network.nodes[0].behave(Behaviour(lying=0.25))
        retrieval, _ = await ask(network, items)
        assert 60 < len(retrieval.false) < 140
        await network.nodes[0].behave(Behaviour(lossy=0.25))
        retrieval, _ = await ask(network, items)
        assert 60 < len(retrieval.missing) < 140
        more = values(400, seed="more")
        await network.store(list(more.items()))
        assert 260 < sum((await network.holders(more)).values()) < 340


async def test_a_lie_is_one_bit_of_the_value_that_is_held(tmp_path):
    async with a_network(tmp_path, nodes=1, replicas=1) as network:
        ((key, value),) = values(1).items()
        await network.store([(key, value)])
        await network.nodes[0].behave(Behaviour(lying=1.0))
        lie = (await network.ask(network.nodes[0], [key]))[key]
        assert (int.from_bytes(lie, "big") ^ int.from_bytes(value, "big")).bit_count() == 1
        assert (await network.nodes[0].get([key]))[key] == value


# One's own store.


async def test_ones_own_store_is_no_part_of_the_network(tmp_path):
    async with a_network(tmp_path) as network:
        items = values(60)
        await network.store(list(items.items()))
        own = network.nodes[3]
        seen = network.seen_from(own.account)
        for key in items:
            await own.put([(key, items[key])])
            others = [account for account in closest(network, key) if account != own.account]
            assert [node.account for node in seen.by_distance(key)] == others
        await network.delete(items)
        await own.put(list(items.items()))
        retrieval, _ = await ask(seen, items)
        assert retrieval.missing == set(items)
        await own.clear()
        assert all(placement.is_placed for placement in await seen.store(list(items.items())))
        assert not await own.keys()


async def test_a_network_can_be_opened_as_one_of_its_nodes(tmp_path):
    async with a_network(tmp_path, self_account=node_account(2)) as network:
        assert node_account(2) not in {node.account for node in network.by_distance(bytes(32))}


# The directory.


async def test_a_network_keeps_the_numbers_it_was_made_with(tmp_path):
    async with a_network(tmp_path, nodes=3, replicas=1) as network:
        accounts = [node.account for node in network.nodes]
    async with a_network(tmp_path, nodes=9, replicas=4) as network:
        assert ([node.account for node in network.nodes], network.replicas) == (accounts, 1)


async def test_values_outlive_the_process_that_stored_them(tmp_path):
    items = values(20)
    async with a_network(tmp_path) as network:
        await network.store(list(items.items()))
    async with a_network(tmp_path) as network:
        _, sink = await ask(network, items)
        assert sink.values == items


@pytest.mark.parametrize("text", ["{}", '{"nodes": "many", "replicas": 1}', "[]"])
async def test_damaged_settings_are_told(tmp_path, text):
    (tmp_path / "network.json").write_text(text)
    with pytest.raises(StoreDamaged, match="settings"):
        async with a_network(tmp_path):
            pass


def overwrite(path, begin):
    """Damage a database as a failing disk does, while a process has it open."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.pragma("wal_checkpoint", "truncate")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(b"\xa5" * (size - begin))


@pytest.mark.parametrize("begin", [0, 4096], ids=["from its header on", "behind its first page"])
async def test_a_node_whose_database_is_damaged_meanwhile_counts_as_silent(tmp_path, begin):
    async with a_network(tmp_path, nodes=3, replicas=1) as network:
        items = values(200, size=65_000)  # more than SQLite keeps in memory
        await network.store(list(items.items()))
        sick = network.nodes[1]
        held = await sick.keys()
        overwrite(tmp_path / "nodes" / "1" / "network.db", begin)
        retrieval, sink = await ask(network, items)
        assert sink.values.keys() == items.keys() - held
        assert retrieval.unreachable == retrieval.missing == held
        again = await network.store([(key, items[key]) for key in held])
        assert all(placement.is_placed for placement in again)
        retrieval, _ = await ask(network, items)
        assert retrieval.found == items.keys()


# Several processes.

CHILD = """
import json, random, sys
from pathlib import Path
import trio
from lep6.blocking import Inline
from lep6.devnet.network import EmbeddedNetwork
from lep6.devnet.store import Behaviour

async def main(directory):
    async with EmbeddedNetwork.open(Path(directory), blocking=Inline(), random=random.Random(1)) as network:
        print("open", flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            items = [(bytes.fromhex(key), bytes.fromhex(value)) for key, value in command.get("store", {}).items()]
            for item in items:
                await network.store([item])
            if "behave" in command:
                await network.nodes[command["node"]].behave(Behaviour(**command["behave"]))
            behaviours = [vars_of(await node.behaviour()) for node in network.nodes]
            held = [sorted(key.hex() for key in await node.keys()) for node in network.nodes]
            print(json.dumps({"behaviours": behaviours, "held": held}), flush=True)

def vars_of(behaviour):
    return {name: getattr(behaviour, name) for name in ("down", "delay", "lying", "lossy")}

trio.run(main, sys.argv[1])
"""


class Child:
    """Another process that has a network open."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout.readline() == "open\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate(timeout=30)
        assert self.process.returncode == 0

    def begin(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def end(self):
        return json.loads(self.process.stdout.readline())

    def tell(self, **command):
        self.begin(**command)
        return self.end()


def in_hex(items):
    return {key.hex(): value.hex() for key, value in items.items()}


async def test_behaviour_and_values_are_seen_by_another_process_at_once(tmp_path):
    async with a_network(tmp_path) as network:
        with Child(tmp_path) as child:
            ours, theirs = values(20, seed="ours"), values(20, seed="theirs")
            await network.store(list(ours.items()))
            await network.nodes[4].behave(Behaviour(delay=0.5, lying=0.25, lossy=0.125))
            seen = child.tell()
            assert seen["behaviours"][4] == {"down": False, "delay": 0.5, "lying": 0.25, "lossy": 0.125}
            assert seen["held"] == [sorted(key.hex() for key in await node.keys()) for node in network.nodes]
            await network.nodes[4].behave(Behaviour())
            child.tell(node=1, behave={"down": True}, store=in_hex(theirs))
            assert await network.nodes[1].behaviour() == Behaviour(down=True)
            _, sink = await ask(network, theirs)
            assert sink.values == theirs


async def test_what_two_processes_store_at_once_is_all_there(tmp_path):
    async with a_network(tmp_path, nodes=3, replicas=2) as network:
        with Child(tmp_path) as child:
            ours, theirs, both = (values(150, seed=name) for name in ("ours", "theirs", "both"))
            child.begin(store=in_hex({**theirs, **both}))
            for item in {**both, **ours}.items():
                (placement,) = await network.store([item])
                assert placement.is_placed
            child.end()
            everything = {**ours, **theirs, **both}
            assert set((await network.holders(everything)).values()) == {2}
            _, sink = await ask(network, everything)
            assert sink.values == everything


async def test_a_network_with_one_damaged_node_opens(tmp_path):
    async with EmbeddedNetwork.open(tmp_path, blocking=BLOCKING, random=random.Random(0)):
        pass
    (tmp_path / "nodes/1/network.db").write_bytes(b"\xa5" * 8192)
    async with EmbeddedNetwork.open(tmp_path, blocking=BLOCKING, random=random.Random(0)) as network:
        await network.store([(key_of(b"x"), b"x")])


CREATING_CHILD = """
import random, sys, trio
from pathlib import Path
from lep6.blocking import Inline
from lep6.devnet.network import EmbeddedNetwork

async def main():
    async with EmbeddedNetwork.open(Path(sys.argv[1]), blocking=Inline(), random=random.Random(0)):
        pass

print("ready", flush=True)
sys.stdin.readline()
trio.run(main)
"""


def test_several_processes_may_make_one_network_at_once(tmp_path):
    complaints = []
    for attempt in range(4):
        command = [sys.executable, "-c", CREATING_CHILD, str(tmp_path / str(attempt))]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children = [subprocess.Popen(command, **pipes) for _ in range(4)]
        for child in children:
            child.stdout.readline()
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        complaints += [error.splitlines()[-1] for child in children if (error := child.communicate()[1])]
    assert complaints == []
