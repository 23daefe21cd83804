"""A client of the chain by grpcio, with messages by Google's protobuf. Commands and answers are JSON.

It finds the types of a method in the descriptors of our .proto files, which are the first thing that it is told.
"""

import base64
import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

import grpc

HEIGHT = "x-cosmos-block-height"


def read() -> dict:
    size = sys.stdin.buffer.readline()
    if not size:
        sys.exit()
    return json.loads(sys.stdin.buffer.read(int(size)))


def plain(message):
    """The fields that are set, much as in protobuf's JSON, but with an Any as it is."""
    if message.DESCRIPTOR.full_name == "google.protobuf.Timestamp":
        return message.ToJsonString()
    return {field.name: json_value(field, value) for field, value in message.ListFields()}


def json_value(field, value):
    if field.is_repeated:
        return [single(field, one) for one in value]
    return single(field, value)


def single(field, value):
    match field.type:
        case field.TYPE_MESSAGE:
            return plain(value)
        case field.TYPE_BYTES:
            return base64.b64encode(value).decode()
        case field.TYPE_ENUM:
            return field.enum_type.values_by_number[value].name
        case field.TYPE_INT64 | field.TYPE_UINT64:
            return str(value)
        case _:
            return value


def call(pool, address, method, request, metadata):
    service, _, name = method.rpartition("/")
    found = pool.FindServiceByName(service).FindMethodByName(name)
    reply_type = message_factory.GetMessageClass(found.output_type)
    message = json_format.ParseDict(request, message_factory.GetMessageClass(found.input_type)(), descriptor_pool=pool)
    with grpc.insecure_channel("{}:{}".format(*address)) as channel:
        stub = channel.unary_unary(
            f"/{method}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=reply_type.FromString,
        )
        try:
            reply, made = stub.with_call(message, timeout=20, metadata=[tuple(pair) for pair in metadata])
        except grpc.RpcError as error:
            told = {"status": error.code().name, "message": error.details()}
            return {**told, "height": dict(error.initial_metadata() or ()).get(HEIGHT)}
        return {"reply": plain(reply), "height": dict(made.initial_metadata()).get(HEIGHT)}


def main() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(bytes.fromhex(read()["descriptors"])).file:
        pool.Add(file)
    while True:
        answer = call(pool, **read())
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
