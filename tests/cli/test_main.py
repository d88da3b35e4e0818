"""The command line as a whole, without a server."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import click
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.commands.join import prepare
from securemsg.cli.main import group, run
from securemsg.cli.passphrases import read_passphrase
from securemsg.cli.settings import Settings
from securemsg.client.state.contacts import all_contacts
from securemsg.client.state.profile import load_profile, save_profile
from securemsg.client.state.vault import open_vault
from securemsg.protocol.invite import InviteLink
from securemsg.storage.profile import open_profile
from tests.cli.test_output import stdout_to
from tests.net.fakes import give_away

LINK = InviteLink("127.0.0.1", 1, bytes(range(32)), b"token", bytes(range(2, 34)))


class CommandLineCase(SynchronousTestCase):
    """Commands run in a temporary folder."""

    def setUp(self) -> None:
        """Make an empty folder and clear the environment."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.profile = self.folder / "profile"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SECUREMSG", "XDG_"))}
        self.patch(os, "environ", {**kept, "HOME": str(self.folder), "COLUMNS": "200"})

    def run_line(self, *arguments: str) -> tuple[int, str, str]:
        """
        Run a command that ends before it needs a reactor.

        @return: status, standard output, standard error.
        """
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = run(list(arguments))
        return status, out.getvalue(), err.getvalue()

    def run_whole(self, *arguments: str) -> tuple[int, str, str]:
        """As L{run_line}, with the data that goes to the descriptor of standard output."""
        with tempfile.TemporaryFile() as file, stdout_to(file.fileno()):
            status, out, err = self.run_line(*arguments)
            file.seek(0)
            return status, out + file.read().decode("utf-8"), err

    def assert_one_line(self, err: str, code: str) -> None:
        """Check that the error is one line."""
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.endswith(f"[{code}]\n"), err)


class HelpTests(CommandLineCase):
    """What the help says."""

    def test_statuses(self) -> None:
        """The help has the table of exit statuses."""
        status, out, _ = self.run_line("--help")
        self.assertEqual(status, Exit.DONE)
        for number in Exit:
            self.assertRegex(out, rf"(?m)^ +{number.value}  \w")

    def test_commands(self) -> None:
        """All commands are listed, each with a sentence; all but C{serve} have the shared options."""
        wanted = [
            "serve",
            "join",
            "send",
            "ask",
            "answer",
            "recv",
            "respond",
            "pipe",
            "gateway",
            "chat",
            "history",
            "search",
            "export",
            "outbox",
            "room",
            "lobby",
            "contacts",
            "settings",
            "devices",
            "verify",
            "status",
            "doctor",
            "whoami",
            "ping",
            "invite",
            "identity",
            "passphrase",
            "profile",
            "keygen",
            "admin",
            "completion",
            "help",
        ]
        self.assertEqual(group.list_commands(click.Context(group)), wanted)
        _, listed, _ = self.run_line("--help")
        for name in wanted:
            self.assertRegex(listed, rf"(?m)^  {name} +[A-Z].+\.$")
            if name == "serve":
                continue
            status, out, _ = self.run_line(name, "--help")
            self.assertEqual(status, Exit.DONE)
            for option in ("--profile", "--host", "--port", "--timeout", "--retry", "--debug"):
                self.assertIn(option, out, name)

    def test_json_everywhere(self) -> None:
        """Every command takes C{--json}, admin commands included; C{serve} reads no options."""
        ctx = click.Context(group)
        commands = [group.get_command(ctx, name) for name in group.list_commands(ctx) if name != "serve"]
        for command in commands:
            assert command is not None
            if isinstance(command, click.Group):
                commands += command.commands.values()
            self.assertIn("--json", [option for parameter in command.params for option in parameter.opts], command.name)

    def test_version(self) -> None:
        """C{--version} prints the version."""
        self.assertRegex(self.run_line("--version")[1], r"securemsg, version \d")


