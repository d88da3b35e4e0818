"""What the README and the reference promise in tables is what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import click
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.connection import LOCK
from securemsg.account.errors import MEANINGS
from securemsg.account.readlocks import READ_LOCK, RECV_LOCK
from securemsg.account.wake import WAKE
from securemsg.cli.main import COMMANDS, group, load
from securemsg.client.rooms.store import suggested_alias
from securemsg.client.state.vault import KEY_FILE
from securemsg.client.warnings import WARNINGS
from securemsg.daemon.certificate import TLS_CERTIFICATE, TLS_KEY
from securemsg.daemon.folder import CONTACT, DATABASE, FIRST_INVITE, LOCK_FILE, SERVER_KEY, SOCKET
from securemsg.protocol.codes import TABLE, Consequence, SentIn
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import Message
from securemsg.storage.profile import PROFILE_FILE
from securemsg.tap import Options

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text("utf-8")
REFERENCE = (DOCS / "reference.md").read_text("utf-8")
PROTOCOL = (DOCS / "protocol.md").read_text("utf-8")
# Every command takes these: what the whole program takes, and help.
SHARED = {name for option in group.params for name in option.opts if name != "--version"}
# What a first reader has patience for.
FIRST_WORDS = 950


def section(text: str, title: str) -> str:
    """What stands below a heading, up to the next one."""
    return re.split(r"^#+ ", text.split(f"# {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def options(text: str) -> set[str]:
    """The long options that are named."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


def options_of(command: click.Command) -> set[str]:
    """The options of a command and its own commands, without those that all have."""
    own = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*map(options_of, inner)) - SHARED


class ReadmeTests(SynchronousTestCase):
    """What a first reader reads."""

    def test_commands(self) -> None:
        """Every command stands in the table of commands, and no other."""
        told = set(re.findall(r"`securemsg ([a-z]+)", section(README, "Commands")))
        self.assertEqual(told, set(COMMANDS))

    def test_short(self) -> None:
        """It is short, up to the list of commands."""
        words = re.findall(r"\S*\w\S*", README.split("## Commands")[0])
        self.assertLessEqual(len(words), FIRST_WORDS)

    def test_picture(self) -> None:
        """The picture of a chat needs nothing from elsewhere, and has words for those who do not see it."""
        [(words, path)] = re.findall(r"!\[(.*?)\]\((.*?)\)", README)
        self.assertGreater(len(words.split()), 10)
        picture = (ROOT / path).read_text("utf-8")
        self.assertEqual(re.findall(r"https?://[^\"']*", picture), ["http://www.w3.org/2000/svg"])
        self.assertIn("securemsg", picture)


class ReferenceTests(SynchronousTestCase):
    """Tables that are written by hand."""

    def test_statuses(self) -> None:
        """The table of exit statuses has those that there are, each with the words of C{--help}."""
        rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", REFERENCE, re.MULTILINE))
        self.assertEqual({int(status) for status in rows}, {status.value for status in MEANINGS})
        for status, meaning in MEANINGS.items():
            self.assertTrue(rows[str(status.value)].startswith(meaning), f"{status.value}: {meaning}")

    def test_commands(self) -> None:
        """Every command stands in the table of commands, and no other; each with all its own options."""
        rows = re.findall(r"^\| (`securemsg .*?) \| (.*) \|$", section(REFERENCE, "Commands"), re.MULTILINE)
        told = {}
        for names, text in rows:
            told.update(dict.fromkeys(re.findall(r"`securemsg ([a-z]+)", names), text))
        self.assertEqual(set(told), set(COMMANDS))
        for name in set(COMMANDS) - {"serve"}:
            self.assertEqual(options(told[name]) - SHARED, options_of(load(name)), name)

    def test_shared_options(self) -> None:
        """The options of all commands have a table of their own."""
        table = section(REFERENCE, "Commands").split("| option |")[1].split("\n\n")[0]
        self.assertEqual({name for row in table.splitlines()[2:] for name in options(row.split("|")[1])}, SHARED)

    def test_files(self) -> None:
        """The table of files has all that a profile and a state folder hold."""
        told = set(re.findall(r"`(?:PROFILE/|STATE/)?([\w.-]+)/?`", section(REFERENCE, "Files")))
        in_profile = {KEY_FILE, PROFILE_FILE, LOCK, RECV_LOCK, READ_LOCK, WAKE}
        in_state = {SERVER_KEY, TLS_KEY, TLS_CERTIFICATE, DATABASE, CONTACT, SOCKET, FIRST_INVITE, LOCK_FILE}
        self.assertLessEqual(in_profile | in_state, told)

    def test_room(self) -> None:
        """In the examples of rooms, who is invited joins by a name that the title makes."""
        for text in (section(REFERENCE, "Rooms"), section(README, "Rooms")):
            [(name, title)] = re.findall(r"securemsg room create (\S+)(?: --title \"(.*?)\")?", text)
            [joined] = re.findall(r"securemsg room join '#(\S+)'", text)
            self.assertEqual(joined, suggested_alias(title or name))

    def test_daemon_options(self) -> None:
        """Every option of the daemon is named."""
        rows = re.findall(r"^\| (`--.*?) \| ", section(REFERENCE, "The daemon"), re.MULTILINE)
        named = {name.removeprefix("--") for row in rows for name in options(row)}
        self.assertEqual(named, {name.rstrip("=") for name in Options().longOpt} - {"help", "version"})


