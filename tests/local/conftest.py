"""Stand-ins for the project's processes, so that the stack is tested alone."""

import os
import sys
from pathlib import Path

import pytest

from reelgate_local import background
from reelgate_local.layout import Stack

_SERVICE = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if os.environ.get("STANDIN_FAILS") == "{name}":
    sys.exit("no {name} today")

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

http.server.HTTPServer((os.environ["HTTP_HOST"], int(os.environ["HTTP_PORT"])), Ready).serve_forever()
"""
_CLI = """
import json, sys
if sys.argv[1] == "keys":
    print(json.dumps({"id": "1", "key": "rg_live_" + ("admin" if "--admin" in sys.argv else "user")}))
"""


@pytest.fixture
def standins(tmp_path):
    """An environment where the five processes and the command line are stand-ins, and servers are given."""
    folder = tmp_path / "standins"
    sources = {name: _SERVICE.format(name=name) for name in _names()} | {"cli": _CLI}
    for name, source in sources.items():
        package = folder / f"reelgate_{name}"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(source)
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(folder),
        "DATABASE_URL": "postgresql://given/database",
        "AMQP_URL": "amqp://given/",
    }


@pytest.fixture
def stack(tmp_path):
    """A stack under a temporary checkout, taken down whatever the test does."""
    stack = Stack("tried", tmp_path)
    yield stack
    background.down(stack)


@pytest.fixture
def python():
    """The interpreter running the tests."""
    return Path(sys.executable)


def _names():
    return ("api", "submitter", "callback", "reconciler", "simulator")
