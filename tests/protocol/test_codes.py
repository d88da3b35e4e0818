"""The table of codes, and what is computed from it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol.codes import DISTRUSTED, FATAL, HELD, NO_RESET, TABLE, UNDELIVERABLE, WAITS, Consequence, SentIn

# What a message has room for, characters.
MAX_SIZE = 64


class CodeTests(SynchronousTestCase):
    """Each code once, and in the sets that decide what happens."""

    def test_rows(self) -> None:
        """A code stands there once, says who says it and what follows, and fits into a message."""
        names = [code.name for code in TABLE]
        self.assertEqual(len(names), len(set(names)))
        for code in TABLE:
            self.assertTrue(code.said and code.kind, code.name)
            self.assertLessEqual(len(code.name), MAX_SIZE)

    def test_no_contradiction(self) -> None:
        """What passes by itself is refused by nobody for good."""
        for code in TABLE:
            self.assertFalse(code.kind & Consequence.RETRY and code.kind != Consequence.RETRY, code.name)

    def test_fatal(self) -> None:
        """Whoever is refused at the door for good does not knock again."""
        ends = {"server-identity", "login-failed", "unsupported-version", "removed", "suspended", "device-removed"}
        joins = {"bad-token", "name-taken", "illegal-name", "reserved-name", "registration-closed", "bad-device-list"}
        joins |= {"mailbox-not-empty"}
        self.assertEqual(FATAL, ends | joins)

    def test_undeliverable(self) -> None:
        """A deposit fails for these codes alone; any other leaves it in the outbox."""
        self.assertEqual(UNDELIVERABLE, {"no-such-account", "too-large", "conflict", "bad-request", "forbidden"})

    def test_held(self) -> None:
        """A received message waits for the user for these; for these and some others no new session is asked for."""
        self.assertEqual(HELD, {"identity-changed", "suite-unavailable", "wrong-key"})
        hopeless = {"own-account", "illegal-name", "bad-content", "list-forked", "list-rolled-back"}
        self.assertEqual(WAITS, {"room-behind", "room-forked"})
        self.assertEqual(NO_RESET, HELD | hopeless | WAITS)

    def test_distrusted(self) -> None:
        """The user is warned of a server that shows one of these."""
        lists = {"bad-device-list", "list-rolled-back", "list-forked"}
        self.assertEqual(DISTRUSTED, lists | {"unauthentic", "spent-bundle", "stale-bundle"})

    def test_wire_only(self) -> None:
        """What a client finds out by itself is no answer of a server."""
        for code in TABLE:
            if code.kind & (Consequence.HELD | Consequence.DISTRUSTED) and code.said & ~SentIn.LOCAL:
                self.assertIn(code.name, ("bad-device-list", "unauthentic"))
