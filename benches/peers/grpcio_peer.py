"""Both ends on grpcio's own synchronous API, with protobuf's own messages. Option: a file to serve in place of memory,
hashed on its way out."""

from concurrent import futures
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from peer import CHECK, CHUNK, CHUNKS, METHOD, main, tell, wait_for_the_end

import grpc
from lep6 import _core

FIELDS = {
    "ServeReconstructedArtefactsRequest": [("heal_op_id", "UINT64"), ("verifier_account", "STRING")],
    "ServeReconstructedArtefactsResponse": [("chunk", "BYTES"), ("total_size", "UINT64"), ("is_last", "BOOL")],
}


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


def send_chunks(*_):
    for _ in range(CHUNKS):
        yield Response(chunk=CHUNK)


def send_file(file):
    def send(*_):
        hasher = _core.Hasher()
        with file.open("rb") as opened:
            while chunk := opened.read(len(CHUNK)):
                hasher.update(chunk)
                yield Response(chunk=chunk)
        hasher.digest()

    return send


def check(*_):
    return HealthCheckResponse(status=HealthCheckResponse.SERVING)


def serve(options):
    send = send_file(Path(options[0])) if options else send_chunks
    handlers = {
        METHOD: grpc.unary_stream_rpc_method_handler(send, Request.FromString, Response.SerializeToString),
        CHECK: grpc.unary_unary_rpc_method_handler(
            check, HealthCheckRequest.FromString, HealthCheckResponse.SerializeToString
        ),
    }
    server = grpc.server(futures.ThreadPoolExecutor(16))
    for path, handler in handlers.items():
        service, method = path[1:].split("/")
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {method: handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    tell(port)
    wait_for_the_end()
    server.stop(None).wait()


def stream(port, _):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_stream(METHOD, Request.SerializeToString, Response.FromString)
        return sum(len(message.chunk) for message in method(Request(heal_op_id=1)))


def fetch(port, _):
    """What a verifier does with a file, in plaintext."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_stream(METHOD, Request.SerializeToString, Response.FromString)
        hasher, size = _core.Hasher(), 0
        for message in method(Request(heal_op_id=1)):
            hasher.update(message.chunk)
            size += len(message.chunk)
        hasher.digest()
        return size


def calls(port, _, number, at_once):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, futures.ThreadPoolExecutor(at_once) as pool:
        method = channel.unary_unary(CHECK, HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString)

        def call_on(_):
            return sum(method(HealthCheckRequest()).status for _ in range(number // at_once))

        return sum(pool.map(call_on, range(at_once)))


main(serve, {"stream": stream, "fetch": fetch, "calls": calls})
