"""What the wire shows of a message. Inside TLS this is all that the server sees; there is no text in it."""

from __future__ import annotations

from attrs import field, frozen

from securemsg.errors import Refusal
from securemsg.protocol.envelope import Envelope, decode_record, suite_of
from securemsg.protocol.framing import LENGTH_SIZE
from securemsg.protocol.messages import Deliver, Deposit, Message, Unknown, encode_message


@frozen
class WireDump:
    """
    @ivar is_ours: whether it is sent; else it is received.
    @ivar name: the recipient or the sender.
    @ivar deposit_id: identifies the message at the server, to sender and recipient alike.
    @ivar frame: the size of the frame, with its length, as we encode it.
    @ivar suite: as the clear header of the first own part names it; empty: that cannot be read, or there is none.
    @ivar encrypted: the common part: the encrypted content. Message, answer or receipt: that is inside.
    """

    is_ours: bool
    name: str
    deposit_id: bytes
    frame: int
    suite: str
    encrypted: bytes = field(repr=False)


def dump_wire(message: Message | Unknown) -> WireDump | None:
    """What the wire shows of a deposit or a delivery; C{None} for everything else, because it holds no message."""
    if isinstance(message, Deposit):
        name = ", ".join(destination.account for destination in message.to)
        # A step that is sent again goes to nobody.
        own, is_ours = next((part.own for destination in message.to for part in destination.parts), b""), True
    elif isinstance(message, Deliver):
        name, own, is_ours = message.account, message.own, False
    else:
        return None
    frame = LENGTH_SIZE + len(encode_message(message))
    return WireDump(is_ours, name, message.deposit_id, frame, _suite(own), message.common)


def _suite(own: bytes) -> str:
    try:
        return suite_of(decode_record(Envelope, own).header)
    except Refusal:
        return ""
