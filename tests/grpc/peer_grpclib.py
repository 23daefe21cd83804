"""The echo service and its caller on grpclib and asyncio, in a process of their own, as peer_grpcio.py.

Usage: peer_grpclib.py serve|call
"""

import asyncio
import json
import sys
from collections import Counter

import grpclib.client
import grpclib.server
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from echo_wire.echo import EchoBase, EchoStub, Note
from echo_wire.lines import say, texts, told, values


async def commands():
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        yield json.loads(line)


class Service(EchoBase):
    def __init__(self):
        self.changed = asyncio.Event()
        self.counts = Counter()

    def count(self, what):
        self.counts[what] += 1
        self.changed.set()
        self.changed = asyncio.Event()

    async def wait_for(self, what, number):
        async with asyncio.timeout(20):
            while self.counts[what] < number:
                await self.changed.wait()
        return True

    async def say(self, stream):
        note = await stream.recv_message()
        echoed = [(key, value) for key, value in stream.metadata.items() if key in ("plain", "raw-bin")]
        await stream.send_initial_metadata(metadata=echoed)
        match note.text.split(":"):
            case ["fail", code, message]:
                raise GRPCError(Status(int(code)), message)
            case ["cancel"]:
                await stream.cancel()
                return
            case ["wait"]:
                self.count("waiting")
                try:
                    await asyncio.Event().wait()
                finally:
                    self.count("cancelled")
            case ["raise"]:
                raise LookupError(note.text)
        await stream.send_message(note)
        await stream.send_trailing_metadata(metadata=echoed)

    async def split(self, stream):
        message = await stream.recv_message()
        number = 0
        try:
            while message.text == "forever" or number < message.number:
                await stream.send_message(Note(message.text, message.data, number))
                self.count("made")
                number += 1
        except asyncio.CancelledError:
            self.count("cancelled")
            raise

    async def join(self, messages):
        notes = [note async for note in messages]
        return Note("".join(n.text for n in notes), b"".join(n.data for n in notes), len(notes))

    async def chat(self, messages):
        async for note in messages:
            yield note

    def __mapping__(self):
        say = Handler(self.say, Cardinality.UNARY_UNARY, Note, Note)
        split = Handler(self.split, Cardinality.UNARY_STREAM, Note, Note)
        return {**super().__mapping__(), "/echo.Echo/Say": say, "/echo.Echo/Split": split}


async def serve():
    service = Service()
    server = grpclib.server.Server([service])
    await server.start("127.0.0.1", 0)
    say(port=server._server.sockets[0].getsockname()[1])
    async for command in commands():
        match command:
            case {"do": "wait", "what": what, "number": number}:
                say(reached=await service.wait_for(what, number), counts=service.counts)
            case {"do": "stop"}:
                server.close()
                say(stopping=True)


class Caller:
    def __init__(self):
        self.channel = None
        self.scope = None
        self.stream = None

    async def unary(self, *, port, path="/echo.Echo/Say", text="", size=0, seconds=None, metadata=(), **_):
        async with grpclib.client.Channel("127.0.0.1", port) as channel:
            options = {"timeout": seconds, "metadata": values(metadata)}
            async with channel.request(path, Cardinality.UNARY_UNARY, Note, Note, **options) as stream:
                await stream.send_message(Note(text, bytes(size)), end=True)
                reply = await stream.recv_message()
                await stream.recv_trailing_metadata()
            return {
                **told(reply),
                "initial": texts(stream.initial_metadata.items()),
                "trailing": texts(stream.trailing_metadata.items()),
            }

    async def kinds(self, port, number, size):
        notes = [Note(f"note {n}", bytes([n % 256]) * size, n) for n in range(number)]
        async with grpclib.client.Channel("127.0.0.1", port) as channel:
            stub = EchoStub(channel)
            return {
                "split": [told(note) async for note in stub.split(Note("x", bytes(size), number))],
                "join": told(await stub.join(notes)),
                "chat": [told(note) async for note in stub.chat(notes)],
            }

    async def many(self, port, number, size):
        async with grpclib.client.Channel("127.0.0.1", port) as channel:
            await EchoStub(channel).say(Note())  # by now it knows how many calls the server takes
            calls = [EchoStub(channel).say(Note(str(n), bytes(size))) for n in range(number)]
            return {"texts": [note.text for note in await asyncio.gather(*calls)]}

    async def open(self, port, text, number, size):
        self.channel = grpclib.client.Channel("127.0.0.1", port)
        self.scope = self.channel.request("/echo.Echo/Split", Cardinality.UNARY_STREAM, Note, Note)
        self.stream = await self.scope.__aenter__()
        await self.stream.send_message(Note(text, bytes(size), number), end=True)
        return {}

    async def take(self, number):
        numbers = []
        while len(numbers) < number and (note := await self.stream.recv_message()) is not None:
            numbers.append(note.number)
        return {"numbers": numbers}

    async def cancel(self):
        await self.stream.cancel()
        return {}

    async def close(self):
        self.channel.close()
        return {}


async def call():
    caller = Caller()
    say(ready=True)
    async for command in commands():
        try:
            say(**await getattr(caller, command.pop("do"))(**command))
        except GRPCError as error:
            say(status=error.status.value, message=error.message)
        except (StreamTerminatedError, TimeoutError) as error:
            say(error=type(error).__name__)


asyncio.run({"serve": serve, "call": call}[sys.argv[1]]())
