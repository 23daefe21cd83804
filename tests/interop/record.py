"""Records whole exchanges with the Go program, for tests/secure_rpc/test_recorded.py.

To make the recording anew: `cd tests && ../.venv/bin/python -m interop.record`. All keys are given, so that it comes
out the same as long as neither side says anything else.
"""

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from interop.go_program import GREETING, PATIENCE, Party, Program, build, find_go, go_pattern
from interop.meetings import HOST, Tap, exactly
from lep6.beside import beside
from lep6.secure_rpc import AltsStream, SeenKeys
from lep6.secure_rpc.handshake import Handshake

RECORDED: Final = Path(__file__).parents[1] / "vectors" / "secure_rpc_recorded.json"
SHORT: Final = 100
LONG: Final = 4100
"""Bytes of a text that takes two records."""

Exchange = dict[str, Any]


async def record(program: Program) -> str:
    """All exchanges, as they stand in the file."""
    exchanges = {
        "go_dials_eth_to_cosmos": await _go_dials(
            program, LONG, ours=Party("secp256k1", 0x11, 0x13), theirs=Party("eth_secp256k1", 0x12, 0x14)
        ),
        "go_dials_cosmos_to_eth": await _go_dials(
            program, SHORT, ours=Party("eth_secp256k1", 0x21, 0x23), theirs=Party("secp256k1", 0x22, 0x24)
        ),
        "go_listens_eth_to_eth": await _go_listens(
            program, LONG, ours=Party("eth_secp256k1", 0x31, 0x33), theirs=Party("eth_secp256k1", 0x32, 0x34)
        ),
        "go_listens_cosmos_to_cosmos": await _go_listens(
            program, SHORT, ours=Party("secp256k1", 0x41, 0x43), theirs=Party("secp256k1", 0x42, 0x44)
        ),
    }
    return json.dumps(exchanges, indent=1) + "\n"


async def _go_dials(program: Program, size: int, *, ours: Party, theirs: Party) -> Exchange:
    """We greet, take the text as a whole, and give it back."""
    text = go_pattern(size)
    taps, gone = list[Tap](), trio.Event()
    read = b""

    async def serve(transport: trio.SocketStream) -> None:
        nonlocal read
        taps.append(Tap(transport))
        handshake = Handshake(ours.credentials, SeenKeys(), expected=None, as_ours=False, ephemeral=ours.ephemeral)
        stream = await _secured(handshake, taps[0])
        await stream.send_all(GREETING)
        read = await exactly(stream, size)
        await stream.send_all(text)
        read += await stream.receive_some()
        gone.set()

    listeners = await trio.open_tcp_listeners(0, host=HOST)
    port = listeners[0].socket.getsockname()[1]
    async with beside(partial(trio.serve_listeners, serve, listeners)):
        ended = await program.dial(theirs, port, "--greeted", "--bytes", str(size), expect=ours.account)
        if ended["error"] or not ended["equal"]:
            raise ValueError(ended)
        with trio.fail_after(PATIENCE):
            await gone.wait()
    return _exchange(ours, theirs, taps[0], wrote=[GREETING, text], read=read, is_client=False)


async def _go_listens(program: Program, size: int, *, ours: Party, theirs: Party) -> Exchange:
    """We are greeted, say something in two writes, and hear it again."""
    writes = [b"a short one", go_pattern(size)]
    echo = sum(map(len, writes))
    async with program.listening(theirs, "--speak-first") as server:
        tap = Tap(await trio.open_tcp_stream(HOST, server.port))
        handshake = Handshake(
            ours.credentials, SeenKeys(), expected=theirs.account, as_ours=False, ephemeral=ours.ephemeral
        )
        await tap.send_all(handshake.start())
        stream = await _secured(handshake, tap)
        for write in writes:
            await stream.send_all(write)
        read = await exactly(stream, len(GREETING) + echo)
        await stream.aclose()
        (ended,) = await server.ends()
    if ended["error"] or ended["bytes"] != echo:
        raise ValueError(ended)
    return _exchange(ours, theirs, tap, wrote=writes, read=read, is_client=True)


async def _secured(handshake: Handshake, tap: Tap) -> AltsStream:
    """The stream, once the peer's message was read."""
    while handshake.receive(await tap.receive_some(handshake.room)) is None:
        pass
    answer, session = handshake.accept()
    await tap.send_all(answer)
    return AltsStream(tap, session)


def _exchange(
    ours: Party, theirs: Party, tap: Tap, *, wrote: Sequence[bytes], read: bytes, is_client: bool
) -> Exchange:
    return {
        "we_dialed": is_client,
        "ours": _party(ours),
        "theirs": _party(theirs),
        "we_wrote": [text.hex() for text in wrote],
        "we_read": read.hex(),
        "sent_by_us": tap.sent.hex(),
        "sent_by_them": tap.received.hex(),
    }


def _party(party: Party) -> dict[str, str]:
    ephemeral = party.ephemeral_secret
    if ephemeral is None:
        raise ValueError("a recording needs ephemeral keys that are given")
    return {
        "key_type": party.kind,
        "account_private_key": party.secret.hex(),
        "ephemeral_private_key": ephemeral.hex(),
        "address": party.account,
    }


def main() -> None:
    go = find_go()
    if go is None:
        raise SystemExit("needs Go; none is on the PATH nor in /usr/local/go")
    with tempfile.TemporaryDirectory() as directory:
        RECORDED.write_text(trio.run(record, build(go, Path(directory))))


if __name__ == "__main__":
    main()
