#!/usr/bin/env python3
"""Memory for HTTP/2 clients that do not read: python3 benches/unread.py target/dist/roundel

50 connections with 100 streams each ask for 10 MB, or send as much to servers that do not read, with the
windows that a client begins with and with the widest. Prints the resident memory of Roundel and of HAProxy,
beside that before, at its peak and 60 s after the clients have left, and how many streams were refused.
"""

import os
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

CONNECTIONS, STREAMS, SIZE, HELD, AFTER = 50, 100, 10 << 20, 5, 60


def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def client(port, posts, wide):
    s = socket.create_connection(("127.0.0.1", port))
    window = 0x7FFFFFFF if wide else 65535
    out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, window))
    if wide:
        out += frame(8, 0, 0, struct.pack(">I", 0x70000000))
    for n in range(STREAMS):
        method = b"\x83" if posts else b"\x82"
        out += frame(1, 4 if posts else 5, 2 * n + 1, method + b"\x86\x84\x41\x01a")
    s.sendall(out)
    if posts:
        # No more than the windows let it: 1 MiB for all streams of a connection.
        s.settimeout(HELD / 2)
        try:
            for _ in range(10):
                for n in range(STREAMS):
                    s.sendall(frame(0, 0, 2 * n + 1, b"x" * 1024))
        except OSError:
            pass
    return s


def sink(port):
    """Accepts, and reads nothing."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    kept = []

    def run():
        while True:
            kept.append(listener.accept())

    threading.Thread(target=run, daemon=True).start()


def origin(folder, port):
    with open(f"{folder}/index.html", "wb") as f:
        f.write(b"x" * SIZE)
    conf = f"""daemon off; worker_processes 1; error_log /dev/null; pid {folder}/nginx.pid;
    events {{ worker_connections 16384; }}
    http {{ access_log off; sendfile on; keepalive_requests 1000000;
      server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; }} }}"""
    path = f"{folder}/nginx.conf"
    with open(path, "w") as f:
        f.write(conf)
    os.chmod(folder, 0o755)
    return subprocess.Popen(["nginx", "-p", folder, "-c", path], stderr=subprocess.DEVNULL)


def roundel(program, folder, port, server, stats):
    path = f"{folder}/roundel.toml"
    with open(path, "w") as f:
        f.write(
            f'[stats]\nlisten = "127.0.0.1:{stats}"\n[cli]\nlisten = "off"\n[[frontend]]\nname = "f"\n'
            f'listen = ["127.0.0.1:{port}"]\ndefault_backend = "b"\n[[backend]]\nname = "b"\nsticky = "off"\n'
            f'check = "off"\nserver = [{{ name = "s", address = "127.0.0.1:{server}" }}]\n'
        )
    return [program, "serve", "-c", path]


def haproxy(folder, port, server):
    path = f"{folder}/haproxy.cfg"
    with open(path, "w") as f:
        f.write(
            f"global\n nbthread 2\n maxconn 8000\ndefaults\n mode http\n timeout connect 60s\n timeout client 60s\n"
            f" timeout server 60s\nfrontend f\n bind 127.0.0.1:{port} proto h2\n default_backend b\nbackend b\n"
            f" server s 127.0.0.1:{server}\n"
        )
    return ["haproxy", "-db", "-f", path]


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


def refused(stats):
    with socket.create_connection(("127.0.0.1", stats)) as s:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(1 << 16), b"")).decode()
    found = re.search(r'roundel_bound_hits_total\{bound="http2_memory"\} (\d+)', text)
    return found.group(1) if found else "?"


def run(name, command, port, stats, posts, wide):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    before = resident(process.pid)
    clients = [None] * CONNECTIONS

    def connect(n):
        clients[n] = client(port, posts, wide)

    threads = [threading.Thread(target=connect, args=(n,)) for n in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    peak, until = 0, time.time() + HELD
    while time.time() < until:
        peak = max(peak, resident(process.pid))
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    more = f", {refused(stats)} refused" if stats else ""
    for one in clients:
        one.close()
    time.sleep(AFTER)
    after = resident(process.pid)
    what = ("sent" if posts else "asked for") + (", wide windows" if wide else "")
    print(f"{name:8} {what:24} {before:6.1f} → {peak:6.1f} MB, {after:6.1f} MB later{more}", flush=True)
    process.terminate()
    process.wait()


def main():
    program = sys.argv[1]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        whole, deaf = free(), free()
        sink(deaf)
        server = origin(folder, whole)
        try:
            for posts in (False, True):
                for wide in (False, True):
                    to = deaf if posts else whole
                    port, stats = free(), free()
                    run("Roundel", roundel(program, folder, port, to, stats), port, stats, posts, wide)
                    port = free()
                    run("HAProxy", haproxy(folder, port, to), port, None, posts, wide)
        finally:
            server.terminate()
            server.wait()


main()
