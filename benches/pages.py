#!/usr/bin/env python3
"""Pages beside checks: python3 benches/pages.py target/dist/roundel

A balancer of 5,000 servers with a check every 2 s; for 20 s nobody looks, then 60 pages are open and
/metrics is read each second. Prints how late checks started (roundel_backend_check_delay_seconds), what
the pages got, and the control thread's processor time.
"""

import os
import re
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


def control_cpu(pid):
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            name, rest = f.read().rsplit(")", 1)
        if "control" in name:
            fields = rest.split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def delays(stats):
    """How many checks began within each bound, by bound in seconds."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stats}/metrics?scope=backend") as answer:
        text = answer.read().decode()
    found = re.findall(r'check_delay_seconds_bucket{backend="b",le="([^"]+)"} (\d+)', text)
    return {float(bound): int(count) for bound, count in found}


def lateness(before, after):
    count = {bound: after[bound] - before.get(bound, 0) for bound in after}
    total = count[float("inf")]
    within = lambda part: next(b for b in sorted(count) if count[b] >= total * part)
    return f"{total} checks, half within {within(0.5) * 1e3:g} ms, 99 % within {within(0.99) * 1e3:g} ms"


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
    toy = free()
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
                f'[[backend]]\nname = "b"\ncheck = {{ http = "HEAD /", every = "2s" }}\n'
                f"server = [\n{servers}]\n"
            )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        app = subprocess.Popen([program, "toy", "--listen", f"0.0.0.0:{toy}"], **quiet)
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
                before, cpu = delays(stats), control_cpu(balancer.pid)
                time.sleep(SECONDS)
                cpu = (control_cpu(balancer.pid) - cpu) / SECONDS
                print(f"{pages} pages: {lateness(before, delays(stats))}; control {cpu:.3f} cores")
                if pages:
                    took.sort()
                    print(f"pages got {sum(got) >> 20} MiB; /metrics took {took[len(took) // 2] * 1e3:.0f} ms, at most {took[-1] * 1e3:.0f} ms")
        finally:
            over.set()
            balancer.terminate()
            app.terminate()
            balancer.wait(20)
            app.wait(20)


main()
