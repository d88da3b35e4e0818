"""Guests: what a holder of the key file may do, and when it is answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.interfaces import WriteBatch, WriteOutcome
from securemsg.protocol import auth
from securemsg.protocol.messages import (
    Accepted,
    Account,
    Acknowledge,
    Claim,
    Deliver,
    Deposit,
    DepositRefused,
    Destination,
    Done,
    Drained,
    Failed,
    Fetch,
    GetAddress,
    Invite,
    ListAccounts,
    Missed,
    Part,
    Ping,
    Pong,
    Publish,
    Refused,
    RemoveAccount,
    Reply,
)
from securemsg.server.limits import DAY, Rate, Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.case import TwoPeople, changed
from tests.server.rig import Client, Rig, User, upload


class NotingStore(MemoryServerStore):
    """A store that notes what is written to it."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Nothing yet."""
        super().__init__(*arguments, **named)
        self.written: list[WriteBatch] = []

    def write(self, batch: WriteBatch, done: Callable[[WriteOutcome], None]) -> None:
        """Note it, and write it."""
        self.written.append(batch)
        super().write(batch, done)


class GuestCase(TwoPeople):
    """The contact C{server} is here, and so is a guest; the store holds commits back until it is told."""

    def setUp(self) -> None:
        """Everybody comes."""
        self.key = SharedKey(bytes(range(32)))
        self.noting = NotingStore(manual=True)
        self.rig = Rig(store=self.noting, settings=self.settings(), key=self.key)
        self.alice, self.sender = self.rig.register("alice")
        self.bob, self.reader = self.rig.register("bob")
        self.server, self.contact = self.rig.contact()
        self.guest_user, self.guest = self.rig.connect_guest(self.key)
        for client in (self.sender, self.reader, self.contact, self.guest):
            client.inbox.clear()

    def deposited(self, count: int = 1, client: Client | None = None) -> list[bytes]:
        """Have the guest deposit something, and let it be committed."""
        client = client or self.guest
        deposits = [client.deposit(self.server) for _ in range(count)]
        client.send(*deposits)
        self.rig.commit()
        return [deposit.deposit_id for deposit in deposits]

    def acknowledge(self, tag: int = 0) -> None:
        """The contact acknowledges, and that is all: the store commits nothing meanwhile."""
        self.contact.acknowledge(tag)

    def come_back(self) -> None:
        """The contact was away, and connects again."""
        self.rig.lose(self.contact)
        self.contact = self.rig.login_contact(self.server)


