"""What a message weighs: opaque parts of the size that real ones have, because the server sees nothing else of them."""

from __future__ import annotations

import os

from attrs import frozen

from securemsg.crypto.primitives import a256cbc_hs512_encrypt
from securemsg.crypto.ratchet import seal_message
from securemsg.protocol.envelope import Content, ContentKey, Envelope, EnvelopeHeader, Kind, encode_record, pad
from securemsg.protocol.messages import ListMark

MESSAGE_SIZE = 200


@frozen
class Parts:
    """Common and own part of a deposit."""

    common: bytes
    own: bytes


def text_parts(size: int) -> Parts:
    """The parts of a text of so many bytes, in a session that is under way: the real formats, with keys that nobody has."""
    mark = ListMark(1, bytes(32))
    ids, body = bytes(16), bytes(size)
    content = Content(ids, Kind.TEXT, ids, ids, 2**62, 1000, bytes(32), (), mark, mark, 2**31, True, body)
    common = a256cbc_hs512_encrypt(os.urandom(64), pad(encode_record(content)))
    header = encode_record(EnvelopeHeader("pqxdh", 1, bytes(32), 1, 1000, None))
    sealed = seal_message(bytes(32), encode_record(ContentKey(bytes(64), bytes(32), None, (0, 0))), b"")
    return Parts(common, encode_record(Envelope(header, sealed)))


def total_parts(size: int) -> Parts:
    """Parts that are so many bytes together, to compare with those who carry bare strings."""
    return Parts(os.urandom(size // 2), os.urandom(size - size // 2))


PARTS: dict[str, Parts] = {"text": text_parts(MESSAGE_SIZE), "total": total_parts(MESSAGE_SIZE)}
SIZES = {name: len(parts.common) + len(parts.own) for name, parts in PARTS.items()}
