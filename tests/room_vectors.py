"""The vectors of rooms: see L{tests.test_vectors}."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from securemsg.client.rooms import joining, lists
from securemsg.crypto import keys
from securemsg.protocol import envelope
from securemsg.protocol.envelope import encode_record
from securemsg.protocol.rooms import LEAVE_LABEL, LIST_LABEL, LeaveStatement, MemberList, SignedMemberList
from tests.given import Given, octets, signed_list, value_of


def conversation(given: Given) -> Given:
    """What the contents of a room name."""
    return {"conversation": lists.conversation_id(octets(given, "room")).hex()}


def member_list(given: Given) -> Given:
    """A member list as its author signs it, as it travels, and as people compare it."""
    author = given["author"]
    device = keys.SigningKey(octets(author["devices"][0], "signing_private"))
    body = encode_record(msgspec.convert(value_of(given["items"]), type=MemberList))
    signature = device.sign(LIST_LABEL, body)
    signed = SignedMemberList(body, signed_list(author), signature, octets(given, "proof"))
    listing = lists.read(signed, octets(given, "room"), octets(author, "server"))
    return {
        "body": body.hex(),
        "digest": listing.digest.hex(),
        "digits": lists.digits(listing.digest),
        "signature": signature.hex(),
        "signed": encode_record(signed).hex(),
    }


def leave(given: Given) -> Given:
    """The statement of a member who leaves."""
    member, since = given["member"], given["since"]
    device = keys.SigningKey(octets(member["devices"][0], "signing_private"))
    parts = (octets(given, "room"), member["account"].encode(), since.to_bytes(8, "big"))
    signature = device.sign(LEAVE_LABEL, *parts)
    own = octets(member["devices"][0], "id")
    return {"statement": encode_record(LeaveStatement(member["account"], since, signed_list(member), own, signature)).hex()}


def content_key(given: Given) -> Given:
    """The plaintext of an own part."""
    key = encode_record(msgspec.convert(value_of(given["items"]), type=envelope.RoomContentKey))
    assert isinstance(envelope.decode_content_key(key), envelope.RoomContentKey)
    return {"plaintext": key.hex()}


def link(given: Given) -> Given:
    """A link."""
    made = joining.RoomLink(octets(given, "room"), octets(given, "secret"), given["account"], octets(given, "identity"))
    text = joining.format_link(made)
    assert joining.parse_link(text) == made
    return {"link": text}


SECTIONS: dict[str, Callable[[Given], Given]] = {
    "conversation": conversation,
    "member_list": member_list,
    "leave": leave,
    "content_key": content_key,
    "link": link,
}
