"""Reads and orders through haproxyadmin what an operator's script would: one line for each answer."""

import sys

from haproxyadmin import haproxy

balancer = haproxy.HAProxy(socket_file=sys.argv[1])
READ = ["qcur", "scur", "weight", "act", "bck", "check_status"]


def tell(server):
    print(server.backendname, server.name, server.status, server.weight, server.address)
    # In maintenance HAProxy forgets the last check; a star says that one is under way.
    check = "" if server.status == "MAINT" else server.check_status.removeprefix("* ")
    print(server.name, check, [server.metric(name) for name in READ[:5]])


print(balancer.processids is not None, balancer.version.split(".")[:2], int(balancer.uptimesec) >= 0)
for frontend in balancer.frontends(name="f"):
    print(frontend.name, frontend.status, frontend.metric("slim") is not None)
for name in ["b", "dead", "full"]:
    backend = balancer.backend(name)
    print(backend.name, backend.status, backend.metric("qcur"), backend.metric("act"))
    for server in sorted(backend.servers(), key=lambda server: server.name):
        tell(server)

server = balancer.server("up", backend="b")[0]
for state in ["drain", "maint", "ready", "disable", "enable"]:
    print(state, server.setstate(state), server.status.split(" ")[0])
for weight in [7, 0, "200%", "100%"]:
    print(weight, server.setweight(weight), server.weight)
print(balancer.clearcounters())