class UsageTests(CommandLineCase):
    """Status 2."""

    def test_one_line(self) -> None:
        """Any wrong usage is reported in one line that names the help."""
        for arguments in (
            ("nope",),
            ("send",),
            ("send", "bob", "hi", "--wait", "long"),
            ("send", "bob", "hi", "--expires", "31d"),
            ("send", "bob", "hi", "--id", "abc"),
            ("recv", "--count", "0"),
            ("recv", "--timeout", "soon"),
            ("--port", "0", "ping"),
            ("history",),
        ):
            status, out, err = self.run_line(*arguments)
            self.assertEqual((status, out), (Exit.USAGE, ""), arguments)
            self.assert_one_line(err, "usage")
            self.assertIn("--help", err)

    def test_punctuation(self) -> None:
        """An error does not end in two punctuation marks."""
        for arguments in (
            ("send",),
            ("nope",),
            ("sned",),
            ("send", "bob", "hi", "--wait", "long"),
            ("contacts", "--set-suite", "psk", "--key-file", "f"),
        ):
            self.assertNotRegex(self.run_line(*arguments)[2], r"[.?!: ];")

    def test_mistyped(self) -> None:
        """A mistyped command, also of a group, is answered with the nearest ones; one like no other, with how to search."""
        for arguments, hint in (
            (("sned",), "'send'?"),
            (("histroy",), "'history'?"),
            (("room", "memebers"), "'members'?"),
            (("admin", "adress"), "'address'?"),
            (("frobnicate",), "securemsg help WORD"),
        ):
            status, _, err = self.run_line(*arguments)
            self.assertEqual(status, Exit.USAGE)
            self.assertIn(hint, err)
            self.assert_one_line(err, "usage")

    def test_text_like_options(self) -> None:
        """A text that is taken for options, or for several arguments, is answered with how to write it."""
        for arguments, hint in (
            (("send", "bob", "-5 degrees"), "; a text that begins with a hyphen goes after --, in quotes: "),
            (("send", "bob", "-5", "degrees"), 'securemsg send NAME -- "TEXT"'),
            (("send", "bob", "--", "-5", "degrees"), 'put a text of several words in quotes: securemsg send NAME "TEXT"'),
            (("admin", "reply", "bob", "-x"), 'securemsg admin reply NAME -- "TEXT"'),
            (("room", "title", "team", "-x"), 'securemsg room title ROOM -- "TEXT"'),
            # What is no text, or resembles an option, is a mistake in the options.
            (("recv", "-x"), "see: securemsg recv --help"),
            (("send", "bob", "hi", "--wiat", "none"), "see: securemsg send --help"),
        ):
            status, _, err = self.run_line(*arguments)
            self.assertEqual(status, Exit.USAGE)
            self.assertIn(hint, err)
            self.assert_one_line(err, "usage")

    def test_no_command(self) -> None:
        """Without a command the help goes to standard error; with C{--json} it is one error object."""
        for arguments in ((), ("admin",)):
            status, out, err = self.run_line(*arguments)
            self.assertEqual((status, out), (Exit.USAGE, ""))
            self.assertRegex(err, r"(?m)^Commands:$")
            self.assertNotIn("\\n", err)
        status, _, err = self.run_line("--json")
        self.assertEqual((status, json.loads(err)["code"]), (Exit.USAGE, "usage"))

    def test_hosts(self) -> None:
        """C{--host} takes only a host name or an address."""
        for host in ("a b", "", "-x", "a/b", "a:8443", "[::1", "[::1]:8443", "[127.0.0.1]"):
            status, _, err = self.run_line("ping", "--host", host)
            self.assertEqual(status, Exit.USAGE, err)
            self.assert_one_line(err, "usage")
        for host in ("::1", "[::1]", "127.0.0.1", "example.org"):
            self.assertEqual(self.run_line("ping", "--host", host)[0], Exit.PROFILE)

    def test_names(self) -> None:
        """An invalid name is refused wherever one is expected, before anything is opened."""
        for arguments in (("send", "Bob", "hi"), ("chat", "a b"), ("recv", "--from", "-"), ("admin", "remove", "x" * 33)):
            status, _, err = self.run_line(*arguments)
            self.assertEqual(status, Exit.USAGE)
            self.assert_one_line(err, "illegal-name")

    def test_json(self) -> None:
        """With C{--json}, before or after the command, errors are objects as well."""
        for arguments in (("history", "--json"), ("--json", "history"), ("--json", "history", "a b"), ("--json", "whoami")):
            status, out, err = self.run_line(*arguments)
            self.assertIn(status, (Exit.USAGE, Exit.PROFILE))
            self.assertEqual(out, "")
            self.assertIn(json.loads(err)["code"], ("usage", "illegal-name", "no-profile"))


