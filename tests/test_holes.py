"""
Holes of programs that came before this one, each by its name, where no other test has it.

The whole list, with the tests that stand elsewhere, is in C{docs/threat-model.md}.
"""

from __future__ import annotations

import ast
import re
import stat
import time
from pathlib import Path

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.sessions import pins, prekeys
from securemsg.client.state.conversations import direct
from securemsg.client.state.profile import Profile, create_profile, save_profile
from securemsg.client.state.records import load_all
from securemsg.client.state.vault import KEY_FILE, create_vault
from securemsg.crypto.keys import SigningKey, spki_digest, tls_key_pair
from securemsg.daemon.certificate import TLS_CERTIFICATE, TLS_KEY, keep_credentials
from securemsg.daemon.folder import keep_key
from securemsg.protocol.envelope import PQXDH, PSK, Envelope, decode_record
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import (
    MAX_COMMON,
    MAX_OWN,
    Acknowledge,
    Deliver,
    Deposit,
    Destination,
    Message,
    Part,
    Ping,
    PrekeyStock,
    Unknown,
    encode_message,
)
from securemsg.protocol.states import Side
from securemsg.storage.profile import PROFILE_FILE
from securemsg.storage.profile import create_profile as create_profile_store
from tests.client.case import WorldCase
from tests.net.fakes import CHALLENGE, HELLO, PROOF, WELCOME, plain, scratch
from tests.server.case import TwoPeople

PACKAGE = Path(__file__).resolve().parent.parent / "securemsg"
KEY_SIZE = 16  # AES-128; anything that is shorter is no key
# What stands in the sources for other reasons: labels, the name of the exporter in RFC 9266, HTTP's headers and media types,
# the line before a PEM block (RFC 7468 2).
WORDS = re.compile(
    rb"-----BEGIN [A-Z ]+-----|"
    rb"(securemsg[ /_]|EXPORTER-|text/|application/)[\x20-\x7e]+|[A-Z][A-Za-z]*(-[A-Z][A-Za-z0-9]*)+|X-[A-Za-z0-9-]+"
)
ENCODED_KEY = re.compile(r"[0-9a-fA-F]{32,}|[A-Za-z0-9+/]{42,}={0,2}")
LINK = InviteLink("example.net", 8443, SigningKey.generate().public)


def constants() -> list[tuple[str, object]]:
    """Every constant in the sources, with its place."""
    return [
        (f"{path.name}:{node.lineno}", node.value)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
    ]


def suspicious(value: object) -> bool:
    """Whether a constant could be a key."""
    if isinstance(value, bytes):
        return len(value) >= KEY_SIZE and not WORDS.fullmatch(value)
    return isinstance(value, str) and ENCODED_KEY.fullmatch(value) is not None


def private_keys(profile: Profile) -> list[bytes]:
    """The private keys of a profile."""
    return [profile.identity.private, profile.device_key.private, profile.agreement.private]


class HardCodedKeyTests(SynchronousTestCase):
    """The key stood in the source, and was everybody's."""

    def test_sources(self) -> None:
        """No constant of the program could be a key."""
        self.assertEqual([place for place, value in constants() if suspicious(value)], [])

    def test_would_be_found(self) -> None:
        """A key in the source, plain, in hex or in base64, would be found."""
        for value in (b"\x13" * 16, b"0123456789abcdef", "00112233445566778899aabbccddeeff", "A" * 43 + "="):
            self.assertTrue(suspicious(value), value)

    def test_installations(self) -> None:
        """Two servers, and two profiles of one name on one server, have no private key in common."""
        found: list[bytes] = []
        for _ in range(2):
            folder = scratch(self)
            create_vault(folder / "profile", None)
            found.append((folder / "profile" / KEY_FILE).read_bytes())
            found += private_keys(create_profile(LINK, "alice", 1))
            found.append(keep_key(folder / "server.key", lambda: SigningKey.generate().private, 32))
            keep_credentials(folder, ["localhost"], tls_key_pair, spki_digest, time.time())
            found.append((folder / TLS_KEY).read_bytes())
        self.assertEqual(len(set(found)), len(found))


class FixedVectorTests(WorldCase):
    """
    The initialisation vector was fixed, or all zero, under one key for everything: whoever listened saw what was said twice.
    """

    def test_equal_messages_equal_ciphertext(self) -> None:
        """
        Equal messages give deposits that are equal in nothing: with a key file, and without, no block of one is in the other.
        """
        for suite, key in ((PSK, bytes(range(32))), (PQXDH, b"")):
            for user, name in ((self.alice, "bob"), (self.bob, "alice")):
                with user.store.writing() as records:
                    pins.pin_suite(records, direct(name), suite, key)
            self.bob.send("alice", "so that nobody introduces himself any more")
            for _ in range(3):
                self.alice.send("bob", "Hello Server!")
            assert self.alice.wire is not None
            deposits = [message for _, message in self.alice.wire.log if isinstance(message, Deposit)][-2:]
            blocks = []
            for deposit in deposits:
                sealed = decode_record(Envelope, deposit.to[0].parts[0].own).sealed
                self.assertGreater(len(deposit.common), 256)
                blocks.append({data[at : at + 16] for data in (deposit.common, sealed) for at in range(len(data) - 15)})
            self.assertEqual(blocks[0] & blocks[1], set())
            self.assertNotEqual(deposits[0].deposit_id, deposits[1].deposit_id)
            self.assertNotIn(b"Hello", deposits[0].common + deposits[0].to[0].parts[0].own)