class LinkTests(SynchronousTestCase):
    """All documents."""

    def test_links(self) -> None:
        """Every link to a file leads to one, and every link to a heading to a heading."""
        for document in (*ROOT.glob("*.md"), *DOCS.glob("*.md")):
            for link in re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text("utf-8")):
                path, _, anchor = link.partition("#")
                target = (document.parent / path) if path else document
                self.assertTrue(target.exists(), f"{document.name}: {link}")
                if anchor:
                    text = re.sub(r"^```.*?^```", "", target.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
                    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
                    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in headings}
                    self.assertIn(anchor, anchors, f"{document.name}: {link}")


class ProtocolTests(SynchronousTestCase):
    """The specification's tables."""

    def test_messages(self) -> None:
        """Every message stands there with its tag and its number of items."""
        rows = {
            int(tag): (name, 0 if not items.strip() else len(items.split(";")))
            for tag, name, items in re.findall(r"^\| (\d+) \| (\w+) \| ?(.*) ?\|$", PROTOCOL, re.MULTILINE)
        }
        told = {
            kind.__struct_config__.tag: (kind.__name__, len(kind.__struct_fields__)) for kind in get_args(Message)
        }
        told[1] = (told[1][0], rows[1][1])
        self.assertEqual(rows, told)

    def test_kinds(self) -> None:
        """Every kind of content is named with its number."""
        for kind in Kind:
            self.assertRegex(PROTOCOL, rf"\b{kind.value} {kind.name.lower()}\b")

    def test_codes(self) -> None:
        """The table of codes has those that go over the wire: in which messages, by whom, and whether for good."""
        said = {
            "Failed": SentIn.CLIENT | SentIn.FAILED,
            "Refused": SentIn.REFUSED,
            "DepositRefused": SentIn.DEPOSIT,
            "Missed": SentIn.MISSED,
        }
        rows = {}
        for codes, where, final in re.findall(r"^\| (`[a-z`, -]+`) \| ([A-Za-z, ]+) \| (yes|no) \|", PROTOCOL, re.MULTILINE):
            rows.update(dict.fromkeys(re.findall(r"`([a-z-]+)`", codes), (where, final)))
        expected = {}
        for code in TABLE:
            names = [name for name, flags in said.items() if code.said & flags]
            where = "Failed, by a client" if code.said == SentIn.CLIENT else ", ".join(names)
            if where:
                expected[code.name] = (where, "no" if code.kind == Consequence.RETRY else "yes")
        self.assertEqual(rows, expected)

    def test_own_codes(self) -> None:
        """The codes of a client's own stand there: those that never go over the wire, and its warnings."""
        rows = re.findall(r"^\| (`[a-z`, -]+`) \|", section(PROTOCOL, "A client's own codes"), re.MULTILINE)
        told = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row)}
        self.assertEqual(told, {code.name for code in TABLE if code.said & SentIn.LOCAL} | set(WARNINGS))
