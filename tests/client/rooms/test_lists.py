"""Which member lists are valid: each rule has a list that breaks it and no other, and is refused."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from securemsg.client.rooms import lists
from securemsg.client.rooms.lists import RoomList
from securemsg.client.state.profile import resigned
from securemsg.crypto import keys
from securemsg.crypto.keys import SigningKey
from securemsg.errors import Refusal
from securemsg.protocol.envelope import decode_record, encode_record
from securemsg.protocol.messages import RoomItem
from securemsg.protocol.rooms import ADMIN, LIST_LABEL, MAX_MEMBERS, MEMBER, Member, MemberList, SignedMemberList
from tests.client.people import NOW, Person, person

ROOM = bytes(range(16))


def signed_by(author: Person, body: MemberList, proof: bytes = bytes(32)) -> SignedMemberList:
    """A list as the author's device signs it, whatever it says."""
    data = encode_record(body)
    return SignedMemberList(data, author.profile.devices, author.profile.device_key.sign(LIST_LABEL, data), proof)


def unchecked(author: Person, body: MemberList) -> RoomList:
    """A list that was not read."""
    signed = signed_by(author, body)
    return RoomList(body, keys.sha256(signed.body), signed)


def member(who: Person, since: int = 1, role: Any = MEMBER) -> Member:
    """Somebody's row."""
    return Member(who.name, who.profile.identity.public, role, since)


class ListCase(SynchronousTestCase):
    """Ada, who is the admin, Ben and Cleo are in a room; Dan is not."""

    def setUp(self) -> None:
        """The lists by which they came into it."""
        self.ada, self.ben, self.cleo, self.dan = (person(name) for name in ("ada", "ben", "cleo", "dan"))
        self.server = self.ada.profile.pin
        self.first = lists.first(self.ada.profile, ROOM, "Team", NOW)
        both = [(who.name, who.profile.identity.public) for who in (self.ben, self.cleo)]
        members = lists.added(self.first.body, both)
        self.second = lists.make_next(self.ada.profile, self.first, "added", NOW, members=members)
        linked = lists.make_next(self.ada.profile, self.second, "link", NOW, link=keys.sha256(bytes(32)))
        self.newest = lists.read(linked.signed, ROOM, self.server)

    def refused(self, signed: SignedMemberList, room: bytes = ROOM, server: bytes = b"") -> None:
        """A list is refused in itself."""
        with self.assertRaises(Refusal) as caught:
            lists.read(signed, room, server or self.server)
        self.assertEqual(caught.exception.code, "bad-room-list")