class KeyOnDiskTests(SynchronousTestCase):
    """The private key lay on the disk in clear, for everybody to read."""

    def profile(self, passphrase: bytes | None) -> tuple[Path, list[bytes]]:
        """
        Make a profile with prekeys on the disk.

        @return: its folder, and every private key in it.
        """
        folder = scratch(self) / "profile"
        store = create_profile_store(folder, create_vault(folder, passphrase, cost=14))
        profile = create_profile(LINK, "alice", 1)
        with store.writing() as records:
            save_profile(records, profile)
            prekeys.replenish(records, profile, PrekeyStock(0, 0, 0, 0), 1)
            kinds = (prekeys.SIGNED, prekeys.LAST_RESORT, prekeys.ONE_TIME, prekeys.KEM)
            halves = [
                half.private for kind in kinds for _, half in load_all(records, prekeys.PrivatePrekey, prekeys.TABLE, kind)
            ]
        self.addCleanup(store.close)
        self.assertEqual(len(halves), 2 + 2 * prekeys.BATCH)
        return folder, private_keys(profile) + halves

    def test_profile(self) -> None:
        """No private key of a profile is in the bytes of its database, and nothing in its folder is for others to read."""
        folder, private = self.profile(None)
        data = (folder / PROFILE_FILE).read_bytes()
        self.assertEqual([key for key in private if key in data], [])
        for path in (folder, *folder.rglob("*")):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, path)

    def test_passphrase(self) -> None:
        """
        With a passphrase the key that opens the database is in clear nowhere either: without the passphrase all files
        together open nothing.
        """
        folder, private = self.profile(b"correct horse")
        data = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
        self.assertEqual([key for key in private if key in data], [])
        self.assertNotIn(b"correct horse", data)
        self.assertGreater(len((folder / KEY_FILE).read_bytes()), 2 * 32, "the key itself, and nothing else")

    def test_server(self) -> None:
        """The server's own keys are in files that its user alone can read."""
        folder = scratch(self)
        keep_key(folder / "server.key", lambda: SigningKey.generate().private, 32)
        keep_credentials(folder, ["localhost"], tls_key_pair, spki_digest, time.time())
        for name in ("server.key", TLS_KEY, TLS_CERTIFICATE):
            self.assertEqual(stat.S_IMODE((folder / name).stat().st_mode), 0o600, name)


class DeletedTooEarlyTests(TwoPeople):
    """Messages were deleted before the reply that held them was written."""

    def test_reply_not_written(self) -> None:
        """What was handed to a connection, and never got onto it, is delivered over the next one; also after a crash."""
        self.rig.lose(self.reader)
        self.store([b"one", b"two"])
        for crash in (False, True):
            client = self.rig.login(self.bob)
            # As far as the server can tell it is on its way; in truth no byte of it arrives.
            client.inbox.clear()
            self.rig.lose(client)
            self.rig.commit()
            if crash:
                self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"one", b"two"])

    def test_reply_read_and_not_kept(self) -> None:
        """What was read and not acknowledged, because the reader died before it could keep it, is delivered again."""
        self.rig.lose(self.reader)
        self.store([b"one", b"two", b"three"])
        client = self.rig.login(self.bob)
        tags = [message.tag for message in client.pop(Deliver)]
        client.ask(Acknowledge(tags[0]))
        self.rig.commit()
        self.rig.lose(client)
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"two", b"three"])


class CutMessageTests(SynchronousTestCase):
    """There was no framing: a message was what one read brought, and a long one was cut at 4096 bytes."""

    def received(self, *messages: Message, read: int) -> list[Message | Unknown]:
        """What arrives when these are read in pieces of this size."""
        clock = Clock()
        stream, end = plain(Side.SERVER, clock)
        stream.makeConnection(StringTransport())
        for theirs, ours in ((HELLO, CHALLENGE), (PROOF, WELCOME)):
            stream.dataReceived(encode_frame(encode_message(theirs)))
            stream.send(ours)
        end.peer.messages.clear()
        wire = b"".join(encode_frame(encode_message(message)) for message in messages)
        for start in range(0, len(wire), read):
            stream.dataReceived(wire[start : start + read])
        self.assertEqual((end.on_hangup, stream.code), ([], None))
        return end.peer.messages

    def test_long(self) -> None:
        """Messages of any size up to the largest arrive whole, and as many as were sent, however they are read."""
        to = [Destination("bob", [Part(bytes(16), bytes(MAX_OWN))])]
        sizes = (0, 4000, *range(4090, 4100), 8192, 40_000, MAX_COMMON)
        messages = [Deposit(bytes(16), n, 60, bytes(size), to) for n, size in enumerate(sizes, 1)]
        for read in (1000, 4095, 4096, 4097, 65_536, 2**20):
            self.assertEqual(self.received(*messages, read=read), messages, read)

    def test_short(self) -> None:
        """Many short messages in one read are as many messages."""
        messages = [Ping(number) for number in range(3000)]
        self.assertEqual(self.received(*messages, read=2**20), messages)
