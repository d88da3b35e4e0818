"""Prosody as a peer: XMPP (RFC 6120, RFC 6121) with passwords in files. It accepts nothing towards the sender."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

from bench.end import End, connect
from bench.machine import Unmeasurable
from bench.sizes import MESSAGE_SIZE
from bench.tls import RECORD, Stream, make_context

PROGRAM = "prosody"
CONFIGURATION = """\
run_as_root = {root}
data_path = "{folder}"
pidfile = "{folder}/prosody.pid"
log = {{ error = "{folder}/prosody.err" }}
interfaces = {{ "127.0.0.1" }}
modules_enabled = {{ "saslauth", "tls" }}
modules_disabled = {{ "s2s", "offline", "posix" }}
c2s_ports = {{ }}
s2s_ports = {{ }}
c2s_direct_tls_ports = {{ {port} }}
c2s_require_encryption = true
allow_unencrypted_plain_auth = false
authentication = "internal_plain"
ssl = {{ key = "{key}", certificate = "{certificate}", protocol = "tlsv1_3" }}
limits = {{ }}
VirtualHost "localhost"
"""
_USERS = 400
_context = make_context()


def configuration(port: int, key: str, certificate: str, folder: str) -> str:
    """What its file says. Accounts are files beside it."""
    accounts = Path(folder) / "localhost" / "accounts"
    accounts.mkdir(parents=True)
    for number in range(_USERS):
        (accounts / f"u{number}.dat").write_text('return { ["password"] = "bench" };\n', "utf-8")
    root = "true" if os.getuid() == 0 else "false"
    return CONFIGURATION.format(port=port, key=key, certificate=certificate, folder=folder, root=root)


class XmppEnd(End):
    """A client with one resource, which has sent presence if it wants to receive."""

    awaits_answer = False
    __slots__ = ("_message",)

    def log_in(self, port: int, receives: bool) -> Stream:
        """See L{End.log_in}: SASL PLAIN, then a resource."""
        stream = Stream(_context, connect(port))
        user = f"u{self.number % _USERS}"
        opening = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        secret = base64.b64encode(f"\0{user}\0bench".encode()).decode()
        bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind>"
        sasl = "urn:ietf:params:xml:ns:xmpp-sasl"
        for text, answer in (
            (opening, "</stream:features>"),
            (f"<auth xmlns='{sasl}' mechanism='PLAIN'>{secret}</auth>", "<success"),
            (opening, "</stream:features>"),
            (f"<iq type='set' id='b'>{bind}</iq>", "</iq>"),
            ("<presence/>" if receives else "", "<presence" if receives else ""),
        ):
            _ask(stream, text, answer)
        return stream

    def address(self, number: int, size: str) -> None:
        """See L{End.address}."""
        body = "x" * MESSAGE_SIZE
        text = f"<message to='u{number % _USERS}@localhost/r' type='chat'><body>{body}</body></message>"
        self._message = text.encode()

    def frames(self, count: int) -> bytes:
        """See L{End.frames}."""
        return self._message * count

    def take(self, data: bytes) -> tuple[int, int]:
        """See L{End.take}."""
        data = self.rest + data
        count = data.count(b"</message>")
        self.rest = data[data.rfind(b"</message>") + len(b"</message>") :] if count else data
        self.delivered += count
        return 0, count


def _ask(stream: Stream, text: str, answer: str) -> None:
    """
    Say something, and wait for an answer that contains this.

    @raise Unmeasurable: it was refused.
    """
    if not text:
        return
    stream.write(text.encode())
    data = b""
    while answer.encode() not in data:
        data += stream.tls.recv(RECORD)
        if re.search(b"<failure|<stream:error|type='error'", data):
            raise Unmeasurable(f"prosody said {data!r:.200}")
