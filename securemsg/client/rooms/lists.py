"""
Which member list is valid: by the list before it and by what it carries, and by nothing else, so that all members judge alike.

Source: C{docs/protocol.md}, section "Rooms".
"""

from __future__ import annotations

from collections.abc import Collection

from attrs import field, frozen
from msgspec.structs import replace

from securemsg.client.state.lists import verified_list
from securemsg.client.state.profile import Profile
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.protocol.devices import check_name, is_reserved
from securemsg.protocol.envelope import decode_record, encode_record
from securemsg.protocol.messages import ListMark, RoomItem, RoomStep, SignedDeviceList
from securemsg.protocol.rooms import (
    ADMIN,
    CONVERSATION_LABEL,
    LEAVE_LABEL,
    LIST_LABEL,
    MAX_TITLE,
    MEMBER,
    Decision,
    LeaveStatement,
    Member,
    MemberList,
    SignedMemberList,
)

DIGEST_SIZE = 32
# What a member may decide that is no admin.
BY_MEMBERS = frozenset({"fresh", "left"})


@frozen
class RoomList:
    """
    A member list that was read, and is signed by the device that it names.

    @ivar digest: SHA-256 of the body.
    """

    body: MemberList
    digest: bytes
    signed: SignedMemberList = field(repr=False)

    @property
    def mark(self) -> ListMark:
        """How messages name it."""
        return ListMark(self.body.n, self.digest)


def conversation_id(room: bytes) -> bytes:
    """What the contents of a room name as their conversation: 16 bytes."""
    return keys.digest(CONVERSATION_LABEL, room)[: keys.ID_SIZE]


def digits(digest: bytes) -> str:
    """
    A list as its members compare it: six groups of 5 digits, each from 5 bytes of the digest, big-endian, modulo 100000.
    """
    return " ".join(f"{int.from_bytes(digest[start : start + 5], 'big') % 100000:05d}" for start in range(0, 30, 5))


def read(signed: SignedMemberList, room: bytes, server: bytes) -> RoomList:
    """
    Check a list in itself.

    @raise Refusal: C{bad-room-list}: it is of another room or server, malformed, or not signed by the device that it names.
    """
    try:
        body = decode_record(MemberList, signed.body)
        for member in body.members:
            check_name(member.account)
        author = body.member(body.author)
        _require(body.room == room and body.server == server, "of another room or server")
        _require(len(body.previous) == (DIGEST_SIZE if body.n > 1 else 0), "follows none")
        _require(len(body.link) in (0, DIGEST_SIZE), "a link without a secret")
        _require(len(body.title.encode()) <= MAX_TITLE, "a title that is too long")
        _require(len({member.account for member in body.members}) == len(body.members), "an account twice")
        _require(len({member.identity for member in body.members}) == len(body.members), "an identity twice")
        _require(not any(is_reserved(member.account) for member in body.members), "a reserved name")
        _require(all(member.since <= body.n for member in body.members), "a member of a later list")
        _require(any(member.is_admin for member in body.members), "no admin")
        _require((body.decision == "left") == (body.statement is not None), "a statement that nobody asked for")
        _require((body.decision == "created") == (body.n == 1), "created twice")
        if body.n == 1:
            _require(len(body.members) == 1 and body.members[0].account == body.author, "created with others")
        _require(author is not None, "an author who is no member")
        assert author is not None, "checked"
        _check_signature(
            body.author, author.identity, server, signed.devices, body.device, signed.signature, LIST_LABEL, signed.body
        )
    except (Refusal, UnicodeEncodeError) as error:
        raise Refusal("bad-room-list", str(error)) from error
    return RoomList(body, keys.sha256(signed.body), signed)


def check_follows(before: RoomList, after: RoomList) -> None:
    """
    Check that a list follows another one by exactly one decision of somebody who may decide that. Each was read: see L{read}.

    No decision changes the room, the server or an identity, so the author stands on both under one.

    @raise Refusal: C{bad-room-list}.
    """
    old, new = before.body, after.body
    author = old.member(new.author)
    _require(new.n == old.n + 1 and new.previous == before.digest, "follows another list")
    _require(author is not None, "its author was no member")
    assert author is not None, "checked"
    _require(author.is_admin or new.decision in BY_MEMBERS, "its author may not decide that")
    kept = replace(
        new, n=old.n, previous=old.previous, issued_at=old.issued_at, salt=old.salt, author=old.author, device=old.device,
        decision=old.decision, statement=old.statement, next=old.next,
    )  # fmt: skip
    match new.decision:
        case "added":
            count = len(old.members)
            added = new.members[count:]
            _require(replace(kept, members=kept.members[:count]) == old and bool(added), "changes more")
            _require(all(member.since == new.n and not member.is_admin for member in added), "adds as no new member")
        case "removed":
            left = _without(old, new)
            _require(replace(kept, members=old.members, link=old.link) == old and bool(left), "changes more")
            _require(new.author not in left and not new.link, "keeps the link")
        case "role":
            changed = [one.account for one, other in zip(old.members, new.members, strict=False) if one != other]
            _require(len(changed) == 1, "changes more")
            _require(replace(kept, members=old.members) == old, "changes more")
            _require(new.members == with_role_changed(old, changed[0]), "changes more")
        case "title":
            _require(replace(kept, title=old.title) == old and new.title != old.title, "changes more")
        case "link":
            _require(replace(kept, link=old.link) == old and new.link != old.link, "changes more")
        case "fresh":
            _require(kept == old, "changes more")
        case "left":
            statement = new.statement
            assert statement is not None, "read"
            _require(statement.account != new.author, "leaves itself")
            _require(replace(kept, members=old.members) == old, "changes more")
            _require(new.members == members_without(old, statement.account), "takes out somebody else")
            check_statement(before, statement)
        case _:
            _require(False, "a decision that is none")


