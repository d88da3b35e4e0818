"""Messages that disappear are deleted at both ends when their time is over, and not before they were sent or read."""

from __future__ import annotations

import msgspec

from securemsg.client import messages
from securemsg.client.maintenance import SWEEP
from securemsg.client.sending import outbox
from securemsg.client.state import disappearing
from securemsg.client.state.conversations import direct, lobby
from securemsg.client.state.profile import DAY
from securemsg.client.state.records import (
    HISTORY,
    INDEX,
    OUTBOX,
    ROWS,
    SENT,
    MessageIndex,
    OutboxRow,
    find_sent,
    load,
    remove_row,
    save,
)
from securemsg.errors import Refusal
from securemsg.protocol.devices import LOBBY_NAME
from securemsg.protocol.envelope import MAX_KEEP, MIN_KEEP, Content, Kind
from tests.client.case import WorldCase
from tests.client.lobby import LobbyCase
from tests.client.rig import User

KEEP = 3600


class DisappearingTests(WorldCase):
    """Alice writes to Bob what is kept for an hour."""

    def texts(self, user: User, name: str) -> list[str]:
        """What a history holds."""
        return [line.text for line in user.lines(name)]

    def choose(self, keep: int) -> None:
        """Alice chooses for how long what she writes to Bob is kept."""
        with self.alice.store.inner.writing() as records:
            disappearing.choose(records, direct("bob"), keep)

    def wait(self, seconds: float) -> None:
        """Let time pass; the clients ask the server for its time now and then."""
        self.world.advance(seconds, 1 + int(seconds // 300))

    def rows(self, user: User) -> int:
        """How many messages are to be looked at."""
        with user.store.inner.reading() as records:
            return records.count(disappearing.TABLE, ROWS)

    def test_both_ends(self) -> None:
        """It is deleted here an hour after it was accepted, there an hour after it was read; nothing of it is left."""
        sent = self.alice.send("bob", "gone soon", keep=KEEP)
        self.alice.send("bob", "stays")
        self.wait(600)
        self.assertEqual(self.bob.read(), ["gone soon", "stays"])
        self.assertEqual([line.keep for line in self.bob.lines("alice")], [KEEP, 0])
        self.wait(KEEP - 600 - SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), ["gone soon", "stays"])
        self.wait(2 * SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), ["stays"])
        self.assertEqual(self.texts(self.bob, "alice"), ["gone soon", "stays"])
        self.wait(600)
        self.assertEqual(self.texts(self.bob, "alice"), ["stays"])
        self.assertEqual([self.rows(user) for user in (self.alice, self.bob)], [0, 0])
        with self.alice.store.inner.reading() as records:
            self.assertIsNone(records.get(INDEX, sent))
            self.assertEqual(len(records.scan(SENT)), 1)

    def test_unread(self) -> None:
        """What was not read stays, however long; its time runs from then on."""
        self.alice.send("bob", "gone soon", keep=KEEP)
        self.wait(2 * KEEP)
        self.assertEqual(self.bob.read(), ["gone soon"])
        self.wait(KEEP - SWEEP)
        self.assertEqual(self.texts(self.bob, "alice"), ["gone soon"])
        self.wait(2 * SWEEP)
        self.assertEqual(self.texts(self.bob, "alice"), [])

    def test_one_after_the_other(self) -> None:
        """Each goes in its own time."""
        for hours in (2, 1, 3):
            self.alice.send("bob", f"{hours} h", keep=hours * KEEP)
        self.bob.read()
        for left in (["2 h", "3 h"], ["3 h"], []):
            self.wait(KEEP + SWEEP)
            self.assertEqual([self.texts(self.alice, "bob"), self.texts(self.bob, "alice")], [left, left])

    def test_waiting(self) -> None:
        """What was not accepted stays, and is sent; its time runs from its acceptance, by whatever clock."""
        self.alice.disconnect()
        self.alice.send("bob", "gone soon", keep=KEEP)
        for hours in (1, 2, 3):
            disappearing.sweep(self.alice.store, int(self.world.clock) + hours * KEEP)
        self.world.clock += 3 * KEEP
        self.assertEqual(self.texts(self.alice, "bob"), ["gone soon"])
        self.alice.connect()
        self.assertEqual(self.bob.read(), ["gone soon"])
        self.wait(KEEP - SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), ["gone soon"])
        self.wait(2 * SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), [])

    def test_server_ahead(self) -> None:
        """A server that says that it accepted a message next year keeps it here no longer than an hour more."""
        sent = self.alice.send("bob", "gone soon", keep=KEEP)
        with self.alice.store.inner.writing() as records:
            found = find_sent(records, sent)
            assert found is not None
            known, row = found
            wrong = msgspec.structs.replace(row, accepted_at=row.at + 365 * DAY)
            save(records, HISTORY, known.conversation.bucket, wrong, known.history)
        for _ in range(2):
            self.wait(KEEP + SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), [])

    def test_withdrawn(self) -> None:
        """What was withdrawn disappears like anything else."""
        self.alice.disconnect()
        messages.withdraw(self.alice.store, self.alice.send("bob", "gone soon", keep=KEEP))
        disappearing.sweep(self.alice.store, int(self.world.clock) + KEEP)
        self.assertEqual(self.texts(self.alice, "bob"), [])

    def test_still_sealed(self) -> None:
        """What is being sent again is not taken away under the sender; it is looked at again."""
        sent = self.alice.send("bob", "gone soon", keep=KEEP)
        with self.alice.store.inner.writing() as records:
            known = load(records, MessageIndex, INDEX, sent)
            assert known is not None
            row = OutboxRow(direct("bob"), int(Kind.TEXT), known.history, 1, DAY, sealed=True, again=True)
            save(records, OUTBOX, ROWS, row, known.outbox)
        now = int(self.world.clock) + KEEP
        self.assertEqual(disappearing.sweep(self.alice.store, now), 0)
        with self.alice.store.inner.writing() as records:
            remove_row(records, known.outbox)
        self.assertEqual(disappearing.sweep(self.alice.store, now + disappearing.RETRY_DELAY - 1), 0)
        self.assertEqual(disappearing.sweep(self.alice.store, now + disappearing.RETRY_DELAY), 1)

    def test_chosen(self) -> None:
        """What is chosen for a conversation holds from then on for texts and answers, unless a message says otherwise."""
        self.choose(KEEP)
        self.alice.send("bob", "gone soon")
        self.alice.send("bob", "an answer", kind=Kind.ANSWER)
        self.alice.send("bob", "stays", keep=0)
        self.choose(0)
        self.alice.send("bob", "stays, too")
        self.assertEqual([line.keep for line in self.bob.lines("alice")], [KEEP, KEEP, 0, 0])

    def test_refused(self) -> None:
        """Too short or long a time is refused, and any in the lobby; nothing is written then."""
        for keep in (MIN_KEEP - 1, MAX_KEEP + 1):
            self.assertRaises(Refusal, self.choose, keep)
            self.assertRaises(Refusal, self.alice.send, "bob", "hello", keep=keep)
        with self.assertRaises(Refusal) as caught:
            self.alice.send(lobby("server"), "hello", keep=KEEP)
        self.assertEqual(caught.exception.code, "lobby-keep")
        self.assertEqual(self.texts(self.alice, "bob"), [])

    def test_many_at_once(self) -> None:
        """However many are due in one second, each is found, in pages."""
        total = disappearing.PAGE + 3
        with self.bob.store.inner.writing() as records:
            for seq in range(total):
                # Their seqs end alike.
                disappearing._put_due(records, disappearing._Due(b"direct/alice", seq << disappearing._SEQ_BITS), 1)
        self.assertEqual(self.rows(self.bob), total)
        self.assertEqual(disappearing.sweep(self.bob.store, 0), 0)
        self.assertEqual(self.rows(self.bob), total)
        self.assertEqual(disappearing.sweep(self.bob.store, 1), 0)
        self.assertEqual(self.rows(self.bob), 0)

    def test_wrong_clock(self) -> None:
        """While our clock and the server's differ, nothing is deleted."""
        self.alice.send("bob", "gone soon", keep=KEEP)
        agent = self.alice.agent
        assert agent is not None
        self.patch(type(agent._context), "is_clock_right", property(lambda context: False))
        self.wait(KEEP + SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), ["gone soon"])

    def test_offline(self) -> None:
        """Without a connection our clock is believed for a week after the server agreed with it, and no longer."""
        self.alice.send("bob", "gone soon", keep=KEEP)
        self.alice.send("bob", "gone in a year", keep=365 * DAY)
        self.assertEqual(self.bob.read(), ["gone soon", "gone in a year"])
        for user in (self.alice, self.bob):
            user.disconnect()
        self.wait(KEEP + SWEEP)
        self.assertEqual([self.texts(self.alice, "bob"), self.texts(self.bob, "alice")], [["gone in a year"]] * 2)
        self.world.clock += 400 * DAY
        self.wait(SWEEP)
        self.assertEqual(self.texts(self.alice, "bob"), ["gone in a year"])

    def test_written_ahead(self) -> None:
        """What was written and read while both clocks were a month ahead goes in its time after they were put right."""
        for user in (self.alice, self.bob):
            user.disconnect()
        self.world.clock += 30 * DAY
        self.alice.send("bob", "gone soon", keep=KEEP)
        self.world.clock -= 30 * DAY
        self.alice.connect()
        self.bob.connect()
        self.bob.disconnect()
        self.world.clock += 30 * DAY
        self.assertEqual(self.bob.read(), ["gone soon"])
        self.world.clock -= 30 * DAY
        self.bob.connect()
        self.wait(KEEP + 2 * SWEEP)
        self.assertEqual([self.texts(self.alice, "bob"), self.texts(self.bob, "alice")], [[], []])

    def test_read_behind(self) -> None:
        """What was read while the clock was a year behind stays for its time after it was put right."""
        self.alice.send("bob", "gone soon", keep=KEEP)
        self.bob.disconnect()
        self.world.clock -= 365 * DAY
        self.assertEqual(self.bob.read(), ["gone soon"])
        self.world.clock += 365 * DAY
        self.bob.connect()
        self.wait(KEEP - SWEEP)
        self.assertEqual(self.texts(self.bob, "alice"), ["gone soon"])
        self.wait(3 * SWEEP)
        self.assertEqual(self.texts(self.bob, "alice"), [])

    def test_absent(self) -> None:
        """Who comes when it has disappeared at its sender gets it all the same."""
        self.bob.disconnect()
        self.alice.send("bob", "gone soon", keep=KEEP)
        self.wait(KEEP + SWEEP)
        self.alice.send("bob", "next")
        self.assertEqual(self.texts(self.alice, "bob"), ["next"])
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["gone soon", "next"])


