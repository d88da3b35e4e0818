"""
The vectors of C{docs/protocol.md}: what another implementation must get, and what this one gets.

The files of C{tests/vectors/} hold for each section cases of C{given} and C{expected}; bytes are in hex. When the wire
format changes on purpose, C{python -m tests.test_vectors} writes C{expected} anew; the change is then read in the diff.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys, pqxdh, primitives, ratchet
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.pake import Exchange
from securemsg.errors import RemoteProtocolError
from securemsg.protocol import auth, envelope, framing, invite, messages
from tests import room_vectors, session_vectors
from tests.given import Given, message_of, octets, signed_list

VECTORS = Path(__file__).with_name("vectors")


def frame(given: Given) -> Given:
    """A message, its payload, and its frame; what is read back is the same."""
    message = message_of(given)
    payload = messages.encode_message(message)
    assert messages.decode_message(payload) == message
    return {"payload": payload.hex(), "frame": framing.encode_frame(payload).hex()}


def malformed(given: Given) -> Given:
    """A payload that is refused, and with which code; or the unknown message that it is."""
    try:
        message = messages.decode_message(octets(given, "payload"))
    except RemoteProtocolError as error:
        return {"code": error.code}
    assert isinstance(message, messages.Unknown), message
    return {"unknown_tag": message.tag, "request": message.request}


def _binding(given: Given) -> auth.Binding:
    """The channel of a transcript."""
    return auth.Binding(given["transport"], given["binding"], octets(given, "exporter"), octets(given, "spki"))


def login(given: Given) -> Given:
    """Both signatures of a login."""
    server = keys.SigningKey(octets(given, "server_private"))
    device = keys.SigningKey(octets(given, "device_private"))
    hello = messages.encode_message(message_of(given["hello"]))
    nonce, binding = octets(given, "server_nonce"), _binding(given)
    parts = auth.challenge_parts(hello, given["version"], given["features"], nonce, server.public, binding)
    signature = server.sign(auth.CHALLENGE_LABEL, *parts)
    answer = messages.Challenge(given["version"], given["features"], nonce, server.public, signature)
    challenge = messages.encode_message(answer)
    account, own, highest = given["account"], octets(given, "device"), given["highest"]
    proof = auth.proof_parts(hello, challenge, server.public, account, own, highest, binding)
    return {
        "server_identity": server.public.hex(),
        "challenge_signature": signature.hex(),
        "challenge": challenge.hex(),
        "proof_signature": device.sign(auth.PROOF_LABEL, *proof).hex(),
    }


def key_login(given: Given) -> Given:
    """Both proofs of a login with a key file, and who has logged in."""
    key = SharedKey(octets(given, "secret"))
    message = message_of(given["hello"])
    assert isinstance(message, messages.Hello), message
    hello = messages.encode_message(message)
    nonce, identity, binding = octets(given, "server_nonce"), octets(given, "server_identity"), _binding(given)
    parts = auth.challenge_parts(hello, given["version"], given["features"], nonce, identity, binding)
    proof = keys.mac(key.login, auth.KEY_CHALLENGE_LABEL, *parts)
    challenge = messages.encode_message(messages.Challenge(given["version"], given["features"], nonce, identity, proof))
    proof_parts = auth.proof_parts(hello, challenge, identity, "", b"", 0, binding)
    connection = keys.connection_nonce(message.nonce, nonce, binding.exporter)
    return {
        "name": key.name,
        "login": key.login.hex(),
        "challenge_mac": proof.hex(),
        "challenge": challenge.hex(),
        "proof_mac": keys.mac(key.login, auth.KEY_PROOF_LABEL, *proof_parts).hex(),
        "connection_nonce": connection.hex(),
        "device": keys.guest_device(connection).hex(),
    }


def device_list(given: Given) -> Given:
    """A device list and its signature."""
    signed = signed_list(given)
    return {"body": signed.body.hex(), "signature": signed.signature.hex(), "digest": keys.sha256(signed.body).hex()}


def registration(given: Given) -> Given:
    """Both signatures of a registration."""
    identity = keys.SigningKey(octets(given["list"], "identity_private"))
    device = keys.SigningKey(octets(given["list"]["devices"][0], "signing_private"))
    name, own = given["list"]["account"], octets(given["list"]["devices"][0], "id")
    devices, token = signed_list(given["list"]), octets(given, "token")
    unsigned = messages.Register(name, own, token, identity.public, devices, bytes(64), bytes(64))
    parts = auth.register_parts(
        octets(given, "hello"), octets(given, "challenge"), octets(given, "server_identity"), unsigned, _binding(given)
    )
    return {
        "identity_signature": identity.sign(auth.REGISTER_IDENTITY_LABEL, *parts).hex(),
        "device_signature": device.sign(auth.REGISTER_DEVICE_LABEL, *parts).hex(),
    }


def prekey(given: Given) -> Given:
    """The signature of a prekey of each kind."""
    device = keys.SigningKey(octets(given, "device_private"))
    parts = (given["id"].to_bytes(8, "big"), octets(given, "key"))
    return {
        "signed": device.sign(keys.SIGNED_PREKEY, *parts).hex(),
        "one_time": device.sign(keys.ONE_TIME_PREKEY, *parts).hex(),
        "kem": device.sign(keys.KEM_PREKEY, *parts).hex(),
        "last_resort": device.sign(keys.LAST_RESORT_PREKEY, *parts).hex(),
    }


def agreement(given: Given) -> Given:
    """The responder's side of PQXDH, from its private keys and what the initiator sent."""
    secret = pqxdh.respond(
        keys.AgreementKey(octets(given, "agreement_private")),
        octets(given, "signed_private"),
        octets(given, "kem_seed"),
        octets(given, "one_time_private") if "one_time_private" in given else None,
        octets(given, "peer_agreement"),
        octets(given, "ephemeral"),
        octets(given, "kem_ciphertext"),
    )
    return {"secret": secret.hex()}


