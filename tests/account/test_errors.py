"""Exit statuses and the words that go with them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import MEANINGS, Exit, error_for, explain, is_known, table
from securemsg.client.agent import FATAL
from securemsg.errors import Refusal, RemoteProtocolError


class ExitTests(SynchronousTestCase):
    """The table."""

    def test_contract(self) -> None:
        """The numbers are those that scripts depend on, and each has its words."""
        self.assertEqual([status.value for status in Exit], [*range(10), 130])
        self.assertEqual(set(MEANINGS), set(Exit))
        for status, meaning in MEANINGS.items():
            self.assertIn(f"{status.value:>3}  {meaning}", table())

    def test_statuses(self) -> None:
        """Codes end in the status that their kind of trouble has."""
        expected = {
            Exit.USAGE: ("bad-invite", "illegal-name", "own-name"),
            Exit.NO_CONTACT: ("no-such-account",),
            Exit.IDENTITY_CHANGED: ("identity-changed",),
            Exit.REFUSED: ("too-large", "conflict", "forbidden", "bad-token", "name-taken", "registration-closed"),
            Exit.NOT_CONNECTED: ("not-connected", "lost", "retry-later", "mailbox-full", "rate-limited", "server-full"),
            Exit.TIMED_OUT: ("not-delivered", "too-few"),
            Exit.WRONG_SERVER: ("server-identity",),
            Exit.PROFILE: ("profile-damaged", "wrong-passphrase", "second-recv", "no-profile"),
        }
        for status, codes in expected.items():
            for code in codes:
                self.assertEqual(error_for(code).status, status, code)

    def test_accepting_command(self) -> None:
        """A changed identity names the very command that accepts it."""
        self.assertIn("securemsg verify bob --accept", error_for("identity-changed", "bob").hint)

    def test_ends_explained(self) -> None:
        """Whatever ends a login for good has words of its own."""
        for code in FATAL:
            self.assertTrue(is_known(code), code)

    def test_unknown(self) -> None:
        """A refusal that we have no words for is shown by its code; a peer that breaks the protocol is a lost connection."""
        self.assertEqual(explain(Refusal("new-rule")).status, Exit.REFUSED)
        self.assertIn("new-rule", explain(Refusal("new-rule")).text)
        self.assertEqual(explain(RemoteProtocolError("malformed")).status, Exit.NOT_CONNECTED)

    def test_no_leftovers(self) -> None:
        """Every text stands without the name that it could not be given."""
        for code in ("name-taken", "not-connected", "no-daemon", "identity-changed", "other-name"):
            for text in (error_for(code).text, error_for(code).hint, error_for(code, "bob").text):
                self.assertNotIn("{", text)
