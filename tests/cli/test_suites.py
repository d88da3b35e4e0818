"""Notes when the user chooses a suite."""

from __future__ import annotations

import contextlib
import io
import json

from attrs import evolve

from securemsg.cli.settings import Settings
from securemsg.cli.suites import pin
from securemsg.client import messages
from securemsg.crypto.keyfile import SharedKey
from securemsg.storage.keyfiles import make_key_file
from tests.cli.rig import PlaceCase

KEY = SharedKey(bytes(range(32)))


class WaitingTests(PlaceCase):
    """A suite is chosen while messages wait in the outbox."""

    def setUp(self) -> None:
        """Make a key file; no suite is chosen yet."""
        super().setUp()
        self.ada = self.place.person("ada")
        self.ada.connection.stop()
        self.path = self.place.folder / "shared.key"
        make_key_file(self.path, KEY.secret)

    def pin(self, suite: str) -> list[str]:
        """
        Choose, and read what is said.

        @return: the texts that are about what waits.
        """
        settings = Settings(suite=suite, key_file=self.path if suite == "psk" else None, as_json=True)
        err = io.StringIO()
        with contextlib.redirect_stderr(err):
            self.assertTrue(pin(evolve(self.ada.context, settings=settings), "ben"))
        said = [json.loads(line) for line in err.getvalue().splitlines()]
        self.assertEqual(said[0]["code"], "suite-pinned")
        return [line["warning"] for line in said if line["code"] == "suite-of-waiting"]

    def write(self, to: str) -> bytes:
        """Leave a message in the outbox."""
        return messages.compose(self.ada.context.store, to, "hello", now=self.place.now())

    def test_both_directions(self) -> None:
        """Waiting messages to the contact are sent with the new suite, with or without a key file, and a note says so."""
        self.write("cleo")
        self.assertEqual(self.pin("psk"), [])
        self.write("ben")
        self.assertEqual(self.pin("pqxdh"), ["1 message waiting for ben goes out with suite pqxdh as well"])
        self.write("ben")
        expected = f"2 messages waiting for ben go out with suite psk and {KEY.name} as well"
        self.assertEqual(self.pin("psk"), [expected])

    def test_withdrawn(self) -> None:
        """Withdrawn messages are not counted."""
        messages.withdraw(self.ada.context.store, self.write("ben"))
        self.assertEqual(self.pin("psk"), [])
