"""Deposits, step by step as the protocol orders them."""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.crypto import keys
from securemsg.crypto.rsa import RsaKey
from securemsg.protocol.messages import (
    MAX_N,
    Acceptance,
    Accepted,
    Deliver,
    DepositRefused,
    Destination,
    Done,
    Missed,
    Part,
    Publish,
    RemoveAccount,
    Removed,
    Welcome,
)
from securemsg.server.limits import MIN_FREE_SPACE, Rate, Settings
from tests.server.case import TwoPeople, changed
from tests.server.rig import DAY, START, User


class DepositTests(TwoPeople):
    """Alice writes to Bob. The store holds commits back until it is told."""

    def test_delivered_at_once(self) -> None:
        """A reader who is up to date gets a message at once; it is accepted after the commit."""
        deposit = self.sender.deposit(self.bob, text=b"hello")
        self.sender.ask(deposit)
        self.assertEqual(self.sender.inbox, [])
        delivery = self.reader.one(Deliver)
        expected = Deliver(1, "alice", self.alice.device_id, deposit.deposit_id, START, b"hello", b"own")
        self.assertEqual(delivery, expected)
        self.rig.commit()
        self.assertEqual(self.sender.one(Accepted).deposits, [Acceptance(deposit.deposit_id, [], stored=True)])
        self.assertEqual(self.reader.inbox, [])

    def test_accepted_after_commit(self) -> None:
        """Where the reader is away nobody hears anything before the commit has returned."""
        self.rig.lose(self.reader)
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        self.assertEqual(self.rig.store.held, 1)
        self.assertEqual(self.sender.inbox, [])
        self.rig.commit()
        self.assertEqual(self.sender.one(Accepted).deposits, [Acceptance(deposit.deposit_id, [], stored=True)])

    def test_answers_together(self) -> None:
        """Answers of one commit travel in one frame."""
        deposits = [self.sender.deposit(self.bob) for _ in range(5)]
        self.sender.send(*deposits)
        self.rig.commit()
        accepted = self.sender.one(Accepted)
        self.assertEqual([one.deposit_id for one in accepted.deposits], [one.deposit_id for one in deposits])
        self.assertEqual(accepted.now, START)

    def test_one_batch_at_a_time(self) -> None:
        """While one commit runs the next batch fills; it goes out as one."""
        self.rig.lose(self.reader)
        for _ in range(4):
            self.sender.ask(self.sender.deposit(self.bob))
            self.assertEqual(self.rig.store.held, 1)
        self.rig.store.flush()
        self.rig.run()
        self.assertEqual(len(self.sender.accepted()), 1)
        self.rig.store.flush()
        self.rig.run()
        self.assertEqual(len(self.sender.accepted()), 3)
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 4)

    def test_repeated_after_commit(self) -> None:
        """The same deposit again is accepted again, and delivered once."""
        deposit = self.sender.deposit(self.bob)
        for _ in range(3):
            self.sender.send(deposit)
            self.rig.commit()
            self.assertEqual(self.sender.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.reader.delivered()), 1)

    def test_repeated_while_pending(self) -> None:
        """A deposit that is repeated before its commit returned is one deposit with one answer."""
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit, deposit)
        self.sender.ask(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.reader.delivered()), 1)
        self.assertEqual(self.sender.wire.peer.unanswered, 0)

    def test_repeated_over_new_connection(self) -> None:
        """A pending deposit that is repeated after a reconnect is answered in the new connection."""
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        self.rig.lose(self.sender)
        # What is asked of the store waits behind the commit, so both happen before it, or neither does.
        again = self.rig.greet()
        again.send(self.rig.proof(again, self.alice))
        self.rig.commit()
        again.ask(deposit)
        self.rig.commit()
        self.assertEqual(again.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.reader.delivered()), 1)

    def test_pending_attached(self) -> None:
        """Where the new connection is faster than the commit, it gets the answer."""
        first, second = self.sender.deposit(self.bob), self.sender.deposit(self.bob)
        self.sender.ask(first)
        self.sender.ask(second)  # in the next batch
        self.rig.lose(self.sender)
        again = self.rig.greet()
        again.ask(self.rig.proof(again, self.alice))
        self.rig.store.flush()  # the first commit, and the login behind it; the second batch goes out after it
        self.rig.run()
        again.ask(second)
        self.assertEqual(again.accepted(), [])
        self.rig.commit()
        self.assertEqual(again.accepted(), [second.deposit_id])
        self.assertEqual(len(self.reader.delivered()), 2)
        self.assertEqual(again.wire.peer.unanswered, 0)

    def test_conflict_after_commit(self) -> None:
        """A known deposit id with other bytes, recipients or expiry is a conflict."""
        carol, _ = self.rig.register("carol")
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit)
        self.rig.commit()
        self.sender.accepted()
        others = [
            changed(deposit, common=b"other"),
            changed(deposit, expiry=deposit.expiry + 1),
            changed(deposit, to=[Destination("carol", [Part(carol.device_id, b"own")])]),
            changed(deposit, to=[Destination("bob", [Part(self.bob.device_id, b"other")])]),
        ]
        self.assertEqual([self.refused(one) for one in others], ["conflict"] * 4)

    def test_conflict_while_pending(self) -> None:
        """So it is before the commit returned."""
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        to = [Destination("bob", [Part(self.bob.device_id, b"other")])]
        for items in ({"common": b"other"}, {"expiry": deposit.expiry + 1}, {"to": to}):
            self.sender.ask(changed(deposit, **items))
            self.assertEqual(self.sender.one(DepositRefused).code, "conflict")
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])

    def test_repeated_under_higher_n(self) -> None:
        """The store recognises a repetition even where n says there can be none."""
        self.rig.lose(self.reader)
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit)
        self.rig.commit()
        self.sender.accepted()
        self.sender.send(changed(deposit, n=7))
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])
        self.assertEqual(self.refused(changed(deposit, n=8, common=b"other")), "conflict")
        self.reader = self.rig.login(self.bob)
        self.assertEqual(len(self.reader.delivered()), 1)
        self.reader.acknowledge(1)
        self.sender.send(self.sender.deposit(self.bob, text=b"goes on"))
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), [b"goes on"])

    def test_delivered_and_not_refused(self) -> None:
        """
        What was delivered before the commit found it to be in conflict is not refused any more: the connection ends, and the
        reader goes on.
        """
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit)
        self.rig.commit()
        self.sender.send(changed(deposit, n=8, common=b"other"))
        self.rig.commit()
        self.assertEqual(self.sender.failed(), "conflict")
        self.assertEqual(self.sender.pop(DepositRefused), [])
        self.assertEqual(self.reader.delivered(), [b"common", b"other"])
        self.reader.acknowledge(2)
        self.sender = self.rig.login(self.alice)
        for text in (b"goes", b"on"):
            self.sender.send(self.sender.deposit(self.bob, text=text))
            self.rig.commit()
        self.assertEqual(self.reader.delivered(), [b"goes", b"on"])

    def test_dedupe_before_lists(self) -> None:
        """A repetition is accepted though the recipient's devices have changed since."""
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit)
        self.rig.commit()
        self.two_devices()
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id] * 2)

    def test_dedupe_before_disk(self) -> None:
        """A repetition is accepted though the disk is full."""
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit)
        self.rig.commit()
        self.rig.space = 0
        self.rig.time += 2
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id] * 2)

    def test_dedupe_after_crash(self) -> None:
        """A repetition is recognised by the next process."""
        deposit = self.sender.deposit(self.bob)
        self.sender.send(deposit)
        self.rig.commit()
        self.rig.crash()
        sender = self.rig.login(self.alice)
        sender.send(deposit)
        self.rig.commit()
        self.assertEqual(sender.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 1)

    def test_crash_before_commit(self) -> None:
        """What was not committed was not accepted, and its repetition is new."""
        deposit = self.sender.deposit(self.bob)
        self.sender.ask(deposit)
        self.rig.crash()
        sender = self.rig.login(self.alice)
        sender.ask(deposit)
        self.rig.commit()
        self.assertEqual(sender.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 1)

    def test_n_of_refused(self) -> None:
        """The highest n is kept though the deposit was refused."""
        self.assertEqual(self.refused(changed(self.sender.deposit(self.bob), n=41, expiry=0)), "bad-request")
        self.rig.crash()
        self.assertEqual(self.rig.login(self.alice).n, 41)

    def test_n_bounded(self) -> None:
        """An n above the bound is refused, and forgotten; the bound itself is taken, and what was sent before it is known."""
        first = self.sender.deposit(self.bob)
        self.sender.send(first)
        for n in (MAX_N + 1, 2**62, 2**63 - 1):
            self.assertEqual(self.refused(changed(self.sender.deposit(self.bob), n=n)), "bad-request")
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        self.assertEqual(self.sender.n, 1)
        self.sender.send(changed(self.sender.deposit(self.bob), n=MAX_N), changed(first, n=MAX_N))
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 2)
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 2)
        self.assertEqual(self.rig.login(self.alice).n, MAX_N)

    def test_n_not_rising(self) -> None:
        """A new deposit whose n does not rise is taken, in the order of arrival, and changes nothing about the highest n."""
        self.sender.n = 7
        texts: list[bytes] = []
        for n in (8, 8, 3, 0):
            texts.append(b"n %d %d" % (n, len(texts)))
            self.sender.send(changed(self.sender.deposit(self.bob, text=texts[-1]), n=n))
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 4)
        self.assertEqual(self.reader.delivered(), texts)
        self.assertEqual(self.rig.login(self.alice).n, 8)

    def test_refused_then_accepted(self) -> None:
        """A deposit that was refused for now is accepted later, with the same n."""
        deposit = self.sender.deposit(self.bob)
        self.rig.space = 0
        self.rig.time += 2
        self.assertEqual(self.refused(deposit), "retry-later")
        self.rig.space = 10**12
        self.rig.time += 2
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [deposit.deposit_id])

    def test_disk_guard(self) -> None:
        """Nothing new is taken below the limit, and acknowledgements go on."""
        self.sender.send(self.sender.deposit(self.bob))
        self.rig.commit()
        self.rig.space = MIN_FREE_SPACE - 1
        self.rig.time += 1
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "retry-later")
        self.rig.space = MIN_FREE_SPACE
        # It was asked in this second already.
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "retry-later")
        self.rig.time += 1
        self.sender.send(self.sender.deposit(self.bob))
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 2)

    def test_expiry_limits(self) -> None:
        """Nothing is kept for no time, or for longer than published."""
        for expiry in (0, 30 * DAY + 1, 31 * DAY, 2**63 - 1):
            self.assertEqual(self.refused(self.sender.deposit(self.bob, expiry=expiry)), "bad-request")
        self.sender.send(self.sender.deposit(self.bob, expiry=30 * DAY))
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 1)

    def test_account_twice(self) -> None:
        """An account or a device that is named twice is no set, in memory or not; nobody gets anything."""
        second, other = self.two_devices()
        for _ in range(2):
            deposit = self.sender.deposit(self.bob)
            [to] = deposit.to
            one, two = to.parts
            for parts in ([one, one], [one, two, two], [one, two, one]):
                twice = changed(self.sender.deposit(self.bob), to=[Destination("bob", parts)])
                self.assertEqual(self.refused(twice), "bad-request", parts)
            halves = [Destination("bob", [one]), Destination("bob", [two])]
            for destinations in ([to, to], halves):
                self.assertEqual(self.refused(changed(self.sender.deposit(self.bob), to=destinations)), "bad-request")
            self.rig.crash()
            self.sender = self.rig.login(self.alice)
        self.assertEqual(self.rig.login(self.bob).delivered() + self.rig.login(second).delivered(), [])
        self.assertEqual(self.reader.delivered() + other.delivered(), [])

    def test_gone(self) -> None:
        """An account that does not exist is named."""
        deposit = self.sender.deposit(self.bob, self.rig.user("nobody"))
        self.sender.send(deposit)
        self.rig.commit()
        refusal = self.sender.one(DepositRefused)
        self.assertEqual(refusal.code, "no-such-account")
        self.assertEqual([(one.name, one.devices.body) for one in refusal.accounts], [("nobody", b"")])
        self.assertEqual(self.reader.delivered(), [])

    def test_missing_device(self) -> None:
        """A deposit that leaves out a device is refused, with the list as it is now, of that account alone."""
        carol, _ = self.rig.register("carol")
        deposit = self.sender.deposit(self.bob, carol)
        self.two_devices()
        self.sender.send(deposit)
        self.rig.commit()
        refusal = self.sender.one(DepositRefused)
        self.assertEqual(refusal.code, "stale-devices")
        [record] = refusal.accounts
        self.assertEqual((record.name, record.identity), ("bob", self.bob.identity.public))
        self.assertEqual(record.devices, self.bob.device_list())

    def test_wrong_two(self) -> None:
        """So is one that names two devices where there are three, or one that is not on the list in the place of another."""
        self.two_devices()
        parts = self.sender.deposit(self.bob).to[0].parts
        to = [Destination("bob", [parts[0], Part(keys.random_id(), b"")])]
        self.assertEqual(self.refused(changed(self.sender.deposit(self.bob), to=to)), "stale-devices")
        self.bob.body = self.bob.device_list().body
        self.bob.sibling()
        self.bob.version = 3
        self.reader.send(Publish(2, self.bob.device_list()))
        self.rig.commit()
        self.reader.one(Done)
        to = [Destination("bob", parts)]
        self.assertEqual(self.refused(changed(self.sender.deposit(self.bob), to=to)), "stale-devices")

    def test_lists_counted(self) -> None:
        """A refusal that brings lists counts as a question to the directory; one that brings none does not."""
        self.rig.settings = Settings(registration="open", requests=Rate(2, 5))
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        stranger = self.rig.user("nobody")
        codes = [self.refused(self.sender.deposit(self.bob, expiry=0)) for _ in range(3)]
        self.assertEqual(codes, ["bad-request"] * 3)
        self.assertEqual(self.refused(self.sender.deposit(stranger)), "no-such-account")
        self.bob.sibling()
        late = self.sender.deposit(self.bob)
        self.assertEqual(self.refused(late), "stale-devices")
        self.assertEqual(self.refused(late), "rate-limited")
        self.rig.time += 5
        self.assertEqual(self.refused(late), "stale-devices")

    def test_added_device(self) -> None:
        """So is one that adds a device that is on no list, or takes one in the place of another."""
        deposit = self.sender.deposit(self.bob)
        self.bob.sibling()
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "stale-devices")
        to = [Destination("bob", [Part(keys.random_id(), b"")])]
        self.assertEqual(self.refused(changed(self.sender.deposit(self.bob), to=to)), "stale-devices")
        self.sender.send(deposit)
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 1)

    def test_both_devices(self) -> None:
        """A deposit to two devices brings each its own part, and both the common one."""
        second, other = self.two_devices()
        deposit = self.sender.deposit(self.bob)
        parts = [Part(self.bob.device_id, b"one"), Part(second.device_id, b"two")]
        self.sender.send(changed(deposit, to=[Destination("bob", parts)]))
        self.rig.commit()
        self.assertEqual([one.own for one in self.reader.pop(Deliver)], [b"one"])
        self.assertEqual([one.own for one in other.pop(Deliver)], [b"two"])

    def test_own_devices(self) -> None:
        """Of the sender's own account all devices but the sending one are named."""
        second, other = self.two_devices()
        for devices in ([self.bob.device_id, second.device_id], [self.bob.device_id]):
            to = [Destination("bob", [Part(device, b"") for device in devices])]
            self.reader.send(changed(self.reader.deposit(self.bob), to=to))
            self.rig.commit()
            self.assertEqual(self.reader.one(DepositRefused).code, "stale-devices")
        to = [Destination("bob", [Part(second.device_id, b"")])]
        self.reader.send(changed(self.reader.deposit(self.bob), to=to))
        self.rig.commit()
        self.assertEqual(len(self.reader.accepted()), 1)
        self.assertEqual(len(other.delivered()), 1)

    def test_lists_fit(self) -> None:
        """Many lists that differ come in a frame that fits, as many as do."""
        many = [self.rig.register(f"user{number}")[0] for number in range(64)]
        for user in many:
            user.others = [User(user.name, user.server).own]
        self.sender.send(self.sender.deposit(*many))
        self.rig.commit()
        self.assertEqual(len(self.sender.one(DepositRefused).accounts), 64)
        rsa_key = RsaKey.generate(4096).public
        largest = [self.rig.user(f"large{number}") for number in range(20)]
        for user in largest:
            user.others = [replace(User(user.name, user.server).own, rsa_key=rsa_key) for _ in range(9)]
            self.rig.try_register(user).one(Welcome)
            user.others.clear()
        self.sender.send(self.sender.deposit(*largest))
        self.rig.commit()
        self.assertEqual(len(self.sender.one(DepositRefused).accounts), 11)

    def test_not_in_memory(self) -> None:
        """An account that is not in memory is loaded, and what comes behind keeps its place."""
        self.rig.crash()
        sender = self.rig.login(self.alice)
        texts = [b"1", b"2", b"3"]
        sender.send(*[sender.deposit(self.bob, text=text) for text in texts])
        self.rig.commit()
        self.assertEqual(len(sender.accepted()), 3)
        self.assertEqual(self.rig.login(self.bob).delivered(), texts)

    def test_removed_while_pending(self) -> None:
        """A deposit whose recipient is removed before the commit ends in an answer, and nothing else is disturbed."""
        operator = self.rig.operator()
        carol, other = self.rig.register("carol")
        self.sender.send(self.sender.deposit(self.bob, carol))
        operator.ask(RemoveAccount(1, "bob"))
        self.rig.commit()
        self.assertEqual(self.reader.failed(), "removed")
        operator.one(Removed)
        self.assertEqual(len(self.sender.accepted()), 1)
        self.assertEqual(len(other.delivered()), 1)
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "no-such-account")

    def test_sender_removed_while_pending(self) -> None:
        """A deposit whose sender is removed before the commit does no harm."""
        operator = self.rig.operator()
        self.sender.ask(self.sender.deposit(self.bob))
        self.sender.ask(self.sender.deposit(self.bob))
        operator.ask(RemoveAccount(1, "alice"))
        self.rig.commit()
        self.assertEqual(self.sender.failed(), "removed")
        self.assertEqual(len(self.reader.delivered()), 2)

    def test_device_removed_while_pending(self) -> None:
        """A device that leaves its list while something is on its way to it does not stop the others."""
        second, other = self.two_devices()
        self.sender.ask(self.sender.deposit(self.bob))
        self.sender.ask(self.sender.deposit(self.bob))
        self.bob.body = self.bob.device_list().body
        self.bob.others.clear()
        self.bob.version = 3
        self.reader.send(Publish(2, self.bob.device_list()))
        self.rig.commit()
        self.reader.one(Done)
        self.assertEqual(other.failed(), "device-removed")
        self.assertEqual(len(self.reader.delivered()), 2)
        self.assertEqual(len(self.sender.accepted()), 2)