def check_statement(listing: RoomList, statement: LeaveStatement) -> None:
    """
    Check that a member of this list says that it leaves.

    @raise Refusal: C{bad-room-list}.
    """
    body = listing.body
    member = body.member(statement.account)
    _require(member is not None and member.since == statement.since, "somebody who is no member leaves")
    assert member is not None, "checked"
    parts = (body.room, statement.account.encode(), statement.since.to_bytes(8, "big"))
    try:
        _check_signature(
            member.account, member.identity, body.server, statement.devices, statement.device, statement.signature, LEAVE_LABEL,
            *parts,
        )  # fmt: skip
    except Refusal as error:
        raise Refusal("bad-room-list", str(error)) from error


def fits_item(listing: RoomList, item: RoomItem) -> bool:
    """Whether this is the list that the server ordered, with a proof for the next step."""
    return (
        item.step is not None
        and (listing.body.n, listing.digest, listing.body.next) == (item.n, item.digest, item.step.next)
        and has_proof(listing)
    )


def has_proof(listing: RoomList) -> bool:
    """Whether a list came with the proof that the next one needs."""
    return keys.sha256(listing.signed.proof) == listing.body.next


# --- making ---------------------------------------------------------------------------------------------------------


def first(profile: Profile, room: bytes, title: str, now: int) -> RoomList:
    """The first list of a room, with us as its only member."""
    own = Member(profile.name, profile.identity.public, ADMIN, 1)
    body = MemberList(
        profile.pin, room, 1, b"", now, keys.random_bytes(32), title, (own,), b"", profile.name, profile.device_id, "created",
        None, bytes(32),
    )  # fmt: skip
    return _signed(profile, body)


def make_next(
    profile: Profile,
    before: RoomList,
    decision: Decision,
    now: int,
    *,
    members: tuple[Member, ...] | None = None,
    title: str | None = None,
    link: bytes | None = None,
    statement: LeaveStatement | None = None,
) -> RoomList:
    """
    The list after another one, with one decision of ours.

    @raise Refusal: C{bad-room-list}: it would not be valid.
    """
    old = before.body
    body = replace(
        old,
        n=old.n + 1,
        previous=before.digest,
        issued_at=now,
        salt=keys.random_bytes(32),
        title=old.title if title is None else title,
        members=old.members if members is None else members,
        link=old.link if link is None else link,
        author=profile.name,
        device=profile.device_id,
        decision=decision,
        statement=statement,
    )
    after = _signed(profile, body)
    read(after.signed, old.room, profile.pin)
    check_follows(before, after)
    return after


def item_for(listing: RoomList, proof: bytes) -> RoomItem:
    """
    The item of the deposit that makes this list the next one.

    @param proof: of the list before; of a room that the server does not know, any.
    """
    body = listing.body
    return RoomItem(body.room, body.n, listing.digest, RoomStep(proof, body.next))


def without_proof(signed: SignedMemberList) -> SignedMemberList:
    """A list for somebody who is not on it."""
    return replace(signed, proof=b"")


def added(old: MemberList, newcomers: Collection[tuple[str, bytes]]) -> tuple[Member, ...]:
    """The members of the list after this one, with newcomers: accounts with identities."""
    return (*old.members, *(Member(account, identity, MEMBER, old.n + 1) for account, identity in newcomers))


def members_without(old: MemberList, account: str) -> tuple[Member, ...]:
    """The members when one has left: if it was the last admin, the first of the others becomes one."""
    left = tuple(member for member in old.members if member.account != account)
    if left and not any(member.is_admin for member in left):
        left = (replace(left[0], role=ADMIN), *left[1:])
    return left


def leave_statement(profile: Profile, room: bytes, since: int) -> LeaveStatement:
    """We leave."""
    signature = profile.device_key.sign(LEAVE_LABEL, room, profile.name.encode(), since.to_bytes(8, "big"))
    return LeaveStatement(profile.name, since, profile.devices, profile.device_id, signature)


def with_role_changed(old: MemberList, account: str) -> tuple[Member, ...]:
    """The members when one is an admin from now on, or none any more."""
    return tuple(
        replace(member, role=MEMBER if member.is_admin else ADMIN) if member.account == account else member
        for member in old.members
    )


def _without(old: MemberList, new: MemberList) -> set[str]:
    """Who is not on a later list any more; nobody, if that is not all that its members differ in."""
    left = {member.account for member in old.members} - {member.account for member in new.members}
    return left if new.members == tuple(member for member in old.members if member.account not in left) else set()


def _signed(profile: Profile, body: MemberList) -> RoomList:
    """A list with a proof of its own, signed by our device."""
    proof = keys.random_bytes(32)
    data = encode_record(replace(body, next=keys.sha256(proof)))
    signed = SignedMemberList(data, profile.devices, profile.device_key.sign(LIST_LABEL, data), proof)
    return RoomList(decode_record(MemberList, data), keys.sha256(data), signed)


def _check_signature(
    account: str, identity: bytes, server: bytes, devices: SignedDeviceList, device: bytes, signature: bytes, label: bytes,
    *parts: bytes,
) -> None:  # fmt: skip
    """
    Check what a device of an account has signed.

    @raise Refusal: it has not, or is no device of this identity.
    """
    listing = verified_list(account, identity, server, devices)
    key = next((row.signing_key for row in listing.devices if row.id == device), None)
    _require(key is not None, "signed by a device that is not on its list")
    assert key is not None, "checked"
    keys.verify(key, signature, label, *parts)


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise Refusal("bad-room-list", why)


