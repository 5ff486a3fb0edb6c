"""A gRPC client of grpcio: makes the calls named on the command line, and prints how each ended.

Messages are bytes: no generated code is needed. The second word is the file of an authority for calls over
TLS, to `nodes.internal`, or `clear`.
"""

import sys
import threading

import grpc

target, authority = sys.argv[1:3]
options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_retries", 0)]
if authority == "clear":
    channel = grpc.insecure_channel(target, options=options)
else:
    options.append(("grpc.ssl_target_name_override", "nodes.internal"))
    credentials = grpc.ssl_channel_credentials(open(authority, "rb").read())
    channel = grpc.secure_channel(target, credentials, options=options)


def told(call):
    """The code of a call's end, and its words."""
    return f"{call.code().name} {call.details()}"


def unary(method, request=b"", timeout=None, metadata=None):
    ask = channel.unary_unary(f"/test.Echo/{method}")
    try:
        answer, call = ask.with_call(request, timeout=timeout, metadata=metadata)
        return answer, call
    except grpc.RpcError as error:
        return None, error


def refused(timeout=None):
    """One call that is not to succeed."""
    answer, call = unary("Unary", b"x", timeout=timeout and float(timeout))
    assert answer is None, answer
    print("refused", told(call), flush=True)


def echo():
    """One message each way; metadata both ways; trailing metadata."""
    answer, call = unary("Unary", b"hello", metadata=[("x-asked", "a"), ("key-bin", b"\0\1")])
    assert answer == b"hello", told(call)
    initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
    assert initial["x-asked"] == "a" and initial["key-bin"] == b"\0\1", initial
    assert trailing["x-end"] == "z" and trailing["end-bin"] == b"\2\3", trailing
    print("echo", told(call), flush=True)


def large(size):
    body = bytes(i % 251 for i in range(251)) * (int(size) // 251)
    answer, call = unary("Unary", body)
    assert answer == body, told(call)
    print("large", told(call), flush=True)


def fail(code, words):
    """A call that its server ends with a code before any message: trailers only."""
    answer, call = unary("Fail", f"{code} {words}".encode())
    assert answer is None
    print("fail", told(call), flush=True)


def upload():
    call = channel.stream_unary("/test.Echo/Up")
    answer, call = call.with_call(iter([b"a" * n for n in range(100)]))
    assert answer == str(sum(range(100))).encode(), answer
    print("upload", told(call), flush=True)


def download():
    call = channel.unary_stream("/test.Echo/Down")(b"100 1000")
    got = list(call)
    assert [len(m) for m in got] == [1000] * 100
    print("download", told(call), flush=True)


def both():
    """Each message is answered before the next one is sent."""
    turn = threading.Semaphore(1)

    def messages():
        for n in range(50):
            turn.acquire()
            yield str(n).encode()

    call = channel.stream_stream("/test.Echo/Both")(messages())
    for n, answer in enumerate(call):
        assert answer == str(n).encode(), (n, answer)
        turn.release()
    assert n == 49
    print("both", told(call), flush=True)


def cancel():
    """Gives a stream up after its first message."""
    call = channel.unary_stream("/test.Echo/Hang")(b"cancel")
    assert next(call) == b"begun"
    call.cancel()
    print("cancel", told(call), flush=True)


def broken():
    """A stream whose server dies after its first message."""
    call = channel.unary_stream("/test.Echo/Hang")(b"broken")
    assert next(call) == b"begun"
    try:
        next(call)
    except grpc.RpcError:
        print("broken", told(call), flush=True)


def patient(seconds):
    """Waits so long for a second message that does not come, and then gives up."""
    call = channel.unary_stream("/test.Echo/Hang")(b"patient")
    assert next(call) == b"begun"
    timer = threading.Timer(float(seconds), call.cancel)
    timer.start()
    try:
        next(call)
    except grpc.RpcError:
        print("patient", told(call), flush=True)


def left(timeout):
    """What the server is told of the time that is left. What grpcio says itself is up to a tenth more."""
    answer, call = unary("Left", b"", timeout=float(timeout))
    seconds = float(answer)
    assert 0 < seconds <= 1.1 * float(timeout), seconds
    print("left", told(call), flush=True)


def many(calls):
    """So many calls at a time, each with an answer of its own."""
    ask = channel.unary_unary("/test.Echo/Unary")
    futures = [ask.future(str(n).encode()) for n in range(int(calls))]
    assert [f.result() for f in futures] == [str(n).encode() for n in range(int(calls))]
    print("many", told(futures[0]), flush=True)


for words in sys.argv[3:]:
    name, *arguments = words.split(",")
    globals()[name](*arguments)
