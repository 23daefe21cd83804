"""Blocks come by the clock, or when they are asked for, and are dated."""

import trio

from chainserver import chain_with_op, server_of


async def test_blocks_come_by_the_clock(autojump_clock):
    server = server_of(chain_with_op(), block_seconds=6)
    async with server.running():
        await trio.sleep(5.9)
        assert server.chain.height == 1
        await trio.sleep(0.2)
        assert server.chain.height == 2
        await trio.sleep(60)
        assert server.chain.height == 12


async def test_a_paused_clock_makes_none_until_it_goes_on(autojump_clock):
    server = server_of(chain_with_op(), block_seconds=6)
    async with server.running():
        server.blocks.pause()
        await trio.sleep(100)
        assert server.chain.height == 1
        assert server.blocks.make(3) == 4
        server.blocks.resume(2)
        await trio.sleep(2.1)
        assert server.chain.height == 5
        server.blocks.resume()
        await trio.sleep(2.1)
        assert server.chain.height == 6


async def test_each_block_is_later_than_the_one_before(autojump_clock):
    chain = chain_with_op()
    server = server_of(chain)
    times = [chain.state.time]
    for _ in range(3):
        server.blocks.make()
        times.append(chain.state.time)
    assert times == sorted(set(times))
    await trio.sleep(1000)
    server.blocks.make()
    assert chain.state.time - 1_700_000_000 >= 1000


async def test_whoever_waits_for_a_condition_looks_after_each_block(autojump_clock):
    server = server_of(chain_with_op(), block_seconds=6)

    async def high():
        return server.chain.height >= 5

    async with server.running():
        with trio.fail_after(100):
            await server.blocks.until(high)
    assert server.chain.height == 5
