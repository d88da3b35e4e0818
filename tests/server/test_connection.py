"""One connection: roles, order, pauses, and what is not understood."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.protocol.framing import LENGTH_SIZE, MAX_FRAME, encode_frame
from securemsg.protocol.messages import (
    Account,
    Acknowledge,
    AnswerCode,
    AskCode,
    Claim,
    Deposit,
    DepositRefused,
    Failed,
    Fetch,
    GetAddress,
    GetDetails,
    GetStats,
    Hello,
    Invite,
    Kick,
    ListAccounts,
    ListConnections,
    ListInvites,
    OpenCode,
    Ping,
    Pong,
    Proof,
    Publish,
    Refused,
    Register,
    RemoveAccount,
    Reply,
    RevokeInvite,
    RotateKey,
    SetDraining,
    SetLogLevel,
    SetQuota,
    SetSuspended,
    TakeSnapshot,
    Upload,
    UseCode,
)
from securemsg.server.connection import Role
from securemsg.server.limits import Settings
from securemsg.storage.sqlite.memory import MemoryServerStore
from tests.server.case import TwoPeople
from tests.server.rig import READ_SIZE, Rig, upload


class BrokenStore(MemoryServerStore):
    """A store with a bug."""

    broken = False

    def load_account(self, name: str):  # type: ignore[no-untyped-def]
        """Fail, once it is broken."""
        if self.broken:
            raise RuntimeError("a bug")
        return super().load_account(name)


class RoleTests(TwoPeople):
    """Who may say what."""

    def test_table(self) -> None:
        """Each command is for the roles that the protocol names, and there are no others."""
        device, operator, stranger, key = Role.DEVICE, Role.OPERATOR, Role.STRANGER, Role.GUEST
        expected = {
            Hello: {stranger}, Proof: {stranger}, Register: {stranger},
            Deposit: {device, key}, Acknowledge: {device, key}, Fetch: {device, key},
            Claim: {device}, Upload: {device}, Publish: {device},
            Invite: {device, operator}, Ping: {device, operator, key},
            OpenCode: {device}, AnswerCode: {device}, AskCode: {stranger}, UseCode: {stranger},
            ListAccounts: {operator}, RemoveAccount: {operator}, GetAddress: {operator}, Reply: {operator},
            ListInvites: {operator}, RevokeInvite: {operator}, GetDetails: {operator},
            SetSuspended: {operator}, SetQuota: {operator}, Kick: {operator},
            ListConnections: {operator}, GetStats: {operator}, SetDraining: {operator},
            SetLogLevel: {operator}, TakeSnapshot: {operator}, RotateKey: {operator},
        }  # fmt: skip
        pages = self.rig.server.commands
        self.assertEqual(set(pages), set(Role))
        kinds = set().union(*pages.values())
        self.assertEqual({kind: {role for role in pages if kind in pages[role]} for kind in kinds}, expected)

    def test_operators_commands(self) -> None:
        """What is the operator's is forbidden to a device, and nothing happens."""
        self.sender.ask(ListAccounts(1, ""), RemoveAccount(2, "bob"), GetAddress(3))
        self.assertEqual(self.sender.pop(Refused), [Refused(request, "forbidden") for request in (1, 2, 3)])
        self.rig.login(self.bob)

    def test_devices_commands(self) -> None:
        """What is a device's is forbidden to the operator."""
        operator = self.rig.operator()
        publish = Publish(3, self.bob.device_list(version=2))
        operator.ask(Fetch(1, "bob"), Claim(2, "bob", self.bob.device_id, 0), publish, upload(self.bob, request=4))
        self.assertEqual(operator.pop(Refused), [Refused(request, "forbidden") for request in (1, 2, 3, 4)])
        operator.ask(operator.deposit(self.bob))
        self.assertEqual(operator.one(DepositRefused).code, "forbidden")
        operator.ask(Acknowledge(1))
        self.assertEqual(operator.failed(), "forbidden")

    def test_unknown(self) -> None:
        """A message of a later version is refused under its request number, and the connection stays."""
        self.sender.raw(encode_frame(msgspec.msgpack.encode([99, 1234, "later"])))
        self.assertEqual(self.sender.one(Refused), Refused(1234, "unknown-message"))
        self.sender.raw(encode_frame(msgspec.msgpack.encode([98])))
        self.assertEqual(self.sender.one(Refused), Refused(0, "unknown-message"))
        self.sender.ask(Ping(1))
        self.sender.one(Pong)

    def test_unknown_before_login(self) -> None:
        """From a stranger it ends the connection."""
        client = self.rig.connect()
        client.raw(encode_frame(msgspec.msgpack.encode([99, 1])))
        self.assertEqual(client.failed(), "unknown-message")

    def test_garbage(self) -> None:
        """What is no message ends this connection, and no other."""
        for garbage in (b"\x00\x00\x00\x01\xc1", encode_frame(b"\x90"), b"\xff\xff\xff\xff"):
            client = self.rig.login(self.alice)
            client.raw(garbage)
            self.assertIn(client.failed(), ("malformed", "frame-too-large"))
        self.reader.ask(Ping(1))
        self.reader.one(Pong)

    def test_large_before_login(self) -> None:
        """A stranger who announces more than 4 KiB is gone before any of it has come, whether it has said Hello or not."""
        for client in (self.rig.connect(), self.rig.greet(), self.rig.greet_as_guest()):
            client.raw((4097).to_bytes(4, "big"))
            self.assertEqual(client.failed(), "frame-too-large")
            self.assertFalse(client.wire.peer.is_open)

    def test_hello_twice(self) -> None:
        """A second greeting is out of turn."""
        hello = Hello([1], [], "device", "tcp", bytes(32))
        self.sender.raw(encode_frame(msgspec.msgpack.encode(hello)))
        self.assertEqual(self.sender.failed(), "out-of-turn")

    def test_last_word(self) -> None:
        """A client that sends Failed is gone."""
        self.sender.ask(Failed("bye"))
        self.assertEqual(self.rig.server.logged_in, 1)


