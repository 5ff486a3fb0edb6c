"""Handshakes that are out of order, cut, or in pieces: records that no library for clients sends.

Arguments: the port. Prints what came of each: the alert in clear, if one came, and how it ended.
"""
import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection

port = int(sys.argv[1])
NAME = "www.example.org"
ALERT, CHANGE, HANDSHAKE, DATA = 21, 20, 22, 23


class Kept:
    """A socket to nobody, which keeps what is sent."""

    def __init__(self):
        self.sent = b""

    def send(self, data):
        self.sent += bytes(data)
        return len(data)

    sendall = send

    def recv(self, _size):
        raise BlockingIOError(11, "nobody answers")


def settings(version):
    made = HandshakeSettings()
    made.minVersion, made.maxVersion = (3, 3), version
    return made


def hello(version):
    kept = Kept()
    visitor = TLSConnection(kept)
    steps = visitor.handshakeClientCert(
        settings=settings(version), serverName=NAME, async_=True
    )
    next(steps)
    return kept.sent


def record(kind, payload):
    return bytes([kind, 3, 3]) + len(payload).to_bytes(2, "big") + payload


def visit(parts, cut=False):
    """Sends these; gives kinds of records, the alert in clear, and how it ended."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    got = b""
    try:
        for part in parts:
            plain.sendall(part)
        if cut:
            plain.shutdown(socket.SHUT_WR)
        while part := plain.recv(4096):
            got += part
        ended = "closed"
    except ConnectionError:
        ended = "closed"
    except TimeoutError:
        ended = "hangs"
    kinds, alert = [], None
    while len(got) >= 5:
        size = int.from_bytes(got[3:5], "big")
        kinds.append(got[0])
        if got[0] == ALERT:
            alert = got[6]
        got = got[5 + size :]
    return ("answered" if HANDSHAKE in kinds else "unanswered"), alert, ended


finished = record(HANDSHAKE, b"\x14\x00\x00\x0c" + b"x" * 12)
key_exchange = record(HANDSHAKE, b"\x10\x00\x00\x21\x20" + b"x" * 32)
server_hello = record(HANDSHAKE, b"\x02\x00\x00\x28\x03\x03" + b"x" * 38)
old, new = hello((3, 3)), hello((3, 4))
body = new[5:]
for name, parts in {
    "no TLS": [b"\x00" * 200],
    "finished first": [finished],
    "key exchange first": [key_exchange],
    "server's hello": [server_hello],
    "data first": [record(DATA, b"x" * 40)],
    "an alert first": [record(ALERT, b"\x02\x28")],
    "change first": [record(CHANGE, b"\x01")],
    "nothing in a record": [record(HANDSHAKE, b"")],
    "two hellos, 1.2": [old, old],
    "two hellos, 1.3": [new, new],
    "finished too early, 1.2": [old, finished],
    "change too early, 1.2": [old, record(CHANGE, b"\x01")],
    "data too early, 1.2": [old, record(DATA, b"x" * 40)],
    "data too early, 1.3": [new, record(DATA, b"x" * 40)],
    "a record too long": [b"\x16\x03\x01\xff\xff" + b"x" * 0xFFFF],
    "a hello of 16 MB": [record(HANDSHAKE, b"\x01\xff\xff\xff" + b"x" * 1000)],
}.items():
    print(f"{name}:", *visit(parts))
for at in (1, 4, 5, 6, 50, len(new) - 1):
    print("cut:", *visit([new[:at]], cut=True))
print("by bytes:", *visit([new[i : i + 1] for i in range(len(new))], cut=True))
pieces = [record(HANDSHAKE, body[i : i + 7]) for i in range(0, len(body), 7)]
print("in records of 7 bytes:", *visit(pieces, cut=True))
for version in ((3, 3), (3, 4)):
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    visitor = TLSConnection(plain)
    visitor.handshakeClientCert(settings=settings(version), serverName=NAME)
    visitor.send(b"GET / HTTP/1.1\r\nHost: www.example.org\r\nConnection: close\r\n\r\n")
    answer = b""
    while part := visitor.recv(4096):
        answer += part
    print("whole:", answer.split()[-1].decode())
