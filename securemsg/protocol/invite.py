"""
Invites: C{securemsg://host:port/#...}, all that a newcomer needs, in one string to pass on.

The fragment holds C{pin} (the server identity), C{token}, C{server} (the identity of the contact C{server}), C{udp} (a port),
C{from} and C{id} (name and identity of the user who issued it) and C{secret} (that user's), all binary values in base64url
without padding.
Items that are not known are ignored, so that a newer server may add some. Source: C{docs/protocol.md}, section "Invites".
"""

from __future__ import annotations

import base64
import binascii
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import field, frozen

from securemsg.errors import Refusal
from securemsg.protocol.hosts import MAX_PORT, host_port, is_host

SCHEME = "securemsg"
# Longer strings are not ours.
MAX_INVITE = 2048
# What the inviter has made for this invite and the server never sees.
SECRET_SIZE = 32
# How to connect; AUTO: over both, and whichever is first.
TCP, UDP, AUTO = TRANSPORTS = ("tcp", "udp", "auto")


@frozen
class InviteLink:
    """
    A parsed invite.

    @ivar port: for TCP; C{udp_port}: for UDP, on the same host; 0: none.
    @ivar pin: Ed25519 server identity key, 32 bytes.
    @ivar token: what admits a registration; empty where none is needed.
    @ivar contact: identity key of the contact C{server}, or empty.
    @ivar inviter: name of the user who issued it, or empty.
    @ivar inviter_identity: that user's identity key, or empty.
    @ivar secret: what the newcomer proves to that user, so that the user knows who joined; 32 bytes, or empty.
    """

    host: str
    port: int
    pin: bytes
    token: bytes = field(default=b"", repr=False)
    contact: bytes = b""
    inviter: str = ""
    inviter_identity: bytes = b""
    secret: bytes = field(default=b"", repr=False)
    udp_port: int = 0

    def __str__(self) -> str:
        """The invite as it is passed on. It holds token and secret: show it to the invited only."""
        items = [("pin", _encode(self.pin))]
        if self.udp_port:
            items.append(("udp", str(self.udp_port)))
        if self.token:
            items.append(("token", _encode(self.token)))
        if self.contact:
            items.append(("server", _encode(self.contact)))
        if self.inviter:
            items += [("from", self.inviter), ("id", _encode(self.inviter_identity))]
        if self.secret:
            items.append(("secret", _encode(self.secret)))
        return f"{SCHEME}://{host_port(self.host, self.port)}/#{urlencode(items)}"


def parse_invite(text: str) -> InviteLink:
    """
    Read an invite.

    @raise Refusal: C{bad-invite}: not such a string, cut short, or with a key of the wrong size.
    """
    text = text.strip()
    if len(text) > MAX_INVITE:
        raise Refusal("bad-invite", "too long")
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
        items = dict(parse_qsl(url.fragment, strict_parsing=True, max_num_fields=32))
        link = InviteLink(
            host=host or "",
            port=port or 0,
            pin=_decode(items.get("pin", "")),
            token=_decode(items.get("token", "")),
            contact=_decode(items.get("server", "")),
            inviter=items.get("from", ""),
            inviter_identity=_decode(items.get("id", "")),
            secret=_decode(items.get("secret", "")),
            udp_port=int(items.get("udp", "0")),
        )
    except (ValueError, binascii.Error) as error:
        raise Refusal("bad-invite") from error
    sizes_fit = len(link.pin) == 32 and len(link.token) <= 64 and len(link.contact) in (0, 32)
    inviter_fits = len(link.inviter_identity) == (32 if link.inviter else 0) and len(link.inviter) <= 32
    secret_fits = len(link.secret) in ((0, SECRET_SIZE) if link.inviter else (0,))
    fits = sizes_fit and inviter_fits and secret_fits and 0 <= link.udp_port <= MAX_PORT
    if url.scheme != SCHEME or not is_host(link.host) or not link.port or not fits:
        raise Refusal("bad-invite")
    return link


def _encode(value: bytes) -> str:
    """Base64url without padding (RFC 4648 5)."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """The reverse of L{_encode}, strict."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