class ProfileTests(CommandLineCase):
    """Profiles that cannot be used end with status 9."""

    def prepare(self, name: str = "ada", passphrase: str = "") -> None:
        """Make a profile that is not registered yet."""
        source = None
        if passphrase:
            source = self.folder / "passphrase"
            source.write_text(passphrase + "\n", "utf-8")
            source.chmod(0o600)
        prepare(Settings(profile=self.profile, passphrase_file=source), LINK, name)

    def ours(self, *arguments: str) -> tuple[int, str, str]:
        """Run a command on the profile."""
        return self.run_line("--profile", str(self.profile), *arguments)

    def test_none(self) -> None:
        """Without a profile every command says how to make one, and creates nothing."""
        for arguments in (("whoami",), ("send", "bob", "hi"), ("recv",), ("chat", "bob"), ("status",), ("contacts",)):
            status, out, err = self.ours(*arguments)
            self.assertEqual((status, out), (Exit.PROFILE, ""))
            self.assert_one_line(err, "no-profile")
            self.assertIn("securemsg join", err)
        self.assertFalse(self.profile.exists())

    def test_not_joined(self) -> None:
        """After an unfinished join, commands ask to run it again."""
        self.prepare()
        status, _, err = self.ours("whoami")
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "not-joined")

    def test_private(self) -> None:
        """Nobody else can read what a join leaves behind."""
        before = os.umask(0)
        try:
            self.prepare()
        finally:
            os.umask(before)
        for path in (self.profile, *self.profile.rglob("*")):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)

    def test_keys_kept(self) -> None:
        """Joining again uses the existing keys, also with a newer invite."""
        self.prepare()
        key = (self.profile / "store.key").read_bytes()
        self.prepare()
        self.assertEqual((self.profile / "store.key").read_bytes(), key)

    def test_other_name(self) -> None:
        """A profile cannot be joined under a second name."""
        self.prepare()
        status, _, err = self.ours("join", str(LINK), "ben")
        self.assertEqual(status, Exit.REFUSED)
        self.assert_one_line(err, "other-name")

    def test_other_server(self) -> None:
        """A registered profile cannot join another server."""
        self.prepare()
        store = open_profile(self.profile, open_vault(self.profile, None))
        self.addCleanup(store.close)
        with store.writing() as records:
            profile = load_profile(records)
            assert profile is not None
            save_profile(records, evolve(profile, registered=True))
        other = InviteLink("127.0.0.1", 1, bytes(range(3, 35)), b"token")
        status, _, err = self.ours("join", str(other), "ada")
        self.assertEqual(status, Exit.REFUSED)
        self.assert_one_line(err, "other-server")

    def test_start_over(self) -> None:
        """After a failed join, joining another server leaves no trace of the first."""
        self.prepare()
        other = InviteLink("127.0.0.1", 2, bytes(32), b"other", bytes(range(1, 33)))
        prepare(Settings(profile=self.profile), other, "ben")
        store = open_profile(self.profile, open_vault(self.profile, None))
        self.addCleanup(store.close)
        with store.reading() as records:
            profile = load_profile(records)
            known = all_contacts(records)
        assert profile is not None
        self.assertEqual((profile.name, profile.pin, profile.port), ("ben", bytes(32), 2))
        self.assertEqual([(contact.identity, contact.has_changed) for contact in known], [(bytes(range(1, 33)), False)])

    def test_bad_invite(self) -> None:
        """An invalid invite creates no profile."""
        no_keys = [evolve(LINK, pin=bytes(32)), evolve(LINK, contact=bytes(32))]
        no_keys += [evolve(LINK, inviter="ben", inviter_identity=b"\xff" * 32)]
        for text in ("", "hello", str(LINK)[:40], "https://example.org/#pin=x", *map(str, no_keys)):
            status, _, err = self.ours("join", text, "ada")
            self.assertEqual(status, Exit.USAGE)
            self.assert_one_line(err, "bad-invite")
        self.assertFalse(self.profile.exists())

    def test_reserved_name(self) -> None:
        """Reserved names are refused before the server is asked."""
        for name in ("server", "admin", "key-1"):
            status, _, err = self.ours("join", str(LINK), name)
            self.assertEqual(status, Exit.REFUSED)
            self.assert_one_line(err, "reserved-name")
        self.assertFalse(self.profile.exists())

    def test_passphrase(self) -> None:
        """A sealed profile opens only with its passphrase, which no error repeats."""
        self.prepare(passphrase="correct horse")
        wrong = self.folder / "wrong"
        wrong.write_text("battery staple\n", "utf-8")
        wrong.chmod(0o600)
        status, _, err = self.ours("whoami", "--passphrase-file", str(wrong))
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "wrong-passphrase")
        self.assertNotIn("staple", err)
        # The right one gets further.
        self.assert_one_line(self.ours("whoami", "--passphrase-file", str(self.folder / "passphrase"))[2], "not-joined")

    def test_passphrase_file(self) -> None:
        """A passphrase file that is missing, empty or endless is wrong usage."""
        self.prepare(passphrase="correct horse")
        empty, long = self.folder / "empty", self.folder / "long"
        empty.write_text("\n", "utf-8")
        long.write_text("x" * 5000, "utf-8")
        for path in (empty, long):
            path.chmod(0o600)
        for path in (self.folder / "missing", empty, long):
            status, _, err = self.ours("whoami", "--passphrase-file", str(path))
            self.assertEqual(status, Exit.USAGE)
            self.assert_one_line(err, "passphrase-file")

    def test_passphrase_of_another_user(self) -> None:
        """A passphrase file that belongs to another user is not used."""
        self.prepare(passphrase="correct horse")
        path = self.folder / "passphrase"
        give_away(self, path)
        # Not through the command: where the file cannot be given away, the profile belongs to another user as well.
        problem = self.assertRaises(SecuremsgError, read_passphrase, path)
        self.assertEqual((problem.status, problem.code), (Exit.PROFILE, "passphrase-exposed"))
        self.assertIn(f"the passphrase file {path} belongs to another user", problem.text)

    def test_exposed_passphrase(self) -> None:
        """A passphrase file that others can read is not used; a pipe is."""
        self.prepare(passphrase="correct horse")
        path = self.folder / "passphrase"
        for mode in (0o640, 0o604, 0o620):
            path.chmod(mode)
            status, _, err = self.ours("whoami", "--passphrase-file", str(path))
            self.assertEqual(status, Exit.PROFILE)
            self.assert_one_line(err, "passphrase-exposed")
            self.assertIn(f"chmod 600 {path}", err)
            self.assertNotIn("horse", err)
        reader, writer = os.pipe()
        os.write(writer, b"correct horse\n")
        os.close(writer)
        self.addCleanup(os.close, reader)
        self.assert_one_line(self.ours("whoami", "--passphrase-file", f"/dev/fd/{reader}")[2], "not-joined")

    def test_half(self) -> None:
        """A key without its store, or a store without its key, is reported as damage, and nothing is created."""
        for missing in ("profile.db", "store.key"):
            self.prepare()
            (self.profile / missing).unlink()
            before = sorted(self.profile.iterdir())
            status, _, err = self.ours("whoami")
            self.assertEqual(status, Exit.PROFILE)
            self.assert_one_line(err, "profile-damaged")
            self.assertIn(missing, err)
            self.assertEqual(sorted(self.profile.iterdir()), before)
            shutil.rmtree(self.profile)

    def test_join_beside_half(self) -> None:
        """
        A join makes no key beside a store that another key sealed; beside a key alone, which a killed join leaves, it goes on.
        """
        self.prepare()
        key = (self.profile / "store.key").read_bytes()
        (self.profile / "store.key").unlink()
        status, _, err = self.ours("join", str(LINK), "ada")
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "profile-damaged")
        self.assertFalse((self.profile / "store.key").exists())
        (self.profile / "store.key").write_bytes(key)
        (self.profile / "store.key").chmod(0o600)
        (self.profile / "profile.db").unlink()
        self.prepare()
        self.assertEqual((self.profile / "store.key").read_bytes(), key)
        self.assertTrue((self.profile / "profile.db").exists())

    def test_no_passphrase_there(self) -> None:
        """Joining again with a passphrase is refused if the keys were made without one."""
        self.prepare()
        path = self.folder / "passphrase"
        path.write_text("late\n", "utf-8")
        path.chmod(0o600)
        status, _, err = self.ours("join", str(LINK), "ada", "--passphrase-file", str(path))
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "no-passphrase-there")

    def test_damaged(self) -> None:
        """A damaged profile is reported and not changed."""
        self.prepare()
        database = self.profile / "profile.db"
        database.write_bytes(b"\0" * 4096)
        status, _, err = self.ours("whoami")
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "profile-damaged")
        self.assertEqual(database.read_bytes(), b"\0" * 4096)

    def test_exposed_key(self) -> None:
        """A store key that others can read is not used."""
        self.prepare()
        (self.profile / "store.key").chmod(0o644)
        status, _, err = self.ours("whoami")
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "key-exposed")