class ReadTests(ListCase):
    """A list in itself."""

    def other(self, signer: Person | None = None, **changes: Any) -> SignedMemberList:
        """The newest list with another content, signed as it should be."""
        return signed_by(signer or self.ada, replace(self.newest.body, **changes))

    def test_valid(self) -> None:
        """What was made in order is read as it was made."""
        self.assertEqual(lists.read(self.newest.signed, ROOM, self.server), self.newest)
        lists.read(self.other(), ROOM, self.server)

    def test_garbage(self) -> None:
        """What is no list."""
        self.refused(replace(self.newest.signed, body=b"no list"))

    def test_not_canonical(self) -> None:
        """A list with a second form is none, though it is signed."""
        items = msgspec.msgpack.decode(self.newest.signed.body)
        body = self.newest.body
        long_number = b"\xcf" + body.n.to_bytes(8, "big")
        data = msgspec.msgpack.encode(items).replace(ROOM + bytes([body.n]), ROOM + long_number, 1)
        signature = self.ada.profile.device_key.sign(LIST_LABEL, data)
        self.assertNotEqual(data, self.newest.signed.body)
        self.refused(replace(self.newest.signed, body=data, signature=signature))

    def test_other_room(self) -> None:
        """A list of another room."""
        self.refused(self.newest.signed, room=bytes(16))

    def test_other_server(self) -> None:
        """A list of a room at another server; Ada is there as well."""
        self.refused(self.other(server=bytes(32)))

    def test_illegal_name(self) -> None:
        """A member with a name that no account can have."""
        self.refused(self.other(members=(*self.newest.body.members, replace(member(self.dan), account="Dan!"))))

    def test_follows_none(self) -> None:
        """A list that names no list before it."""
        self.refused(self.other(previous=b""))

    def test_first_follows(self) -> None:
        """A first list that names one before it."""
        self.refused(signed_by(self.ada, replace(self.first.body, previous=bytes(32))))

    def test_short_link(self) -> None:
        """A link whose secret cannot be found by anybody, or by everybody."""
        self.refused(self.other(link=bytes(16)))

    def test_long_title(self) -> None:
        """A title of too many bytes, though not of too many letters."""
        lists.read(self.other(title="ä" * 64), ROOM, self.server)
        self.refused(self.other(title="ä" * 65))

    def test_account_twice(self) -> None:
        """An account that stands on it twice."""
        double = replace(member(self.dan), account="ben")
        self.refused(self.other(members=(*self.newest.body.members, double)))

    def test_identity_twice(self) -> None:
        """An identity that stands on it twice."""
        double = replace(member(self.ben), account="dan")
        self.refused(self.other(members=(*self.newest.body.members, double)))

    def test_reserved_names(self) -> None:
        """Neither C{server} nor the name of a key is a member."""
        for name in ("server", "admin", "key-office"):
            self.refused(self.other(members=(*self.newest.body.members, replace(member(self.dan), account=name))))

    def test_member_of_later(self) -> None:
        """A member that will only be added."""
        later = member(self.dan, since=self.newest.body.n + 1)
        self.refused(self.other(members=(*self.newest.body.members, later)))

    def test_no_admin(self) -> None:
        """Nobody decides any more."""
        members = tuple(replace(each, role=MEMBER) for each in self.newest.body.members)
        self.refused(self.other(members=members))

    def test_too_many(self) -> None:
        """More than fifty members."""

        def crowd(count: int) -> tuple[Member, ...]:
            names = [Member(f"m{number}", keys.random_bytes(32), "member", 1) for number in range(count - 3)]
            return (*self.newest.body.members, *names)

        lists.read(self.other(members=crowd(MAX_MEMBERS)), ROOM, self.server)
        self.refused(self.other(members=crowd(MAX_MEMBERS + 1)))

    def test_statement_of_nobody(self) -> None:
        """A statement with another decision, or that decision without one."""
        self.refused(self.other(statement=lists.leave_statement(self.ben.profile, ROOM, 2)))
        self.refused(self.other(decision="left"))

    def test_created_late(self) -> None:
        """A room is created once, with its first list."""
        self.refused(self.other(decision="created"))
        self.refused(signed_by(self.ada, replace(self.first.body, decision="title")))

    def test_created_with_others(self) -> None:
        """The first list has one member, who made it: others must have accepted."""
        self.refused(signed_by(self.ada, replace(self.first.body, members=(*self.first.body.members, member(self.ben)))))

    def test_strange_author(self) -> None:
        """An author who is no member."""
        self.refused(self.other(self.dan, author="dan", device=self.dan.profile.device_id))

    def test_signed_by_another(self) -> None:
        """A list that another device has signed than it says."""
        data = self.newest.signed.body
        self.refused(replace(self.newest.signed, signature=self.ben.profile.device_key.sign(LIST_LABEL, data)))

    def test_signed_as_something_else(self) -> None:
        """A signature of the device for another purpose."""
        data = self.newest.signed.body
        self.refused(replace(self.newest.signed, signature=self.ada.profile.device_key.sign(b"securemsg/1 other", data)))

    def test_changed(self) -> None:
        """What is not signed."""
        data = encode_record(replace(self.newest.body, title="Changed"))
        self.refused(replace(self.newest.signed, body=data))

    def test_device_of_another(self) -> None:
        """A member signs in the name of another with a device list of its own."""
        self.refused(self.other(self.ben, device=self.ben.profile.device_id))

    def test_device_list_of_another_identity(self) -> None:
        """The device list names the author, but another identity has signed it: as whoever has the name now."""
        other = person("ada")
        self.refused(self.other(other, device=other.profile.device_id))

    def test_unlisted_device(self) -> None:
        """A device that is not on the list that comes with it."""
        self.refused(self.other(device=bytes(16)))