class ContactTests(TwoPeople):
    """The contact C{server} is here, and slow."""

    def settings(self) -> Settings:
        """Five messages to it at once, then one in ten seconds."""
        return Settings(registration="open", contact_deposits=Rate(5, 10))

    def setUp(self) -> None:
        """It is one mailbox for everybody."""
        super().setUp()
        self.contact, self.operator = self.rig.contact()
        self.operator.inbox.clear()

    def test_flood(self) -> None:
        """
        A flood from one account holds up others by no more than its budget; the rest of it is refused, and goes on by and by.
        Among people nothing of this holds.
        """
        self.sender.send(*[self.sender.deposit(self.contact, text=b"flood") for _ in range(20)])
        self.reader.send(self.reader.deposit(self.contact, text=b"me, too"))
        self.rig.commit()
        self.assertEqual(self.operator.delivered(), [b"flood"] * 5 + [b"me, too"])
        self.assertEqual({refusal.code for refusal in self.sender.pop(DepositRefused)}, {"rate-limited"})
        self.sender.send(self.sender.deposit(self.bob))
        self.rig.commit()
        self.assertEqual(len(self.reader.delivered()), 1)
        self.rig.time += 10
        self.sender.send(*[self.sender.deposit(self.contact, text=b"flood") for _ in range(3)])
        self.rig.commit()
        self.assertEqual(self.operator.delivered(), [b"flood"])

    def test_among_others(self) -> None:
        """It counts, too, where it is one recipient of several."""
        self.sender.send(*[self.sender.deposit(self.bob, self.contact) for _ in range(6)])
        self.rig.commit()
        self.assertEqual([refusal.code for refusal in self.sender.pop(DepositRefused)], ["rate-limited"])


