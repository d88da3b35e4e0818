"""
A hole of an ancestor, named, and closed.
"""

from __future__ import annotations

from securemsg.crypto import keys
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import (
    Accounts,
    Acknowledge,
    Deliver,
    Failed,
    Fetch,
    Hello,
    ListAccounts,
    Message,
    Proof,
    Refused,
    RemoveAccount,
    Welcome,
    encode_message,
)
from tests.server.case import TwoPeople
from tests.server.rig import Client


class QueueTests(TwoPeople):
    """
    "Any id may list, read and delete any queue": a client id was the only credential.
    """

    def setUp(self) -> None:
        """
        Something waits for Bob, who is away; Mallory has an account.
        """
        super().setUp()
        self.rig.lose(self.reader)
        self.store([b"for bob alone"])
        self.mallory, self.other = self.rig.register("mallory")
        self.other.inbox.clear()

    def still_there(self) -> None:
        """
        Bob gets what waited.
        """
        self.assertEqual(self.rig.login(self.bob).delivered(), [b"for bob alone"])

    def say(self, client: Client, *messages: Message) -> None:
        """
        Send frames that our own client would not send.
        """
        client.raw(b"".join(encode_frame(encode_message(message)) for message in messages))

    def test_second_account(self) -> None:
        """
        A registered account can neither list, nor read, nor delete the queue of another.
        """
        self.say(self.other, ListAccounts(1, ""), RemoveAccount(2, "bob"))
        self.assertEqual(self.other.take(Refused), [Refused(1, "forbidden"), Refused(2, "forbidden")])
        self.say(self.other, Acknowledge(1))
        self.assertEqual(self.other.failed(), "bad-acknowledgement")
        self.still_there()

    def test_second_account_as_the_other(self) -> None:
        """
        An account that names another's device in its greeting and signs with its own key does not get in.
        """
        client = self.rig.connect()
        client.ask(Hello([1], [], "device", "tcp", "bob", self.bob.device_id, keys.nonce()))
        client.inbox.clear()
        client.ask(self.rig.proof(client, self.mallory))
        self.assertEqual(client.inbox, [Failed("login-failed")])
        self.still_there()

    def test_second_account_with_its_device(self) -> None:
        """
        An account that puts another's device id on its own list gets a mailbox of its own, and an empty one.
        """
        impostor = self.rig.user("trudy")
        impostor.device_id = self.bob.device_id
        client = self.rig.try_register(impostor)
        client.one(Welcome)
        self.rig.commit()
        self.assertEqual(client.take(Deliver), [])
        self.still_there()

    def test_registering_over(self) -> None:
        """
        Nobody registers an account that exists, to have its queue.
        """
        self.assertEqual(self.rig.try_register(self.rig.user("bob")).failed(), "name-taken")
        self.still_there()

    def test_unregistered(self) -> None:
        """
        A caller without an account is heard by nobody: no command passes before the login.
        """
        for message in (ListAccounts(1, ""), RemoveAccount(2, "bob"), Acknowledge(1), Fetch(1, "bob")):
            for prelude in (False, True):
                client = self.rig.greet(self.bob) if prelude else self.rig.connect()
                self.say(client, message)
                self.assertEqual(client.inbox, [Failed("out-of-turn")])
                self.assertEqual(client.take(Accounts), [])
        self.still_there()

    def test_unregistered_with_an_id(self) -> None:
        """
        To know account and device id is to know nothing.
        """
        for signature in (b"", bytes(64), self.mallory.device.sign(b"securemsg/1 device login")):
            client = self.rig.greet(self.bob)
            self.say(client, Proof(0, signature))
            self.assertEqual(client.inbox, [Failed("login-failed")])
        self.still_there()
