"""C{securemsg passphrase}, and where every command takes a passphrase from."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import os
import sys
import tempfile
from pathlib import Path

from securemsg.account.errors import Exit
from securemsg.cli.commands.join import choose_key, prepare
from securemsg.cli.settings import Settings
from securemsg.client.state.vault import KEY_FILE
from tests.cli.test_main import LINK, CommandLineCase
from tests.cli.test_output import stdout_to


class Terminal(io.StringIO):
    """A stream at a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


class PassphraseCase(CommandLineCase):
    """Somebody who has a profile that is not registered yet, and perhaps a terminal."""

    def setUp(self) -> None:
        """There is nobody to be asked."""
        super().setUp()
        self.patch(sys, "stdin", io.StringIO())
        self.entered: list[str] = []
        self.asked: list[str] = []
        self.patch(getpass, "getpass", self.enter)

    def enter(self, prompt: str, stream: object = None) -> str:
        """Somebody types the next of what they have in mind."""
        self.asked.append(prompt)
        return self.entered.pop(0)

    def sit_down(self, *entered: str) -> None:
        """Standard input is a terminal, at which this will be typed."""
        self.patch(sys, "stdin", Terminal())
        self.entered = [*entered]

    def file(self, passphrase: str, name: str = "file") -> Path:
        """A passphrase in a file."""
        path = self.folder / name
        path.write_text(f"{passphrase}\n", "utf-8")
        path.chmod(0o600)
        return path

    def pipe(self, passphrase: str) -> str:
        """A passphrase in a pipe; its descriptor."""
        reader, writer = os.pipe()
        os.write(writer, f"{passphrase}\n".encode())
        os.close(writer)
        return str(reader)

    def make(self, passphrase: str = "") -> None:
        """Make the profile."""
        prepare(Settings(profile=self.profile, passphrase_file=self.file(passphrase) if passphrase else None), LINK, "ada")

    def ours(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command on the profile, with a file as its standard output."""
        with tempfile.TemporaryFile() as out:
            with stdout_to(out.fileno()):
                status, _, err = self.run_line("--profile", str(self.profile), *arguments)
            out.seek(0)
            return status, out.read().decode("utf-8", "replace"), err

    def assert_opens(self, passphrase: str) -> None:
        """Check that the profile opens with this passphrase, or without any: only then is it seen that it is not registered."""
        options = ("--passphrase-file", str(self.file(passphrase))) if passphrase else ()
        self.assertIn("[not-joined]", self.ours("whoami", *options)[2])

    def assert_fails(self, code: str, status: Exit, *arguments: str) -> str:
        """Check that a command fails with a code, and give what it says."""
        found, out, err = self.ours(*arguments)
        self.assertEqual((found, out), (status, ""), err)
        self.assert_one_line(err, code)
        return err


class SourceTests(PassphraseCase):
    """Where a passphrase comes from."""

    def test_descriptor(self) -> None:
        """A descriptor gives it, with or without a line end, and is closed then."""
        self.make("correct horse")
        descriptor = self.pipe("correct horse")
        self.assert_fails("not-joined", Exit.PROFILE, "whoami", "--passphrase-fd", descriptor)
        self.assertRaises(OSError, os.fstat, int(descriptor))
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "whoami", "--passphrase-fd", self.pipe("battery staple"))

    def test_bad_descriptor(self) -> None:
        """A descriptor that is not open, or gives nothing or no end of it, is wrong usage."""
        self.make("correct horse")
        for descriptor in ("987", self.pipe(""), self.pipe("x" * 5000)):
            self.assert_fails("passphrase-file", Exit.USAGE, "whoami", "--passphrase-fd", descriptor)

    def test_two_options(self) -> None:
        """A file and a descriptor together are wrong usage, before or after the command."""
        self.make("correct horse")
        file = ("--passphrase-file", str(self.file("correct horse")))
        self.assert_fails("usage", Exit.USAGE, *file, "whoami", "--passphrase-fd", "0")

    def test_environment(self) -> None:
        """The environment names a file for all commands; an option goes before it."""
        self.make("correct horse")
        os.environ["SECUREMSG_PASSPHRASE_FILE"] = str(self.file("correct horse"))
        self.assert_fails("not-joined", Exit.PROFILE, "whoami")
        wrong = str(self.file("battery staple", "wrong"))
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "whoami", "--passphrase-file", wrong)

    def test_credential(self) -> None:
        """
        A credential of systemd's counts where neither option nor environment names a file, whatever its mode shows; another
        credential of the unit does not.
        """
        self.make("correct horse")
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.folder)
        self.file("battery staple", "other.passphrase")
        self.assert_fails("passphrase-needed", Exit.PROFILE, "whoami")
        self.file("correct horse", "securemsg.passphrase").chmod(0o440)
        self.assert_fails("not-joined", Exit.PROFILE, "whoami")
        os.environ["SECUREMSG_PASSPHRASE_FILE"] = str(self.file("battery staple"))
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "whoami")

    def test_unprotected(self) -> None:
        """Each of them is an error in every command if the profile has no passphrase, and nothing repeats it."""
        self.make()
        file = str(self.file("correct horse", "securemsg.passphrase"))
        for line in ("whoami", "send ben hi", "recv", "status", "passphrase --remove", f"join {LINK} ada"):
            arguments = line.split()
            said = self.assert_fails("no-passphrase-there", Exit.PROFILE, *arguments, "--passphrase-file", file)
            self.assertNotIn("horse", said)
        self.assert_fails("no-passphrase-there", Exit.PROFILE, "whoami", "--passphrase-fd", self.pipe("correct horse"))
        os.environ["CREDENTIALS_DIRECTORY"] = str(self.folder)
        self.assert_fails("no-passphrase-there", Exit.PROFILE, "whoami")
        del os.environ["CREDENTIALS_DIRECTORY"]
        os.environ["SECUREMSG_PASSPHRASE_FILE"] = file
        self.assert_fails("no-passphrase-there", Exit.PROFILE, "whoami")

    def test_asked_for(self) -> None:
        """At a terminal it is asked for if there is no other source, once, and only if the profile has one."""
        self.make("correct horse")
        self.sit_down("correct horse", "battery staple")
        self.assert_fails("not-joined", Exit.PROFILE, "whoami")
        self.assertEqual(self.asked, [f"Passphrase for {self.profile}: "])
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "whoami")
        self.assert_opens("correct horse")
        self.assertEqual(len(self.asked), 2)

    def test_nobody_to_ask(self) -> None:
        """On a pipe nothing is asked for."""
        self.make("correct horse")
        self.assert_fails("passphrase-needed", Exit.PROFILE, "whoami")
        self.assertEqual(self.asked, [])


class JoinTests(PassphraseCase):
    """C{join} makes the keys."""

    def join(self, *options: str) -> str:
        """
        Join at a terminal, where nothing is registered: the server is not there.

        @return: what it showed.
        """
        err = Terminal()
        with contextlib.redirect_stderr(err):
            settings = Settings(profile=self.profile)
            prepare(settings, LINK, "ada", make_key=choose_key(settings, protect="--no-passphrase" not in options))
        return err.getvalue()

    def test_asked(self) -> None:
        """At a terminal it asks twice for a passphrase, and says what it is good for."""
        self.sit_down("correct horse", "correct horse")
        self.assertIn("Leave it empty for none", self.join())
        self.assertEqual(self.asked, [f"New passphrase for {self.profile}: ", "The same again: "])
        self.patch(sys, "stdin", io.StringIO())
        self.assert_opens("correct horse")

    def test_differ(self) -> None:
        """Two entries that differ are asked for again; in the end nothing is made."""
        self.sit_down("correct horse", "correct house", "correct horse", "correct horse")
        self.assertIn("These two differ", self.join())
        self.assert_opens("correct horse")
        self.profile = self.folder / "other"
        self.sit_down("a", "b", "c", "d", "e", "f")
        with contextlib.redirect_stderr(Terminal()):
            status, _, _ = self.ours("join", str(LINK), "ada")
        self.assertEqual(self.entered, ["a", "b", "c", "d", "e", "f"])  # what is redirected by the rig is no terminal
        self.assertNotEqual(status, Exit.DONE)

    def test_empty(self) -> None:
        """Empty means none."""
        self.sit_down("")
        self.join()
        self.patch(sys, "stdin", io.StringIO())
        self.assert_opens("")

    def test_not_asked(self) -> None:
        """With C{--no-passphrase}, on a pipe, and when it is repeated, it does not ask."""
        self.sit_down()
        self.join("--no-passphrase")
        self.join()
        self.profile = self.folder / "other"
        self.patch(sys, "stdin", io.StringIO())
        self.join()
        self.assertEqual(self.asked, [])

    def test_both(self) -> None:
        """A passphrase and C{--no-passphrase} are wrong usage, and nothing is made."""
        file = str(self.file("correct horse"))
        self.assert_fails("usage", Exit.USAGE, "join", str(LINK), "ada", "--no-passphrase", "--passphrase-file", file)
        self.assertFalse(self.profile.exists())


class ChangeTests(PassphraseCase):
    """C{securemsg passphrase}."""

    def test_by_files(self) -> None:
        """It is set, changed and removed without a terminal, and says what copies still open with."""
        self.make()
        first, second = str(self.file("one", "first")), str(self.file("two", "second"))
        status, out, err = self.ours("passphrase", "--new-passphrase-file", first)
        self.assertEqual(status, Exit.DONE)
        self.assertIn("by a passphrase", out)
        self.assertIn("still open without a passphrase", err)
        self.assert_opens("one")
        status, _, err = self.ours("passphrase", "--passphrase-file", first, "--new-passphrase-fd", self.pipe("two"))
        self.assertEqual(status, Exit.DONE)
        self.assertIn("still open with the old passphrase", err)
        self.assert_opens("two")
        status, out, _ = self.ours("passphrase", "--passphrase-file", second, "--remove", "--json")
        self.assertEqual((status, json.loads(out)["profile"]), (Exit.DONE, str(self.profile)))
        self.assertIn("file permissions only", json.loads(out)["keys_protected"])
        self.assert_opens("")

    def test_at_a_terminal(self) -> None:
        """It asks for the old one, then twice for the new one."""
        self.make("one")
        self.sit_down("one", "two", "two")
        self.assertEqual(self.ours("passphrase")[0], Exit.DONE)
        self.assertEqual(len(self.asked), 3)
        self.assert_opens("two")

    def test_wrong(self) -> None:
        """Without the present one nothing changes, and no new one is asked for."""
        self.make("one")
        before = (self.profile / KEY_FILE).read_bytes()
        new = ("--new-passphrase-file", str(self.file("two", "new")))
        wrong = ("--passphrase-file", str(self.file("three", "wrong")))
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "passphrase", *wrong, *new)
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "passphrase", *wrong, "--remove")
        self.assert_fails("passphrase-needed", Exit.PROFILE, "passphrase", *new)
        self.sit_down("three")
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "passphrase")
        self.assertEqual((self.profile / KEY_FILE).read_bytes(), before)

    def test_none_entered(self) -> None:
        """An empty new one is not taken for removal, and without a terminal there has to be an option."""
        self.make("one")
        self.sit_down("one", "")
        self.assertIn("--remove", self.assert_fails("new-passphrase-needed", Exit.USAGE, "passphrase"))
        self.patch(sys, "stdin", io.StringIO())
        old = ("--passphrase-file", str(self.file("one")))
        said = self.assert_fails("new-passphrase-needed", Exit.USAGE, "passphrase", *old)
        self.assertIn("--new-passphrase-file", said)
        self.assert_opens("one")

    def test_contradictions(self) -> None:
        """Two new ones, or one together with C{--remove}, are wrong usage."""
        self.make()
        new = ("--new-passphrase-file", str(self.file("two", "new")))
        self.assert_fails("usage", Exit.USAGE, "passphrase", *new, "--remove")
        self.assert_fails("usage", Exit.USAGE, "passphrase", *new, "--new-passphrase-fd", "0")
        self.assert_opens("")

    def test_no_profile(self) -> None:
        """Without a profile there is nothing to protect."""
        self.assert_fails("no-profile", Exit.PROFILE, "passphrase", "--remove")
