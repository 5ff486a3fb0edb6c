#!/usr/bin/env python3
"""Pages beside checks: python3 benches/pages.py target/dist/roundel

A balancer of 5,000 servers with a TCP check every 2 s; for 20 s nobody looks, then 60 pages are open
and /metrics is read each second. A check is due 1.8 to 2.2 s after the one before, even odds between:
the mean time between two, less 2 s, is how late they are on average, and what is beyond 2.2 s was late
by at least so much. Prints both, what the pages got, and the control thread's processor time.
"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SERVERS, PAGES, SECONDS = 5000, 60, 20


def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def serve(listener, seen):
    """Accepts for every address of 127.0.0.0/8 and notes when each was asked."""
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                seen.append((connection.getsockname()[0], time.monotonic()))
            except OSError:
                # Reset already: a check asks for no more than a connection.
                pass


def control_cpu(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            name, rest = f.read().rsplit(")", 1)
        if "control" in name:
            fields = rest.split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def lateness(seen):
    last, between = {}, []
    for server, at in seen:
        if server in last:
            between.append(at - last[server])
        last[server] = at
    beyond = sorted(max(0.0, b - 2.2) for b in between)
    mean = sum(between) / len(between) - 2.0
    p99 = beyond[len(beyond) * 99 // 100]
    return f"{len(between)} checks, mean {mean * 1e3:.1f} ms, beyond 2.2 s: p99 {p99 * 1e3:.1f}, most {beyond[-1] * 1e3:.1f} ms"


def page(stats, got, over):
    with socket.create_connection(("127.0.0.1", stats)) as s:
        s.sendall(b"GET /events HTTP/1.1\r\nHost: lb\r\n\r\n")
        s.settimeout(SECONDS)
        while not over.is_set():
            part = s.recv(1 << 20)
            if not part:
                return
            got.append(len(part))


def scrape(stats, took, over):
    while not over.wait(1):
        begun = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{stats}/metrics") as answer:
            answer.read()
        took.append(time.monotonic() - begun)


def main():
    program = sys.argv[1]
    front, stats = free(), free()
    listener = socket.socket()
    listener.bind(("0.0.0.0", 0))
    listener.listen(4096)
    port = listener.getsockname()[1]
    seen = []
    threading.Thread(target=serve, args=(listener, seen), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/roundel.toml"
        servers = "".join(
            f'{{ name = "s{n}", address = "127.1.{n // 250}.{n % 250 + 1}:{port}" }},\n'
            for n in range(SERVERS)
        )
        with open(file, "w") as f:
            f.write(
                f'[stats]\nlisten = "127.0.0.1:{stats}"\n[cli]\nlisten = "off"\n'
                f'[[frontend]]\nname = "f"\nlisten = "127.0.0.1:{front}"\ndefault_backend = "b"\n'
                f'[[backend]]\nname = "b"\ncheck = {{ tcp = true, every = "2s" }}\n'
                f"server = [\n{servers}]\n"
            )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        balancer = subprocess.Popen([program, "serve", "-c", file, "--log-level", "warn"], **quiet)
        over = threading.Event()
        try:
            time.sleep(10)
            for pages in (0, PAGES):
                got, took = [], []
                threads = [
                    threading.Thread(target=page, args=(stats, got, over)) for _ in range(pages)
                ]
                if pages:
                    threads.append(threading.Thread(target=scrape, args=(stats, took, over)))
                [t.start() for t in threads]
                time.sleep(3)
                at, cpu = len(seen), control_cpu(balancer.pid)
                time.sleep(SECONDS)
                cpu = (control_cpu(balancer.pid) - cpu) / SECONDS
                print(f"{pages} pages: {lateness(seen[at:])}; control {cpu:.3f} cores")
                if pages:
                    took.sort()
                    print(f"pages got {sum(got) >> 20} MiB; /metrics took {took[len(took) // 2] * 1e3:.0f} ms, at most {took[-1] * 1e3:.0f} ms")
        finally:
            over.set()
            balancer.terminate()
            balancer.wait(20)


main()
