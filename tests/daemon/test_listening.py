"""Listening at a port of the configuration."""

import errno
import socket

import pytest
import trio

from lep6.daemon.listening import listen
from lep6.errors import AlreadyRunning

KEY = "lep6.metrics_listen"


async def test_a_port_that_is_free_is_listened_at():
    (listener,) = await listen("127.0.0.1", 0, what=KEY)
    async with listener:
        await (await trio.open_tcp_stream(*listener.socket.getsockname())).aclose()


async def test_a_port_that_is_taken_is_named_with_its_key():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AlreadyRunning) as raised:
            await listen("127.0.0.1", port, what=KEY, hint="Look for it.")
    assert f"port {port} of 127.0.0.1 ({KEY}) is taken" in str(raised.value)
    assert str(raised.value).endswith(". Look for it.")


async def test_what_the_system_refuses_besides_comes_out_as_itself():
    with pytest.raises(OSError) as raised:
        await listen("192.0.2.1", 0, what=KEY)  # an address of nobody's
    assert raised.value.errno == errno.EADDRNOTAVAIL
