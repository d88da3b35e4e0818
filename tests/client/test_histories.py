"""Histories of any length: read forwards, backwards and for words."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client import histories
from securemsg.client.histories import Found, fold
from securemsg.client.messages import PAGE
from securemsg.client.rooms.events import RoomEvent
from securemsg.client.state.conversations import Conversation, direct, lobby, room, with_guest
from securemsg.client.state.profile import create_profile, load_profile, save_profile
from securemsg.client.state.records import HISTORY, HistoryRow, Status, draft, next_seq, save
from securemsg.protocol.devices import SERVER_NAME
from securemsg.protocol.envelope import Kind, RefusedLine, RelayedLine, encode_record
from securemsg.protocol.invite import InviteLink
from securemsg.protocol.messages import ListMark
from securemsg.protocol.rooms import RoomInvite
from securemsg.storage.memory import MemoryProfile
from tests.client.rig import START

BOB, CIA = direct("bob"), direct("cia")
ROOM = room(bytes(range(16)), "team")


class HistoryCase(SynchronousTestCase):
    """A profile, and messages of any time in it."""

    def setUp(self) -> None:
        """Make the profile."""
        self.store = MemoryProfile()
        self.profile = create_profile(InviteLink("example.net", 8443, bytes(range(32))), "alice", START)
        with self.store.writing() as records:
            save_profile(records, self.profile)

    def add(
        self,
        conversation: Conversation,
        *texts: str | bytes,
        sent: bool = False,
        at: int = START,
        kind: Kind = Kind.TEXT,
        status: Status | None = None,
    ) -> None:
        """Write messages into a history."""
        with self.store.writing() as records:
            for text in texts:
                body = text if isinstance(text, bytes) else text.encode()
                content = msgspec.structs.replace(draft(self.profile, kind, at), body=body)
                state = status or (Status.ACCEPTED if sent else Status.RECEIVED)
                save(records, HISTORY, conversation.bucket, HistoryRow(content, sent, at, state), next_seq(records))

    def search(self, *words: str, limit: int = 100, since: int = 0) -> Found:
        """Search everything."""
        return histories.search(self.store, histories.conversations(self.store), words, limit, since)

    def found(self, *words: str, limit: int = 100, since: int = 0) -> list[str]:
        """The texts that are found."""
        return [line.text for line in self.search(*words, limit=limit, since=since).lines]

    def forward(self, after: int = -1, since: int = 0) -> list[str]:
        """The texts of the history with bob."""
        return [line.text for page in histories.forward(self.store, BOB, after, since) for line in page]


class PagesTests(HistoryCase):
    """Page by page."""

    def test_forward(self) -> None:
        """A long history comes whole and in order, in pages of bounded size."""
        texts = [f"{number}" for number in range(2 * PAGE + 7)]
        self.add(BOB, *texts)
        self.add(CIA, "other")
        self.assertEqual(self.forward(), texts)
        self.assertEqual([len(page) for page in histories.forward(self.store, BOB)], [PAGE, PAGE, 7])

    def test_backward(self) -> None:
        """It comes whole backwards, too."""
        self.add(BOB, *(f"{number}" for number in range(2 * PAGE + 7)))
        pages = list(histories.backward(self.store, BOB))
        self.assertEqual([len(page) for page in pages], [PAGE, PAGE, 7])
        seqs = [seq for page in pages for seq, _ in page]
        self.assertEqual(seqs, sorted(seqs, reverse=True))

    def test_whole_pages(self) -> None:
        """Behind the last full page there is no empty one, nor is there one of an empty history."""
        self.add(BOB, *("word" for _ in range(PAGE)))
        self.assertEqual([len(page) for page in histories.forward(self.store, BOB)], [PAGE])
        self.assertEqual([len(page) for page in histories.backward(self.store, BOB)], [PAGE])
        self.assertEqual(list(histories.backward(self.store, CIA)), [])
        found = histories.search(self.store, [BOB, CIA], ["word"], PAGE - 1)
        self.assertTrue(found.has_more)

    def test_no_transaction(self) -> None:
        """Between pages others may write: no reader holds them up."""
        self.add(BOB, *(f"{number}" for number in range(PAGE + 1)))
        for pages in (histories.forward(self.store, BOB), histories.backward(self.store, BOB)):
            for _ in pages:
                with self.store.writing() as records:
                    self.assertIsNotNone(load_profile(records))

    def test_last(self) -> None:
        """The last messages are found, however many others there are."""
        self.add(BOB, *(f"{number}" for number in range(PAGE + 10)))
        self.add(CIA, "other")
        for limit in (1, 2, PAGE, PAGE + 9, PAGE + 10, PAGE + 11):
            self.assertEqual(len(self.forward(histories.start(self.store, BOB, limit))), min(limit, PAGE + 10))
        self.assertEqual(self.forward(histories.start(self.store, BOB, 2)), [f"{PAGE + 8}", f"{PAGE + 9}"])

    def test_since(self) -> None:
        """Only what was written or received since then counts."""
        self.add(BOB, "old", at=START - 10)
        self.add(BOB, "one", "two")
        self.assertEqual(self.forward(histories.start(self.store, BOB, None, START), START), ["one", "two"])
        self.assertEqual(self.forward(histories.start(self.store, BOB, 1, START), START), ["two"])
        self.assertEqual(self.forward(histories.start(self.store, BOB, 9, START - 10), START - 10), ["old", "one", "two"])
        self.assertEqual(self.forward(histories.start(self.store, BOB, None, START + 1), START + 1), [])
        self.add(BOB, "wrong", at=START - 10)
        self.assertEqual(self.forward(histories.start(self.store, BOB, 1, START), START), ["two"], "not counted")

    def test_wrong_clock(self) -> None:
        """A clock that was wrong for a few messages hides none before them."""
        self.add(BOB, "first", *("other" for _ in range(PAGE)))
        self.add(BOB, "wrong", at=START - 10_000)
        self.add(BOB, "last")
        texts = self.forward(histories.start(self.store, BOB, None, START), START)
        self.assertEqual((len(texts), texts[0], texts[-1]), (PAGE + 2, "first", "last"))
        self.assertEqual(self.found("st", since=START), ["first", "last"])

    def test_not_all_old(self) -> None:
        """What is much older is not read."""
        self.add(BOB, *("old" for _ in range(3 * PAGE)), at=START - 10)
        self.add(BOB, "new")
        steps: list[int] = []
        histories.start(self.store, BOB, None, START, steps.append)
        self.assertEqual(sum(steps), 2 * PAGE)

    def test_conversations(self) -> None:
        """All conversations with messages are listed by name; a room that is forgotten by the first digits of its id."""
        for conversation in (CIA, BOB, lobby(SERVER_NAME), ROOM, with_guest("key-1", bytes(16))):
            self.add(conversation, "hello")
        names = [conversation.name for conversation in histories.conversations(self.store)]
        self.assertEqual(names, ["#00010203", "#lobby", "bob", "cia", "key-1"])
        self.assertEqual(histories.count(self.store, histories.conversations(self.store)), 5)
        self.assertEqual(len(self.search("hello").lines), 5)


class SearchTests(HistoryCase):
    """For words."""

    def test_all_words(self) -> None:
        """All words must occur, in any order, and also within longer ones."""
        self.add(BOB, "the quick brown fox", "the slow fox", "a foxglove, quickly")
        self.assertEqual(self.found("quick", "fox"), ["the quick brown fox", "a foxglove, quickly"])
        self.assertEqual(self.found("fox", "wolf"), [])
        self.assertEqual(self.found("quick brown"), ["the quick brown fox"])

    def test_case(self) -> None:
        """Case does not count, in any language."""
        self.add(BOB, "Straße", "STRASSE", "ΣΊΣΥΦΟΣ", "plain")
        self.assertEqual(self.found("strasse"), ["Straße", "STRASSE"])
        self.assertEqual(self.found("σίσυφος"), ["ΣΊΣΥΦΟΣ"])
        self.assertEqual(self.found("PLAIN"), ["plain"])

    def test_composed(self) -> None:
        """A letter with its mark is the same in one character or in two."""
        self.add(BOB, "cafe\u0301", "caf\u00e9")
        for word in ("caf\u00e9", "cafe\u0301", "CAFE\u0301"):
            self.assertEqual(len(self.found(word)), 2)

    def test_folded_once(self) -> None:
        """What is folded is not changed by being folded again."""
        for text in ("Straße", "cafe\u0301", "\u0345\u03b1", "İ", "ﬃ", "\u1e9e"):
            self.assertEqual(fold(fold(text)), fold(text))

    def test_newest(self) -> None:
        """With a limit the newest are found, in order, over all conversations; and that there are more."""
        for number in range(10):
            self.add(BOB if number % 3 else CIA, f"word {number}", sent=bool(number % 2))
        found = self.search("word", limit=4)
        self.assertEqual([line.text for line in found.lines], [f"word {number}" for number in range(6, 10)])
        self.assertTrue(found.has_more)
        self.assertFalse(self.search("word", limit=10).has_more)
        self.assertEqual(self.found("word", limit=10), [f"word {number}" for number in range(10)])

    def test_stops(self) -> None:
        """A history is not read further than to what is older than everything that was found."""
        self.add(BOB, *("word" for _ in range(5 * PAGE)))
        steps: list[int] = []
        histories.search(self.store, [BOB], ["word"], 10, step=steps.append)
        self.assertEqual(sum(steps), PAGE)

    def test_old_in_another(self) -> None:
        """What is found first in one conversation does not hide what is newer in another."""
        self.add(BOB, "word old")
        self.add(CIA, "word new")
        self.assertEqual(self.found("word", limit=1), ["word new"])

    def test_behind_others(self) -> None:
        """Nor does it hide what is newer, behind many messages without the words."""
        self.add(BOB, *("word old" for _ in range(3)))
        self.add(CIA, "word new", *("other" for _ in range(PAGE)))
        self.assertEqual(self.found("word", limit=1), ["word new"])

    def test_since(self) -> None:
        """Older messages are left out."""
        self.add(BOB, "word old", at=START - 10)
        self.add(BOB, "word new")
        self.assertEqual(self.found("word", since=START), ["word new"])

    def test_kinds(self) -> None:
        """What people wrote is searched: texts, relayed lines, titles of rooms; and nothing that programs say."""
        line = RelayedLine("bob", bytes(16), START, int(Kind.TEXT), b"secret word")
        self.add(lobby(SERVER_NAME), encode_record(line), kind=Kind.RELAYED)
        self.add(lobby(SERVER_NAME), encode_record(RefusedLine("word", bytes(16))), kind=Kind.REFUSED)
        invite = RoomInvite(bytes(16), "word room", ("bob",), ListMark(1, bytes(32)), b"")
        self.add(BOB, encode_record(invite), kind=Kind.INVITE)
        self.add(BOB, b"word of a program", kind=Kind.RECEIPT)
        self.add(BOB, encode_record(invite), kind=Kind.INVITE, sent=True)
        self.add(BOB, "word answer", kind=Kind.ANSWER)
        self.assertEqual(self.found("word"), ["secret word", "word room", "word answer"])

    def test_of_rooms(self) -> None:
        """A new title of a room is found, and no other event there, each of which names the title, too."""
        for decision in ("title", "added", "removed"):
            self.add(ROOM, encode_record(RoomEvent(decision, "bob", ("cia",), "New word")), kind=Kind.LIST)
        self.assertEqual(self.found("new", "word"), ["New word"])
