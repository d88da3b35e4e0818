"""
The client's half of login and registration: it checks the server before it proves anything.

An account proves its device's key, and recognises the server by its pin. A guest (L{securemsg.client.guest}) proves that it has
the key file, and recognises the server by the same file: both ends prove that they have it, the server first.

If the server is another one, the agent reports it (L{securemsg.client.events.Failed}), and a command ends with status 8.
Source: C{docs/protocol.md}, section "Login".
"""

from __future__ import annotations

from typing import Literal, Protocol

from attrs import define, field
from msgspec.structs import replace

from securemsg.client import restored
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import COUNTERS, NUMBER, load_number
from securemsg.crypto import keys
from securemsg.crypto.keyfile import SharedKey
from securemsg.errors import Refusal, RemoteProtocolError, Unauthentic
from securemsg.interfaces import IProfileStore
from securemsg.protocol import auth
from securemsg.protocol.auth import Binding
from securemsg.protocol.connection import Connection
from securemsg.protocol.messages import Challenge, Hello, Proof, Register

# What a login must be tied to, by transport.
_KINDS = {"tcp": "tls-exporter", "quic": "spki", "unix": "none", "memory": "none"}
_TRANSPORTS: dict[str, Literal["tcp", "quic", "unix", "memory"]] = {
    "tcp": "tcp", "quic": "quic", "unix": "unix", "memory": "memory",
}  # fmt: skip
# Bytes of exporter and of the server's key, by kind.
_SIZES = {"tls-exporter": (auth.EXPORTER_SIZE, 32), "spki": (0, 32), "none": (0, 0)}


class Login(Protocol):
    """How a client logs in: its first message, and its answer to the server's challenge."""

    def greet(self, profile: Profile, binding: Binding) -> Hello:
        """
        The first message.

        @raise Refusal: see L{greeting}.
        """

    def answer(
        self, store: IProfileStore, profile: Profile, connection: Connection, challenge: Challenge, binding: Binding
    ) -> tuple[Profile, Proof | Register]:
        """
        Check the server, then prove who we are. An account commits this login before its Proof is sent, so that it recognises
        it later.

        @return: our profile in this connection, and the message to send.
        @raise Refusal: C{server-identity}: it is not our server.
        @raise RemoteProtocolError: C{unsupported-version}: it chose what we did not offer.
        """


@define
class AccountLogin:
    """The login of an account with its device's key, or its registration; the pin identifies the server."""

    _hello: Hello | None = field(default=None, init=False)

    def greet(self, profile: Profile, binding: Binding) -> Hello:
        """See L{Login.greet}."""
        self._hello = greeting("device" if profile.registered else "register", binding)
        return self._hello

    def answer(
        self, store: IProfileStore, profile: Profile, connection: Connection, challenge: Challenge, binding: Binding
    ) -> tuple[Profile, Proof | Register]:
        """See L{Login.answer}."""
        check_challenge(profile, connection.hello, challenge, binding)
        assert self._hello is not None, "a challenge answers a greeting"
        with store.writing() as records:
            # Before the server can hear of it: what it has taken for a login of ours is never a stranger's to us.
            restored.note_login(records, self._hello)
            highest = load_number(records, COUNTERS, NUMBER)
        if not profile.registered:
            return profile, register(profile, connection.hello, connection.challenge, binding)
        return profile, prove(profile, connection.hello, connection.challenge, highest, binding)


def greeting(role: Literal["key", "device", "register", "newcomer"], binding: Binding) -> Hello:
    """
    The first message. It names nobody: whoever answers has proved nothing yet.

    @raise Refusal: C{server-identity}: the channel has no binding, so that somebody could be in between.
    """
    sizes = len(binding.exporter), len(binding.spki)
    if _KINDS.get(binding.transport) != binding.kind or sizes != _SIZES[binding.kind]:
        raise Refusal("server-identity", "no channel binding")
    transport = _TRANSPORTS[binding.transport]
    return Hello([auth.VERSION], list(auth.FEATURES), role, transport, keys.nonce())


