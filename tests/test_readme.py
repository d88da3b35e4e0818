"""What the README promises in tables is what the program does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import MEANINGS
from securemsg.cli.main import COMMANDS
from securemsg.protocol.codes import TABLE, Said
from securemsg.protocol.codes import Kind as CodeKind
from securemsg.protocol.envelope import Kind
from securemsg.protocol.messages import Message
from securemsg.tap import Options

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")


class ReadmeTests(SynchronousTestCase):
    """Tables that are written by hand."""

    def test_statuses(self) -> None:
        """The table of exit statuses has those that there are, each with the words of C{--help}."""
        rows = dict(re.findall(r"^\| (\d+) \| (.+) \|$", README, re.MULTILINE))
        self.assertEqual({int(status) for status in rows}, {status.value for status in MEANINGS})
        for status, meaning in MEANINGS.items():
            self.assertTrue(rows[str(status.value)].startswith(meaning), f"{status.value}: {meaning}")

    def test_commands(self) -> None:
        """Every command stands in the table of commands, and no other."""
        told = set(re.findall(r"`securemsg (?:\[[^]]*\] )?([a-z]+)", README.split("## Commands")[1].split("###")[0]))
        self.assertEqual(told, set(COMMANDS))

    def test_daemon_options(self) -> None:
        """Every option of the daemon is named."""
        row = next(line for line in README.splitlines() if line.startswith("| `securemsg serve"))
        named = set(re.findall(r"--([a-z-]+)", row))
        self.assertEqual(named, {name.rstrip("=") for name in Options().longOpt} - {"help", "version"})


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
            "Failed": Said.CLIENT | Said.FAILED,
            "Refused": Said.REFUSED,
            "DepositRefused": Said.DEPOSIT,
            "Missed": Said.MISSED,
        }
        rows = {}
        for codes, where, final in re.findall(r"^\| (`[a-z`, -]+`) \| ([A-Za-z, ]+) \| (yes|no) \|", PROTOCOL, re.MULTILINE):
            rows.update(dict.fromkeys(re.findall(r"`([a-z-]+)`", codes), (where, final)))
        expected = {}
        for code in TABLE:
            names = [name for name, flags in said.items() if code.said & flags]
            where = "Failed, by a client" if code.said == Said.CLIENT else ", ".join(names)
            if where:
                expected[code.name] = (where, "no" if code.kind == CodeKind.RETRY else "yes")
        self.assertEqual(rows, expected)
