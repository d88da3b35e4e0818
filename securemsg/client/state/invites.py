"""
How an invite verifies both ways: whoever joins with it trusts those it names, and proves its secret to the inviter.

The server sees an invite's token and never its secret. Source: C{docs/protocol.md}, section "Invites".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state import contacts
from securemsg.client.state.contacts import INVITE, Contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import conversation_of
from securemsg.client.state.profile import DAY, Private, Profile
from securemsg.client.state.records import (
    META,
    OUTBOX,
    ROWS,
    OutboxRow,
    draft,
    load_all,
    load_number,
    next_seq,
    save,
    save_number,
)
from securemsg.crypto import keys
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import SERVER_NAME, check_name
from securemsg.protocol.envelope import Kind, encode_record
from securemsg.protocol.invite import SECRET_SIZE, InviteLink
from securemsg.protocol.messages import MAX_EXPIRY, MAX_OPEN_INVITES, Counter, Nonce

# In the table C{META}: the secrets, in the order in which they were made, and the number of wrong proofs.
SECRETS = b"invites"
WRONG = b"invites/wrong"
# A proof may wait in the mailbox while the inviter is away, and then in quarantine, seconds.
KEPT = 60 * DAY
# Who joins in the last moment still has to send the proof: how long after an invite's end the server may have got it, seconds.
GRACE = 600


class InviteSecret(Private, frozen=True):
    """
    The secret of an invite of ours that nobody has proved yet.

    @ivar expires_at: when the invite does, by the server's clock.
    """

    secret: Nonce
    expires_at: Counter


def make_secret(records: IRecords, expires_at: int, now: int) -> bytes:
    """
    Make the secret of an invite, and keep it until somebody has proved it or the invite expired long ago. Of more than a server
    lets be open at once the expired ones go first, then the oldest.
    """
    _prune(records, now, MAX_OPEN_INVITES - 1)
    secret = keys.random_bytes(SECRET_SIZE)
    save(records, META, SECRETS, InviteSecret(secret, expires_at), records.last(META, SECRETS) + 1)
    return secret


def write_proof(records: IRecords, profile: Profile, link: InviteLink, now: int) -> None:
    """
    Put the proof for the inviter into the outbox, in place of those that wait from earlier attempts to join.

    It is outside the counters, like a receipt: whoever loses it keeps one side from being verified, and nothing else.
    """
    for seq, row in load_all(records, OutboxRow, OUTBOX, ROWS):
        is_replaced = not profile.registered or row.to == direct(link.inviter)
        if row.kind == Kind.JOINED and not row.sealed and is_replaced:
            records.delete(OUTBOX, ROWS, seq)
    inviter = contacts.get_contact(records, link.inviter) if link.secret else None
    if inviter is None or inviter.identity != link.inviter_identity:
        return
    ends = inviter.name, inviter.identity, profile.name, profile.identity.public
    content = msgspec.structs.replace(draft(profile, Kind.JOINED, now), body=proof(link.secret, *ends))
    row = OutboxRow(direct(inviter.name), int(Kind.JOINED), 0, now, MAX_EXPIRY, encode_record(content))
    save(records, OUTBOX, ROWS, row, next_seq(records))


def is_proof_waiting(records: IRecords) -> bool:
    """Whether a proof is still to be sent."""
    return any(row.kind == Kind.JOINED for _, row in load_all(records, OutboxRow, OUTBOX, ROWS))


def trust_inviter(records: IRecords, profile: Profile, link: InviteLink, now: int) -> None:
    """
    Verify the contacts in an invite: the person who passed it on vouches for their identities.

    A contact that is known under another identity is not replaced; the invite's is noted for the user to accept.
    """
    for name, identity in ((SERVER_NAME, link.contact), (link.inviter, link.inviter_identity)):
        if not name or not identity or name == profile.name:
            continue
        check_name(name)
        known = contacts.get_contact(records, name)
        if known is None:
            contacts.put_contact(records, contacts.new_contact(name, identity, INVITE, now, verified=True, known=True))
        elif known.identity == identity:
            # The invite vouches for the identity, and not for a device that was added since.
            contacts.put_contact(records, msgspec.structs.replace(known, verified=not known.unconfirmed, known=True))
        else:
            contacts.put_contact(records, msgspec.structs.replace(known, changed_to=identity, changed_devices=None))


def check_proof(records: IRecords, profile: Profile, contact: Contact, body: bytes, deposited_at: int, now: int) -> bool:
    """
    A contact says that it joined with an invite of ours: if it proves it, it is verified, and the secret is used up. Nobody is
    told that a proof is wrong; it is counted.

    @param deposited_at: when the server got the proof, as the server says: the inviter may have been away until now.
    @return: whether it is verified now.
    """
    _prune(records, now, MAX_OPEN_INVITES)
    ends = profile.name, profile.identity.public, contact.name, contact.identity
    for order, kept in load_all(records, InviteSecret, META, SECRETS):
        if deposited_at <= kept.expires_at + GRACE and keys.same(body, proof(kept.secret, *ends)):
            records.delete(META, SECRETS, order)
            known = contacts.get_contact(records, contact.name) or contact
            # It proves the identity, and nothing of a device that was added since.
            verified = not known.unconfirmed
            contacts.put_contact(records, msgspec.structs.replace(known, verified=verified, known=True, origin=INVITE))
            return verified
    save_number(records, META, WRONG, wrong_proofs(records) + 1)
    return False


def wrong_proofs(records: IRecords) -> int:
    """How many proofs were wrong, late, or repeated."""
    return load_number(records, META, WRONG)


def proof(secret: bytes, inviter: str, inviter_identity: bytes, newcomer: str, newcomer_identity: bytes) -> bytes:
    """The proof of a secret by a newcomer: 64 bytes, valid only from this newcomer to this inviter."""
    conversation = conversation_of(inviter_identity, newcomer_identity)
    ends = inviter.encode(), inviter_identity, newcomer.encode(), newcomer_identity
    return keys.mac(secret, keys.INVITE_PROOF, *ends, conversation)


def _prune(records: IRecords, now: int, room: int) -> None:
    """Forget secrets that expired long ago, and of too many those that have expired, then the oldest."""
    rows = load_all(records, InviteSecret, META, SECRETS)
    rows.sort(key=lambda row: row[1].expires_at > now)
    for index, (order, kept) in enumerate(rows):
        if kept.expires_at + KEPT <= now or index < len(rows) - room:
            records.delete(META, SECRETS, order)
