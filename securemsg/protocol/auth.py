"""
What is signed at login and at registration: the transcript, as parts for L{securemsg.crypto.keys.SigningKey.sign}.

Who logs in with a key file signs nothing: both ends prove the same parts with L{securemsg.crypto.keys.mac}, under the key that
the file gives for logins. Every part is length-prefixed, under a label of its own.
Source: C{docs/protocol.md}, section "Login".
"""

from __future__ import annotations

from attrs import field, frozen

from securemsg.protocol.messages import Register

VERSION = 1
# Features that this version offers; a frame or field is added only under a feature that both sides announced.
ROOMS = "rooms"
SHORT_INVITES = "short-invites"
RETRY_AFTER = "retry-after"
FEATURES: tuple[str, ...] = (ROOMS, SHORT_INVITES, RETRY_AFTER)

# The TLS exporter of RFC 9266 ("tls-exporter"), 32 bytes.
EXPORTER_LABEL = b"EXPORTER-Channel-Binding"
EXPORTER_SIZE = 32
ALPN = b"securemsg/1"

CHALLENGE_LABEL = b"securemsg/1 server challenge"
PROOF_LABEL = b"securemsg/1 device login"
KEY_CHALLENGE_LABEL = b"securemsg/1 key challenge"
KEY_PROOF_LABEL = b"securemsg/1 key login"
REGISTER_IDENTITY_LABEL = b"securemsg/1 registration by identity"
REGISTER_DEVICE_LABEL = b"securemsg/1 registration by device"


@frozen
class Binding:
    """
    What ties a signature to the very channel it travels in.

    @ivar transport: C{tcp}, C{quic}, C{unix} or C{memory}, as in Hello.
    @ivar kind: C{tls-exporter} over TLS; C{spki} over QUIC, whose exporter is not to be had: the server's key alone; C{none}
        inside one machine, where nobody stands between.
    @ivar exporter: 32 bytes of keying material over TLS, else empty.
    @ivar spki: SHA-256 of the server's SubjectPublicKeyInfo I{as observed in this handshake}; empty without TLS.
    @ivar user: at the other end of a UNIX socket, as the kernel says; -1: not known. It is in no transcript.
    """

    transport: str
    kind: str
    exporter: bytes
    spki: bytes
    user: int = field(default=-1, eq=False)

    def parts(self) -> tuple[bytes, ...]:
        """The binding as parts of a transcript."""
        return (self.transport.encode(), self.kind.encode(), self.exporter, self.spki)


MEMORY = Binding("memory", "none", b"", b"")
UNIX = Binding("unix", "none", b"", b"")


def challenge_parts(
    hello: bytes, version: int, features: list[str], nonce: bytes, identity: bytes, binding: Binding
) -> tuple[bytes, ...]:
    """
    What the server identity signs in Challenge: the whole Hello, its own answer, and the channel. For a guest it proves the
    same with the key file instead.
    """
    return (hello, version.to_bytes(4, "big"), ",".join(features).encode(), nonce, identity, *binding.parts())


def proof_parts(
    hello: bytes, challenge: bytes, identity: bytes, account: str, device: bytes, highest: int, binding: Binding
) -> tuple[bytes, ...]:
    """
    What the device signs to log in, or whoever holds a key file proves with it: both greetings whole, the server identity,
    who it is, the highest n, and the channel.

    @param identity: the server identity that the signer has I{checked}, not merely the one that was sent.
    """
    return (hello, challenge, identity, account.encode(), device, highest.to_bytes(8, "big"), *binding.parts())


def register_parts(
    hello: bytes, challenge: bytes, identity: bytes, register: Register, binding: Binding
) -> tuple[bytes, ...]:
    """What the identity and the device sign to register: as at login, and everything that is registered."""
    return (
        hello,
        challenge,
        identity,
        register.account.encode(),
        register.device,
        register.token,
        register.identity,
        register.devices.body,
        register.devices.signature,
        *binding.parts(),
    )
