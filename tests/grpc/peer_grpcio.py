"""The echo service and its caller on grpcio, in a process of their own. Commands and results are lines of JSON.

Usage: peer_grpcio.py serve|call
"""

import json
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc
from echo_wire.echo import Note
from echo_wire.lines import say, texts, told, values

CODES = {code.value[0]: code for code in grpc.StatusCode}


class Service:
    def __init__(self):
        self.changed = threading.Condition()
        self.counts = Counter()

    def count(self, what):
        with self.changed:
            self.counts[what] += 1
            self.changed.notify_all()

    def wait_for(self, what, number):
        with self.changed:
            return self.changed.wait_for(lambda: self.counts[what] >= number, 20)

    def say(self, note, context):
        echoed = [(key, value) for key, value in context.invocation_metadata() if key in ("plain", "raw-bin")]
        context.send_initial_metadata(echoed)
        context.set_trailing_metadata(echoed)
        match note.text.split(":"):
            case ["fail", code, message]:
                context.abort(CODES[int(code)], message)
            case ["cancel"]:
                context.cancel()
            case ["wait"]:
                over = threading.Event()
                context.add_callback(over.set)
                self.count("waiting")
                over.wait(60)
                self.count("cancelled")
            case ["raise"]:
                raise LookupError(note.text)
        return note

    def split(self, note, context):
        if note.text == "forever":
            context.add_callback(lambda: self.count("cancelled"))
        number = 0
        while note.text == "forever" or number < note.number:
            yield Note(note.text, note.data, number)
            self.count("made")
            number += 1

    def join(self, notes, _context):
        notes = list(notes)
        return Note("".join(n.text for n in notes), b"".join(n.data for n in notes), len(notes))

    def chat(self, notes, _context):
        yield from notes


def serve():
    service = Service()
    options = {"request_deserializer": Note.parse, "response_serializer": bytes}
    methods = {
        "Say": grpc.unary_unary_rpc_method_handler(service.say, **options),
        "Split": grpc.unary_stream_rpc_method_handler(service.split, **options),
        "Join": grpc.stream_unary_rpc_method_handler(service.join, **options),
        "Chat": grpc.stream_stream_rpc_method_handler(service.chat, **options),
    }
    pool = ThreadPoolExecutor(60)
    server = grpc.server(pool)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(port=port)
    for line in sys.stdin:
        match json.loads(line):
            case {"do": "wait", "what": what, "number": number}:
                say(reached=service.wait_for(what, number), counts=service.counts)
            case {"do": "stop", "grace": grace}:
                server.stop(grace)
                say(stopping=True)


class Caller:
    def __init__(self):
        self.replies = None
        self.call = None
        self.channel = None

    def connect(self, port, limit=None):
        options = [] if limit is None else [("grpc.max_receive_message_length", limit)]
        return grpc.insecure_channel(f"127.0.0.1:{port}", options)

    def method(self, channel, kind, path):
        return getattr(channel, kind)(path, request_serializer=bytes, response_deserializer=Note.parse)

    def unary(self, *, port, path="/echo.Echo/Say", text="", size=0, seconds=None, metadata=(), limit=None):
        with self.connect(port, limit) as channel:
            note = Note(text, bytes(size))
            call = self.method(channel, "unary_unary", path)
            reply, call = call.with_call(note, timeout=seconds, metadata=values(metadata))
            return {
                **told(reply),
                "initial": texts(call.initial_metadata()),
                "trailing": texts(call.trailing_metadata()),
            }

    def kinds(self, port, number, size):
        notes = [Note(f"note {n}", bytes([n % 256]) * size, n) for n in range(number)]
        with self.connect(port) as channel:
            split = self.method(channel, "unary_stream", "/echo.Echo/Split")(Note("x", bytes(size), number))
            join = self.method(channel, "stream_unary", "/echo.Echo/Join")(iter(notes))
            chat = self.method(channel, "stream_stream", "/echo.Echo/Chat")(iter(notes))
            return {
                "split": [told(note) for note in split],
                "join": told(join),
                "chat": [told(note) for note in chat],
            }

    def many(self, port, number, size):
        with self.connect(port) as channel:
            say = self.method(channel, "unary_unary", "/echo.Echo/Say")
            say(Note())  # by now it knows how many calls the server takes
            calls = [say.future(Note(str(n), bytes(size))) for n in range(number)]
            return {"texts": [call.result().text for call in calls]}

    def open(self, port, text, number, size):
        self.channel = self.connect(port)
        split = self.method(self.channel, "unary_stream", "/echo.Echo/Split")
        self.call = split(Note(text, bytes(size), number))
        return {}

    def take(self, number):
        return {"numbers": [note.number for _, note in zip(range(number), self.call, strict=False)]}

    def cancel(self):
        self.call.cancel()
        return {}

    def close(self):
        self.channel.close()
        return {}


def call():
    caller = Caller()
    say(ready=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            say(**getattr(caller, command.pop("do"))(**command))
        except grpc.RpcError as error:
            say(status=error.code().value[0], message=error.details())


{"serve": serve, "call": call}[sys.argv[1]]()
