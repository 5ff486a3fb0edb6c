"""A gRPC server of grpcio. Messages are bytes; its health is a service of two messages by hand.

Prints `listening PORT`, and how calls ended that were given up. With `sick` it says NOT_SERVING, with `plain`
it has no health service. With files of a certificate and its key it speaks TLS.
"""

import sys
import threading
from concurrent import futures

import grpc

address, health, *secrets = sys.argv[1:]


def say(*words):
    print(*words, flush=True)


def unary(request, context):
    sent = [(k, v) for k, v in context.invocation_metadata() if k in ("x-asked", "key-bin")]
    context.send_initial_metadata(sent)
    context.set_trailing_metadata([("x-end", "z"), ("end-bin", b"\2\3")])
    return request


def fail(request, context):
    code, words = request.decode().split(" ", 1)
    context.abort(getattr(grpc.StatusCode, code), words)


def up(requests, context):
    return str(sum(len(r) for r in requests)).encode()


def down(request, context):
    count, size = map(int, request.split())
    for _ in range(count):
        yield b"x" * size


def both(requests, context):
    yield from requests


def wait_end(name, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    say("began", name)
    ended.wait()
    say("ended", name)


def hang(request, context):
    yield b"begun"
    wait_end(request.decode(), context)


def never(request, context):
    wait_end(request.decode(), context)
    return b""


def left(request, context):
    return str(context.time_remaining()).encode()


def check(request, context):
    return b"\x08\x02" if health == "sick" else b"\x08\x01"


def handlers(service, **methods):
    return grpc.method_handlers_generic_handler(service, methods)


server = grpc.server(
    futures.ThreadPoolExecutor(max_workers=64),
    options=[("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0)],
)
one, out, into, through = (
    grpc.unary_unary_rpc_method_handler,
    grpc.unary_stream_rpc_method_handler,
    grpc.stream_unary_rpc_method_handler,
    grpc.stream_stream_rpc_method_handler,
)
echo = handlers(
    "test.Echo",
    Unary=one(unary),
    Fail=one(fail),
    Up=into(up),
    Down=out(down),
    Both=through(both),
    Hang=out(hang),
    Never=one(never),
    Left=one(left),
)
services = [echo]
if health != "plain":
    services.append(handlers("grpc.health.v1.Health", Check=one(check)))
server.add_generic_rpc_handlers(services)
if secrets:
    chain, key = (open(path, "rb").read() for path in secrets)
    credentials = grpc.ssl_server_credentials([(key, chain)])
    port = server.add_secure_port(address, credentials)
else:
    port = server.add_insecure_port(address)
server.start()
say("listening", port)
server.wait_for_termination()