class ContentTests(LobbyCase):
    """What another client may say."""

    def claim(self, to: str, **items: object) -> None:
        """Alice's client makes a content with these items."""
        real = outbox._completed

        def completed(*arguments: object) -> Content | None:
            content = real(*arguments)  # type: ignore[arg-type]
            return None if content is None else msgspec.structs.replace(content, **items)

        self.patch(outbox, "_completed", completed)
        self.alice.send(to, "hello")

    def test_kinds(self) -> None:
        """Only what somebody has written disappears: a void that claims to is no content."""
        self.claim("bob", kind=int(Kind.VOID), body=bytes(32), keep=KEEP)
        self.assertEqual(self.bob.read(), [])
        self.assertEqual(messages.quarantined(self.bob.store)[0], 1)

    def test_unknown_kind(self) -> None:
        """A kind that is not known may."""
        self.claim("bob", kind=99, keep=KEEP)
        self.assertEqual([line.keep for line in self.bob.lines("alice")], [KEEP])

    def test_lobby(self) -> None:
        """Nothing does in the lobby: a line that claims to is no content, and nobody hears it."""
        self.enter(self.alice, self.bob)
        heard = self.heard(self.bob)
        self.claim(LOBBY_NAME, keep=KEEP)
        self.assertEqual(self.heard(self.bob), heard)
        self.assertEqual(messages.quarantined(self.contact.user.store)[0], 1)
