"""Tests of L{securemsg.daemon.options}: the daemon's command line."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg import __version__
from securemsg.daemon import options as options_module
from securemsg.daemon.options import WILDCARDS, Options, Setup


def setup_of(*arguments: str) -> Setup:
    """What a command line asks for."""
    options = Options()
    options.parseOptions(list(arguments))
    return options.setup


class DefaultTests(SynchronousTestCase):
    """No options at all."""

    def test_defaults(self) -> None:
        """The daemon listens on this machine alone, port 8443, and admits holders of an invite."""
        self.assertEqual(setup_of(), Setup("127.0.0.1", 8443, ("127.0.0.1", 8443), None, "invite", 1000, None, None, "ack"))

    def test_help(self) -> None:
        """The help names every option, and what to do next."""
        text = Options().getUsage()
        for word in ("--port", "--host", "--advertise", "--state", "--registration", "--max-clients", "--cert", "--key-file"):
            self.assertIn(word, text)
        self.assertIn("securemsg join", text)
        self.assertIn("exec:COMMAND", text)

    def test_version(self) -> None:
        """The version is ours, not Twisted's."""
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown), self.assertRaises(SystemExit) as caught:
            Options().parseOptions(["--version"])
        self.assertEqual((shown.getvalue(), caught.exception.code), (f"securemsg {__version__}\n", 0))


class GoodTests(SynchronousTestCase):
    """What can be asked for."""

    def test_everything(self) -> None:
        """Every option reaches the setup."""
        found = setup_of(
            *("--port", "9000", "--host", "::1", "--advertise", "chat.example:443", "--state", "/s", "--registration", "open"),
            *("--max-clients", "50", "--cert", "/c.pem", "--key", "/k.pem", "--answer", "echo"),
        )
        expected = Setup("::1", 9000, ("chat.example", 443), Path("/s"), "open", 50, Path("/c.pem"), Path("/k.pem"), "echo")
        self.assertEqual(found, expected)

    def test_user_invites(self) -> None:
        """What users may invite reaches the setup; else it is what it always was."""
        found = setup_of("--user-invites", "no", "--user-invite-uses", "1", "--user-open-invites", "3")
        self.assertEqual((found.users_invite, found.user_invite_uses, found.user_open_invites), (False, 1, 3))
        self.assertTrue(setup_of().users_invite)

    def test_advertised(self) -> None:
        """Names and addresses are understood, with and without a port; the port is else the one that is listened on."""
        for text, expected in (
            ("chat.example", ("chat.example", 8443)),
            ("Chat.Example:1", ("chat.example", 1)),
            ("192.0.2.1", ("192.0.2.1", 8443)),
            ("192.0.2.1:65535", ("192.0.2.1", 65535)),
            ("2001:db8::1", ("2001:db8::1", 8443)),
            ("[2001:db8::1]", ("2001:db8::1", 8443)),
            ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ):
            self.assertEqual(setup_of("--advertise", text).advertise, expected)

    def test_answer(self) -> None:
        """What answers is taken as it stands."""
        for value in ("exec:/bin/echo 'a b' -n", "python:json.dumps", "python:a.b.c", "none"):
            self.assertEqual(setup_of("--answer", value).answer, value)

    def test_duties(self) -> None:
        """Key file and record are paths that stay; sizes may have a letter."""
        found = setup_of("--key-file", "k", "--loose", "--record", "/r", "--record-size", "64K", "--print", "--lobby")
        self.assertEqual((found.key_file, found.loose), (Path.cwd() / "k", True))
        self.assertEqual((found.record, found.record_size, found.prints, found.lobby), (Path("/r"), 65536, True, True))
        found = setup_of()
        self.assertEqual((found.key_file, found.loose, found.record), (None, False, None))
        self.assertEqual((found.prints, found.lobby), (False, False))
        self.assertEqual(found.record_size, 16 << 20)
        for text, size in (("4096", 4096), ("1M", 1 << 20), ("4G", 4 << 30)):
            self.assertEqual(setup_of("--record", "r", "--record-size", text).record_size, size)

    def test_tls(self) -> None:
        """Twisted's own TLS is used when it is asked for."""
        found = [setup_of(*arguments).tls for arguments in ((), ("--tls", "stock"), ("--tls", "epoll"))]
        self.assertEqual(found, ["epoll", "stock", "epoll"])

    def test_metrics(self) -> None:
        """Metrics are at a UNIX socket or a port, of this machine alone unless an address is given."""
        for text, expected in (
            ("tcp:9100", ("127.0.0.1", 9100)),
            ("tcp:9100:interface=192.0.2.1", ("192.0.2.1", 9100)),
            ("unix:/run/m.sock", Path("/run/m.sock")),
            ("unix:m", Path.cwd() / "m"),
        ):
            self.assertEqual(setup_of("--metrics", text).metrics, expected)
        self.assertIsNone(setup_of().metrics)

    def test_localhost(self) -> None:
        """C{localhost} is an address, too."""
        self.assertEqual(setup_of("--host", "localhost").host, "127.0.0.1")

    def test_brackets(self) -> None:
        """An IPv6 address may stand in brackets, as invites and the log show it."""
        self.assertEqual(setup_of("--host", "[::1]").host, "::1")

    def test_path_stays(self) -> None:
        """A path is made absolute, for twistd may change its folder."""
        self.assertEqual(setup_of("--state", "here").state, Path.cwd() / "here")


