"""What is noted of the operator's actions."""

from __future__ import annotations

from securemsg.protocol import messages as m
from securemsg.protocol.auth import Binding
from securemsg.server.audit import ACTIONS
from securemsg.server.connection import Role
from tests.protocol.examples import EXAMPLES
from tests.server.case import TwoPeople
from tests.server.rig import Client, Wire


class AuditTests(TwoPeople):
    """An operator, of whom the kernel says the user id."""

    def setUp(self) -> None:
        """User 1000 is here."""
        super().setUp()
        self.operator: Client = self.rig.operator()
        wire: Wire = self.operator.wire
        wire.binding = Binding("unix", "none", b"", b"", user=1000)

    def test_all(self) -> None:
        """Whatever the operator does is noted, but for what only asks for numbers; nothing that others do is."""
        commands = self.rig.server.commands[Role.OPERATOR]
        self.assertEqual(set(ACTIONS), set(commands) - {m.Ping, m.GetStats, m.GetAddress})
        for kind in ACTIONS:
            self.operator.ask(EXAMPLES[kind])
            self.assertEqual(len(self.rig.actions), 1, kind)
            self.assertEqual(self.rig.actions.pop()[0], 1000)
        self.operator.ask(m.SetDraining(1, False))
        self.rig.actions.clear()
        self.rig.login(self.alice).ask(m.Invite(1, 1, 60), m.Ping(2))
        self.assertEqual(self.rig.actions, [])

    def test_results(self) -> None:
        """A line says what was done, to whom, and how it ended; of a list in pages there is one line."""
        messages = m.SetSuspended(1, "bob", True), m.Kick(2, "nobody"), m.ListAccounts(3, ""), m.ListAccounts(4, "alice")
        self.operator.ask(*messages, m.RemoveAccount(5, "bob", 1), m.RemoveAccount(6, "bob"))
        self.assertEqual(
            [line[1:] for line in self.rig.actions],
            [
                ("suspend", "bob", "done"),
                ("kick", "nobody", "no-such-account"),
                ("accounts", "", "done"),
                ("purge", "bob", "account-active"),
                ("remove", "bob", "done"),
            ],
        )

    def test_secrets(self) -> None:
        """Neither a text nor a whole digest is noted."""
        self.operator.ask(m.Reply(1, "bob", "Good evening"), m.RevokeInvite(2, bytes(range(32))))
        self.assertEqual([line[2] for line in self.rig.actions], ["bob", "000102030405"])
