"""What records show of themselves, in a traceback or a log."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto.keys import random_bytes
from securemsg.protocol.envelope import Content, ContentKey, Kind
from securemsg.protocol.messages import Invited, ListMark, Record, Register, SignedDeviceList, decode_message, encode_message

SECRET = b"\x07do not show this"


class DiscretionTests(SynchronousTestCase):
    """Nobody learns a secret from a representation."""

    def assert_silent(self, record: Record, secrets: Iterable[bytes]) -> None:
        """A record shows its kind and the names of its fields, also from within another one, and none of these."""
        for shown in (repr(record), str(record), f"{[record]!r}"):
            self.assertIn(type(record).__name__, shown)
            for name in record.__struct_fields__:
                self.assertIn(name, shown)
            for secret in secrets:
                self.assertNotIn(repr(secret)[2:-1], shown)

    def test_content(self) -> None:
        """A content shows neither its text nor whose it is, but how long it is."""
        nobody = ListMark(0, b"")
        conversation = random_bytes(16)
        content = Content(
            random_bytes(16), Kind.TEXT, conversation, bytes(16), 1, 1, b"", (), nobody, nobody, 0, False, SECRET
        )
        self.assert_silent(content, [SECRET, conversation])
        self.assertIn(f"body ({len(SECRET)})", repr(content))

    def test_content_key(self) -> None:
        """What opens a common part is not shown."""
        key = random_bytes(64)
        self.assert_silent(ContentKey(key, bytes(32), None, (0, 0)), [key])

    def test_tokens(self) -> None:
        """What admits a registration is shown neither when it is handed out nor when it is used; on the wire it is as ever."""
        devices = SignedDeviceList(b"", bytes(64))
        for message in (Invited(1, SECRET, 2), Register("alice", bytes(16), SECRET, bytes(32), devices, bytes(64), bytes(64))):
            self.assert_silent(message, [SECRET])
            self.assertEqual(decode_message(encode_message(message)), message)
