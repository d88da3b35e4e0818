"""What the wire shows of a message."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.wiredump import dump_wire
from securemsg.protocol.envelope import Envelope, KeyHeader, encode_record
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import Deliver, Deposit, Destination, Part, Ping, RoomItem, Unknown, encode_message
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import decoded


class SuiteTests(SynchronousTestCase):
    """The suite, as the clear header of an own part names it."""

    def suite(self, own: bytes) -> str:
        """What is read from an own part, in both directions."""
        deposit = Deposit(bytes(16), 1, 3600, bytes(64), [Destination("bob", [Part(bytes(16), own)])])
        delivery = Deliver(1, "bob", bytes(16), bytes(16), 0, bytes(64), own)
        exposures = [dump_wire(deposit), dump_wire(delivery)]
        suites = {dump.suite for dump in exposures if dump is not None}
        self.assertEqual(len(suites), 1)
        return suites.pop()

    def test_key_file(self) -> None:
        """Of a message under a key file it is C{psk}."""
        header = encode_record(KeyHeader("psk", 1, bytes(32), 1, 1, None))
        self.assertEqual(self.suite(encode_record(Envelope(header, bytes(80)))), "psk")

    def test_unknown(self) -> None:
        """A suite that we do not know is named; what is no header has none, and ends nothing."""
        self.assertEqual(self.suite(encode_record(Envelope(b"\x93\xa7new one\x02\xc0", b""))), "new one")
        for own in (b"", b"\xc1", encode_record(Envelope(b"", b"")), encode_record(Envelope(b"\x91" * 5000, b""))):
            self.assertEqual(self.suite(own), "")

    def test_room(self) -> None:
        """Of a room the sender's own account comes first, and has no part; the largest deposit is shown as well."""
        part = Part(bytes(16), encode_record(Envelope(b"\x92\xa5pqxdh\x01", bytes(8000))))
        others = [Destination(f"member{number}", [part]) for number in range(49)]
        for to, suite in (([Destination("ada", [])], ""), ([Destination("ada", []), *others], "pqxdh")):
            dump = dump_wire(Deposit(bytes(16), 1, 3600, bytes(64), to, RoomItem(bytes(16), 1, bytes(32), None)))
            assert dump is not None
            self.assertEqual(dump.suite, suite)

    def test_nothing(self) -> None:
        """There is no message in anything else."""
        for message in (Ping(1), Unknown(200, 1)):
            self.assertIsNone(dump_wire(message))


class TalkTests(WorldCase):
    """Messages of real agents."""

    def test_both_directions(self) -> None:
        """A message is shown to its sender and its recipient alike, but for the frame; its text is in neither."""
        text = "the text of a message that nobody else sees"
        assert self.alice.wire is not None
        assert self.bob.wire is not None
        self.alice.send("bob", text)
        self.world.settle()
        [deposit] = decoded(self.alice.wire, Side.CLIENT, Deposit)
        [delivery] = decoded(self.bob.wire, Side.SERVER, Deliver)
        ours, theirs = dump_wire(deposit), dump_wire(delivery)
        assert ours is not None
        assert theirs is not None
        self.assertEqual((ours.is_ours, ours.name, ours.suite), (True, "bob", "pqxdh"))
        self.assertEqual((theirs.is_ours, theirs.name, theirs.suite), (False, "alice", "pqxdh"))
        self.assertEqual(ours.encrypted, theirs.encrypted)
        for dump, message in ((ours, deposit), (theirs, delivery)):
            frame = encode_frame(encode_message(message))
            # Somebody's log is no place for what is sent, encrypted or not.
            self.assertNotIn(repr(dump.encrypted)[2:20], repr(dump))
            self.assertEqual(dump.frame, len(frame))
            self.assertIn(dump.encrypted, frame)
            self.assertNotIn(text.encode(), frame)
