"""C{--host} and C{--port} override, on every command that connects, where the profile says that the server is."""

from __future__ import annotations

import socket

from securemsg.cli.main import COMMANDS
from securemsg.storage.files import write_private_file
from tests.functional.support import HOST, LIMIT, Person, PlaceCase, free_port

# Every way in which a command comes to connect. C{INVITE} and C{NEWCOMER} stand for an invite, and a name that is new.
INVITE, NEWCOMER = "INVITE", "newcomer"
CONNECTING: tuple[tuple[str, ...], ...] = (
    ("join", INVITE, NEWCOMER),
    ("send", "server", "hello"),
    ("ask", "somebody", "Is it so?"),
    ("recv",),
    ("recv", "--follow"),
    ("respond", "--exec", "cat"),
    ("pipe", "--from", "somebody"),
    ("gateway", "routes.toml", "--listen", f"{HOST}:{free_port()}"),
    ("chat", "server"),
    ("contacts", "another", "--set-suite", "pqxdh"),
    ("verify", "somebody"),
    ("status",),
    ("ping",),
    ("doctor",),
    ("invite",),
    ("identity", "renew"),
    ("room", "create", "team"),
)
# These never connect; C{serve} becomes the daemon, C{admin} talks with the one of this machine, over its own socket. C{devices}
# does only to change a list, C{lobby} only for who is in it, and C{answer} only where somebody has asked.
LOCAL = {"serve", "history", "search", "export", "outbox", "settings", "whoami", "passphrase", "profile", "keygen", "admin"}
LOCAL |= {"answer", "devices", "lobby", "help", "completion"}
# These go on for ever; all others end with status 0 once they have reached the server.
ENDLESS = {row for row in CONNECTING if "--follow" in row or row[0] in ("ask", "respond", "gateway", "pipe")}
ROUTES = '[routes.note]\nto = "another"\nformat = "text"\ntoken = "0123456789abcdef"\n'


class AddressTests(PlaceCase):
    """A daemon whose invites name an address at which nobody listens: that is the one in every profile."""

    dead = free_port()
    options = ("--advertise", f"{HOST}:{dead}")

    def here(self) -> tuple[str, ...]:
        """Where the daemon really is."""
        return ("--host", HOST, "--port", str(self.daemon.port))

    def joined(self, name: str) -> Person:
        """Somebody with an account."""
        person = Person(self.place, name)
        person.run("join", "-", name, *self.here(), text=self.daemon.invite() + "\n")
        return person

    def test_table(self) -> None:
        """Every command stands in one of the tables above: a new one belongs there, too."""
        connecting = {row[0] for row in CONNECTING}
        self.assertEqual(connecting & LOCAL, set())
        self.assertEqual(connecting | LOCAL, set(COMMANDS))

    def test_override(self) -> None:
        """Each command reaches the server at the address that it is given, and not at the one in the profile."""
        ada, *_ = (self.joined(name) for name in ("ada", "somebody", "another"))
        for number, row in enumerate(CONNECTING):
            if row in ENDLESS:
                continue
            newcomer = f"{NEWCOMER}{number}"
            person = Person(self.place, newcomer) if row[0] == "join" else ada
            arguments = [{INVITE: self.daemon.invite(), NEWCOMER: newcomer}.get(word, word) for word in row]
            text = "hello\n" if row[0] == "chat" else None
            person.run(*arguments, "--timeout", "2", text=text, status=6)
            person.run(*self.here(), *arguments, text=text)

    def test_nowhere_else(self) -> None:
        """
        Each command connects to the address that it is given, wherever the option stands; nobody comes to the profile's own.
        """
        bea = self.joined("bea")
        write_private_file(self.place.folder / "routes.toml", ROUTES.encode())
        with socket.create_server((HOST, self.dead)) as own, socket.create_server((HOST, 0)) as other:
            own.settimeout(0)
            other.settimeout(LIMIT)
            there = ("--host", HOST, "--port", str(other.getsockname()[1]))
            for number, row in enumerate(CONNECTING):
                newcomer = f"other{number}"
                person = Person(self.place, newcomer) if row[0] == "join" else bea
                arguments = [{INVITE: self.daemon.invite(), NEWCOMER: newcomer}.get(word, word) for word in row]
                for line in ((*there, *arguments), (*arguments, *there)):
                    running = person.start(*line, pipe=row[0] == "chat")
                    try:
                        other.accept()[0].close()
                    except TimeoutError:
                        self.fail(f"{line} does not connect\n{running.err}")
                    running.kill()
                self.assertRaises(BlockingIOError, own.accept)