class OrderTests(TwoPeople):
    """Commands that wait, and what comes behind them."""

    def wait(self) -> None:
        """Have a commit on its way, so that whatever asks the store waits."""
        self.reader.ask(self.reader.deposit(self.alice))
        self.rig.begin_commit()

    def test_one_after_the_other(self) -> None:
        """What comes behind a command that waits is done after it, in order."""
        carol, _ = self.rig.register("carol")
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.wait()
        self.sender.send(Fetch(1, "carol"), Ping(2), self.sender.deposit(carol), Ping(3), Fetch(4, "nobody"), Ping(5))
        self.rig.run()
        self.assertEqual([message for message in self.sender.inbox if hasattr(message, "request")], [])
        self.rig.commit()
        answers = [message for message in self.sender.inbox if isinstance(message, (Account, Pong, Refused))]
        self.assertEqual([message.request for message in answers], [1, 2, 3, 4, 5])
        self.assertEqual(len(self.sender.accepted()), 1)

    def test_not_read_from(self) -> None:
        """While a command waits, what comes behind it waits too, and the channel is read from only up to a bound."""
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        carol = self.rig.user("carol")
        self.wait()
        self.sender.ask(self.sender.deposit(carol), Ping(1))
        self.assertEqual(self.sender.pop(Pong), [])
        self.assertTrue(self.sender.wire.reads)
        self.rig.commit()
        self.assertFalse(self.sender.wire.paused)
        self.sender.one(Pong)

    def test_backlog_bounded(self) -> None:
        """However much comes behind a command that waits, no more than a bound of it is read; then all is answered."""
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.wait()
        wire, count = self.sender.wire, 60_000
        self.sender.ask(self.sender.deposit(self.rig.user("carol")), *[Ping(number) for number in range(count)])
        self.assertFalse(wire.reads)
        self.assertLessEqual(wire.connection.unread, MAX_FRAME + LENGTH_SIZE + READ_SIZE)
        self.assertGreater(len(self.sender.unsent), 4 * READ_SIZE)
        self.rig.commit()
        self.assertEqual([pong.request for pong in self.sender.pop(Pong)], list(range(count)))
        self.assertEqual((wire.reads, wire.connection.unread), (True, 0))

    def test_long_backlog(self) -> None:
        """A thousand commands that end at once are worked through without piling up on the stack."""
        self.wait()
        self.sender.send(*[Fetch(number, "nobody") for number in range(500)], *[Fetch(number, "bob") for number in range(500)])
        self.rig.commit()
        answers = self.sender.pop(Refused) + self.sender.pop(Account)
        self.assertEqual(len(answers), 1000)

    def test_answers_bounded(self) -> None:
        """Many short questions in one read do not pile up long answers: each waits until those before were written."""
        self.rig.settings = Settings(registration="open", max_queued=4096)
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        self.bob.sibling()
        for _ in range(100):
            self.sender.send(Fetch(1, "bob"), self.sender.deposit(self.bob), Fetch(2, "nobody"))
        self.rig.commit()
        self.assertLess(self.sender.wire.peak, 5000)
        self.assertEqual([len(self.sender.pop(kind)) for kind in (Account, DepositRefused, Refused)], [100, 100, 100])
        self.assertFalse(self.sender.wire.paused)

    def test_not_taken(self) -> None:
        """While a client does not read its answers, no more of its commands are carried out; then all are."""
        peer = self.sender.wire.peer
        peer.writable(False)
        self.sender.send(Ping(1), Ping(2))
        self.sender.wire.feed(self.sender.unsent)
        self.sender.unsent = b""
        self.rig.commit()
        self.assertEqual(self.sender.pop(Pong), [])
        peer.writable(True)
        self.rig.commit()
        self.assertEqual([pong.request for pong in self.sender.pop(Pong)], [1, 2])
        self.assertFalse(self.sender.wire.paused)

    def test_bad_word_behind(self) -> None:
        """What breaks the protocol ends the connection, also where it waited behind other answers."""
        peer = self.sender.wire.peer
        peer.writable(False)
        self.sender.send(Ping(1), Acknowledge(1000), Ping(2))
        self.sender.wire.feed(self.sender.unsent)
        self.sender.unsent = b""
        peer.writable(True)
        self.rig.commit()
        self.assertEqual(self.sender.failed(), "bad-acknowledgement")
        self.assertEqual(len(self.sender.pop(Pong)), 1)

    def test_lost_while_waiting(self) -> None:
        """What a connection left behind is not done."""
        self.wait()
        client = self.sender
        client.ask(Fetch(1, "nobody"), self.sender.deposit(self.bob))
        self.rig.lose(client)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), [])

    def test_gone_while_looked_up(self) -> None:
        """A deposit that was being looked up when its connection was lost is not taken; it is when it comes again."""
        deposit = self.sender.deposit(self.bob)
        self.rig.space = 0
        self.assertEqual(self.refused(deposit), "retry-later")
        self.rig.space = 10**12
        self.rig.time += 2
        self.wait()
        self.sender.ask(deposit)
        self.rig.lose(self.sender)
        again = self.rig.try_login(self.alice)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), [])
        again.send(deposit)
        self.rig.commit()
        self.assertEqual(again.accepted(), [deposit.deposit_id])
        self.assertEqual(len(self.reader.delivered()), 1)

    def test_fenced_while_loaded(self) -> None:
        """A deposit whose recipient was being loaded when its device logged in anew is not taken; it is when it comes again."""
        carol, _ = self.rig.register("carol")
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        deposit = self.sender.deposit(carol)
        self.wait()
        again = self.rig.greet()
        again.ask(self.rig.proof(again, self.alice, self.sender.n))
        # Behind it, so that the login waits once more, for its account; and the deposit behind that.
        self.reader.ask(Fetch(1, "nobody"))
        self.rig.store.flush()
        self.sender.ask(deposit)
        self.assertTrue(self.sender.wire.peer.is_open)
        self.rig.commit()
        self.assertEqual(self.sender.failed(), "replaced")
        self.assertEqual(self.rig.login(carol).delivered(), [])
        again.send(deposit)
        self.rig.commit()
        self.assertEqual(again.accepted(), [deposit.deposit_id])

    def test_unanswered_bounded(self) -> None:
        """Who has many deposits unanswered is not read from until the commit."""
        self.rig.settings = Settings(registration="open", max_unanswered=4)
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        for _ in range(4):
            self.sender.ask(self.sender.deposit(self.bob))
        self.assertTrue(self.sender.wire.paused)
        late = self.sender.deposit(self.bob)
        self.sender.ask(late)
        self.rig.store.flush()
        self.rig.run()
        self.rig.commit()
        self.assertFalse(self.sender.wire.paused)
        self.assertEqual(len(self.sender.accepted()), 5)

    def test_crowd(self) -> None:
        """When all deposits together are many, depositors are paused, one by one; and all goes on after the commit."""
        self.rig.settings = Settings(registration="open", crowded_size=3000, max_pending_size=30_000)
        self.rig.crash()
        self.reader, self.sender = self.rig.login(self.bob), self.rig.login(self.alice)
        self.sender.ask(*[self.sender.deposit(self.bob, text=bytes(1000)) for _ in range(6)])
        self.reader.ask(*[self.reader.deposit(self.alice, text=bytes(1000)) for _ in range(6)])
        # The one that came first got two in; for the other it was too much with its first. The rest waits, undecoded.
        for client, waiting in ((self.sender, 4), (self.reader, 5)):
            self.assertTrue(client.wire.paused)
            self.assertEqual(client.wire.connection.unread // 1000, waiting)
        self.rig.commit()
        self.assertEqual((self.sender.wire.paused, self.reader.wire.paused), (False, False))
        self.assertEqual((len(self.sender.accepted()), len(self.reader.accepted())), (6, 6))

    def test_too_many_together(self) -> None:
        """Deposits that come all the same, over many connections, are refused above a second bound; later they are accepted."""
        self.rig.settings = Settings(registration="open", crowded_size=1000, max_pending_size=3000)
        self.rig.crash()
        clients = []
        for number in range(6):
            user, client = self.rig.user(f"user{number}"), None
            client = self.rig.try_register(user)
            self.rig.commit()
            clients.append(client)
        deposits = [client.deposit(self.bob, text=bytes(1000)) for client in clients]
        for client, deposit in zip(clients, deposits, strict=True):
            client.ask(deposit)
        refused = [client.pop(DepositRefused) for client in clients]
        self.assertEqual([[one.code for one in some] for some in refused], [[]] * 2 + [["retry-later"]] * 4)
        self.rig.commit()
        for client, deposit in zip(clients[2:], deposits[2:], strict=True):
            client.send(deposit)
            self.rig.commit()
        self.assertEqual([client.accepted() for client in clients], [[deposit.deposit_id] for deposit in deposits])


class BugTests(SynchronousTestCase):
    """Something of ours is wrong."""

    def test_one_pays(self) -> None:
        """
        The client that met it gets C{internal} and nothing else; the failure is reported, and others are not disturbed.
        """
        store = BrokenStore()
        rig = Rig(store=store)
        _, client = rig.register("alice")
        _, other = rig.register("bob")
        store.broken = True
        client.ask(Fetch(1, "nobody"))
        self.assertEqual(client.inbox[-1], Failed("internal"))
        other.ask(Ping(1))
        other.one(Pong)
        [failure] = rig.failures
        self.assertIsInstance(failure.value, RuntimeError)