class BadTests(SynchronousTestCase):
    """What cannot be asked for is said in one line on standard error, with status 2."""

    def complaint(self, *arguments: str) -> str:
        """What is said of a command line."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), self.assertRaises(SystemExit) as caught:
            setup_of(*arguments)
        self.assertEqual((caught.exception.code, out.getvalue()), (2, ""))
        text = err.getvalue()
        self.assertTrue(text.startswith("securemsg: "))
        self.assertEqual(text.count("\n"), 1)
        return text

    def test_numbers(self) -> None:
        """Ports and clients are numbers within their bounds."""
        for option, values in (
            ("--port", ("0", "65536", "-1", "http", "", "1e3")),
            ("--max-clients", ("0", "100001", "x")),
            ("--user-open-invites", ("0", "101")),
        ):
            for value in values:
                self.assertIn(f"{option} is a number from 1 to", self.complaint(option, value))

    def test_yes_or_no(self) -> None:
        """Users may invite, or not."""
        self.assertIn("--user-invites is yes or no, not 'maybe'", self.complaint("--user-invites", "maybe"))

    def test_log_format(self) -> None:
        """The log has one of two forms, or is left to the daemon."""
        self.assertEqual([setup_of("--log-format", form).log_format for form in ("json", "auto")], ["json", "auto"])
        self.assertIn("--log-format is one of auto, json, text, not 'xml'", self.complaint("--log-format", "xml"))

    def test_host(self) -> None:
        """What is listened on is an IP address."""
        for value in ("", "example.org", "127.0.0.1:80", "256.0.0.1"):
            self.assertIn("--host is an IP address", self.complaint("--host", value))

    def test_wildcard(self) -> None:
        """Who listens on all addresses says which of them invites name."""
        for value in (*WILDCARDS, "0:0:0:0:0:0:0:0"):
            self.assertIn("--advertise", self.complaint("--host", value))
            self.assertEqual(setup_of("--host", value, "--advertise", "a.example").advertise, ("a.example", 8443))

    def test_passed_socket(self) -> None:
        """A socket of systemd on all addresses is reached by the name of this machine, unless another one is given."""
        self.patch(options_module, "address_of", lambda descriptor, option: ("::", 8443))
        self.assertEqual(setup_of("--port", "fd:3").advertise, (os.uname().nodename.lower(), 8443))
        self.assertEqual(setup_of("--port", "fd:3", "--advertise", "a.example").advertise, ("a.example", 8443))

    def test_advertise(self) -> None:
        """What invites name must lead somewhere."""
        for value in ("", ":443", "a b", "-a", "a..b", "http://a", "a:x", "a:", "a:0", "[::1", "[a]:1", "1.2.3", "x" * 254):
            self.assertIn("--advertise", self.complaint("--advertise", value))
        for value in (*WILDCARDS, "[::]:443"):
            self.assertIn("leads nowhere", self.complaint("--advertise", value))

    def test_pair(self) -> None:
        """A certificate without its key is of no use, nor the other way round."""
        for option in ("--cert", "--key"):
            self.assertIn("--cert and --key go together", self.complaint(option, "/x"))

    def test_choices(self) -> None:
        """A word that is not known is answered with those that are."""
        self.assertIn("invite, open, closed, not 'some'", self.complaint("--registration", "some"))
        self.assertIn("epoll, stock, not 'other'", self.complaint("--tls", "other"))

    def test_empty_names(self) -> None:
        """An empty name is no folder, and no file."""
        for option in ("--state", "--key-file", "--record"):
            self.assertIn(f"{option} is empty", self.complaint(option, ""))

    def test_no_record(self) -> None:
        """A size of no record is a mistake."""
        self.assertIn("--record FILE", self.complaint("--record-size", "1M"))

    def test_loose(self) -> None:
        """To be loose about no file is a mistake."""
        self.assertIn("--key-file", self.complaint("--loose"))

    def test_size(self) -> None:
        """A size is a number of bytes, or of K, M or G, within bounds."""
        for value in ("", "x", "16m", "1T", "-1M", "4095", "3K", "5G", "1.5M", "16 M"):
            self.assertIn("--record-size is a size from 4K to 4G", self.complaint("--record", "r", "--record-size", value))

    def test_metrics(self) -> None:
        """Other endpoints are refused, and so are names and numbers that lead nowhere."""
        self.assertIn("--metrics fd:1023: descriptor 1023 is not a TCP socket", self.complaint("--metrics", "fd:1023"))
        ports = ("tcp:x", "tcp:1:backlog=5", "tcp:0", "tcp:65536", "tcp:1:interface=1.2.3")
        for value in ("", "9100", "fd:2", "unix:", "ssl:1", *ports):
            self.assertIn("--metrics", self.complaint("--metrics", value))

    def test_stray_word(self) -> None:
        """There is nothing but options."""
        self.complaint("stray")
        self.complaint("--no-such-option")
