"""Rooms among honest people: they join, talk, leave and are taken out, and each reads what it should."""

from __future__ import annotations

from securemsg.client.messages import Received
from securemsg.client.rooms import changes, joining
from securemsg.client.rooms.changes import ChangeKind
from securemsg.client.rooms.store import RoomState
from securemsg.client.state.profile import DAY
from securemsg.protocol import auth
from securemsg.protocol.messages import Deposit
from securemsg.protocol.states import Side
from securemsg.server import login
from tests.client.rig import User, decoded
from tests.client.rooms.case import RoomCase


class TalkTests(RoomCase):
    """Members of a room."""

    def test_create(self) -> None:
        """Who makes a room is in it, as its admin, once the server has taken that."""
        [ada] = self.people("ada")
        room = self.create(ada)
        self.assertEqual((room.state, room.mark.version), (RoomState.IN, 1))
        self.assertEqual(self.members(ada), ["ada"])

    def test_server_without_rooms(self) -> None:
        """On a server that announces no rooms nothing is sent, and it is said why; it goes out once the server knows them."""
        [ada] = self.people("ada")
        self.patch(login, "FEATURES", ())
        self.world.restart_server()
        ada.connect()
        self.create(ada)
        message = ada.send("#team", "hello")
        assert ada.wire is not None, "connected"
        self.assertEqual([sent for _, sent in ada.wire.log if isinstance(sent, Deposit)], [])
        self.assertEqual((self.room(ada).state, self.room(ada).is_unsupported), (RoomState.ASKED, True))
        self.patch(login, "FEATURES", auth.FEATURES)
        self.world.restart_server()
        ada.connect()
        self.pass_time()
        self.assertEqual((self.room(ada).state, self.room(ada).is_unsupported), (RoomState.IN, False))
        self.assertEqual(ada.sent(message).status, "accepted")

    def test_talk(self) -> None:
        """What one says all others get, once and in order."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        for user, text in ((ada, "one"), (ben, "two"), (cleo, "three"), (ada, "four")):
            user.send("#team", text)
        self.assertEqual(self.said(ada), ["two", "three"])
        self.assertEqual(self.said(ben), ["one", "three", "four"])
        self.assertEqual(self.said(cleo), ["one", "two", "four"])
        self.assertEqual({line.gap_before for line in ben.lines("#team") if isinstance(line, Received)}, {0})
        self.assert_agreed(ada, ben, cleo)

    def test_added_later(self) -> None:
        """Who joins later reads nothing of before, and misses nothing of after."""
        ada, ben = self.room_of("ada", "ben")
        ada.send("#team", "before")
        [cleo] = self.people("cleo")
        self.add(ada, cleo)
        ada.send("#team", "after")
        self.assertEqual(self.said(ben), ["before", "after"])
        self.assertEqual(self.said(cleo), ["after"])
        self.assertEqual({line.gap_before for line in cleo.lines("#team") if isinstance(line, Received)}, {0})

    def test_removed(self) -> None:
        """Who is taken out reads nothing of after, and knows it."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.decide(ada, ChangeKind.REMOVE, "cleo")
        ada.send("#team", "without cleo")
        self.assertEqual(self.said(ben), ["without cleo"])
        self.assertEqual(self.said(cleo), [])
        self.assertEqual(self.room(cleo).state, RoomState.OUT)
        self.assertEqual(self.members(ben), ["ada", "ben"])

    def test_removed_while_away(self) -> None:
        """So it is with somebody who is away."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        cleo.disconnect()
        ada.send("#team", "with cleo")
        self.decide(ada, ChangeKind.REMOVE, "cleo")
        ada.send("#team", "without cleo")
        cleo.connect()
        self.assertEqual(self.said(cleo), ["with cleo"])
        self.assertEqual(self.room(cleo).state, RoomState.OUT)

    def test_leave(self) -> None:
        """Who leaves is out as soon as somebody steps; of the last admin the first member takes the place."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.change(ada, joining.leave, self.room(ada))
        self.pass_time()
        self.assertEqual(self.members(ben), ["ben", "cleo"])
        self.assertTrue(self.newest(ben).body.members[0].is_admin)
        self.assertEqual(self.room(ada).state, RoomState.OUT)
        self.assert_agreed(ben, cleo)

    def test_title_and_admins(self) -> None:
        """Admins change the title, and make others admins; members may not."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        self.decide(ben, ChangeKind.TITLE, text="Mine")
        room = self.room(ben)
        with ben.store.inner.reading() as records:
            [(_, _, code)] = changes.failed(records, room)
        self.assertEqual(code, "not-admin")
        self.decide(ada, ChangeKind.ADMIN, "ben")
        self.decide(ben, ChangeKind.TITLE, text="Ours")
        self.assertEqual({self.room(user).title for user in (ada, ben, cleo)}, {"Ours"})
        self.assert_agreed(ada, ben, cleo)

    def test_two_at_once(self) -> None:
        """Of two steps at once one wins, and the other is made anew."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        [dan] = self.people("dan")
        self.decide(ada, ChangeKind.ADMIN, "ben")
        for user in (ada, ben):
            user.disconnect()
        self.decide(ada, ChangeKind.TITLE, text="Ada's")
        self.change(ben, joining.invite, self.room(ben), "dan")
        ben.connect()
        self.change(dan, joining.accept, self.room(dan, self.room(ben).id.hex()), "team")
        ada.connect()
        self.pass_time()
        self.assertEqual(self.members(cleo), ["ada", "ben", "cleo", "dan"])
        self.assertEqual({self.room(user).title for user in (ada, ben, cleo, dan)}, {"Ada's"})
        self.assert_agreed(ada, ben, cleo, dan)

    def test_link(self) -> None:
        """Who shows the link is added, without an invitation; after another link, or a removal, it admits nobody."""
        ada, ben = self.room_of("ada", "ben")
        cleo, dan = self.people("cleo", "dan")
        link, _ = self.change(ada, joining.new_link, self.room(ada))
        self.pass_time()
        text = joining.format_link(link)
        self.change(cleo, joining.join, joining.parse_link(text), "team")
        self.pass_time()
        self.assertEqual(self.members(ben), ["ada", "ben", "cleo"])
        self.change(ada, joining.new_link, self.room(ada))
        self.pass_time()
        self.change(dan, joining.join, joining.parse_link(text), "team")
        self.pass_time()
        self.assertEqual(self.members(ben), ["ada", "ben", "cleo"])
        self.assertEqual(self.room(dan).state, RoomState.ASKED)

    def test_link_after_another_step(self) -> None:
        """Whose link waits for a step of somebody else has it once it counts, and drops one that does not count any more."""
        ada, ben = self.room_of("ada", "ben")
        self.decide(ada, ChangeKind.ADMIN, "ben")
        ada.disconnect()
        self.decide(ben, ChangeKind.TITLE, text="Ben's")
        link, _ = self.change(ada, joining.new_link, self.room(ada))
        ada.connect()
        self.pass_time()
        self.assertEqual(self.room(ada).title, "Ben's")
        room, profile = self.room(ada), ada.profile()
        with ada.store.inner.reading() as records:
            self.assertEqual(joining.current_link(records, profile, room), link)
        self.change(ben, joining.new_link, self.room(ben))
        self.pass_time()
        self.assertEqual(self.room(ada).secret, b"")

    def test_again(self) -> None:
        """Who was taken out and is added again misses what was said meanwhile, without a gap."""
        ada, ben, cleo = self.room_of("ada", "ben", "cleo")
        ada.send("#team", "one")
        self.decide(ada, ChangeKind.REMOVE, "cleo")
        ada.send("#team", "two")
        self.change(ada, joining.invite, self.room(ada), "cleo")
        self.change(cleo, joining.accept, self.room(cleo), "")
        self.pass_time()
        ada.send("#team", "three")
        self.assertEqual(self.said(cleo), ["one", "three"])
        self.assertEqual({line.gap_before for line in cleo.lines("#team") if isinstance(line, Received)}, {0})
        self.assert_agreed(ada, ben, cleo)


class HeardTests(RoomCase):
    """Who takes something says so, that the other's session heals."""

    def test_once_a_day(self) -> None:
        """That is said once a day at most, however much comes."""
        ada, ben = self.room_of("ada", "ben")
        self.pass_time(70)
        said = []
        for day in range(3):
            before = self.heard(ben)
            for number in range(5):
                ada.send("#team", f"{day}.{number}")
                self.pass_time(70)
            said.append(self.heard(ben) - before)
            self.world.advance(DAY, ticks=4)
        self.assertEqual(said, [0, 1, 1])

    def heard(self, user: User) -> int:
        """How many rows somebody has sent to one alone."""
        assert user.wire is not None, "connected"
        return sum(deposit.room is None for deposit in decoded(user.wire, Side.CLIENT, Deposit))