class ReachTests(GuestCase):
    """Whom a guest reaches."""

    def test_contact(self) -> None:
        """The contact gets a message from an account that is called after the file, and a device that is the connection's."""
        deposit = self.guest.deposit(self.server, text=b"Hello Server!", own=b"sealed")
        self.guest.send(deposit)
        self.rig.commit()
        message = self.contact.one(Deliver)
        self.assertEqual((message.account, message.device), (self.key.name, self.guest_user.device_id))
        self.assertEqual((message.common, message.own, message.deposit_id), (b"Hello Server!", b"sealed", deposit.deposit_id))
        self.assertRegex(message.account, r"\Akey-[0-9a-f]{8}\Z")

    def test_others(self) -> None:
        """
        Nobody else: not an account, nor one beside the contact, nor another guest, nor oneself, nor a name that is none.
        """
        other, _ = self.rig.connect_guest(self.key)
        nobody = self.rig.user("nobody")
        for to in ((self.bob,), (self.server, self.bob), (self.bob, self.server), (other,), (self.guest_user,), (nobody,)):
            self.assertEqual(self.refused(self.guest.deposit(*to), self.guest), "forbidden")
        twice = self.guest.deposit(self.server, self.server)
        self.assertEqual(self.refused(twice, self.guest), "forbidden")
        self.assertEqual(self.reader.inbox + self.contact.inbox, [])

    def test_no_commands(self) -> None:
        """
        A guest publishes, claims, uploads and invites nothing, and is no operator; each is refused, and the connection stays.
        """
        self.guest.ask(
            Publish(1, self.bob.device_list(version=2)),
            Claim(2, "server", self.server.device_id, 0),
            upload(self.bob, request=3),
            Invite(4, 1, 3600),
            ListAccounts(5, ""),
            RemoveAccount(6, "bob"),
            GetAddress(7),
            Reply(8, "bob", "text"),
            Ping(9),
        )
        self.rig.commit()
        self.assertEqual(self.guest.pop(Refused), [Refused(request, "forbidden") for request in range(1, 9)])
        self.guest.one(Pong)
        self.rig.login(self.bob)

    def test_directory(self) -> None:
        """The directory tells it of the contact, and of nobody else, whether there is such an account or not."""
        self.guest.ask(Fetch(1, "server"), Fetch(2, "bob"), Fetch(3, "nobody"), Fetch(4, self.key.name))
        self.rig.commit()
        answer = self.guest.one(Account)
        self.assertEqual((answer.request, answer.record.identity), (1, self.server.identity.public))
        self.assertEqual(self.guest.pop(Refused), [Refused(request, "forbidden") for request in (2, 3, 4)])

    def test_stale_devices(self) -> None:
        """A deposit that names other devices of the contact than there are is refused with its list."""
        stranger = User("server", self.server.server, device_id=keys.random_id())
        self.guest.ask(self.guest.deposit(stranger))
        refusal = self.guest.one(DepositRefused)
        self.assertEqual((refusal.code, refusal.accounts[0].identity), ("stale-devices", self.server.identity.public))

    def test_no_row(self) -> None:
        """Nothing of a guest is in the store: no account, no device, no mailbox, and no n."""
        self.guest.send(self.guest.deposit(self.server))
        self.rig.commit()
        query = self.rig.store.query
        self.assertEqual({name for (name,) in query("SELECT name FROM accounts")}, {"alice", "bob", "server"})
        self.assertEqual(len(query("SELECT mailbox FROM mailboxes")), 3)
        self.assertTrue(all(number < 0 for (number,) in query("SELECT sender FROM deposits")))
        written = self.noting.written
        self.assertEqual([row.n for batch in written for row in batch.deposits], [0])
        self.assertEqual([number for batch in written for number in batch.highest if number < 0], [])
        operator = self.rig.operator()
        operator.ask(RemoveAccount(1, self.key.name))
        self.rig.commit()
        self.assertEqual(operator.one(Refused).code, "no-such-account")


class ReplyTests(GuestCase):
    """The operator says something to guests."""

    def setUp(self) -> None:
        """What is to be said is noted."""
        super().setUp()
        self.said: list[tuple[str, frozenset[bytes]]] = []

        async def say(account: str, text: str, present: frozenset[bytes]) -> None:
            self.said.append((account, present))

        self.rig.server.reply = say
        self.operator = self.rig.operator()

    def test_present(self) -> None:
        """The contact learns which of their connections stand; with an account it is none of them."""
        other, _ = self.rig.connect_guest(self.key)
        self.operator.ask(Reply(1, self.key.name, "text"), Reply(2, "bob", "text"))
        self.rig.commit()
        self.assertEqual([done.request for done in self.operator.pop(Done)], [1, 2])
        here = frozenset([self.guest_user.device_id, other.device_id])
        self.assertEqual(self.said, [(self.key.name, here), ("bob", frozenset())])

    def test_gone(self) -> None:
        """Once the last of them has left, the reply is refused."""
        self.rig.lose(self.guest)
        self.operator.ask(Reply(1, self.key.name, "text"))
        self.rig.commit()
        self.assertEqual(self.operator.one(Refused), Refused(1, "no-such-account"))
        self.assertEqual(self.said, [])


