"""A verifier and a healer as Go nodes are, on grpcio; each is a process of its own that prints a line of JSON.

python peers.py verifier PORT OP ACCOUNT...     all accounts at once; how each fetch went
python peers.py impatient PORT OP ACCOUNT       gives up five calls after their first message, then fetches
python peers.py healer FILE                     its port; serves until its input ends
"""

import hashlib
import json
import sys
from concurrent import futures
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import grpc

METHOD = "/supernode.SelfHealingService/ServeReconstructedArtefacts"
FIELDS = {
    "ServeReconstructedArtefactsRequest": [("heal_op_id", "UINT64"), ("verifier_account", "STRING")],
    "ServeReconstructedArtefactsResponse": [("chunk", "BYTES"), ("total_size", "UINT64"), ("is_last", "BOOL")],
}
CHUNK = 1 << 20
SECONDS = 60


def message_types():
    file = descriptor_pb2.FileDescriptorProto(name="self_healing.proto", package="supernode", syntax="proto3")
    for name, fields in FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields, 1):
            message.field.add(name=field, number=number, label="LABEL_OPTIONAL", type=f"TYPE_{kind}", json_name=field)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(f"supernode.{name}")) for name in FIELDS]


Request, Response = message_types()


def tell(found):
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


def call_over(channel, op, account):
    method = channel.unary_stream(
        METHOD, request_serializer=Request.SerializeToString, response_deserializer=Response.FromString
    )
    return method(Request(heal_op_id=op, verifier_account=account), timeout=SECONDS)


def fetch(port, op, account):
    """One attempt: a new connection, one call, all of its messages."""
    messages, digest = [], hashlib.sha256()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = call_over(channel, op, account)
        try:
            for message in call:
                digest.update(message.chunk)
                messages.append((len(message.chunk), message.total_size, message.is_last))
        except grpc.RpcError:
            pass
        code, details = call.code().name, call.details()
    return {"code": code, "details": details, "messages": messages, "sha256": digest.hexdigest()}


def verifier(port, op, *accounts):
    with futures.ThreadPoolExecutor(len(accounts)) as pool:
        tell(list(pool.map(lambda account: fetch(port, int(op), account), accounts)))


def impatient(port, op, account):
    for _ in range(5):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = call_over(channel, int(op), account)
            try:
                next(call)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
            call.cancel()
    while (fetched := fetch(port, int(op), account))["code"] == "RESOURCE_EXHAUSTED":
        pass
    tell(fetched)


REFUSALS = {
    2: (grpc.StatusCode.NOT_FOUND, "heal op 2 not found"),
    3: (grpc.StatusCode.FAILED_PRECONDITION, "heal op status is not HEALER_REPORTED"),
    4: (grpc.StatusCode.PERMISSION_DENIED, "caller is not assigned"),
    5: (grpc.StatusCode.UNAUTHENTICATED, "no identity"),
    6: (grpc.StatusCode.INTERNAL, "open /var/lib/staging/6/reconstructed.bin: permission denied"),
}


class Healer:
    """Decides by the op's number; op 1 is served from the file as a Go healer does it."""

    def __init__(self, path):
        self.data = Path(path).read_bytes()

    def serve(self, request, context):
        op = request.heal_op_id
        if op in REFUSALS:
            context.abort(*REFUSALS[op])
        if op == 7:  # an empty file
            return
        for at in range(0, len(self.data), CHUNK):
            if op == 8 and at:  # its file has shrunk
                return
            if op == 9 and at:
                context.abort(grpc.StatusCode.INTERNAL, "read failed")
            chunk = self.data[at : at + CHUNK]
            yield Response(chunk=chunk, total_size=0 if at else len(self.data), is_last=at + CHUNK >= len(self.data))


def healer(path):
    handler = grpc.unary_stream_rpc_method_handler(
        Healer(path).serve, request_deserializer=Request.FromString, response_serializer=Response.SerializeToString
    )
    service, method = METHOD[1:].split("/")
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tell(port)
    sys.stdin.read()
    server.stop(None).wait()


if __name__ == "__main__":
    {"verifier": verifier, "impatient": impatient, "healer": healer}[sys.argv[1]](*sys.argv[2:])
