"""The groups that the service agrees upon under C{deploy/openssl.cnf}, whatever a client offers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.functional.support import HOST, LIMIT, ROOT, TWISTD, PlaceCase, is_listening, until

CONFIGURATION = ROOT / "deploy" / "openssl.cnf"
# A handshake, and the group that it ended with, or the alert.
CLIENT = """
import socket, sys
from OpenSSL import SSL
context = SSL.Context(SSL.TLS_METHOD)
context.set_alpn_protos([b"securemsg/1"])
connection = SSL.Connection(context, socket.create_connection(("127.0.0.1", int(sys.argv[1]))))
connection.set_connect_state()
try:
    connection.do_handshake()
    print(connection.get_group_name())
except SSL.Error as error:
    print(error.args[0][0][2])
"""
MODERN = "X25519MLKEM768"
# What a client offers, the one it sends a key for first, and what comes of it.
AGREED = {
    "X25519MLKEM768:X25519": MODERN,
    # The server asks for a key of the better group.
    "X25519:X25519MLKEM768": MODERN,
    "X25519": "x25519",
    "P-256": "secp256r1",
    "X448:P-384": "secp384r1",
    "P-521:X448:ffdhe2048": "tls alert handshake failure",
}


class GroupTests(PlaceCase):
    """One daemon."""

    def test_agreed(self) -> None:
        """Post-quantum wherever the client can; nothing but the four groups; without the file, others are taken as well."""
        self.assertEqual(self.group("P-521"), "secp521r1")
        self.daemon.stop()
        arguments = ("-n", "securemsg", "--host", HOST, "--port", str(self.daemon.port), "--state", str(self.daemon.state))
        running = self.place.start("groups", TWISTD, *arguments, OPENSSL_CONF=str(CONFIGURATION))
        until(lambda: not running.is_alive or is_listening(self.daemon.port), "a daemon that listens")
        for offered, agreed in AGREED.items():
            found = self.group(offered)
            print(f"{offered}: {found}")
            self.assertEqual(found, agreed, offered)

    def group(self, offered: str) -> str:
        """What a client that offers these groups gets."""
        path = Path(self.place.folder) / "client.cnf"
        text = CONFIGURATION.read_text("utf-8")
        path.write_text(text.partition("Groups =")[0] + f"Groups = {offered}\n", "utf-8")
        done = subprocess.run(
            [sys.executable, "-c", CLIENT, str(self.daemon.port)],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
            env={**os.environ, "OPENSSL_CONF": str(path)},
        )
        return done.stdout.strip()