class AnswerTests(GuestCase):
    """Accepted says that the contact has it."""

    def test_not_before(self) -> None:
        """Neither the arrival nor the commit nor the delivery is an answer; the acknowledgement is, before its own commit."""
        deposit = self.guest.deposit(self.server)
        self.guest.ask(deposit)
        self.assertEqual(self.guest.accepted(), [])
        self.rig.commit()
        self.assertEqual(len(self.contact.inbox), 1)
        self.assertEqual(self.guest.accepted(), [])
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.rig.server.commits.acks), 0)

    def test_accounts_at_commit(self) -> None:
        """An account is answered at the server's own commit, as ever."""
        self.sender.send(self.sender.deposit(self.server))
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 1)
        self.assertEqual(len(self.contact.pop(Deliver)), 1)

    def test_as_far_as_acknowledged(self) -> None:
        """What is acknowledged is answered, in one frame, and what comes behind it is not."""
        ids = self.deposited(5)
        tags = [message.tag for message in self.contact.pop(Deliver)]
        self.acknowledge(tags[2])
        answer = self.guest.one(Accepted)
        self.assertEqual([acceptance.deposit_id for acceptance in answer.deposits], ids[:3])
        self.acknowledge(tags[4])
        self.assertEqual(self.guest.accepted(), ids[3:])

    def test_among_others(self) -> None:
        """Messages of accounts between those of guests change nothing for either."""
        first = self.deposited()
        self.sender.send(*[self.sender.deposit(self.server) for _ in range(3)])
        self.rig.commit()
        second = self.deposited()
        self.acknowledge(1)
        self.assertEqual(self.guest.accepted(), first)
        self.acknowledge(4)
        self.assertEqual(self.guest.accepted(), [])
        self.acknowledge(5)
        self.assertEqual(self.guest.accepted(), second)

    def test_commit_long_before(self) -> None:
        """The contact may be away when the deposit is committed, and come back much later."""
        self.rig.lose(self.contact)
        ids = self.deposited(2)
        self.rig.time += 3 * 3600
        self.assertEqual(self.guest.accepted(), [])
        self.contact = self.rig.login_contact(self.server)
        self.assertEqual(self.guest.accepted(), [])
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), ids)

    def test_contact_restarted(self) -> None:
        """A contact that died with the message in its hands gets it again, and that acknowledgement is the answer."""
        ids = self.deposited(2)
        self.assertEqual(len(self.contact.delivered()), 2)
        for _ in range(2):
            self.come_back()
            self.rig.commit()
            self.assertEqual(self.guest.accepted(), [])
        self.acknowledge(1)
        self.assertEqual(self.guest.accepted(), ids[:1])
        self.come_back()
        self.rig.commit()
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), ids[1:])

    def test_expired(self) -> None:
        """What expired before the contact had it is not Accepted, though what came after it is acknowledged."""
        self.rig.lose(self.contact)
        self.guest.send(self.guest.deposit(self.server, expiry=60))
        self.rig.commit()
        ids = self.deposited()
        for _ in range(3):
            self.rig.time += 60
            self.rig.server.tick()
            self.rig.commit()
        self.contact = self.rig.login_contact(self.server)
        self.rig.commit()
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), ids)

    def test_gone(self) -> None:
        """
        Nobody is answered when the guest is gone, and nothing is left of its waiting; the contact has the message anyway.
        """
        self.deposited(3)
        self.rig.lose(self.guest)
        self.assertEqual(len(self.rig.server.commits.acks), 0)
        _, other = self.rig.connect_guest(self.key)
        other.inbox.clear()
        self.assertEqual(len(self.contact.inbox), 3)
        self.acknowledge()
        self.assertEqual(other.inbox, [])

    def test_gone_before_commit(self) -> None:
        """Nor when it left before the commit."""
        self.guest.ask(self.guest.deposit(self.server))
        self.rig.lose(self.guest)
        self.rig.commit()
        self.assertEqual(len(self.rig.server.commits.acks), 0)
        self.assertEqual(len(self.contact.inbox), 1)
        self.acknowledge()

    def test_crash(self) -> None:
        """After a crash of the server the contact still gets it; nobody waits for that any more."""
        self.deposited()
        self.rig.crash()
        self.contact = self.rig.login_contact(self.server)
        self.rig.commit()
        self.assertEqual(len(self.contact.inbox), 2)
        _, guest = self.rig.connect_guest(self.key)
        guest.inbox.clear()
        self.acknowledge()
        self.assertEqual(guest.inbox, [])

    def test_again_while_pending(self) -> None:
        """
        A deposit that is repeated before its commit, or before the acknowledgement, is answered once, by that; one with other
        bytes is a conflict.
        """
        deposit = self.guest.deposit(self.server)
        self.guest.ask(deposit, deposit)
        self.rig.commit()
        self.guest.send(deposit)
        self.rig.commit()
        self.assertEqual(self.guest.inbox, [])
        self.assertEqual(self.refused(changed(deposit, common=b"other"), self.guest), "conflict")
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), [deposit.deposit_id])

    def test_again_as_new(self) -> None:
        """
        Nor does a new n make a repetition of it Accepted before the acknowledgement; it is answered once, and counts as one.
        """
        deposit = self.guest.deposit(self.server)
        self.guest.send(deposit)
        self.rig.commit()
        peer = self.guest.wire.peer
        for more in (1, 2):
            self.guest.send(changed(deposit, n=deposit.n + more))
            self.rig.commit()
        self.assertEqual((self.guest.inbox, peer.unanswered), ([], 1))
        self.acknowledge()
        self.assertEqual((self.guest.accepted(), peer.unanswered), ([deposit.deposit_id], 0))

    def test_again_after(self) -> None:
        """One that is repeated after that is Accepted again, and the contact gets it once; other bytes are a conflict."""
        deposit = self.guest.deposit(self.server)
        self.guest.send(deposit)
        self.rig.commit()
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), [deposit.deposit_id])
        self.guest.send(deposit)
        self.rig.commit()
        self.assertEqual(self.guest.accepted(), [deposit.deposit_id])
        self.assertEqual(self.contact.delivered(), [])
        self.assertEqual(self.refused(changed(deposit, common=b"other"), self.guest), "conflict")

    def test_refused_then_taken(self) -> None:
        """A deposit that was refused for want of room is taken with the same id and n when there is some."""
        self.rig.space = 0
        self.rig.time += 2
        deposit = self.guest.deposit(self.server)
        self.assertEqual(self.refused(deposit, self.guest), "retry-later")
        self.rig.space = 10**12
        self.rig.time += 2
        self.guest.send(deposit)
        self.rig.commit()
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), [deposit.deposit_id])

    def test_stops(self) -> None:
        """A server that stops tells a guest, and does not claim that the contact has anything."""
        self.deposited()
        self.guest.inbox.clear()
        self.rig.server.stop()
        self.rig.run()
        self.assertEqual(self.guest.inbox, [Failed("stopping")])


