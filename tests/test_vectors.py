"""
The vectors of C{docs/protocol.md}: what another implementation must get, and what this one gets.

C{tests/vectors/protocol.json} holds for each section cases of C{given} and C{expected}; bytes are in hex. When the wire
format changes on purpose, C{python -m tests.test_vectors} writes C{expected} anew; the change is then read in the diff.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keys, pqxdh, primitives, ratchet
from securemsg.errors import RemoteProtocolError
from securemsg.protocol import auth, devices, envelope, framing, invite, messages

VECTORS = Path(__file__).with_name("vectors") / "protocol.json"

Given = dict[str, Any]


def _bytes(given: Given, name: str) -> bytes:
    """
    One value in hex.
    """
    return bytes.fromhex(given[name])


def _message(given: Given) -> messages.Message:
    """
    A message from its class name and items; strings that begin with C{0x} are bytes.
    """

    def value(item: Any) -> Any:
        if isinstance(item, str) and item.startswith("0x"):
            return bytes.fromhex(item[2:])
        if isinstance(item, list):
            return [value(each) for each in item]
        return item

    made: messages.Message
    made = msgspec.convert(
        [getattr(messages, given["message"]).__struct_config__.tag, *[value(item) for item in given["items"]]],
        type=messages.Message,
    )
    return made


def frame(given: Given) -> Given:
    """
    A message, its payload, and its frame; what is read back is the same.
    """
    message = _message(given)
    payload = messages.encode_message(message)
    assert messages.decode_message(payload) == message
    return {"payload": payload.hex(), "frame": framing.encode_frame(payload).hex()}


def malformed(given: Given) -> Given:
    """
    A payload that is refused, and with which code; or the unknown message that it is.
    """
    try:
        message = messages.decode_message(_bytes(given, "payload"))
    except RemoteProtocolError as error:
        return {"code": error.code}
    assert isinstance(message, messages.Unknown), message
    return {"unknown_tag": message.tag, "request": message.request}


def _binding(given: Given) -> auth.Binding:
    """
    The channel of a transcript.
    """
    return auth.Binding(given["transport"], given["binding"], _bytes(given, "exporter"), _bytes(given, "spki"))


def login(given: Given) -> Given:
    """
    Both signatures of a login.
    """
    server = keys.SigningKey(_bytes(given, "server_private"))
    device = keys.SigningKey(_bytes(given, "device_private"))
    hello = messages.encode_message(_message(given["hello"]))
    nonce, binding = _bytes(given, "server_nonce"), _binding(given)
    parts = auth.challenge_parts(hello, auth.VERSION, given["features"], nonce, server.public, binding)
    signature = server.sign(auth.CHALLENGE_LABEL, *parts)
    challenge = messages.encode_message(
        messages.Challenge(auth.VERSION, given["features"], nonce, server.public, signature)
    )
    proof = auth.proof_parts(hello, challenge, server.public, given["highest"], binding)
    return {
        "server_identity": server.public.hex(),
        "challenge_signature": signature.hex(),
        "challenge": challenge.hex(),
        "proof_signature": device.sign(auth.PROOF_LABEL, *proof).hex(),
    }


def _list(given: Given) -> messages.SignedDeviceList:
    """
    A signed device list.
    """
    identity = keys.SigningKey(_bytes(given, "identity_private"))
    rows = [
        devices.Device(
            _bytes(row, "id"),
            keys.SigningKey(_bytes(row, "signing_private")).public,
            keys.AgreementKey(_bytes(row, "agreement_private")).public,
            None,
        )
        for row in given["devices"]
    ]
    body = devices.encode_device_list(
        devices.DeviceList(
            _bytes(given, "server"), given["account"], given["version"], _bytes(given, "previous"), given["issued_at"], rows
        )
    )
    return messages.SignedDeviceList(body, identity.sign(devices.DEVICE_LIST_LABEL, body))


def device_list(given: Given) -> Given:
    """
    A device list and its signature.
    """
    signed = _list(given)
    return {"body": signed.body.hex(), "signature": signed.signature.hex(), "digest": keys.sha256(signed.body).hex()}


def registration(given: Given) -> Given:
    """
    Both signatures of a registration.
    """
    identity = keys.SigningKey(_bytes(given["list"], "identity_private"))
    device = keys.SigningKey(_bytes(given["list"]["devices"][0], "signing_private"))
    unsigned = messages.Register(_bytes(given, "token"), identity.public, _list(given["list"]), bytes(64), bytes(64))
    parts = auth.register_parts(
        _bytes(given, "hello"), _bytes(given, "challenge"), _bytes(given, "server_identity"), unsigned, _binding(given)
    )
    return {
        "identity_signature": identity.sign(auth.REGISTER_IDENTITY_LABEL, *parts).hex(),
        "device_signature": device.sign(auth.REGISTER_DEVICE_LABEL, *parts).hex(),
    }


def prekey(given: Given) -> Given:
    """
    The signature of a prekey of each kind.
    """
    device = keys.SigningKey(_bytes(given, "device_private"))
    parts = (given["id"].to_bytes(8, "big"), _bytes(given, "key"))
    return {
        "signed": device.sign(keys.SIGNED_PREKEY, *parts).hex(),
        "one_time": device.sign(keys.ONE_TIME_PREKEY, *parts).hex(),
        "kem": device.sign(keys.KEM_PREKEY, *parts).hex(),
        "last_resort": device.sign(keys.LAST_RESORT_PREKEY, *parts).hex(),
    }


def agreement(given: Given) -> Given:
    """
    The responder's side of PQXDH, from its private keys and what the initiator sent.
    """
    secret = pqxdh.respond(
        keys.AgreementKey(_bytes(given, "agreement_private")),
        _bytes(given, "signed_private"),
        _bytes(given, "kem_seed"),
        _bytes(given, "one_time_private") if "one_time_private" in given else None,
        _bytes(given, "peer_agreement"),
        _bytes(given, "ephemeral"),
        _bytes(given, "kem_ciphertext"),
    )
    return {"secret": secret.hex()}


def message_keys(given: Given) -> Given:
    """
    Two messages of a new session: the initiator's ratchet key and the sealed bytes.
    """
    state = ratchet.Ratchet.initiator(_bytes(given, "secret"), _bytes(given, "peer_ratchet_key"))
    sealed = []
    for text in given["messages"]:
        state, header, key = state.next_sending(_bytes(given, "ratchet_private"))
        sealed.append(ratchet.seal_message(key, text.encode(), _bytes(given, "associated_data")).hex())
    return {"ratchet_key": header.public.hex(), "number": header.number, "sealed": sealed}


def common_part(given: Given) -> Given:
    """
    A padded and encrypted content.
    """
    padded = envelope.pad(_bytes(given, "content"))
    sealed = primitives.a256cbc_hs512_encrypt(_bytes(given, "key"), padded, keys.COMMON_PART, _bytes(given, "iv"))
    return {"padded_size": len(padded), "common": sealed.hex(), "digest": keys.sha256(sealed).hex()}


def link(given: Given) -> Given:
    """
    An invite.
    """
    made = invite.InviteLink(
        given["host"],
        given["port"],
        _bytes(given, "pin"),
        _bytes(given, "token"),
        _bytes(given, "server"),
        given["from"],
        _bytes(given, "id"),
    )
    assert invite.parse_invite(str(made)) == made
    return {"invite": str(made)}


def safety(given: Given) -> Given:
    """
    A safety number, whoever asks.
    """
    one = (given["names"][0], bytes.fromhex(given["identities"][0]))
    other = (given["names"][1], bytes.fromhex(given["identities"][1]))
    number = keys.safety_number(*one, *other)
    assert number == keys.safety_number(*other, *one)
    return {"number": number}


SECTIONS: dict[str, Callable[[Given], Given]] = {
    "frame": frame,
    "malformed": malformed,
    "login": login,
    "device_list": device_list,
    "registration": registration,
    "prekey": prekey,
    "agreement": agreement,
    "message_keys": message_keys,
    "common_part": common_part,
    "invite": link,
    "safety_number": safety,
}


class VectorTests(SynchronousTestCase):
    """
    The program agrees with the specification's vectors.
    """

    def test_vectors(self) -> None:
        """
        Every case of every section comes out byte for byte.
        """
        for section, cases in json.loads(VECTORS.read_text()).items():
            for number, case in enumerate(cases):
                self.assertEqual(SECTIONS[section](case["given"]), case["expected"], f"{section} {number}")

    def test_complete(self) -> None:
        """
        No section is without a case.
        """
        vectors = json.loads(VECTORS.read_text())
        self.assertEqual(set(vectors), set(SECTIONS))
        self.assertTrue(all(vectors.values()))


def rewrite() -> None:
    """
    Write C{expected} anew from C{given}.
    """
    vectors = json.loads(VECTORS.read_text())
    for section, cases in vectors.items():
        for case in cases:
            case["expected"] = SECTIONS[section](case["given"])
    VECTORS.write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    rewrite()
