"""C{securemsg doctor}: each check, with and without its problem."""

from __future__ import annotations

import json
import os

from msgspec.structs import replace
from twisted.internet import error
from twisted.internet.defer import Deferred

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli import checks
from securemsg.cli.checks import MAX_SHOWN, Finding, failed
from securemsg.cli.commands.doctor import Report, in_words, log_in, reachable
from securemsg.client import messages
from securemsg.client.state import contacts
from securemsg.client.state.records import QuarantinedPeer
from tests.cli.rig import MemoryDialer, Person, PlaceCase
from tests.cli.test_main import CommandLineCase
from tests.net.test_dialer import FakeEndpoint


class Notes(Report):
    """Keeps what is found."""

    def __init__(self) -> None:
        super().__init__(False)
        self.found: list[Finding] = []

    def add(self, finding: Finding) -> None:
        """One more."""
        self.found.append(finding)
        self.status = self.status or finding.status

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong: the code of each check."""
        return {each.check: each.problem.code for each in self.found if each.problem is not None}

    @property
    def names(self) -> list[str]:
        """The checks, in order."""
        return [each.check for each in self.found]


class LocalTests(CommandLineCase):
    """Without a profile."""

    def test_no_profile(self) -> None:
        """What can be checked is checked, and the status is that of the problem."""
        status, out, err = self.run_whole("doctor", "--profile", str(self.profile))
        self.assertEqual((status, err), (Exit.PROFILE, ""))
        lines = out.splitlines()
        self.assertRegex(lines[0], r"^ok       versions       securemsg \S+, Python 3\S+, OpenSSL \S+, twisted \S+, ")
        self.assertEqual(lines[1], "ok       configuration  no file")
        self.assertRegex(lines[2], r"^problem  profile        there is no profile in .*; run `securemsg join`")
        _, out, _ = self.run_whole("doctor", "--profile", str(self.profile), "--json")
        last = json.loads(out.splitlines()[-1])
        self.assertEqual((last["check"], last["ok"], last["code"]), ("profile", False, "no-profile"))

    def test_configuration(self) -> None:
        """The tables of all commands in the configuration file are checked."""
        path = self.folder / "config.toml"
        os.environ["SECUREMSG_CONFIG"] = str(path)
        for text, status, line in (
            ("[admin.invite]\nuses = 3\n", Exit.PROFILE, f"ok       configuration  {path}"),
            ("[admin.invite]\nuse = 3\n", Exit.USAGE, f"problem  configuration  {path}: admin.invite.use: unknown key"),
        ):
            path.write_text(text, "utf-8")
            path.chmod(0o600)
            found, out, _ = self.run_whole("doctor", "--profile", str(self.profile))
            self.assertEqual(found, status)
            self.assertIn(line, out)

    def test_narrow(self) -> None:
        """On a terminal lines end between words, and further ones are indented; a pipe gets one line."""
        prefix = "problem  server         "
        text = "nothing listens on [::1]:2; check that the server is running, and --port"
        self.assertEqual(in_words(prefix, text, 0), prefix + text)
        for width, indent in ((40, 4), (80, len(prefix)), (120, len(prefix))):
            first, *others = in_words(prefix, text, width).split("\n")
            self.assertTrue(first.startswith(prefix + "nothing"))
            self.assertTrue(all(len(line) <= width for line in (first, *others)))
            for line in others:
                self.assertEqual(len(line) - len(line.lstrip()), indent)
            self.assertEqual(" ".join(line.strip() for line in (first[len(prefix) :], *others)), text)

    def test_status(self) -> None:
        """The exit status is that of the first problem."""
        report = Notes()
        for status in (None, Exit.WRONG_SERVER, Exit.PROFILE):
            problem = None if status is None else SecuremsgError(status, "code", "text")
            report.add(Finding("check", "fine") if problem is None else failed("check", problem))
        self.assertEqual(report.status, Exit.WRONG_SERVER)


class ServerTests(PlaceCase):
    """Up to the login."""

    def look(self, person: Person, is_reached: bool = True) -> Notes:
        """Check as a process of its own does."""
        notes = Notes()
        connection = self.place.beside(person)
        connection.start()
        done = Deferred.fromCoroutine(log_in(person.context, connection, notes, is_reached))
        self.place.settle(40)
        self.successResultOf(done)
        connection.stop()
        return notes

    def test_well(self) -> None:
        """All is well, also where another process has the connection."""
        ada = self.place.person("ada")
        notes = self.look(ada)
        self.assertEqual((notes.names, notes.problems), (["tls", "pin", "login", "clock"], {}))
        self.assertIn("another process", notes.found[2].text)
        ada.connection.stop()
        self.place.settle()
        self.assertNotIn("another process", self.look(ada).found[2].text)

    def test_down(self) -> None:
        """Without a server the login fails, unless that nobody answers was said already; the clock is compared all the same."""
        ada = self.place.person("ada")
        ada.connection.stop()
        self.place.is_up = False
        notes = self.look(ada)
        self.assertEqual((notes.names, notes.problems), (["login", "clock"], {"login": "not-connected"}))
        self.assertEqual(self.look(ada, is_reached=False).names, ["clock"])

    def fails(self, person: Person, code: str, notes: Notes, is_reached: bool = True) -> list[str]:
        """Have the connection fail with a code; the names of the checks that are reported."""
        self.patch(MemoryDialer, "start", lambda dialer: self.place.clock.callLater(0, dialer.failed, code))
        connection = self.place.beside(person)
        connection.start()
        done = Deferred.fromCoroutine(log_in(person.context, connection, notes, is_reached))
        self.place.settle(40)
        self.successResultOf(done)
        connection.stop()
        return notes.names

    def test_steps(self) -> None:
        """Each failure is reported at its step."""
        ada = self.place.person("ada")
        ada.connection.stop()
        for code, step in (("tls", "tls"), ("not-post-quantum", "tls"), ("server-identity", "pin"), ("login-failed", "login")):
            notes = Notes()
            self.assertEqual(self.fails(ada, code, notes), [step, "clock"])
            self.assertEqual(notes.problems, {step: code})

    def test_reachable(self) -> None:
        """What is wrong with host and port, in words, with an IPv6 address in brackets."""
        for reason, code, text in (
            (error.DNSLookupError(), "no-such-host", "the host ::1 is not found"),
            (error.ConnectionRefusedError(), "refused", "nothing listens on [::1]:9"),
            (error.TimeoutError(), "timeout", "[::1]:9 does not answer"),
        ):
            endpoint = FakeEndpoint()
            done = Deferred.fromCoroutine(reachable(endpoint, "::1", 9))
            endpoint.attempts[0][1].errback(reason)
            finding = self.successResultOf(done)
            assert finding.problem is not None
            self.assertEqual((finding.text, finding.problem.code, finding.status), (text, code, Exit.NOT_CONNECTED))
        endpoint = FakeEndpoint()
        done = Deferred.fromCoroutine(reachable(endpoint, "::1", 9))
        endpoint.succeed()
        self.assertEqual(self.successResultOf(done), Finding("server", "[::1]:9 answers"))


class ClockTests(PlaceCase):
    """The clock of this machine."""

    def test_against_server(self) -> None:
        """More than a minute off the server's, in either direction, is a problem."""
        for now, text in (
            (1000, None),
            (1060, None),
            (1061, "the clock is 61 seconds ahead of the server's"),
            (800, "the clock is 3 minutes behind the server's"),
            (1000 - 3 * 86400, "the clock is 3 days behind the server's"),
        ):
            finding = checks.clock(now, 1000, of_server=True)
            self.assertEqual(None if finding.problem is None else finding.problem.text, text)

    def test_against_profile(self) -> None:
        """Without a server, a clock may not be before what the profile has seen; later is no problem."""
        ada, ben = self.place.person("ada"), self.place.person("ben")
        self.assertEqual(checks.newest_time(ada.context), 0)
        messages.compose(ben.context.store, "ada", "hello", now=self.place.now())
        ben.connection.nudge()
        self.place.settle(1)
        seen = checks.newest_time(ada.context)
        self.assertLess(abs(seen - self.place.now()), 5)
        self.assertIsNone(checks.clock(seen + 9 * 86400, seen, of_server=False).problem)
        finding = checks.clock(seen - 2 * 86400, seen, of_server=False)
        self.assertEqual(finding.text, "the clock is 2 days behind what this profile has seen")