class SmallLimitsTests(GuestCase):
    """Limits that are soon reached."""

    def settings(self) -> Settings:
        """One account in memory, eight unanswered deposits, ten messages in a mailbox."""
        return Settings(registration="open", cached_accounts=1, max_unanswered=8, mailbox_messages=10)

    def test_contact_not_in_memory(self) -> None:
        """While a guest waits, what is known of the contact stays in memory, however many accounts are asked for."""
        self.rig.lose(self.contact)
        ids = self.deposited()
        for number in range(4):
            user = self.rig.user(f"user{number}")
            client = self.rig.try_register(user)
            self.rig.commit()
            self.rig.lose(client)
        self.contact = self.rig.login_contact(self.server)
        self.rig.commit()
        self.acknowledge()
        self.assertEqual(self.guest.accepted(), ids)

    def test_bounded(self) -> None:
        """A guest with many deposits that wait is not read from until the contact has acknowledged half of them."""
        self.deposited(8)
        self.assertTrue(self.guest.wire.paused)
        self.guest.send(Ping(1))
        self.rig.commit()
        self.assertEqual(self.guest.pop(Pong), [])
        self.acknowledge(3)
        self.assertTrue(self.guest.wire.paused)
        self.acknowledge(4)
        self.assertFalse(self.guest.wire.paused)
        self.guest.one(Pong)

    def test_mailbox_full(self) -> None:
        """A contact whose mailbox is full takes nothing of guests either."""
        self.rig.lose(self.contact)
        self.sender.send(*[self.sender.deposit(self.server) for _ in range(10)])
        self.rig.commit()
        self.assertEqual(self.refused(self.guest.deposit(self.server), self.guest), "mailbox-full")