class FollowTests(ListCase):
    """A list after another one."""

    def after(self, author: Person, decision: Any, **changes: Any) -> RoomList:
        """A list that follows the newest as far as the changes let it."""
        old = self.newest.body
        body = replace(
            old, n=old.n + 1, previous=self.newest.digest, author=author.name, device=author.profile.device_id,
            decision=decision, salt=keys.random_bytes(32), issued_at=NOW + 5, next=keys.random_bytes(32),
        )  # fmt: skip
        return unchecked(author, replace(body, **changes))

    def follows(self, after: RoomList, before: RoomList | None = None) -> None:
        """A list is valid."""
        lists.read(after.signed, ROOM, self.server)
        lists.check_follows(before or self.newest, after)

    def refused_after(self, after: RoomList, before: RoomList | None = None) -> None:
        """A list may stand for itself, but not behind that one."""
        lists.read(after.signed, after.body.room, after.body.server)
        with self.assertRaises(Refusal) as caught:
            lists.check_follows(before or self.newest, after)
        self.assertEqual(caught.exception.code, "bad-room-list")

    def with_(self, *more: Member) -> tuple[Member, ...]:
        """The members and some more."""
        return (*self.newest.body.members, *more)

    def without(self, *names: str) -> tuple[Member, ...]:
        """The members but for some."""
        return tuple(each for each in self.newest.body.members if each.account not in names)

    def changed(self, who: str, **changes: Any) -> tuple[Member, ...]:
        """The members, one of which is another."""
        return tuple(replace(each, **changes) if each.account == who else each for each in self.newest.body.members)

    def statement(self, who: Person, since: int = 2, **changes: Any) -> Any:
        """Somebody leaves."""
        return replace(lists.leave_statement(who.profile, ROOM, since), **changes)

    def left(self, author: Person, who: str, statement: Any, **changes: Any) -> RoomList:
        """A list after which somebody has left."""
        return self.after(author, "left", **{"members": self.without(who), "statement": statement, **changes})

    def test_each_decision(self) -> None:
        """Every decision that there is."""
        n = self.newest.body.n + 1
        self.follows(self.after(self.ada, "added", members=self.with_(member(self.dan, n))))
        self.follows(self.after(self.ada, "removed", members=self.without("ben", "cleo"), link=b""))
        self.follows(self.after(self.ada, "role", members=self.changed("ben", role=ADMIN)))
        self.follows(self.after(self.ada, "title", title="Other"))
        self.follows(self.after(self.ada, "link", link=b""))
        self.follows(self.after(self.ben, "fresh"))
        self.follows(self.left(self.cleo, "ben", self.statement(self.ben)))

    def test_number(self) -> None:
        """Numbers do not jump."""
        self.refused_after(self.after(self.ada, "fresh", n=self.newest.body.n + 2))

    def test_chain(self) -> None:
        """It names the very list before it."""
        self.refused_after(self.after(self.ada, "fresh", previous=self.second.digest))

    def test_other_room(self) -> None:
        """A list of another room with the same members."""
        self.refused_after(self.after(self.ada, "fresh", room=bytes(16)))

    def test_author_was_none(self) -> None:
        """Nobody adds itself."""
        self.refused_after(self.after(self.dan, "added", members=self.with_(member(self.dan, self.newest.body.n + 1))))

    def test_author_changes_its_identity(self) -> None:
        """The author has another identity on one list than on the other."""
        other = person("ada")
        members = self.changed("ada", identity=other.profile.identity.public)
        self.refused_after(self.after(other, "fresh", members=members))

    def test_members_decide(self) -> None:
        """Who is no admin adds, removes, promotes, names and links nobody and nothing."""
        n = self.newest.body.n + 1
        self.refused_after(self.after(self.ben, "added", members=self.with_(member(self.dan, n))))
        self.refused_after(self.after(self.ben, "removed", members=self.without("cleo"), link=b""))
        self.refused_after(self.after(self.ben, "role", members=self.changed("ben", role=ADMIN)))
        self.refused_after(self.after(self.ben, "title", title="Other"))
        self.refused_after(self.after(self.ben, "link", link=b""))

    def test_two_things_at_once(self) -> None:
        """One decision changes nothing besides."""
        n, link = self.newest.body.n + 1, keys.random_bytes(32)
        self.refused_after(self.after(self.ada, "added", members=self.with_(member(self.dan, n)), title="Other"))
        self.refused_after(self.after(self.ada, "added", members=self.with_(member(self.dan, n)), link=link))
        self.refused_after(self.after(self.ada, "removed", members=self.without("ben"), link=b"", title="Other"))
        self.refused_after(self.after(self.ada, "role", members=self.changed("ben", role=ADMIN), title="Other"))
        self.refused_after(self.after(self.ada, "title", title="Other", link=link))
        self.refused_after(self.after(self.ada, "title", title="Other", members=self.without("ben")))
        self.refused_after(self.after(self.ada, "link", link=link, title="Other"))
        self.refused_after(self.after(self.ada, "fresh", title="Other"))
        self.refused_after(self.left(self.cleo, "ben", self.statement(self.ben), title="Other"))

    def test_nothing_at_all(self) -> None:
        """A decision changes what it says."""
        self.refused_after(self.after(self.ada, "added"))
        self.refused_after(self.after(self.ada, "removed", link=b""))
        self.refused_after(self.after(self.ada, "role"))
        self.refused_after(self.after(self.ada, "title"))
        self.refused_after(self.after(self.ada, "link"))
        self.refused_after(self.left(self.cleo, "ben", self.statement(self.ben), members=self.newest.body.members))

    def test_added_in_front(self) -> None:
        """Members stand in the order in which they joined."""
        dan = member(self.dan, self.newest.body.n + 1)
        self.refused_after(self.after(self.ada, "added", members=(dan, *self.newest.body.members)))

    def test_added_as_old(self) -> None:
        """Nobody is added as if it had been there: it would be sent what was said before."""
        self.refused_after(self.after(self.ada, "added", members=self.with_(member(self.dan, 1))))

    def test_added_as_admin(self) -> None:
        """Who is added is no admin at once."""
        self.refused_after(self.after(self.ada, "added", members=self.with_(member(self.dan, self.newest.body.n + 1, ADMIN))))

    def test_added_for_another(self) -> None:
        """Nobody takes the place of a member."""
        members = (*self.without("cleo"), member(self.dan, self.newest.body.n + 1))
        self.refused_after(self.after(self.ada, "added", members=members))
        self.refused_after(self.after(self.ada, "removed", members=members, link=b""))

    def test_removed_and_more(self) -> None:
        """Of those who stay no row changes, and their order does not."""
        some = self.without("ben")
        for members in ((replace(some[0], since=2), *some[1:]), (*some[:-1], replace(some[-1], role=ADMIN)), some[::-1]):
            self.refused_after(self.after(self.ada, "removed", members=members, link=b""))

    def test_removed_and_swapped(self) -> None:
        """Who stays keeps its identity."""
        members = tuple(replace(each, identity=bytes(32)) for each in self.without("ben", "ada"))
        self.refused_after(self.after(self.ada, "removed", members=(*self.without("ben", "cleo"), *members), link=b""))

    def test_removed_with_link(self) -> None:
        """The link goes too, or whoever was removed comes back by it."""
        self.refused_after(self.after(self.ada, "removed", members=self.without("ben")))

    def test_removed_oneself(self) -> None:
        """Nobody removes itself: the author of a list stands on it."""
        after = self.after(self.ada, "removed", members=self.changed("ben", role=ADMIN)[1:], link=b"")
        with self.assertRaises(Refusal):
            lists.check_follows(self.newest, after)

    def test_roles_of_two(self) -> None:
        """One role changes at a time."""
        members = tuple(replace(each, role=ADMIN) for each in self.newest.body.members)
        self.refused_after(self.after(self.ada, "role", members=members))

    def test_role_and_more(self) -> None:
        """With a role nothing else of the member changes, and nobody comes or goes."""
        self.refused_after(self.after(self.ada, "role", members=self.changed("ben", role=ADMIN, since=1)))
        self.refused_after(self.after(self.ada, "role", members=self.changed("ben", since=1)))
        self.refused_after(self.after(self.ada, "role", members=self.changed("ben", identity=bytes(32))))
        self.refused_after(self.after(self.ada, "role", members=self.changed("ben", role=ADMIN)[:2]))
        promoted = (*self.changed("ben", role=ADMIN), member(self.dan, self.newest.body.n + 1))
        self.refused_after(self.after(self.ada, "role", members=promoted))

    def test_left_without_a_statement(self) -> None:
        """Nobody is said to have left who did not say so."""
        self.refused_after(self.left(self.cleo, "ben", self.statement(self.ben, signature=bytes(64))))
        self.refused_after(self.left(self.cleo, "ben", self.statement(self.cleo, account="ben")))

    def test_left_with_the_statement_of_another(self) -> None:
        """Who leaves is who has said so."""
        dan = lists.make_next(
            self.ada.profile, self.newest, "added", NOW, members=lists.added(self.newest.body, [("dan", bytes(32))])
        )
        body = replace(
            dan.body, n=dan.body.n + 1, previous=dan.digest, author="cleo", device=self.cleo.profile.device_id,
            decision="left", statement=self.statement(self.ben), members=lists.members_without(dan.body, "dan"),
        )  # fmt: skip
        self.refused_after(unchecked(self.cleo, body), dan)

    def test_left_long_ago(self) -> None:
        """Who was added again has not said so since."""
        gone = lists.make_next(self.ada.profile, self.newest, "removed", NOW, members=self.without("ben"), link=b"")
        members = lists.added(gone.body, [("ben", self.ben.profile.identity.public)])
        back = lists.make_next(self.ada.profile, gone, "added", NOW, members=members)
        body = replace(
            back.body, n=back.body.n + 1, previous=back.digest, author="cleo", device=self.cleo.profile.device_id,
            decision="left", statement=self.statement(self.ben), members=lists.members_without(back.body, "ben"),
        )  # fmt: skip
        self.refused_after(unchecked(self.cleo, body), back)

    def test_left_another_room(self) -> None:
        """Who leaves one room does not leave another."""
        elsewhere = lists.leave_statement(self.ben.profile, bytes(16), 2)
        self.refused_after(self.left(self.cleo, "ben", elsewhere))

    def test_left_under_another_identity(self) -> None:
        """The statement of somebody else who has the name now."""
        self.refused_after(self.left(self.cleo, "ben", self.statement(person("ben"))))

    def test_left_by_a_device_that_is_gone(self) -> None:
        """A device that its own list does not name says nothing for its account."""
        self.refused_after(self.left(self.cleo, "ben", self.statement(self.ben, device=bytes(16))))

    def test_left_itself(self) -> None:
        """Who leaves stays on the list until another takes it out."""
        stayed = self.left(self.ben, "cleo", self.statement(self.ben), members=self.newest.body.members)
        self.refused_after(stayed)

    def test_left_by_a_renewed_list(self) -> None:
        """Any list of devices that verifies will do: that of the directory is not asked for."""
        self.ben.renew(resigned(self.ben.profile, NOW + 1))
        self.follows(self.left(self.cleo, "ben", self.statement(self.ben)))

    def test_last_admin_left(self) -> None:
        """The first of those who stay takes the place of the last admin, and nobody else."""
        others = self.without("ada")
        heir = (replace(others[0], role=ADMIN), *others[1:])
        statement = self.statement(self.ada, 1)
        self.follows(self.left(self.cleo, "ada", statement, members=heir))
        grabbed = (others[0], replace(others[1], role=ADMIN))
        self.refused_after(self.left(self.cleo, "ada", statement, members=grabbed))

    def test_admin_grabbed(self) -> None:
        """While there is an admin nobody becomes one with a list that takes somebody out."""
        grabbed = tuple(replace(each, role=ADMIN) for each in self.without("ben"))
        self.refused_after(self.left(self.cleo, "ben", self.statement(self.ben), members=grabbed))


