"""A command of the user's is run for each message that comes."""

from __future__ import annotations

import shlex

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