class ReturnTests(GuestCase):
    """What the contact has for guests."""

    def test_handed_over(self) -> None:
        """A connected guest is given it from memory, and the contact is answered at once, without the store."""
        deposit = self.contact.deposit(self.guest_user, text=b"answer", own=b"sealed")
        self.contact.ask(deposit)
        message = self.guest.one(Deliver)
        self.assertEqual((message.tag, message.account, message.device), (1, "server", self.server.device_id))
        self.assertEqual((message.common, message.own, message.deposit_id), (b"answer", b"sealed", deposit.deposit_id))
        self.assertEqual(self.contact.accepted(), [deposit.deposit_id])
        self.rig.commit()
        self.assertEqual(self.rig.store.query("SELECT * FROM deposits"), [])

    def test_asker_alone(self) -> None:
        """Of two guests with one file each gets what is for it, and nothing of the other's, as answer or as delivery."""
        guest, other = self.rig.connect_guest(self.key)
        other.inbox.clear()
        self.assertEqual((guest.name, guest.device_id == self.guest_user.device_id), (self.guest_user.name, False))
        mine, theirs = self.guest.deposit(self.server, text=b"mine"), other.deposit(self.server, text=b"theirs")
        self.guest.send(mine)
        other.send(theirs)
        self.rig.commit()
        senders = {message.common: message.device for message in self.contact.pop(Deliver)}
        self.assertEqual(senders, {b"mine": self.guest_user.device_id, b"theirs": guest.device_id})
        self.contact.acknowledge(1)
        self.assertEqual((self.guest.accepted(), other.accepted()), ([mine.deposit_id], []))
        self.contact.acknowledge(2)
        self.assertEqual((self.guest.accepted(), other.accepted()), ([], [theirs.deposit_id]))
        self.contact.ask(self.contact.deposit(self.guest_user, text=b"yours"), self.contact.deposit(guest, text=b"and yours"))
        self.assertEqual((self.guest.delivered(), other.delivered()), ([b"yours"], [b"and yours"]))

    def test_same_deposit_id(self) -> None:
        """Two guests that use one deposit id are two senders: neither is taken for a repetition of the other."""
        _, other = self.rig.connect_guest(self.key)
        other.inbox.clear()
        deposit = self.guest.deposit(self.server)
        self.guest.send(deposit)
        other.send(deposit)
        self.rig.commit()
        self.assertEqual(len(self.contact.pop(Deliver)), 2)
        self.contact.acknowledge(1)
        self.assertEqual((self.guest.accepted(), other.accepted()), ([deposit.deposit_id], []))
        self.rig.lose(self.guest)
        self.contact.acknowledge(2)
        self.assertEqual(other.accepted(), [deposit.deposit_id])

    def test_same_deposit_id_later(self) -> None:
        """Nor of one that was here before it, in the same place, also after a restart of the server."""
        deposit = self.guest.deposit(self.server)
        for crash in (False, False, True):
            self.rig.lose(self.guest)
            if crash:
                self.rig.crash()
                self.contact = self.rig.login_contact(self.server)
            _, self.guest = self.rig.connect_guest(self.key)
            self.guest.inbox.clear()
            self.guest.send(deposit)
            self.rig.commit()
            self.assertEqual((len(self.contact.inbox), self.guest.inbox), (1 + crash, []), "Drained after a restart")
            self.contact.acknowledge()
            self.assertEqual(self.guest.accepted(), [deposit.deposit_id])
            self.rig.commit()

    def test_fencing(self) -> None:
        """
        One guest never fences another, and an account that logs in anew fences no guest; one that leaves takes nothing
        from the others.
        """
        guests = [self.rig.connect_guest(self.key) for _ in range(3)]
        self.rig.try_login(self.alice)
        self.rig.commit()
        self.come_back()
        self.assertEqual(self.rig.server.logged_in, 6)
        self.rig.lose(guests[0][1])
        for guest, client in [*guests[1:], (self.guest_user, self.guest)]:
            client.inbox.clear()
            self.contact.ask(self.contact.deposit(guest, text=b"here"))
            self.assertEqual(client.delivered(), [b"here"])
            client.ask(Ping(1))
            client.one(Pong)

    def test_several(self) -> None:
        """A deposit may be for several guests; who has no room is named as missed."""
        guest, other = self.rig.connect_guest(self.key)
        other.inbox.clear()
        self.guest_user.others.append(guest.own)
        other.wire.peer.writable(False)
        deposit = self.contact.deposit(self.guest_user)
        self.contact.ask(deposit)
        answer = self.contact.one(Accepted).deposits[0]
        self.assertEqual(answer.missed, [Missed(self.key.name, guest.device_id, "mailbox-full")])
        self.assertEqual((len(self.guest.delivered()), other.delivered()), (1, []))

    def test_window_full(self) -> None:
        """
        A guest that acknowledges nothing is given no more than its window; then it is mailbox-full, until it acknowledges.
        """
        frames = self.rig.settings.window_frames
        self.contact.ask(*[self.contact.deposit(self.guest_user) for _ in range(frames + 2)])
        self.assertEqual(len(self.contact.accepted()), frames)
        self.assertEqual([refusal.code for refusal in self.contact.pop(DepositRefused)], ["mailbox-full"] * 2)
        self.assertEqual([message.tag for message in self.guest.pop(Deliver)], list(range(1, frames + 1)))
        self.guest.ask(Acknowledge(10))
        self.contact.ask(*[self.contact.deposit(self.guest_user, text=b"more") for _ in range(11)])
        self.assertEqual((len(self.contact.accepted()), len(self.contact.pop(DepositRefused))), (10, 1))
        self.assertEqual([message.tag for message in self.guest.pop(Deliver)], list(range(frames + 1, frames + 11)))
        self.rig.commit()
        self.assertEqual(self.rig.failures, [])

    def test_window_size(self) -> None:
        """The window is one of bytes, too."""
        large = bytes(50_000)
        self.contact.ask(*[self.contact.deposit(self.guest_user, text=large) for _ in range(8)])
        self.rig.run()
        self.assertEqual((len(self.contact.accepted()), len(self.guest.delivered())), (6, 6))

    def test_nothing_to_acknowledge(self) -> None:
        """A guest that acknowledges what it was never sent is hung up on."""
        self.guest.ask(Acknowledge(1))
        self.assertEqual(self.guest.failed(), "bad-acknowledgement")

    def test_not_here(self) -> None:
        """A guest that is gone is no account; nor is the file's name without any, nor with one of several gone."""
        guest, other = self.rig.connect_guest(self.key)
        self.rig.lose(other)
        for to, others in ((guest, []), (self.guest_user, [guest.own])):
            to.others = others
            deposit = self.contact.deposit(to)
            self.contact.send(deposit)
            self.rig.commit()
            refusal = self.contact.one(DepositRefused)
            self.assertEqual((refusal.code, refusal.deposit_id), ("no-such-account", deposit.deposit_id))
            self.assertEqual([record.name for record in refusal.accounts], [self.key.name])
        self.assertEqual(self.guest.delivered(), [])

    def test_contact_alone(self) -> None:
        """To everybody else, the operator's own guests included, such a name is no account, whoever is connected."""
        self.assertEqual(self.refused(self.sender.deposit(self.guest_user)), "no-such-account")
        self.assertEqual(self.refused(self.sender.deposit(self.bob, self.guest_user)), "no-such-account")
        for to in ((self.bob, self.guest_user), (self.guest_user, self.bob)):
            self.assertEqual(self.refused(self.contact.deposit(*to), self.contact), "no-such-account")
        self.sender.send(Fetch(1, self.key.name))
        self.rig.commit()
        self.assertEqual(self.sender.one(Refused).code, "no-such-account")
        self.assertEqual(self.guest.inbox + self.reader.inbox, [])

    def test_bad_requests(self) -> None:
        """A guest that is named twice, and an expiry that is none, are refused."""
        part = Part(self.guest_user.device_id, b"own")
        twice = Deposit(keys.random_id(), 100, DAY, b"common", [Destination(self.key.name, [part, part])])
        self.assertEqual(self.refused(twice, self.contact), "bad-request")
        self.assertEqual(self.refused(self.contact.deposit(self.guest_user, expiry=0), self.contact), "bad-request")
        self.assertEqual(self.refused(self.contact.deposit(self.guest_user, expiry=31 * DAY), self.contact), "bad-request")
        self.assertEqual(self.guest.inbox, [])

    def test_drained(self) -> None:
        """A guest has no mailbox: it is drained at once, and once only."""
        _, client = self.rig.connect_guest(self.key)
        self.contact.ask(self.contact.deposit(self.guest_user))
        self.guest.ask(Acknowledge(1))
        self.assertEqual((len(client.pop(Drained)), self.guest.pop(Drained)), (1, []))


