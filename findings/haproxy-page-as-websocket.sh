#!/usr/bin/env bash
# HAProxy passes an ordinary page on to a client of HTTP/2 as if it were an open WebSocket.
#
# Versions: haproxy 2.6.12 (Debian 12), h2 4.1.0 of Python.
#
# Over HTTP/2 a WebSocket is an extended CONNECT, and any 2xx says that it is open: what follows are
# WebSocket's frames (RFC 8441 5). To a server of HTTP/1.1 HAProxy makes it an Upgrade. A server that knows
# no WebSocket ignores that (RFC 9110 7.8) and answers with its page, status 200. HAProxy hands on status
# and page as they are: the client is told that the socket is open, and reads the page as frames. Over
# HTTP/1.1 the same client would have seen 200 in place of 101, which is a refusal. So a proxy has to look
# at the server's status: only 101 may become 200, and another 2xx something that is no 2xx.
#
# Output seen:
#   the server was asked to upgrade: websocket
#   status 200, then data: hello
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
apt-get download -qq haproxy=2.6.12-1+deb12u\* liblua5.3-0 2>/dev/null >&2
for package in ./*.deb; do dpkg -x "$package" root; done
libraries=$(echo root/usr/lib/*-linux-gnu)
python3 -m venv python
python/bin/pip install -q --disable-pip-version-check h2==4.1.0

cat >ask.py <<'PYTHON'
import socket, subprocess, sys, threading, time
import h2.config, h2.connection, h2.events, h2.settings

def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

server = socket.create_server(("127.0.0.1", 0))
def serve():
    client, _ = server.accept()
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(4096)
    for line in head.decode().lower().split("\r\n"):
        if line.startswith("upgrade:"):
            print("the server was asked to", line, flush=True)
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
threading.Thread(target=serve, daemon=True).start()

port = free()
with open("haproxy.cfg", "w") as file:
    file.write(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
    timeout tunnel 5s
listen web
    bind 127.0.0.1:{port} proto h2
    server one 127.0.0.1:{server.getsockname()[1]}
""")
haproxy = subprocess.Popen([sys.argv[1], "-f", "haproxy.cfg"], stderr=subprocess.DEVNULL)
try:
    for _ in range(100):
        try:
            client = socket.create_connection(("127.0.0.1", port))
            break
        except OSError:
            time.sleep(0.05)
    client.settimeout(10)
    h2c = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    h2c.initiate_connection()
    client.sendall(h2c.data_to_send())
    asked, status, data = False, None, b""
    while data == b"":
        for event in h2c.receive_data(client.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
            if isinstance(event, h2.events.DataReceived):
                data += event.data
            if isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)) and data == b"":
                sys.exit(f"ended: {event}")
        if not asked and h2c.remote_settings.enable_connect_protocol:
            asked = True
            h2c.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                                 (":path", "/"), (":authority", "localhost"), ("sec-websocket-version", "13")])
        client.sendall(h2c.data_to_send())
    print(f"status {status}, then data: {data.decode()}")
finally:
    haproxy.kill()
    haproxy.wait()
PYTHON
seen=$(LD_LIBRARY_PATH=$libraries timeout 60 python/bin/python ask.py root/usr/sbin/haproxy)
echo "$seen"
wanted='the server was asked to upgrade: websocket
status 200, then data: hello'
[ "$seen" = "$wanted" ]