class QuotaTests(TwoPeople):
    """Mailboxes are small."""

    def settings(self) -> Settings:
        """Three messages or a thousand bytes."""
        return Settings(registration="open", mailbox_messages=3, mailbox_size=1000)

    def test_messages(self) -> None:
        """A full mailbox takes nothing more, until something was acknowledged."""
        self.rig.lose(self.reader)
        for _ in range(3):
            self.sender.send(self.sender.deposit(self.bob))
        late = self.sender.deposit(self.bob)
        self.assertEqual(self.refused(late), "mailbox-full")
        reader = self.rig.login(self.bob)
        reader.acknowledge()
        self.rig.commit()
        self.sender.send(late)
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 4)

    def test_size(self) -> None:
        """Bytes count too, common and own part."""
        self.sender.send(self.sender.deposit(self.bob, text=bytes(900), own=bytes(100)))
        self.assertEqual(self.refused(self.sender.deposit(self.bob, text=b"", own=b"1")), "mailbox-full")

    def test_counts_after_crash(self) -> None:
        """The next process counts what is there."""
        self.rig.lose(self.reader)
        self.sender.send(*[self.sender.deposit(self.bob) for _ in range(3)])
        self.rig.commit()
        self.rig.crash()
        sender = self.rig.login(self.alice)
        self.assertEqual(self.refused(sender.deposit(self.bob), sender), "mailbox-full")

    def test_missed(self) -> None:
        """A full mailbox does not stand in the way of others; the answer names it, and so does that to a repetition."""
        carol, other = self.rig.register("carol")
        self.sender.send(*[self.sender.deposit(self.bob) for _ in range(3)])
        self.rig.commit()
        self.sender.accepted()
        deposit = self.sender.deposit(self.bob, carol, text=b"both")
        expected = [Missed("bob", self.bob.device_id, "mailbox-full")]
        for _ in range(2):
            self.sender.send(deposit)
            self.rig.commit()
            [acceptance] = self.sender.one(Accepted).deposits
            self.assertEqual((acceptance.deposit_id, acceptance.missed), (deposit.deposit_id, expected))
        self.assertEqual(other.delivered(), [b"both"])
        self.assertEqual(self.refused(changed(deposit, common=b"other")), "conflict")

    def test_rate(self) -> None:
        """
        An account deposits so much and then at a limited rate: what was taken counts, and no repetition or refusal; a mailbox
        that was missed counts like a deposit.
        """
        self.rig.settings = Settings(registration="open", mailbox_messages=2, deposits=Rate(4, 10))
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        carol, _ = self.rig.register("carol")
        first, second = self.sender.deposit(self.bob), self.sender.deposit(self.bob)
        self.sender.send(first, second, first)
        self.rig.commit()
        self.assertEqual(self.refused(self.sender.deposit(self.bob)), "mailbox-full")
        self.sender.send(self.sender.deposit(self.bob, carol), first)
        self.rig.commit()
        late = self.sender.deposit(carol)
        self.assertEqual(self.refused(late), "rate-limited")
        self.assertEqual(len(self.sender.accepted()), 4)
        self.rig.time += 10
        self.sender.send(late)
        self.rig.commit()
        self.assertEqual(self.sender.accepted(), [late.deposit_id])

    def test_known_takes_no_room(self) -> None:
        """A repetition that only the store recognised takes no room in the mailbox."""
        self.rig.lose(self.reader)
        deposit = self.sender.deposit(self.bob)
        for n in range(1, 3):
            self.sender.send(changed(deposit, n=n))
            self.rig.commit()
        self.sender.n = 2
        self.sender.send(self.sender.deposit(self.bob), self.sender.deposit(self.bob))
        self.rig.commit()
        self.assertEqual(len(self.sender.accepted()), 4)