class RatesTests(GuestCase):
    """To come again is no way round a limit."""

    def settings(self) -> Settings:
        """Three deposits, and then no more."""
        return Settings(registration="open", deposits=Rate(3, 1e9), requests=Rate(2, 1e9))

    def test_come_again(self) -> None:
        """Who leaves and comes again finds its limits as they were; beside it, another guest has limits of its own."""
        for _ in range(3):
            self.guest.send(self.guest.deposit(self.server))
        self.rig.commit()
        self.assertEqual(self.refused(self.guest.deposit(self.server), self.guest), "rate-limited")
        _, beside = self.rig.connect_guest(self.key)
        beside.send(beside.deposit(self.server))
        self.rig.commit()
        self.assertEqual(beside.pop(DepositRefused), [])
        self.rig.lose(self.guest)
        _, again = self.rig.connect_guest(self.key)
        self.assertEqual(self.refused(again.deposit(self.server), again), "rate-limited")

    def test_bounded(self) -> None:
        """Any number of connections, one after the other, have one rate key, and leave nothing behind."""
        self.rig.lose(self.guest)
        rate_keys = set()
        for _ in range(20):
            _, client = self.rig.connect_guest(self.key)
            rate_keys.add(client.wire.peer.device.rate_key)
            client.ask(Fetch(1, "server"), self.guest.deposit(self.server))
            self.rig.commit()
            self.rig.lose(client)
        self.assertEqual((self.rig.server.guests, len(rate_keys)), (frozenset(), 1))
        self.assertEqual(self.rig.server.logged_in, 2)


class OtherDoorTests(GuestCase):
    """Over memory, as a program that embeds the server may."""

    def test_memory(self) -> None:
        """A guest over another channel is another device."""
        client = self.rig.greet_as_guest(auth.MEMORY)
        client.ask(self.rig.guest_proof(client, self.key))
        self.assertEqual(len(self.rig.server.guests), 2)