def message_keys(given: Given) -> Given:
    """Two messages of a new session: the initiator's ratchet key and the sealed bytes."""
    state = ratchet.Ratchet.initiator(octets(given, "secret"), octets(given, "peer_ratchet_key"))
    sealed = []
    for text in given["messages"]:
        state, header, key = state.next_sending(octets(given, "ratchet_private"))
        sealed.append(ratchet.seal_message(key, text.encode(), octets(given, "associated_data")).hex())
    return {"ratchet_key": header.public.hex(), "number": header.number, "sealed": sealed}


def common_part(given: Given) -> Given:
    """A padded and encrypted content."""
    padded = envelope.pad(octets(given, "content"))
    key = octets(given, "key")
    is_long = len(key) in envelope.KEY_SIZES[envelope.PQXDH]
    encrypt = primitives.a256cbc_hs512_encrypt if is_long else primitives.a128cbc_hs256_encrypt
    sealed = encrypt(key, padded, keys.COMMON_PART, octets(given, "iv"))
    return {"padded_size": len(padded), "common": sealed.hex(), "digest": keys.sha256(sealed).hex()}


def link(given: Given) -> Given:
    """An invite."""
    made = invite.InviteLink(
        given["host"],
        given["port"],
        octets(given, "pin"),
        octets(given, "token"),
        octets(given, "server"),
        given["from"],
        octets(given, "id"),
        octets(given, "secret"),
    )
    assert invite.parse_invite(str(made)) == made
    return {"invite": str(made)}


def short_invite(given: Given) -> Given:
    """Both messages of a short invite, the proof, and the invite that was sealed."""
    words, number = given["words"].encode(), given["number"]
    inviter, newcomer = (Exchange(words, side == "a", octets(given, f"seed_{side}")) for side in "ab")
    agreed = inviter.finish(newcomer.message, number)
    agreed.check(newcomer.finish(inviter.message, number).proof())
    return {
        "pake_a": inviter.message.hex(),
        "pake_b": newcomer.message.hex(),
        "proof": agreed.proof().hex(),
        "invite": agreed.unseal(octets(given, "sealed")).decode(),
    }


def safety(given: Given) -> Given:
    """A safety number, whoever asks."""
    one = (given["names"][0], bytes.fromhex(given["identities"][0]))
    other = (given["names"][1], bytes.fromhex(given["identities"][1]))
    number = keys.safety_number(*one, *other)
    assert number == keys.safety_number(*other, *one)
    return {"number": number}


PROTOCOL: dict[str, Callable[[Given], Given]] = {
    "frame": frame,
    "malformed": malformed,
    "login": login,
    "key_login": key_login,
    "device_list": device_list,
    "registration": registration,
    "prekey": prekey,
    "agreement": agreement,
    "message_keys": message_keys,
    "common_part": common_part,
    "invite": link,
    "short_invite": short_invite,
    "safety_number": safety,
}

FILES = {"protocol.json": PROTOCOL, "sessions.json": session_vectors.SECTIONS, "rooms.json": room_vectors.SECTIONS}


class VectorTests(SynchronousTestCase):
    """The program agrees with the specification's vectors."""

    def test_vectors(self) -> None:
        """Every case of every section comes out byte for byte."""
        for name, sections in FILES.items():
            for section, cases in json.loads((VECTORS / name).read_text()).items():
                for number, case in enumerate(cases):
                    self.assertEqual(sections[section](case["given"]), case["expected"], f"{section} {number}")

    def test_complete(self) -> None:
        """No section is without a case, and no file is left out."""
        self.assertEqual({path.name for path in VECTORS.iterdir()}, set(FILES))
        for name, sections in FILES.items():
            vectors = json.loads((VECTORS / name).read_text())
            self.assertEqual(set(vectors), set(sections))
            self.assertTrue(all(vectors.values()))


def rewrite() -> None:
    """Write C{expected} anew from C{given}."""
    for name, sections in FILES.items():
        vectors = json.loads((VECTORS / name).read_text())
        for section, cases in vectors.items():
            for case in cases:
                case["expected"] = sections[section](case["given"])
        (VECTORS / name).write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    rewrite()