class MakeTests(ListCase):
    """What we make ourselves."""

    def test_invalid(self) -> None:
        """We sign no list that would not be valid."""
        with self.assertRaises(Refusal):
            lists.make_next(self.ben.profile, self.newest, "title", NOW, title="Other")
        with self.assertRaises(Refusal):
            lists.make_next(self.ada.profile, self.newest, "title", NOW, title="ä" * 65)

    def test_salted(self) -> None:
        """Who knows all that a list says does not know its hash."""
        other = lists.make_next(self.ada.profile, self.newest, "title", NOW, title="Other")
        again = lists.make_next(self.ada.profile, self.newest, "title", NOW, title="Other")
        self.assertNotEqual(other.body.salt, again.body.salt)
        self.assertNotEqual(other.digest, again.digest)

    def test_proof(self) -> None:
        """Each list has a proof of its own, of which it shows the hash alone."""
        self.assertNotEqual(self.newest.signed.proof, self.second.signed.proof)
        self.assertEqual(self.newest.body.next, keys.sha256(self.newest.signed.proof))
        self.assertNotIn(self.newest.signed.proof, self.newest.signed.body)
        self.assertEqual(lists.without_proof(self.newest.signed).proof, b"")

    def test_digits(self) -> None:
        """What people compare is thirty digits, and another list has others."""
        self.assertRegex(lists.digits(self.newest.digest), r"\A\d{5}( \d{5}){5}\Z")
        self.assertNotEqual(lists.digits(self.newest.digest), lists.digits(self.second.digest))