class AdminTests(CommandLineCase):
    """Admin commands without a daemon."""

    def test_no_daemon(self) -> None:
        """Status 6, and the command that starts one."""
        for arguments in (("invite",), ("address",), ("accounts",), ("remove", "bob", "--yes")):
            status, out, err = self.run_line("admin", "--state", str(self.folder), *arguments)
            self.assertEqual((status, out), (Exit.NOT_CONNECTED, ""))
            self.assert_one_line(err, "no-daemon")
            self.assertIn("securemsg serve --state", err)

    def test_nobody_asked(self) -> None:
        """What asks first does nothing where nobody can be asked."""
        for arguments in (("remove", "bob"), ("suspend", "bob"), ("drain",)):
            status, _, err = self.run_line("admin", "--state", str(self.folder), *arguments)
            self.assertEqual(status, Exit.USAGE)
            self.assertIn("add --yes", err)

    def test_state_anywhere(self) -> None:
        """C{--state} can be given before or after the command; the later one counts."""
        _, _, err = self.run_line("admin", "--state", "/nowhere", "accounts", "--state", str(self.folder))
        self.assert_one_line(err, "no-daemon")
        self.assertIn(str(self.folder), err)

    def test_remove_server(self) -> None:
        """The daemon's own account cannot be removed, and the hint does not refer to the operator."""
        status, _, err = self.run_line("admin", "remove", "server")
        self.assertEqual(status, Exit.REFUSED)
        self.assert_one_line(err, "forbidden")
        self.assertIn("--answer none", err)

    def test_long_path(self) -> None:
        """A socket path that is too long for the kernel is refused with the limit."""
        status, _, err = self.run_line("admin", "--state", "/" + "x" * 120, "accounts")
        self.assertEqual(status, Exit.USAGE)
        self.assertIn("107", err)
