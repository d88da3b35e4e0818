"""A hole of an ancestor, named, and closed."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.protocol.framing import encode_frame
from securemsg.protocol.messages import (
    Accounts,
    Acknowledge,
    Challenge,
    Claim,
    Deliver,
    DepositRefused,
    Failed,
    Fetch,
    GetAddress,
    Hello,
    ListAccounts,
    Message,
    Proof,
    Publish,
    Refused,
    RemoveAccount,
    Welcome,
    encode_message,
)
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.case import TwoPeople
from tests.server.rig import Client, Rig, User, upload


class QueueTests(TwoPeople):
    """"Any id may list, read and delete any queue": a client id was the only credential."""

    def setUp(self) -> None:
        """Something waits for Bob, who is away; Mallory has an account, and the key file of this server."""
        self.key = SharedKey(bytes(range(32)))
        self.rig = Rig(store=MemoryServerStore(manual=True), settings=self.settings(), key=self.key)
        self.alice, self.sender = self.rig.register("alice")
        self.bob, self.reader = self.rig.register("bob")
        self.rig.lose(self.reader)
        self.store([b"for bob alone"])
        self.mallory, self.other = self.rig.register("mallory")
        self.other.inbox.clear()

    def still_there(self, keep: bool = False) -> None:
        """
        Bob gets what waited.

        @param keep: he leaves again without having acknowledged it.
        """
        client = self.rig.try_login(self.bob)
        self.rig.commit()
        client.one(Welcome)
        self.assertEqual(client.delivered(), [b"for bob alone"])
        if keep:
            self.rig.lose(client)

    def test_any_id_may_list_read_and_delete_any_queue(self) -> None:
        """
        Whoever knows every id there is, and says everything that can be said: a second registered account, an unregistered
        peer, and a guest with the key file each list nothing, read nothing and delete nothing of Bob's queue.
        """
        _, guest = self.rig.connect_guest(self.key)
        guest.inbox.clear()
        for client in (self.other, guest):
            self.say(
                client,
                ListAccounts(1, ""),
                ListAccounts(2, "bob"),
                RemoveAccount(3, "bob"),
                GetAddress(4),
                Publish(5, self.bob.device_list(version=2)),
                upload(self.bob, request=6, replace=True),
            )
            self.rig.commit()
            done = [message for message in client.inbox if not isinstance(message, Refused)]
            # What one uploads is for one's own device, whatever it says; a guest has none.
            self.assertEqual(done, [])
            self.assertEqual([message.request for message in client.pop(Refused)], [1, 2, 3, 4, 5, 6])
            self.say(client, Acknowledge(1))
            self.assertEqual(client.inbox, [Failed("bad-acknowledgement")])
            self.still_there(keep=True)
        named = "bob", self.bob.device_id
        proofs = Proof(*named, 0, bytes(64)), Proof(*named, 0, b""), Proof("", b"", 0, bytes(64))
        for frame in (ListAccounts(1, ""), RemoveAccount(2, "bob"), Acknowledge(1), *proofs):
            for role in ("device", "operator", "key", None):
                client = self.rig.connect()
                if role is not None:
                    client.ask(Hello([1], [], role, "tcp", keys.nonce()))
                    client.pop(Challenge)
                self.say(client, frame)
                self.rig.commit()
                self.assertEqual([type(message) for message in client.inbox], [Failed], (frame, role))
                self.assertIsNotNone(client.wire.code)
        self.still_there()

    def test_guest(self) -> None:
        """
        A guest with the key file of the server neither lists, nor reads, nor deletes the queue of an account, nor hears
        whether there is one; it puts nothing there, and is told of no device.
        """
        _, client = self.rig.connect_guest(self.key)
        client.inbox.clear()
        self.say(client, ListAccounts(1, ""), RemoveAccount(2, "bob"), Fetch(3, "bob"), Claim(4, "bob", self.bob.device_id, 0))
        self.assertEqual(client.inbox, [Refused(request, "forbidden") for request in (1, 2, 3, 4)])
        client.inbox.clear()
        self.say(client, client.deposit(self.bob))
        self.rig.commit()
        self.assertEqual([message.code for message in client.pop(DepositRefused)], ["forbidden"])
        self.say(client, Acknowledge(1))
        self.assertEqual(client.inbox, [Failed("bad-acknowledgement")])
        self.still_there()

    def test_guest_as_the_other(self) -> None:
        """Nor does the key file prove to be somebody: not with Bob's name and device in the proof, nor as a device."""
        for client, code in ((self.rig.greet_as_guest(), "malformed"), (self.rig.greet(), "login-failed")):
            client.pop(Challenge)
            proof = self.rig.guest_proof(client, self.key)
            self.say(client, replace(proof, account="bob", device=self.bob.device_id))
            self.rig.commit()
            self.assertEqual(client.inbox, [Failed(code)])
        self.still_there()

    def test_guest_and_guest(self) -> None:
        """Nor is what the contact has for one guest to be had by another with the same file."""
        guest, first = self.rig.connect_guest(self.key)
        _, second = self.rig.connect_guest(self.key)
        _, contact = self.rig.contact()
        second.inbox.clear()
        contact.ask(contact.deposit(guest, text=b"for the first"))
        self.assertEqual(first.delivered(), [b"for the first"])
        self.assertEqual(second.inbox, [])
        self.say(second, Acknowledge(1))
        self.assertEqual(second.inbox, [Failed("bad-acknowledgement")])

    def say(self, client: Client, *messages: Message) -> None:
        """Send frames that our own client would not send."""
        client.raw(b"".join(encode_frame(encode_message(message)) for message in messages))

    def test_second_account(self) -> None:
        """A registered account can neither list, nor read, nor delete the queue of another."""
        self.say(self.other, ListAccounts(1, ""), RemoveAccount(2, "bob"))
        self.assertEqual(self.other.pop(Refused), [Refused(1, "forbidden"), Refused(2, "forbidden")])
        self.say(self.other, Acknowledge(1))
        self.assertEqual(self.other.failed(), "bad-acknowledgement")
        self.still_there()

    def test_second_account_as_the_other(self) -> None:
        """An account that names another's device and signs that with its own key does not get in."""
        impostor = User("bob", self.bob.server, device=self.mallory.device, device_id=self.bob.device_id)
        client = self.rig.greet()
        client.ask(self.rig.proof(client, impostor))
        self.assertEqual(client.inbox, [Failed("login-failed")])
        self.still_there()

    def test_second_account_with_its_device(self) -> None:
        """An account that puts another's device id on its own list gets a mailbox of its own, and an empty one."""
        impostor = self.rig.user("trudy")
        impostor.device_id = self.bob.device_id
        client = self.rig.try_register(impostor)
        client.one(Welcome)
        self.rig.commit()
        self.assertEqual(client.pop(Deliver), [])
        self.still_there()

    def test_registering_over(self) -> None:
        """Nobody registers an account that exists, to have its queue."""
        self.assertEqual(self.rig.try_register(self.rig.user("bob")).failed(), "name-taken")
        self.still_there()

    def test_unregistered(self) -> None:
        """A client without an account is ignored: no command passes before the login."""
        for message in (ListAccounts(1, ""), RemoveAccount(2, "bob"), Acknowledge(1), Fetch(1, "bob")):
            for prelude in (False, True):
                client = self.rig.greet() if prelude else self.rig.connect()
                self.say(client, message)
                self.assertEqual(client.inbox, [Failed("out-of-turn")])
                self.assertEqual(client.pop(Accounts), [])
        self.still_there()

    def test_unregistered_with_an_id(self) -> None:
        """To know account and device id is to know nothing."""
        for signature in (b"", bytes(64), self.mallory.device.sign(b"securemsg/1 device login")):
            client = self.rig.greet()
            self.say(client, Proof("bob", self.bob.device_id, 0, signature))
            self.assertEqual(client.inbox, [Failed("login-failed")])
        self.still_there()
