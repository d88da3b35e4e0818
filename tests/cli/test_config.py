"""The configuration file: what it sets, what comes before it, and what is wrong with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from securemsg.account.errors import Exit
from securemsg.cli import main
from securemsg.cli.config import MAX_SIZE
from securemsg.cli.settings import Settings, json_option, settings_of, shared, state_option, suite_options
from securemsg.cli.times import Duration
from tests.cli.test_main import CommandLineCase
from tests.net.fakes import give_away


@click.command()
@click.option("--bell", is_flag=True)
@click.option("--limit", type=click.IntRange(1, 9), default=5)
@click.option("--expires", type=Duration(60, 3600), default="1m")
@suite_options("A key file.", "--suite")
@json_option("Print JSON.")
@state_option
@shared
@click.pass_context
def probe(ctx: click.Context, bell: bool, limit: int, expires: int) -> int:
    """Say what it gets, in place of a chat."""
    settings = settings_of(ctx)
    values = {name: getattr(settings, name) for name in ("host", "port", "transport", "require_pq", "timeout", "retry")}
    passphrase = settings.passphrase_file or settings.default_passphrase_file
    folders = {"folder": settings.folder, "passphrase": passphrase, "key_file": settings.key_file}
    click.echo(json.dumps({**values, **folders, "bell": bell, "limit": limit, "expires": expires}, default=str))
    return Exit.DONE


class ConfigCase(CommandLineCase):
    """A command that says what it gets, and a file."""

    def setUp(self) -> None:
        """The command stands in for C{chat}."""
        super().setUp()
        load = main.load
        self.patch(main, "load", lambda name: probe if name == "chat" else load(name))
        self.patch(os, "environ", {**os.environ, "XDG_CONFIG_HOME": str(self.folder)})
        self.path = self.folder / "securemsg" / "config.toml"
        self.path.parent.mkdir()

    def write(self, text: str, mode: int = 0o644) -> None:
        """Write the file."""
        self.path.write_text(text, "utf-8")
        self.path.chmod(mode)

    def seen(self, *arguments: str) -> dict[str, object]:
        """What the command gets."""
        status, out, err = self.run_line(*arguments)
        self.assertEqual((status, err), (Exit.DONE, ""))
        found = json.loads(out)
        assert isinstance(found, dict)
        return found

    def assert_refused(self, *parts: str, arguments: tuple[str, ...] = ("chat",)) -> None:
        """Check that the error has all parts."""
        status, out, err = self.run_line(*arguments)
        self.assertEqual((status, out), (Exit.USAGE, ""))
        self.assert_one_line(err, "config")
        for part in (str(self.path), *parts):
            self.assertIn(part, err)


class ValueTests(ConfigCase):
    """What the file sets."""

    def test_shared(self) -> None:
        """Keys at the top are defaults of the options that all commands have."""
        self.write('host = "[::1]"\nport = 9\ntransport = "udp"\nrequire-pq = true\ntimeout = "2m"\nretry = true\n')
        expected = {"host": "::1", "port": 9, "transport": "udp", "require_pq": True, "timeout": 120, "retry": True}
        self.assertEqual({**self.seen("chat"), **expected}, self.seen("chat"))
        self.write("timeout = 7\nretry = false\n")
        self.assertEqual((self.seen("chat")["timeout"], self.seen("chat")["retry"]), (7, False))

    def test_table(self) -> None:
        """A table is for the command of its name, and comes before what stands at the top."""
        self.write('timeout = 5\n[chat]\nbell = true\nlimit = 3\nexpires = "5m"\ntimeout = 6\n[send]\nno-queue = true\n')
        found = self.seen("chat")
        self.assertEqual([found[name] for name in ("bell", "limit", "expires", "timeout")], [True, 3, 300, 6])

    def test_inner(self) -> None:
        """A command of a group has a table in the group's; the state folder, which only `admin` has, may be at the top."""
        self.write(f'[admin]\nstate = "{self.folder}"\n[admin.invite]\nuses = 0\n')
        self.assert_refused("admin.invite.uses", "0 is not in the range", arguments=("admin", "invite"))
        self.write(f'[admin]\nstate = "{self.folder}"\n')
        self.assertIn(str(self.folder), self.run_line("admin", "accounts")[2])

    def test_paths(self) -> None:
        """Paths are relative to the folder of the file, and may begin with the mark of the home folder."""
        self.write('profile = "me"\npassphrase-file = "~/secret"\n[chat]\nkey-file = "/k"\n')
        found = self.seen("chat")
        expected = [str(self.path.parent / "me"), str(self.folder / "secret"), "/k"]
        self.assertEqual([found[name] for name in ("folder", "passphrase", "key_file")], expected)

    def test_order(self) -> None:
        """The command line comes first, on either side of the command, then the environment, then the file."""
        self.write('profile = "/file"\ntimeout = 5\n[chat]\ntimeout = 6\nlimit = 2\n')
        self.assertEqual(self.seen("--timeout", "9", "chat")["timeout"], 9)
        self.assertEqual(self.seen("chat", "--timeout", "9", "--limit", "4")["timeout"], 9)
        self.assertEqual(self.seen("chat", "--limit", "4")["limit"], 4)
        os.environ["SECUREMSG_PROFILE"] = "/environment"
        self.assertEqual(self.seen("chat")["folder"], "/environment")
        self.assertEqual(self.seen("--profile", "/given", "chat")["folder"], "/given")

    def test_no_profile_given(self) -> None:
        """A profile in the file does not count as given: a key file alone still takes none."""
        self.write('profile = "/file"\npassphrase-file = "/p"\n')
        status, _, err = self.run_line("send", "server", "hi", "--key-file", str(self.folder / "missing"))
        self.assertNotIn("no profile is used", err)
        self.assertEqual(Settings(configured={"profile": Path("/file")}).profile, None)

    def test_other_file(self) -> None:
        """C{--config}, then the environment, name another file; then the usual one is not read."""
        self.write("nonsense")
        other = self.folder / "other.toml"
        other.write_text("port = 7\n", "utf-8")
        self.assertEqual(self.seen("--config", str(other), "chat")["port"], 7)
        self.assertEqual(self.seen("--config", "/dev/null", "chat")["port"], None)
        os.environ["SECUREMSG_CONFIG"] = str(other)
        self.assertEqual(self.seen("chat")["port"], 7)

    def test_none(self) -> None:
        """Without a file all is as it is built in."""
        self.assertEqual((self.seen("chat")["port"], self.seen("chat")["limit"]), (None, 5))