def check_challenge(profile: Profile, hello: bytes, challenge: Challenge, binding: Binding) -> None:
    """
    Check that this is the server named in the invite, and that it answers this greeting through this channel.

    @raise Refusal: C{server-identity}: it is not.
    @raise RemoteProtocolError: C{unsupported-version}: it chose what we did not offer.
    """
    if challenge.identity != profile.pin:
        raise Refusal("server-identity")
    check_any_challenge(hello, challenge, binding)


def check_any_challenge(hello: bytes, challenge: Challenge, binding: Binding) -> None:
    """
    Check that the server has the identity that it names, and that it answers this greeting through this channel.

    @raise Refusal: C{server-identity}: it has not.
    @raise RemoteProtocolError: C{unsupported-version}: it chose what we did not offer.
    """
    identity = challenge.identity
    parts = auth.challenge_parts(hello, challenge.version, challenge.features, challenge.nonce, identity, binding)
    try:
        keys.verify(identity, challenge.signature, auth.CHALLENGE_LABEL, *parts)
    except Unauthentic:
        raise Refusal("server-identity") from None
    _check_choice(challenge)


def check_key_challenge(key: SharedKey, hello: bytes, challenge: Challenge, binding: Binding) -> None:
    """
    Check that the server has the same key file, and answers this greeting through this channel. Its identity does not matter.

    @raise Refusal: C{server-identity}: it does not have the file.
    @raise RemoteProtocolError: C{unsupported-version}: it chose what we did not offer.
    """
    parts = auth.challenge_parts(
        hello, challenge.version, challenge.features, challenge.nonce, challenge.identity, binding
    )
    proves_itself = keys.same(challenge.signature, keys.mac(key.login, auth.KEY_CHALLENGE_LABEL, *parts))
    if not proves_itself or not keys.is_ed25519_key(challenge.identity):
        raise Refusal("server-identity")
    _check_choice(challenge)


def _check_choice(challenge: Challenge) -> None:
    """Check that the server, now identified, chose from what we offered."""
    if challenge.version != auth.VERSION or not set(challenge.features) <= set(auth.FEATURES):
        raise RemoteProtocolError("unsupported-version")


def prove(profile: Profile, hello: bytes, challenge: bytes, highest: int, binding: Binding) -> Proof:
    """
    Log in. Only after L{check_challenge}.

    @param highest: the highest C{n} that we have committed.
    """
    name, device = profile.name, profile.device_id
    parts = auth.proof_parts(hello, challenge, profile.pin, name, device, highest, binding)
    return Proof(name, device, highest, profile.device_key.sign(auth.PROOF_LABEL, *parts))


def prove_key(key: SharedKey, pin: bytes, hello: bytes, challenge: bytes, binding: Binding) -> Proof:
    """
    Log in with a key file. Only after L{check_key_challenge}.

    @param pin: the identity of the server that was checked. A connection is a new device, which has sent nothing yet.
    """
    parts = auth.proof_parts(hello, challenge, pin, "", b"", 0, binding)
    return Proof("", b"", 0, keys.mac(key.login, auth.KEY_PROOF_LABEL, *parts))


def register(profile: Profile, hello: bytes, challenge: bytes, binding: Binding) -> Register:
    """Register the account. Only after L{check_challenge}."""
    unsigned = Register(
        profile.name, profile.device_id, profile.token, profile.identity.public, profile.devices, bytes(64), bytes(64)
    )
    parts = auth.register_parts(hello, challenge, profile.pin, unsigned, binding)
    return replace(
        unsigned,
        identity_signature=profile.identity.sign(auth.REGISTER_IDENTITY_LABEL, *parts),
        device_signature=profile.device_key.sign(auth.REGISTER_DEVICE_LABEL, *parts),
    )
