"""What a command imports. It costs more than anything that most commands do, so each takes what it needs and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from securemsg.client.messages import compose
from securemsg.client.state.conversations import direct
from tests.cli.commands.rig import NOW, ProfileCase

ROOT = Path(__file__).resolve().parent.parent.parent
# What takes tens of milliseconds to import: the reactor, TLS, message encryption, certificates, what draws, and our own parts
# that go with a connection.
HEAVY = (
    "Crypto",
    "OpenSSL",
    "aioquic",
    "asyncio",
    "cryptography.x509",
    "prompt_toolkit",
    "rich",
    "securemsg.client.agent",
    "securemsg.client.login",
    "securemsg.net.dialer",
    "segno",
    "service_identity",
    "twisted",
    "wcwidth",
)
# Commands that only read.
READING = ("whoami", "contacts", "devices", "export", "outbox", "settings")
# Runs a command, and prints its status and what of these it has imported.
COMMAND = f"""
import json, sys
from securemsg.cli.main import run
status = run(sys.argv[1:])
print(json.dumps([status, [name for name in {HEAVY} if name in sys.modules]]))
"""
# Looks for the routes to a server that has both, and prints how many there are and whether the library for UDP is imported.
ROUTES = """
import sys
from twisted.internet import reactor
from securemsg.account.address import ServerAddress
from securemsg.account.routes import routes
found = routes(reactor, ServerAddress("127.0.0.1", 1, 1, "auto"))
print(len(found), "aioquic" in sys.modules)
"""


class ImportTests(ProfileCase):
    """Commands on a profile, each in a process of its own; there is no server."""

    def check(self, *arguments: str, needed: tuple[str, ...] = (), status: int = 0) -> None:
        """A command ends with this status, and has imported nothing heavy but what is needed."""
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        argv = [sys.executable, "-c", COMMAND, "--profile", str(self.folder), *arguments]
        done = subprocess.run(argv, capture_output=True, env=settings, timeout=60, stdin=subprocess.DEVNULL)
        ended, found = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual((arguments[0], ended), (arguments[0], status), done.stderr)
        self.assertEqual((arguments[0], found), (arguments[0], sorted(needed)))

    def test_reading(self) -> None:
        """What only looks into the profile imports neither the network nor the encryption of messages."""
        self.add(direct("ben"), "hello")
        for words in (*READING, "history ben", "search hello", "room list"):
            self.check(*words.split())
            self.check(*words.split(), "--json")

    def test_writing(self) -> None:
        """What only writes into the profile imports no more."""
        self.check("send", "ben", "hello", "--wait", "none")
        number = compose(self.store, "ben", "hello", now=NOW)
        self.check("outbox", "cancel", number.hex())
        self.check("settings", "receipts", "nobody")

    def test_refused(self) -> None:
        """A command that is refused before it connects imports nothing for the connection."""
        self.check("send", "ada", "to myself", status=2)
        self.check("send", "#nowhere", "hello", status=3)
        self.check("history", "nobody", status=3)
        self.check("ask", "ada", "myself?", status=2)
        self.check("pipe", "ada", status=2)
        for command in ("ask", "pipe", "answer", "gateway", "identity"):
            self.check(command, "--help")

    def test_connecting(self) -> None:
        """A command that needs the server imports the network, and nothing that draws or that encrypts messages."""
        network = ("OpenSSL", "asyncio", "cryptography.x509", "securemsg.client.agent", "securemsg.client.login")
        needed = (*network, "securemsg.net.dialer", "service_identity", "twisted")
        self.check("ping", "--timeout", "5", needed=needed, status=6)

    def test_udp(self) -> None:
        """What UDP needs is not imported before it is tried, a little later than TCP."""
        settings = {**os.environ, "PYTHONPATH": str(ROOT)}
        said = subprocess.check_output([sys.executable, "-c", ROUTES], env=settings, timeout=60)
        self.assertEqual(said, b"2 False\n")