class WaitingTests(PlaceCase):
    """Outbox and quarantine."""

    def test_outbox(self) -> None:
        """What waits for a connection is no problem; what waits for a decision is one, with what to do."""
        ada = self.place.person("ada")
        self.place.person("ben")
        self.assertEqual(checks.outbox(ada.context), Finding("outbox", "empty"))
        store = ada.context.store
        messages.compose(store, "ben", "first", now=self.place.now())
        ada.connection.nudge()
        self.place.settle(1)
        ada.connection.stop()
        messages.compose(store, "ben", "hello", now=self.place.now())
        self.assertEqual(checks.outbox(ada.context).text, "1 waiting: 1 to ben; sent with the next connection")
        with store.writing() as records:
            known = contacts.get_contact(records, "ben")
            assert known is not None
            contacts.put_contact(records, replace(known, changed_to=bytes(range(32))))
        finding = checks.outbox(ada.context)
        assert finding.problem is not None
        self.assertEqual((finding.status, finding.text), (Exit.IDENTITY_CHANGED, "1 waiting: 1 to ben (identity-changed)"))
        self.assertIn("securemsg contacts accept ben", finding.problem.hint)

    def quarantined(self, *peers: QuarantinedPeer) -> Finding:
        """What is said of a quarantine."""
        ada = self.place.person("ada")
        self.patch(messages, "held_back", lambda store: peers)
        return checks.quarantine(ada.context)

    def test_quarantine(self) -> None:
        """Changed keys and a missing key file are problems; what was asked for again is none."""
        self.assertEqual(self.quarantined(), Finding("held back", "nothing"))

    def test_asked_again(self) -> None:
        """What could not be opened and was asked for again needs nobody."""
        self.assertIsNone(self.quarantined(QuarantinedPeer("ben", 2)).problem)

    def test_locked(self) -> None:
        """A missing key file is named with the command that takes it."""
        finding = self.quarantined(QuarantinedPeer("ben", 2, locked=2))
        assert finding.problem is not None
        self.assertEqual(finding.text, "2 messages: 2 from ben (needs a key file)")
        self.assertIn("securemsg contacts ben --set-suite psk --key-file FILE", finding.problem.hint)

    def test_changed(self) -> None:
        """Changed keys come first; of many names a few are shown."""
        peers = [QuarantinedPeer(f"p{number}", 1, identity=bytes(32)) for number in range(MAX_SHOWN + 2)]
        finding = self.quarantined(*peers)
        self.assertEqual(finding.status, Exit.IDENTITY_CHANGED)
        self.assertTrue(finding.text.endswith(f"p{MAX_SHOWN - 1} (identity-changed) and 2 more"), finding.text)
