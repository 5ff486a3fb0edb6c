#!/usr/bin/env python3
"""Acts and reads on the runtime socket: python3 benches/act-read.py target/dist/roundel

A balancer of 1,000 servers with checks every 2 s; 100 pairs of `set weight` and `get weight` a second
for 10 s from four clients. Prints stale reads, the processor time of the control thread with and
without acts (1 is one core), the time an act takes, and the checks done beside those due.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SERVERS, CLIENTS, PAIRS, SECONDS = 1000, 4, 100, 10


def free():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def say(path, line):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
        s.sendall(line.encode() + b"\n")
        parts = []
        while part := s.recv(65536):
            parts.append(part)
        return b"".join(parts).decode()


def control_cpu(pid):
    """Processor time of the threads that do all but requests: the main one and `control`."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            name, rest = f.read().rsplit(")", 1)
        if int(task) == pid or "control" in name:
            fields = rest.split()
            total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def checks(stats):
    with urllib.request.urlopen(f"http://127.0.0.1:{stats}/api/v1/backends/b/servers") as answer:
        return sum(s["check"]["passed_total"] for s in json.load(answer))


def client(path, number, took, stale):
    begun = time.monotonic()
    for n in range(PAIRS * SECONDS // CLIENTS):
        time.sleep(max(0, begun + n * CLIENTS / PAIRS - time.monotonic()))
        weight, server = n % 9, f"b/s{number}"
        at = time.monotonic()
        say(path, f"set weight {server} {weight}")
        took.append(time.monotonic() - at)
        if say(path, f"get weight {server}") != f"{weight} (initial 1)\n\n":
            stale.append(n)


def main():
    program = sys.argv[1]
    front, stats, toy = free(), free(), free()
    with tempfile.TemporaryDirectory() as folder:
        path, file = f"{folder}/sock", f"{folder}/roundel.toml"
        servers = "".join(
            f'{{ name = "s{n}", address = "127.0.0.1:{toy}" }},\n' for n in range(SERVERS)
        )
        with open(file, "w") as f:
            f.write(
                f'[stats]\nlisten = "127.0.0.1:{stats}"\n[cli]\nlisten = "off"\nsocket = "{path}"\n'
                f'[[frontend]]\nname = "f"\nlisten = "127.0.0.1:{front}"\ndefault_backend = "b"\n'
                f'[[backend]]\nname = "b"\ncheck = {{ http = "HEAD /", every = "2s" }}\n'
                f"server = [\n{servers}]\n"
            )
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        app = subprocess.Popen([program, "toy", "--listen", f"127.0.0.1:{toy}"], **quiet)
        balancer = subprocess.Popen([program, "serve", "-c", file, "--log-level", "warn"], **quiet)
        try:
            time.sleep(10)
            idle = control_cpu(balancer.pid)
            time.sleep(SECONDS)
            idle = (control_cpu(balancer.pid) - idle) / SECONDS
            took, stale = [], []
            before, done, begun = control_cpu(balancer.pid), checks(stats), time.monotonic()
            threads = [
                threading.Thread(target=client, args=(path, n, took, stale)) for n in range(CLIENTS)
            ]
            [t.start() for t in threads]
            [t.join() for t in threads]
            seconds = time.monotonic() - begun
            busy = (control_cpu(balancer.pid) - before) / seconds
            due, done = SERVERS * seconds / 2, checks(stats) - done
            took.sort()
            print(f"pairs/s          {len(took) / seconds:.1f}")
            print(f"stale reads      {len(stale)}")
            print(f"control, idle    {idle:.3f} cores")
            print(f"control, acts    {busy:.3f} cores, {busy - idle:.3f} more")
            print(f"act median, p99  {took[len(took) // 2] * 1e3:.1f} ms, {took[len(took) * 99 // 100] * 1e3:.1f} ms")
            print(f"checks           {done} of {due:.0f} due")
        finally:
            balancer.terminate()
            app.terminate()
            balancer.wait(20)
            app.wait(20)


main()
