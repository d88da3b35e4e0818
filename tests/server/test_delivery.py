"""Deliveries, windows and acknowledgements."""

from __future__ import annotations

from securemsg.protocol.messages import Acknowledge, Deliver, Drained, Failed, Ping, Pong
from securemsg.server.limits import Settings
from tests.server.case import TwoPeople


def texts(count: int, first: int = 0) -> list[bytes]:
    """Texts that tell each other apart and sort."""
    return [b"%05d" % number for number in range(first, first + count)]


class DeliveryTests(TwoPeople):
    """What Bob gets."""

    def settings(self) -> Settings:
        """A window that is soon full."""
        return Settings(registration="open", window_frames=4, window_size=1000)

    def read_all(self, rounds: int) -> list[bytes]:
        """Acknowledge whatever comes, so often."""
        got = []
        for _ in range(rounds):
            page = [message for message in self.reader.inbox if isinstance(message, Deliver)]
            got += [message.common for message in page]
            self.reader.acknowledge()
            self.rig.commit()
        return got

    def test_window(self) -> None:
        """No more than the window is ever on its way, whatever waits."""
        wanted = texts(10)
        self.store(wanted)
        self.assertEqual(self.reader.delivered(), wanted[:4])
        self.reader.acknowledge(2)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), wanted[4:6])

    def test_page_worth_reading(self) -> None:
        """The store is asked when half of the window is free, not for each acknowledgement; all the same all comes."""
        self.rig.settings = Settings(registration="open")
        self.rig.crash()
        self.sender = self.rig.login(self.alice)
        wanted = texts(200)
        self.store(wanted)
        self.reader = self.rig.login(self.bob)
        self.assertEqual(self.reader.delivered(), wanted[:64])
        for tag in range(1, 32):
            self.reader.acknowledge(tag)
            self.rig.commit()
        self.assertEqual(self.reader.delivered(), [])
        self.reader.acknowledge(32)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), wanted[64:96])
        self.reader.acknowledge(96)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), wanted[96:160])

    def test_window_in_bytes(self) -> None:
        """Bytes fill a window as well as frames."""
        self.store([bytes(600)] * 3)
        self.assertEqual(len(self.reader.delivered()), 2)
        self.reader.acknowledge(2)
        self.rig.commit()
        self.assertEqual(len(self.reader.delivered()), 1)

    def test_all_in_order(self) -> None:
        """A reader that acknowledges gets everything, in order, once."""
        wanted = texts(30)
        self.store(wanted)
        self.assertEqual(self.read_all(8), wanted)
        self.assertEqual(self.reader.delivered(), [])

    def test_slow_reader_costs_rows(self) -> None:
        """What a slow reader has not room for lies in the store, and nowhere in memory."""
        self.store(texts(500))
        self.assertEqual(self.rig.server.commits.size, 0)
        self.assertEqual(self.rig.server.commits.pending, {})
        self.assertEqual(len(self.reader.delivered()), 4)

    def test_new_while_behind(self) -> None:
        """What is committed while the reader is behind waits its turn."""
        wanted = texts(8)
        self.store(wanted[:6])
        self.reader.acknowledge(1)
        self.store(wanted[6:])
        self.reader.acknowledge(2)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), wanted[:6])

    def test_commit_during_page(self) -> None:
        """What is committed while a page is read is delivered once, after it."""
        wanted = texts(8)
        self.store(wanted[:6])
        self.reader.delivered()
        # A commit is on its way, so the page waits behind it and finds what it brings.
        self.sender.ask(*[self.sender.deposit(self.bob, text=text) for text in wanted[6:]])
        self.reader.acknowledge(4)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), wanted[4:])

    def test_full_channel(self) -> None:
        """Nothing is delivered to, nor received from, a channel that is full; then it goes on."""
        self.reader.wire.peer.writable(False)
        self.assertTrue(self.reader.wire.paused)
        self.store(texts(2))
        self.assertEqual(self.reader.delivered(), [])
        self.reader.wire.peer.writable(True)
        self.assertFalse(self.reader.wire.paused)
        self.rig.commit()
        self.assertEqual(self.reader.delivered(), texts(2))

    def test_unacknowledged_again(self) -> None:
        """After a reconnect everything that was not acknowledged comes again, then what is new."""
        self.store(texts(3))
        self.reader.acknowledge(1)
        self.rig.lose(self.reader)
        self.store(texts(1, 3))
        reader = self.rig.login(self.bob)
        self.rig.commit()
        deliveries = reader.pop(Deliver)
        self.assertEqual([one.common for one in deliveries], texts(3, 1))
        self.assertEqual([one.tag for one in deliveries], [1, 2, 3])

    def test_acknowledged_before_commit(self) -> None:
        """What was acknowledged is not delivered again, though its deletion is still on its way."""
        self.store(texts(2))
        self.reader.acknowledge(2)
        self.rig.lose(self.reader)
        again = self.rig.greet()
        again.ask(self.rig.proof(again, self.bob))
        self.rig.commit()
        self.assertEqual(again.delivered(), [])
        again.one(Drained)

    def test_acknowledged_before_batch(self) -> None:
        """Nor is it while its deletion waits for the commit before."""
        self.store(texts(2))
        self.sender.ask(self.sender.deposit(self.bob, text=b"on its way"))
        self.reader.acknowledge(2)
        self.rig.lose(self.reader)
        again = self.rig.greet()
        again.ask(self.rig.proof(again, self.bob))
        self.rig.commit()
        self.assertEqual(again.delivered(), [b"on its way"])

    def test_lost_deletion(self) -> None:
        """A deletion that a crash lost is a second delivery, nothing more."""
        self.store(texts(2))
        self.reader.acknowledge(2)
        self.rig.crash()
        reader = self.rig.login(self.bob)
        self.assertEqual(reader.delivered(), texts(2))

    def test_acknowledged_for_good(self) -> None:
        """What was acknowledged and committed is gone."""
        self.store(texts(2))
        self.reader.acknowledge(1)
        self.rig.commit()
        self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), texts(1, 1))

    def test_acknowledged_during_commit(self) -> None:
        """An acknowledgement that comes while a commit runs goes into the next one."""
        self.store(texts(2))
        self.sender.ask(self.sender.deposit(self.bob))
        self.rig.begin_commit()
        self.reader.acknowledge(2)
        self.assertEqual(self.rig.store.held, 1)
        self.rig.commit()
        self.rig.crash()
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 1)

    def test_false_acknowledgement(self) -> None:
        """Acknowledging what was never sent ends the connection, and deletes nothing."""
        self.store(texts(2))
        self.reader.ask(Acknowledge(3))
        self.assertEqual(self.reader.failed(), "bad-acknowledgement")
        self.rig.commit()
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 2)

    def test_acknowledged_twice(self) -> None:
        """An acknowledgement that was overtaken says nothing new."""
        self.store(texts(3))
        self.reader.acknowledge(2)
        self.reader.acknowledge(2)
        self.reader.acknowledge(1)
        self.rig.commit()
        self.reader.ask(Ping(1))
        self.reader.one(Pong)
        self.rig.crash()
        self.assertEqual(self.rig.login(self.bob).delivered(), texts(1, 2))

    def test_drained(self) -> None:
        """Drained comes once: after all that was stored before the login, and before what came later."""
        self.rig.lose(self.reader)
        self.store(texts(6))
        self.reader = reader = self.rig.login(self.bob)
        self.assertEqual(reader.pop(Drained), [])
        self.store(texts(1, 6))
        reader.acknowledge(4)
        self.rig.commit()
        kinds = [type(message) for message in reader.inbox]
        self.assertEqual(kinds.count(Drained), 1)
        self.assertGreaterEqual(kinds.index(Drained), 2)
        reader.acknowledge()
        self.store(texts(1, 7))
        self.assertEqual(len(reader.pop(Drained)), 1)

    def test_removed_in_the_middle(self) -> None:
        """A reader that hangs up while a page is read gets nothing of it, and nothing breaks."""
        self.rig.lose(self.reader)
        self.store(texts(3))
        self.sender.ask(self.sender.deposit(self.bob))
        again = self.rig.greet()
        again.ask(self.rig.proof(again, self.bob))
        self.rig.store.flush()
        self.rig.lose(again)
        self.rig.commit()
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 4)

    def test_fenced_reader(self) -> None:
        """A connection that was fenced cannot acknowledge for the one that follows it."""
        self.store(texts(2))
        peer = self.reader.wire.peer
        reader = self.rig.login(self.bob)
        peer.received(Acknowledge(2))
        self.rig.commit()
        self.assertEqual(self.reader.one(Failed).code, "replaced")
        self.rig.crash()
        self.assertEqual(len(self.rig.login(self.bob).delivered()), 2)
        self.assertEqual(len(reader.delivered()), 2)
