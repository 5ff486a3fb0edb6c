"""A client of httpx: asks the same of both listeners over both versions, and prints who was understood.

Arguments: the address in clear, the address over TLS, the file of the authority that `nodes.internal` is signed by.
"""

import asyncio
import sys

import httpx

clear, secure, authority = sys.argv[1:]
HOST = {"host": "nodes.internal"}
NAME = {"sni_hostname": "nodes.internal"}
LARGE = bytes(i % 251 for i in range(251)) * 4000


def pieces():
    """A body whose length nobody is told."""
    for n in range(40):
        yield LARGE[n * 25_100 : (n + 1) * 25_100]


async def apieces():
    for piece in pieces():
        yield piece


def ask(client, version):
    """Heads, bodies with and without a length both ways, no body at all."""
    answer = client.get("/a?b=c", extensions=NAME)
    assert (answer.status_code, answer.http_version) == (200, version), (answer, answer.http_version)
    assert answer.text == "GET /a?b=c nodes.internal 0", answer.text
    answer = client.head("/a", extensions=NAME)
    assert (answer.status_code, answer.content) == (200, b""), answer
    for body in (b"", b"x" * 10, LARGE, pieces()):
        answer = client.post("/echo", content=body, extensions=NAME)
        assert answer.content == (body if isinstance(body, bytes) else LARGE), len(answer.content)
    with client.stream("GET", "/large", extensions=NAME) as answer:
        sizes = [len(chunk) for chunk in answer.iter_raw()]
        assert sum(sizes) == len(LARGE), sizes
    for status in (204, 304, 404, 503):
        answer = client.get(f"/status/{status}", extensions=NAME)
        assert answer.status_code == status, answer
    assert client.get("/status/404", extensions=NAME).headers.get_list("x-two") == ["a", "b"]
    # An answer that nobody reads to its end is no harm to the next.
    with client.stream("GET", "/large", extensions=NAME) as answer:
        assert answer.status_code == 200
    assert client.get("/a", extensions=NAME).http_version == version


async def many(client, version):
    """A hundred at a time, each with a body of its own."""

    async def one(n):
        body = str(n).encode() * 500
        answer = await client.post("/echo", content=body, extensions=NAME)
        assert (answer.content, answer.http_version) == (body, version), n

    async with client:
        await asyncio.gather(*(one(n) for n in range(100)))


for name, base, over in (("clear", f"http://{clear}", False), ("tls", f"https://{secure}", True)):
    trusted = httpx.create_ssl_context(verify=authority) if over else True
    # In clear nothing is chosen: who speaks HTTP/2 there knows that the listener does.
    for version, speaks in (
        ("HTTP/1.1", {"http1": True, "http2": False}),
        ("HTTP/2", {"http1": over, "http2": True}),
    ):
        options = {"base_url": base, "headers": HOST, "verify": trusted, "timeout": 30, "trust_env": False}
        with httpx.Client(**options, **speaks) as client:
            ask(client, version)
        asyncio.run(many(httpx.AsyncClient(**options, **speaks), version))
        print(name, version, flush=True)
