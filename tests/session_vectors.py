"""The vectors of what is inside of deposits: contents, what sessions tie them to, and whole own parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import msgspec
from attrs import evolve

from securemsg.client.relay import copy_id
from securemsg.client.sessions import psk, rsa, suites
from securemsg.client.sessions.addresses import DeviceAddress, DevicePair, own_address
from securemsg.client.sessions.epochs import Epoch
from securemsg.client.sessions.store import EPOCHS, PrekeyInfo, Session, SessionIndex, add_session, save_index
from securemsg.client.state import contacts, invites, questions
from securemsg.client.state.conversations import ConversationKind
from securemsg.client.state.counters import chain_digest, conversation_of
from securemsg.client.state.profile import Profile
from securemsg.client.state.records import save
from securemsg.client.state.rsakeys import save_rsa_key
from securemsg.crypto import keys, pqxdh, primitives
from securemsg.crypto.keyfile import SharedKey
from securemsg.crypto.ratchet import Ratchet
from securemsg.crypto.rsa import RsaKey, message_key
from securemsg.protocol import envelope
from securemsg.protocol.messages import AccountRecord
from securemsg.storage.memory import MemoryProfile
from tests.client.people import seal_part, seal_with_file
from tests.given import Given, octets, signed_list, value_of

NOW = 1_790_000_000
Body = (
    envelope.Receipt
    | envelope.Reset
    | envelope.RelayedLine
    | envelope.Person
    | envelope.Members
    | envelope.RefusedLine
    | envelope.ConfirmedLine
    | envelope.Question
    | envelope.Choice
    | envelope.PipePart
    | envelope.PipeTaken
)
RECORDS: dict[str, type[Body]] = {kind.__name__: kind for kind in get_args(Body)}


def conversation(given: Given) -> Given:
    """The conversation of two, whoever asks."""
    one, other = (bytes.fromhex(identity) for identity in given["identities"])
    assert conversation_of(one, other) == conversation_of(other, one)
    return {"conversation": conversation_of(one, other).hex()}


def lobby_conversation(given: Given) -> Given:
    """The lobby, of an account and the contact C{server}."""
    one, other = (bytes.fromhex(identity) for identity in given["identities"])
    assert conversation_of(one, other, ConversationKind.LOBBY) == conversation_of(other, one, ConversationKind.LOBBY)
    return {"conversation": conversation_of(one, other, ConversationKind.LOBBY).hex()}


def lobby_copy(given: Given) -> Given:
    """The message id of a relayed line."""
    return {"message_id": copy_id(given["author"], octets(given, "message_id"), given["recipient"]).hex()}


def invite_proof(given: Given) -> Given:
    """What a newcomer sends to whoever invited it."""
    inviter, newcomer = given["inviter"], given["newcomer"]
    ends = inviter["account"], octets(inviter, "identity"), newcomer["account"], octets(newcomer, "identity")
    return {"body": invites.proof(octets(given, "secret"), *ends).hex()}


def content(given: Given) -> Given:
    """A content as it is encoded, and what the next one names as C{previous}."""
    made = msgspec.convert(value_of(given["items"]), type=envelope.Content)
    encoded = envelope.encode_record(made)
    assert envelope.decode_record(envelope.Content, encoded) == made
    return {"content": encoded.hex(), "previous": chain_digest(made).hex()}


def body(given: Given) -> Given:
    """The body of a message that is no text."""
    kind = RECORDS[given["record"]]
    made: Body = msgspec.convert(value_of(given["items"]), type=kind)
    encoded = envelope.encode_record(made)
    assert envelope.decode_record(kind, encoded) == made
    return {"body": encoded.hex()}


def choice(given: Given) -> Given:
    """The answer to a question, signed by a device."""
    asker, other, index = given["asker"], given["answerer"], given["index"]
    device = keys.SigningKey(octets(given, "device_private"))
    ends = asker["account"], octets(asker, "identity"), other["account"], octets(other, "identity"), octets(given, "device")
    parts = questions.signed_parts(*ends, octets(given, "question"), octets(given, "body"), index)
    made = envelope.Choice(octets(given, "question"), index, device.sign(envelope.CHOICE_LABEL, *parts))
    return {"body": envelope.encode_record(made).hex()}


def header(given: Given) -> Given:
    """The clear header of an own part."""
    kind: type[Any] = envelope.HEADERS[given["items"][0]]
    made = msgspec.convert(value_of(given["items"]), type=kind)
    encoded = envelope.encode_record(made)
    assert envelope.decode_header(encoded) == made
    return {"header": encoded.hex()}


def bundle(given: Given) -> Given:
    """The digest of a bundle."""
    signed, kem, one_time = (
        None if given[name] is None else pqxdh.PublicPrekey(*value_of(given[name])) for name in ("signed", "kem", "one_time")
    )
    assert signed is not None and kem is not None
    return {"digest": pqxdh.bundle_digest(pqxdh.PrekeyBundle(signed, kem, given["kem_is_last_resort"], one_time)).hex()}


def _profile(given: Given) -> Profile:
    """The profile of somebody with one device, from the private keys on a list."""
    (device,) = given["devices"]
    return Profile(
        name=given["account"],
        host="",
        port=0,
        pin=octets(given, "server"),
        contact=b"",
        token=b"",
        registered=True,
        identity=keys.SigningKey(octets(given, "identity_private")),
        device_id=octets(device, "id"),
        device_key=keys.SigningKey(octets(device, "signing_private")),
        agreement=keys.AgreementKey(octets(device, "agreement_private")),
        incarnation=1,
        devices=signed_list(given),
    )


def _pair(own: Profile, peer: Profile) -> DevicePair:
    """Two devices, as the first sees it."""
    record = AccountRecord(peer.name, peer.identity.public, peer.devices)
    return DevicePair(own, contacts.judge(own, None, record, NOW, contacts.DIRECTORY), peer.listing.devices[0])


def _session(given: Given, pair: DevicePair, ratchet: Ratchet, opening: PrekeyInfo | None, initiated: bool) -> Session:
    """A session as it is kept."""
    session = pair.session(octets(given, "ephemeral"), octets(given, "bundle"), opening, ratchet, NOW)
    return msgspec.structs.replace(session, initiated=initiated, confirmed=opening is None)


def associated(given: Given) -> Given:
    """What a message is tied to, the same for both sides."""
    initiator, responder = _profile(given["initiator"]), _profile(given["responder"])
    views = []
    for own, peer in ((initiator, responder), (responder, initiator)):
        pair = _pair(own, peer)
        session = _session(given, pair, Ratchet(bytes(32)), None, own is initiator)
        sending = (own is initiator) == (given["speaker"] == "initiator")
        views.append(pair.associated(session, sending, octets(given, "header"), octets(given, "common")))
    assert views[0] == views[1]
    return {"associated_data": views[0].hex()}


def own_part(given: Given) -> Given:
    """
    A whole own part, from the secret of PQXDH and the ratchet keys: initiator and responder have sent one message with each of
    those, in turn, and this is one more with the last of them; the one before it was lost. It is what a client makes that finds
    such a session in its store, and a client that finds the other side's opens it.
    """
    initiator, responder = _profile(given["initiator"]), _profile(given["responder"])
    signed = keys.AgreementKey(octets(given, "signed_private"))
    secret = octets(given, "secret")
    waiting, speaking = Ratchet.responder(secret, signed.private), Ratchet.initiator(secret, signed.public)
    first, *others = (bytes.fromhex(private) for private in given["ratchet_privates"])
    speaking, step, _ = speaking.next_sending(first)
    for private in others:
        waiting, speaking = speaking, waiting.next_receiving(step)[0]
        speaking, step, _ = speaking.next_sending(private)
    initiated = len(others) % 2 == 0
    opening = None if given["opening"] is None else PrekeyInfo(*value_of(given["opening"]))
    own, peer = (initiator, responder) if initiated else (responder, initiator)
    own = evolve(own, incarnation=given["place"][0])
    sender, reader = _pair(own, peer), _pair(peer, own)

    store = MemoryProfile()
    content_key = _content_key(given)
    with store.writing() as records:
        number = add_session(records, sender.bucket, _session(given, sender, speaking, opening, initiated))
        save_index(records, sender.bucket, SessionIndex(number, generation=content_key.place[1] - 1))
        made = seal_part(records, own, sender.contact, sender.device.id, content_key, NOW)
    store = MemoryProfile()
    with store.writing() as records:
        contacts.put_contact(records, reader.contact)
        add_session(records, reader.bucket, _session(given, reader, waiting, None, not initiated))
        opened = suites.open_envelope(records, peer, own.name, own.device_id, made, content_key.common, NOW)
    assert opened.content_key == content_key
    encoded = envelope.decode_record(envelope.Envelope, made).header
    header = envelope.decode_record(envelope.EnvelopeHeader, encoded)
    assert (header.previous_length, header.number) == (given["previous_length"], given["number"])
    return {"own": made.hex(), "header": encoded.hex()}


def _content_key(given: Given) -> envelope.ContentKey:
    """What is sealed in an own part."""
    incarnation, generation = given["place"]
    common = octets(given, "common")
    base = None if given["base"] is None else envelope.Share(*given["base"])
    return envelope.ContentKey(octets(given, "content_key"), common, base, (incarnation, generation))


def _end(given: Given, key: SharedKey) -> DeviceAddress:
    """An end of a conversation under a key file: somebody with a device list, or a connection."""
    if "connection" in given:
        nonce = octets(given, "connection")
        return DeviceAddress(key.name, keys.guest_device(nonce), key.guest_identity(nonce).public)
    profile = _profile(given)
    return DeviceAddress(profile.name, profile.device_id, profile.identity.public)


def key_own_part(given: Given) -> Given:
    """
    A whole own part of suite C{psk}. It is what a client makes that came as far as this in the epoch, but for the IV; and a
    client opens it.
    """
    key = SharedKey(octets(given, "secret"))
    sender, recipient = _end(given["sender"], key), _end(given["recipient"], key)
    nonce, number, counter = octets(given, "nonce"), given["epoch"], given["counter"]
    introduction = None
    if given["introduced"]:
        introduction = envelope.Introduction(sender.identity, signed_list(given["sender"]))
    header = envelope.KeyHeader(envelope.PSK, 1, nonce, number, counter, introduction)
    encoded = envelope.encode_record(header)
    content_key = _content_key(given)
    derived = psk.message_key(key, sender, recipient, nonce, number)
    tied = psk.OWN_EPOCHS.associated_data(sender, recipient, encoded, content_key.common)
    plaintext = envelope.encode_record(content_key)
    sealed = envelope.Envelope(
        encoded, primitives.a128cbc_hs256_encrypt(derived, plaintext, tied, octets(given, "iv"))
    )

    with MemoryProfile().writing() as records:
        before = Epoch(nonce, number, counter - 1, NOW, recipient.identity, has_replied=introduction is None)
        save(records, EPOCHS, recipient.bucket, before)
        connection = b"" if number else nonce
        made = seal_with_file(
            records, key, sender, recipient, content_key, NOW, introduction=introduction, connection=connection
        )
        ours = envelope.decode_record(envelope.Envelope, made)
        assert ours.header == encoded
        for each in (ours, sealed):
            assert psk.decipher(records, key, sender, recipient, header, each, content_key.common) == content_key
    return {
        "sender_account": sender.account,
        "sender_device": sender.device.hex(),
        "sender_identity": sender.identity.hex(),
        "message_key": derived.hex(),
        "associated_data": tied.hex(),
        "own": envelope.encode_record(sealed).hex(),
    }


def rsa_own_part(given: Given) -> Given:
    """
    A whole own part of suite C{rsa}, with a ciphertext that is given. It is what a client makes that came as far as this in the
    epoch, but for the IV; and a client opens it.
    """
    own, peer = _profile(given["sender"]), _profile(given["recipient"])
    sender, recipient = own_address(own), own_address(peer)
    public, ciphertext = octets(given["recipient"]["devices"][0], "rsa_key"), octets(given, "ciphertext")
    number, counter, size = given["epoch"], given["counter"], given["key_size"]
    rsa_key = RsaKey(octets(given, "rsa_private"), public)
    secret = rsa_key.unwrap(ciphertext)
    context = rsa.context_of(sender, recipient, keys.sha256(public), number, ciphertext)
    transport = envelope.Transport(ciphertext, own.device_key.sign(keys.RSA_TRANSPORT, *context))
    introduction = envelope.Introduction(sender.identity, own.devices)
    introduced = introduction if given["introduced"] else None
    header = envelope.RsaHeader(envelope.RSA, 1, number, counter, size, transport, introduced)
    encoded = envelope.encode_record(header)
    content_key = _content_key(given)
    key = message_key(secret, size, *context)
    tied = rsa.OWN_EPOCHS.associated_data(sender, recipient, encoded, content_key.common)
    encrypt = primitives.a256cbc_hs512_encrypt if size == 64 else primitives.a128cbc_hs256_encrypt
    sealed = envelope.Envelope(encoded, encrypt(key, envelope.encode_record(content_key), tied, octets(given, "iv")))

    with MemoryProfile().writing() as records:
        epoch = Epoch(
            keys.sha256(ciphertext),
            number,
            counter,
            NOW,
            recipient.identity,
            not given["introduced"],
            secret=secret,
            transport=transport,
            rsa_key=keys.sha256(public),
        )
        made = rsa.Plan(sender, recipient, epoch, size, introduction).seal(records, content_key)
        assert envelope.decode_record(envelope.Envelope, made).header == encoded
    for each in (made, envelope.encode_record(sealed)):
        with MemoryProfile().writing() as records:
            save_rsa_key(records, rsa_key)
            contacts.put_contact(records, _pair(peer, own).contact)
            opened = suites.open_envelope(records, peer, own.name, own.device_id, each, content_key.common, NOW)
            assert opened.content_key == content_key
    return {
        "epoch_secret": secret.hex(),
        "signature": transport.signature.hex(),
        "message_key": key.hex(),
        "associated_data": tied.hex(),
        "own": envelope.encode_record(sealed).hex(),
    }


SECTIONS: dict[str, Callable[[Given], Given]] = {
    "conversation": conversation,
    "lobby_conversation": lobby_conversation,
    "lobby_copy": lobby_copy,
    "invite_proof": invite_proof,
    "content": content,
    "body": body,
    "choice": choice,
    "header": header,
    "bundle": bundle,
    "associated_data": associated,
    "own_part": own_part,
    "key_own_part": key_own_part,
    "rsa_own_part": rsa_own_part,
}
