"""Members who lack lists or messages get them from others; a room that cannot go on is renewed."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from securemsg.client import messages
from securemsg.client.messages import Received
from securemsg.client.rooms import joining, ordering
from securemsg.client.rooms.catchup import ASK_PAUSE, PATIENCE
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import RoomState
from securemsg.protocol.messages import Deliver, Message
from tests.client.rig import MortalServerStore, Tap, User
from tests.client.rooms.case import RoomCase


def spoiled(wanted: Callable[[Deliver], bool]) -> Tap:
    """A tap that makes some deliveries useless."""

    def tap(message: Message) -> list[Message]:
        if not isinstance(message, Deliver) or not wanted(message):
            return [message]
        return [replace(message, own=message.own[:-1] + bytes([message.own[-1] ^ 1]))]

    return tap


def is_step(message: Deliver) -> bool:
    """Whether it brings the next list."""
    return message.room is not None and message.room.step is not None


class CatchUpTests(RoomCase):
    """Somebody lacks lists."""

    def spoil(self, user: User, wanted: Callable[[Deliver], bool]) -> None:
        """Some of what comes to somebody is useless."""
        assert user.wire is not None, "connected"
        user.wire.to_client = spoiled(wanted)

    def test_step_kept_from_one(self) -> None:
        """Who did not get a step asks a member for it, and then opens what came under it."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.spoil(cleo, is_step)
        self.decide(ada, ChangeKind.TITLE, text="New")
        ada.send("#team", "under it")
        self.assertEqual(self.said(cleo), [])
        self.pass_time()
        self.assertEqual(self.said(cleo), ["under it"])
        self.assertEqual(self.room(cleo).title, "New")
        self.assert_agreed(ada, ben, cleo)

    def test_many_kept_from_one(self) -> None:
        """So it is with several, though more messages come meanwhile, and who has made them is away."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.spoil(cleo, is_step)
        for number in range(3):
            self.decide(ada, ChangeKind.TITLE, text=f"Title {number}")
            ben.send("#team", f"under {number}")
        ada.disconnect()
        self.pass_time()
        for _ in range(3):
            self.world.advance(ASK_PAUSE + 1)
            self.pass_time()
        self.assertEqual(self.said(cleo), ["under 0", "under 1", "under 2"])
        self.assert_agreed(ada, ben, cleo)

    def test_taken_out_unheard(self) -> None:
        """Who did not get the step that took them out hears of it from the admin, or asks."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.spoil(cleo, lambda message: True)
        self.decide(ada, ChangeKind.REMOVE, "cleo")
        self.assertEqual(self.room(cleo).state, RoomState.IN)
        assert cleo.wire is not None, "connected"
        cleo.wire.to_client = None
        message = cleo.send("#team", "am I in?")
        self.pass_time()
        self.world.advance(ASK_PAUSE + 1)
        self.pass_time()
        self.assertEqual(self.room(cleo).state, RoomState.OUT)
        self.assertEqual((cleo.sent(message).status, cleo.sent(message).code), ("failed", "not-in-room"))
        self.assertEqual((self.said(ada), self.said(ben)), ([], []))

    def test_nobody_has_it(self) -> None:
        """If nobody gives the list within a day, the room is shown as broken, and an admin renews it."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.spoil(cleo, is_step)
        self.decide(ada, ChangeKind.TITLE, text="New")
        ada.disconnect()
        ben.disconnect()
        cleo.send("#team", "hello?")
        self.pass_time()
        for _ in range(3):
            self.world.advance(PATIENCE / 2)
            self.pass_time()
        self.assertEqual((self.room(cleo).state, self.room(cleo).code), (RoomState.BROKEN, "room-list-missing"))
        ada.connect()
        self.pass_time()
        self.assertEqual(self.room(cleo).state, RoomState.IN)
        self.assertEqual(self.said(ada), ["hello?"])

    def test_renewed(self) -> None:
        """An admin renews a broken room without whoever broke it: who finds it broken, too, goes along; others are asked."""
        ada, ben, cleo, dan = self.room_of("ada", "ben", "cleo", "dan")
        for user in (ada, cleo):
            room = self.room(user)
            with user.store.writing() as records:
                ordering.break_room(records, room, "bad-room-list", "ben")
        self.change(ada, joining.renew, self.room(ada), "ben")
        self.pass_time()
        self.assertEqual(self.members(ada, "team-2"), ["ada", "cleo"])
        ada.send("#team-2", "here we are")
        self.assertEqual(self.said(cleo, "#team-2"), ["here we are"])
        self.assertEqual(self.room(cleo).state, RoomState.OUT)
        self.assertEqual(self.room(dan, self.room(ada, "team-2").id.hex()).state, RoomState.INVITED)
        self.assertEqual(len(ben.lines("ada")), 1)

    def test_lost_message(self) -> None:
        """Who did not get a message sees the gap, asks, and gets it, from whoever wrote it, and alone."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        ada.send("#team", "one")
        self.spoil(cleo, lambda message: message.room is not None)
        ada.send("#team", "two")
        assert cleo.wire is not None, "connected"
        cleo.wire.to_client = None
        ada.send("#team", "three")
        for _ in range(3):
            self.world.advance(70)
        self.assertEqual(self.said(cleo), ["one", "two", "three"])
        self.assertEqual(self.said(ben), ["one", "two", "three"])

    def test_many_steps_while_away(self) -> None:
        """Who was away for many steps has them all, in order."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        cleo.disconnect()
        for number in range(5):
            self.decide(ada, ChangeKind.TITLE, text=f"Title {number}")
            ada.send("#team", f"under {number}")
        cleo.connect()
        self.assertEqual(self.said(cleo), [f"under {number}" for number in range(5)])
        self.assert_agreed(ada, ben, cleo)


class HeldTests(RoomCase):
    """Messages that were written before somebody joined."""

    def test_room_changed(self) -> None:
        """It waits until its user lets it go; who has joined gets it then, and everybody once."""
        ada, ben = self.room_of("ada", "ben")
        [cleo] = self.people("cleo")
        ben.disconnect()
        message = ben.send("#team", "for ada")
        self.add(ada, cleo)
        ben.connect()
        self.pass_time()
        self.assertEqual((ben.sent(message).status, ben.sent(message).code), ("queued", "room-changed"))
        self.assertEqual((self.said(ada), self.said(cleo)), ([], []))
        self.assertEqual(messages.let_go(ben.store, "#team"), 1)
        ben.pump()
        self.assertEqual((self.said(ada), self.said(cleo)), (["for ada"], ["for ada"]))
        self.assertEqual(ben.sent(message).status, "accepted")

    def test_beforehand(self) -> None:
        """Who has said so beforehand does not wait."""
        ada, ben = self.room_of("ada", "ben")
        [cleo] = self.people("cleo")
        ben.disconnect()
        ben.send("#team", "for all", to_newcomers=True)
        self.add(ada, cleo)
        ben.connect()
        self.assertEqual((self.said(ada), self.said(cleo)), (["for all"], ["for all"]))

    def test_withdrawn(self) -> None:
        """Who withdraws it instead leaves no gap."""
        ada, ben = self.room_of("ada", "ben")
        [cleo] = self.people("cleo")
        ben.disconnect()
        message = ben.send("#team", "for ada")
        self.add(ada, cleo)
        ben.connect()
        messages.withdraw(ben.store, message)
        ben.send("#team", "next")
        self.pass_time(70)
        self.assertEqual((self.said(ada), self.said(cleo)), (["next"], ["next"]))
        self.assertEqual({line.gap_before for line in ada.lines("#team") if isinstance(line, Received)}, {0})

    def test_step_behind_it(self) -> None:
        """A step does not wait for it."""
        ada, ben = self.room_of("ada", "ben")
        self.decide(ada, ChangeKind.ADMIN, "ben")
        [cleo] = self.people("cleo")
        ben.disconnect()
        ben.send("#team", "for ada")
        self.add(ada, cleo)
        ben.connect()
        self.decide(ben, ChangeKind.TITLE, text="Ours")
        self.assertEqual(self.room(ada).title, "Ours")
        self.assertEqual(self.said(ada), [])


class RestoredServerTests(RoomCase):
    """The server's database is put back from an older copy."""

    def back_up(self) -> MortalServerStore:
        """A copy of the database."""
        return self.world.store.crash()

    def restore(self, copy: MortalServerStore) -> None:
        """Put it back."""
        self.world.store = copy
        self.world.restart_server()
        for user in self.world.users.values():
            if user.is_online:
                user.connect()
        self.pass_time()

    def test_steps(self) -> None:
        """Whoever sends next finds the row behind, and sends the lists that it lacks again; then everybody goes on."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        copy = self.back_up()
        self.decide(ada, ChangeKind.TITLE, text="One")
        self.decide(ada, ChangeKind.TITLE, text="Two")
        self.restore(copy)
        ben.send("#team", "hello")
        self.pass_time()
        self.assertEqual((self.said(ada), self.said(cleo)), (["hello"], ["hello"]))
        self.decide(ada, ChangeKind.TITLE, text="Three")
        self.assertEqual({self.room(user).title for user in (ada, ben, cleo)}, {"Three"})
        self.assert_agreed(ada, ben, cleo)

    def test_no_row(self) -> None:
        """A server that never heard of the room takes its newest list."""
        ada, ben = self.people("ada", "ben")
        copy = self.back_up()
        self.create(ada)
        self.add(ada, ben)
        self.restore(copy)
        ben.send("#team", "hello")
        self.pass_time()
        self.assertEqual(self.said(ada), ["hello"])

    def test_messages(self) -> None:
        """What the server has accepted and lost is sent again, to those who were in the room then."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        copy = self.back_up()
        cleo.disconnect()
        ada.send("#team", "lost")
        cleo.is_online = True
        self.restore(copy)
        self.assertEqual((self.said(ben), self.said(cleo)), (["lost"], ["lost"]))
