"""A command of the user's is run for each message that comes."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path

from tests.functional.support import MachineCase, until


class NotifyTests(MachineCase):
    """Ben waits for messages."""

    def test_command(self) -> None:
        """It learns who has written, and not what."""
        ada, ben = self.person("ada"), self.person("ben")
        told = self.place.folder / "told"
        ben.run("settings", "notify", f"sh -c {shlex.quote(f'env >> {told}')}")
        client = ben.start("recv", "--follow", "--json")
        ada.run("send", "ben", "secret words")
        until(lambda: told.exists() and "SECUREMSG_ID" in told.read_text(), "the command")
        self.assertIn("SECUREMSG_FROM=ada\n", told.read_text())
        self.assertNotIn("secret", told.read_text())
        self.assertEqual(client.interrupt().status, 130)

    def has_lines(self, path: Path, count: int) -> bool:
        """Whether a file has so many lines."""
        return path.exists() and len(path.read_text().splitlines()) == count

    def test_elsewhere(self) -> None:
        """It learns of what comes in another conversation than the one that is open, in a chat as well."""
        ada, ben = self.person("ada"), self.person("ben")
        told = self.place.folder / "told-each"
        ben.run("settings", "notify", f"sh -c {shlex.quote(f'echo $SECUREMSG_ID >> {told}')}")
        for number, arguments in enumerate((("recv", "--follow", "--from", "server", "--json"), ("chat", "server")), 1):
            client = ben.start(*arguments, pipe=True)
            ada.run("send", "ben", "hello")
            until(partial(self.has_lines, told, number), "the command")
            self.assertEqual(client.interrupt().status, 130)