class ItemTests(ListCase):
    """A list, and the item that it came with."""

    def setUp(self) -> None:
        """The item that fits."""
        super().setUp()
        self.item = lists.item_for(self.newest, bytes(32))
        assert self.item.step is not None, "a step"
        self.step = self.item.step

    def fits(self, item: RoomItem) -> bool:
        """Whether the newest list fits an item."""
        return lists.fits_item(self.newest, item)

    def test_fits(self) -> None:
        """It is the list that the server has ordered."""
        self.assertTrue(self.fits(self.item))

    def test_no_step(self) -> None:
        """A message brings no list."""
        self.assertFalse(self.fits(replace(self.item, step=None)))

    def test_other_number(self) -> None:
        """The server has ordered another number."""
        self.assertFalse(self.fits(replace(self.item, n=self.item.n + 1)))

    def test_other_digest(self) -> None:
        """The server has ordered another list: its author shows different ones to different members."""
        self.assertFalse(self.fits(replace(self.item, digest=bytes(32))))

    def test_other_next(self) -> None:
        """The server waits for another proof than the list says: nobody but the author could go on."""
        self.assertFalse(self.fits(replace(self.item, step=replace(self.step, next=bytes(32)))))

    def test_other_proof(self) -> None:
        """The proof does not go with it: nobody but the author could go on."""
        listing = lists.read(replace(self.newest.signed, proof=SigningKey.generate().private), ROOM, self.server)
        self.assertFalse(lists.fits_item(listing, self.item))

    def test_conversation(self) -> None:
        """The contents of a room name it by a hash, which is another one for each room."""
        self.assertEqual(len(lists.conversation_id(ROOM)), 16)
        self.assertNotEqual(lists.conversation_id(ROOM), lists.conversation_id(bytes(16)))

    def test_round_trip(self) -> None:
        """A list is decoded as it was encoded."""
        self.assertEqual(decode_record(MemberList, self.newest.signed.body), self.newest.body)