class BadTests(ConfigCase):
    """What is wrong with a file is said with the line or the key, and status 2."""

    def test_not_toml(self) -> None:
        """The line of a mistake is named."""
        self.write("port = 1\nhost = \n")
        self.assert_refused("line 2")
        self.path.write_bytes(b"host = '\xff'\n")
        self.assert_refused("UTF-8")

    def test_unknown(self) -> None:
        """An unknown key is named, with the nearest one; so is a table that is no command's."""
        for text, parts in (
            ("hots = 'x'", ("hots: unknown key", "host?")),
            ("[chat]\nbel = true", ("chat.bel: unknown key", "bell?")),
            ("[chta]\nbell = true", ("chta: unknown key",)),
            ("[serve]\nport = 1", ("serve.port: unknown key",)),
            # How a single call answers is for its command line alone.
            ("json = true", ("json: cannot be set here; give --json on the command line",)),
            ("[chat]\njson = true", ("chat.json: cannot be set here",)),
            ("[chat]\nxyzzy = true", ("chat.xyzzy: unknown key; see: securemsg chat --help",)),
            ("xyzzy = true", ("xyzzy: unknown key; see: securemsg --help",)),
            ("debug = true", ("debug: cannot be set here",)),
            ("config = 'x'", ("config: cannot be set here",)),
        ):
            self.write(text)
            self.assert_refused(*parts, arguments=("serve",) if "serve" in text else ("chat",))

    def test_values(self) -> None:
        """A value is of the type of its option, and passes the checks of the option."""
        for text, parts in (
            ("port = '9'", ("port: '9' is not a number",)),
            ("port = true", ("port: True is not a number",)),
            ("port = 0", ("port: 0 is not in the range",)),
            ("retry = 'yes'", ("retry: 'yes' is not true or false",)),
            ("retry = 1", ("retry: 1 is not true or false",)),
            ("host = 'a b'", ("host: 'a b' is not a host name",)),
            ("host = ['a']", ("host: ['a'] is not a text",)),
            ("transport = 'ftp'", ("transport: 'ftp' is not one of",)),
            ("timeout = 'soon'", ("timeout: 'soon' is not a duration",)),
            ("timeout = 1.5", ("timeout: 1.5 is not a text or a number",)),
            ("profile = ''", ("profile",)),
            ("chat = 1", ("chat: unknown key",)),
            ("[chat]\nlimit = 10", ("chat.limit: 10 is not in the range",)),
        ):
            self.write(text)
            self.assert_refused(*parts)

    def test_exposed(self) -> None:
        """A file that others can write to is not used."""
        for mode in (0o664, 0o646, 0o666):
            self.write("port = 1", mode)
            self.assert_refused("others can write to it", "chmod 600")

    def test_of_another_user(self) -> None:
        """Nor is one that another user owns."""
        self.write("port = 1")
        give_away(self, self.path)
        self.assert_refused("belongs to another user")

    def test_missing(self) -> None:
        """A file that was named must be there, and readable."""
        for arguments in (("--config", str(self.path)), ("--config", str(self.folder))):
            status, _, err = self.run_line(*arguments, "chat")
            self.assertEqual(status, Exit.USAGE)
            self.assert_one_line(err, "config")

    def test_long(self) -> None:
        """A file that nobody has written by hand is not read."""
        self.write("#" * (MAX_SIZE + 1))
        self.assert_refused("longer than")

    def test_help(self) -> None:
        """Help is there whatever is wrong with the file."""
        self.write("nonsense")
        self.assertEqual(self.run_line("--help")[0], Exit.DONE)
