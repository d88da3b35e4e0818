"""What the key of a conversation says."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.state.conversations import ConversationKind, direct, with_guest
from tests.client.people import person

GUEST = "key-1a2b3c4d"


class ConversationTests(SynchronousTestCase):
    """Conversations of an account and of a guest."""

    def test_accounts(self) -> None:
        """Two accounts have one conversation, whichever devices speak, so that answers go out in order."""
        alice = person("alice").profile
        self.assertEqual(alice.conversation("bob", b"1" * 16), alice.conversation("bob", b"2" * 16))
        self.assertEqual(alice.conversation("bob"), direct("bob"))

    def test_guests(self) -> None:
        """Each connection of a guest has a conversation of its own; all share a name, a history and a key file."""
        one, other = (person("server").profile.conversation(GUEST, device) for device in (b"1" * 16, b"2" * 16))
        self.assertNotEqual(one, other)
        self.assertEqual((one.account, one.device), (GUEST, b"1" * 16))
        self.assertEqual({one.bucket, other.bucket}, {with_guest(GUEST).bucket})
        self.assertNotEqual(one.bucket, direct(GUEST).bucket)

    def test_as_a_guest(self) -> None:
        """Whoever is a guest has a conversation of another kind with the contact."""
        conversation = evolve(person("alice").profile, name=GUEST).conversation("server", b"1" * 16)
        self.assertEqual((conversation.kind, conversation.account, conversation.device), (ConversationKind.HOST, "server", b""))
