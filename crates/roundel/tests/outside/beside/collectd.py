"""Reads a runtime socket with collectd-haproxy as collectd would: one line for each value."""

import sys
from types import SimpleNamespace

from collectd_haproxy.plugin import HAProxyPlugin


class Values:
    def __init__(self, plugin, type, type_instance):
        self.name = type_instance

    def dispatch(self, plugin_instance, values):
        print(plugin_instance, self.name, values[0])


def nothing(*_):
    pass


def fail(text):
    sys.exit(text)


collectd = SimpleNamespace(Values=Values, debug=nothing, info=nothing, warn=fail, error=fail)
plugin = HAProxyPlugin(collectd)
plugin.configure(SimpleNamespace(children=[SimpleNamespace(key="Socket", values=[sys.argv[1]])]))
plugin.initialize()
plugin.read()
