"""Exit statuses and the words that go with them."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import MEANINGS, WORDS, Exit, error_for, explain, table, worst
from securemsg.client.warnings import WARNINGS, warning_text
from securemsg.errors import Refusal, RemoteProtocolError
from securemsg.protocol.codes import TABLE, Consequence

PACKAGE = Path(__file__).parents[2] / "securemsg"
# Where the codes and their words stand; a code that occurs nowhere else is not used.
TABLES = ("protocol/codes.py", "account/errors.py", "client/warnings.py")
RAISED = re.compile(r"""\b(?:Refusal|RemoteProtocolError|error_for)\("([a-z-]+)\"""")


class ExitTests(SynchronousTestCase):
    """The table."""

    def test_worst(self) -> None:
        """Of several, what may come right by itself counts less than what was refused; a bug counts most."""
        self.assertEqual(worst([0, 7, 3]), 3)
        self.assertEqual(worst([6, 4, 7]), 4)
        self.assertEqual(worst([7, 6]), 6)
        self.assertEqual(worst([5, 1]), 1)
        self.assertEqual(worst([]), 0)

    def test_contract(self) -> None:
        """The numbers are those that scripts depend on, and each has its words."""
        self.assertEqual([status.value for status in Exit], [*range(11), 74, 130])
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
        """A changed identity names the very commands that show its number and accept it, and none that verifies it."""
        for text in (error_for("identity-changed", "bob").hint, warning_text("identity-changed", "bob")):
            self.assertIn("securemsg verify bob", text)
            self.assertIn("securemsg contacts accept bob", text)
            self.assertNotIn("--confirm", text)

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


class WordsTests(SynchronousTestCase):
    """The table of codes and the words for them, held against each other and against the source."""

    def setUp(self) -> None:
        """Read the source, but for the tables."""
        paths = [path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).as_posix() not in TABLES]
        self.source = "".join(path.read_text("utf-8") for path in paths)

    def test_words(self) -> None:
        """No code is without words, but for broken protocol and what a client mends itself with a new session."""
        for code in TABLE:
            if code.kind not in (Consequence.RESET, Consequence.BROKEN):
                self.assertIn(code.name, WORDS.keys() | WARNINGS.keys())
            if code.kind & Consequence.FATAL:
                self.assertIn(code.name, WORDS)

    def test_used(self) -> None:
        """No code and no words are there for nothing."""
        for name in {code.name for code in TABLE} | set(WORDS) | set(WARNINGS):
            self.assertIn(f'"{name}"', self.source)

    def test_raised(self) -> None:
        """Whatever is refused or raised by its code stands in the table, or is a matter of this process and has words."""
        raised = set(RAISED.findall(self.source))
        self.assertGreater(len(raised), 50)
        self.assertEqual(raised - {code.name for code in TABLE} - set(WORDS), set())
