"""What others on the machine can see of a command, and what a command says when it fails: no tokens, no passphrases."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from securemsg.cli.main import group
from tests.functional.support import SECUREMSG, Person, PlaceCase, until

PASSPHRASE = "correct horse xyzzy battery"
# Words in the name of an option whose value would be a secret.
SECRET_WORDS = ("pass", "secret", "token", "key", "pin")


def seen(pid: int) -> bytes:
    """Arguments of a process and of all that it has started, as C{/proc} shows them; to root also their environment."""
    found = b""
    waiting = [pid]
    while waiting:
        place = Path("/proc") / str(waiting.pop())
        # It may end while we look; and only root sees the environment of what may not be dumped.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            found += (place / "cmdline").read_bytes()
            for task in (place / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
            found += (place / "environ").read_bytes()
    return found


def commands(command: click.Command, name: str = "securemsg") -> dict[str, click.Command]:
    """A command and all below it, by what is typed. Commands are imported when they are asked for by name."""
    found = {name: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            assert below is not None, word
            found |= commands(below, f"{name} {word}")
    return found


class SecretCase(PlaceCase):
    """Somebody with an invite and a passphrase."""

    def setUp(self) -> None:
        """The passphrase lies in a file."""
        self.file = self.place.folder / "passphrase"
        self.file.write_text(f"{PASSPHRASE}\n", "utf-8")
        self.file.chmod(0o600)
        self.token = ""

    def fresh(self) -> str:
        """A new invite."""
        invite = self.daemon.invite()
        self.token = invite.partition("token=")[2].partition("&")[0]
        self.assertTrue(self.token)
        return invite

    def assert_silent(self, text: str) -> None:
        """Neither secret stands in a text, whichever way it is written."""
        for secret in (self.token, PASSPHRASE):
            for form in {secret, repr(secret)[1:-1], secret.encode().hex()} - {""}:
                self.assertNotIn(form, text)


class ProcessTests(SecretCase):
    """The list of processes."""

    def look(self, person: Person, *arguments: str, text: str = "") -> str:
        """
        Run a command of its own process to its end, and watch it from outside.

        @return: everything that could be seen of it.
        """
        running = self.place.start(person.name, SECUREMSG, *arguments, pipe=True, SECUREMSG_PROFILE=str(person.profile))
        found = b""

        def is_over() -> bool:
            nonlocal found
            found += seen(running.process.pid)
            return not running.is_alive

        until(lambda: b"securemsg" in seen(running.process.pid), "the command")
        found += seen(running.process.pid)
        running.type(text)
        running.end_input()
        until(is_over, f"the end of {arguments[0]}")
        done = running.wait()
        self.assertEqual(done.status, 0, done.err)
        visible = found.decode("utf-8", "replace")
        self.assertIn(f"\x00{arguments[0]}\x00", visible)
        if os.geteuid() == 0:
            self.assertIn(f"\x00SECUREMSG_PROFILE={person.profile}\x00", visible)
        return visible

    def test_nothing_visible(self) -> None:
        """From C{join -} on nothing that others can see of a command holds token or passphrase."""
        ada, ben = Person(self.place, "ada"), self.person("ben")
        protected = ("--passphrase-file", str(self.file))
        self.assert_silent(self.look(ada, "join", "-", "ada", *protected, text=self.fresh() + "\n"))
        self.assert_silent(self.look(ada, "send", "ben", *protected, text="hello"))
        self.assert_silent(self.look(ada, "chat", "ben", *protected, text="hello\n"))
        self.assert_silent(self.look(ada, "recv", *protected))
        self.assert_silent(self.look(ada, "status", *protected))
        self.assert_silent(seen(self.daemon.running.process.pid).decode("utf-8", "replace"))
        self.assertEqual(ben.texts(2), ["hello", "hello"])

    def test_no_option_takes_a_secret(self) -> None:
        """No option takes a secret itself, but names a file or a descriptor; the one argument that is one may be C{-}."""
        for name, command in commands(group).items():
            for parameter in command.params:
                if isinstance(parameter, click.Option) and not parameter.is_flag:
                    for option in parameter.opts:
                        is_secret = any(word in option for word in SECRET_WORDS) and not option.endswith(("-file", "-fd"))
                        self.assertFalse(is_secret, f"{name} {option}")
        arguments = {
            (name, parameter.name)
            for name, command in commands(group).items()
            for parameter in command.params
            if isinstance(parameter, click.Argument) and parameter.name in ("invite", "token", "passphrase", "key")
        }
        self.assertEqual(arguments, {("securemsg join", "invite")})


class ErrorTests(SecretCase):
    """What is said of failures."""

    def fails(self, person: Person, *arguments: str, status: int, text: str = "") -> None:
        """A command fails and tells no secret, be it asked for people, for programs or for reports of bugs."""
        for extra in ((), ("--json",), ("--debug",)):
            profile = str(person.profile)
            running = self.place.start_command(person.name, *arguments, *extra, pipe=True, SECUREMSG_PROFILE=profile)
            running.type(text)
            running.end_input()
            done = running.wait()
            self.assertEqual(done.status, status, done.err)
            self.assertTrue(done.err)
            self.assert_silent(done.err + done.out)

    def test_invites(self) -> None:
        """An invite that is cut, used up, misplaced or doubled is not repeated in the answer."""
        cia = Person(self.place, "cia")
        invite = self.fresh()
        self.fails(cia, "join", "-", "cia", status=2, text=invite.replace("securemsg://", "securemsg:/"))
        self.fails(cia, "join", invite.replace("#pin=", "#pin=%"), "cia", status=2)
        self.fails(cia, "join", "cia", invite, status=2)
        self.fails(cia, "join", "-", invite, status=2)
        self.fails(cia, "join", invite, "cia", invite, status=2)
        self.fails(cia, invite, status=2)
        self.fails(cia, "send", invite, "hello", status=2)
        self.person("dan")
        self.fails(cia, "join", "-", "dan", status=5, text=invite)
        Person(self.place, "eva").join(invite)
        self.fails(cia, "join", "-", "cia", status=5, text=invite)
        self.assert_silent(self.daemon.log)

    def test_passphrases(self) -> None:
        """A passphrase that is wrong, or that nobody asked for, is not repeated in the answer."""
        fay = Person(self.place, "fay")
        fay.run("join", self.fresh(), "fay", "--passphrase-file", str(self.file))
        wrong = self.place.folder / "wrong"
        wrong.write_text("x" + PASSPHRASE, "utf-8")
        wrong.chmod(0o600)
        self.fails(fay, "status", "--passphrase-file", str(wrong), status=9)
        self.fails(fay, "status", status=9)
        self.fails(fay, "status", "--passphrase-file", str(self.place.folder), status=2)
        gil = self.person("gil")
        self.fails(gil, "join", "-", "gil", "--passphrase-file", str(self.file), status=9, text=self.fresh())
