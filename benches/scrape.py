#!/usr/bin/env python3
"""The page's port under readers: python3 benches/scrape.py target/dist/roundel

A balancer of 5,000 servers with a check every 10 s. First /metrics is read 20 times a second for 10 s, plain
and compressed: prints the processor time of the process with nobody reading, and that of the threads that
answer readers. Then 600 connections ask for /metrics and read nothing, 600 send half a head: prints the
resident memory before, at most, and a minute after, and how long /livez took from another address meanwhile.
"""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time

SERVERS, RATE, SECONDS, FLOOD = 5000, 20, 10, 600


def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu(pid, name=""):
    """Seconds on a processor of all threads, or of those of this name."""
    taken = 0
    for task in os.scandir(f"/proc/{pid}/task"):
        with open(f"{task.path}/comm") as comm, open(f"{task.path}/schedstat") as schedstat:
            if name in comm.read():
                taken += int(schedstat.read().split()[0])
    return taken / 1e9


def resident(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def scrape(stats, headers):
    connection = http.client.HTTPConnection("127.0.0.1", stats)
    size, begun = 0, time.monotonic()
    for n in range(RATE * SECONDS):
        time.sleep(max(0, begun + n / RATE - time.monotonic()))
        connection.request("GET", "/metrics", headers=headers)
        size = len(connection.getresponse().read())
    connection.close()
    return size


def scrapes(pid, stats):
    before = cpu(pid)
    time.sleep(SECONDS)
    print(f"nobody reads: {(cpu(pid) - before) / SECONDS:.3f} cores")
    for name, headers in (("plain", {}), ("gzip", {"Accept-Encoding": "gzip"})):
        before, begun = cpu(pid, "pages"), time.monotonic()
        size = scrape(stats, headers)
        took = time.monotonic() - begun
        more = (cpu(pid, "pages") - before) / took
        print(f"{name}, {RATE} a second: {size / 1e6:.2f} MB each, {more:.3f} cores")


def probe(stats, took, over):
    while not over.wait(0.05):
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", stats, timeout=5, source_address=("127.0.0.2", 0))
        try:
            connection.request("GET", "/livez")
            status = connection.getresponse().status
        except OSError as error:
            status = error
        took.append((time.monotonic() - begun, status))
        connection.close()


def flood(pid, stats):
    before, most, took, over = resident(pid), 0, [], threading.Event()
    prober = threading.Thread(target=probe, args=(stats, took, over))
    prober.start()
    open_ = []
    for head in ("GET /metrics HTTP/1.1\r\nHost: lb\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: "):
        for _ in range(FLOOD):
            s = socket.create_connection(("127.0.0.1", stats))
            open_.append(s)
            try:
                s.sendall(head.encode())
            except OSError:
                pass
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        most = max(most, resident(pid))
        time.sleep(0.1)
    [s.close() for s in open_]
    time.sleep(60)
    over.set()
    prober.join()
    slowest = max(t for t, _ in took)
    bad = [status for _, status in took if status != 200]
    print(f"flood: {before:.0f} MiB before, {most - before:+.0f} at most, {resident(pid) - before:+.0f} a minute later")
    print(f"/livez: {len(took)} times, {len(bad)} not 200, at most {slowest * 1e3:.0f} ms {bad[:3]}")


def main():
    program = sys.argv[1]
    front, stats, toy = free(), free(), free()
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/roundel.toml"
        servers = "".join(
            f'{{ name = "s{n}", address = "127.1.{n // 250}.{n % 250 + 1}:{toy}" }},\n'
            for n in range(SERVERS)
        )
        with open(file, "w") as f:
            f.write(
                f'[stats]\nlisten = "127.0.0.1:{stats}"\n[cli]\nlisten = "off"\n'
                f'[[frontend]]\nname = "f"\nlisten = "127.0.0.1:{front}"\ndefault_backend = "b"\n'
                f'[[backend]]\nname = "b"\ncheck = {{ http = "HEAD /", every = "10s" }}\n'
                f"server = [\n{servers}]\n"
            )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        app = subprocess.Popen([program, "toy", "--listen", f"0.0.0.0:{toy}"], **quiet)
        balancer = subprocess.Popen([program, "serve", "-c", file, "--log-level", "warn"], **quiet)
        try:
            time.sleep(15)
            scrapes(balancer.pid, stats)
            flood(balancer.pid, stats)
        finally:
            balancer.terminate()
            app.terminate()
            balancer.wait(20)
            app.wait(20)


main()
