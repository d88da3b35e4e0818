"""
Which session a message belongs to: the sessions that are tried, and the first of them that opens it.

Everything but the budget of wasted keys is changed on copies, which the caller saves. Source: C{docs/protocol.md}, section
"Sessions".
"""

from __future__ import annotations

import msgspec
from attrs import field, frozen

from securemsg.client.sessions import budgets, initiations, store
from securemsg.client.sessions.addresses import DevicePair, checked_key
from securemsg.client.sessions.store import Session
from securemsg.crypto.dump import dump_ratchet, load_ratchet
from securemsg.crypto.ratchet import MAX_JUMP, AlreadyUsed, Header, Ratchet, open_message
from securemsg.crypto.skipped import SkippedKeys
from securemsg.errors import Refusal, Unauthentic
from securemsg.interfaces import IRecords
from securemsg.protocol.envelope import KEY_SIZES, PQXDH, ContentKey, Envelope, EnvelopeHeader

(KEY_SIZE,) = KEY_SIZES[PQXDH]


@frozen
class OpenedPart:
    """
    An own part that a session has opened.

    @ivar number: of the session.
    @ivar session: as it is to be saved.
    @ivar skipped: its skipped keys, to be saved with it; C{None}: they are the same as before.
    """

    number: int
    session: Session = field(repr=False)
    skipped: SkippedKeys | None = field(repr=False)
    content_key: ContentKey = field(repr=False)


def find(records: IRecords, pair: DevicePair, header: EnvelopeHeader) -> dict[int, Session]:
    """
    The sessions that a message may belong to, the likeliest first; none if it begins one.

    @raise Refusal: C{no-session}: it belongs to one that is gone, or that is of other keys.
    @raise Unauthentic: its ratchet key answers none of ours.
    """
    if header.prekey is not None:
        number = initiations.session_of(records, pair.contact.name, pair.device.id, header.prekey)
        if number is not None:
            made = store.load_session(records, pair.bucket, number)
            if made is None or not pair.fits(made):
                raise Refusal("no-session")
            return {number: made}
        ephemeral = header.prekey.ephemeral
        sessions = store.all_sessions(records, pair.bucket)
        # Initiations are forgotten with their prekeys; an unanswered session may be older.
        return {
            number: session
            for number, session in sessions.items()
            if pair.fits(session) and not session.initiated and session.ephemeral == ephemeral
        }
    index = store.load_index(records, pair.bucket)
    likely = store.load_session(records, pair.bucket, index.current)
    if likely is not None and pair.fits(likely) and _knows(likely, header):
        return {index.current: likely}
    fitting = {number: session for number, session in store.all_sessions(records, pair.bucket).items() if pair.fits(session)}
    if not fitting:
        raise Refusal("no-session")
    # A ratchet key belongs to one session; a new one answers a message of ours that has had no answer.
    knowing = [number for number, session in fitting.items() if _knows(session, header)]
    waiting = [number for number in fitting if load_ratchet(fitting[number].ratchet).may_step]
    tried = knowing or sorted(waiting, key=lambda number: (number != index.current, number != index.before, -number))
    if not tried:
        raise Unauthentic("a ratchet key in answer to none of ours")
    return {number: fitting[number] for number in tried}


def open_first(
    records: IRecords,
    candidates: dict[int, Session],
    pair: DevicePair,
    header: EnvelopeHeader,
    envelope: Envelope,
    common: bytes,
    now: int,
) -> OpenedPart:
    """
    Open a message with the first session that does.

    @raise Unauthentic: none does. C{AlreadyUsed} where one of them has used this message's key before.
    @raise Refusal: as L{checked_key<securemsg.client.sessions.addresses.checked_key>}.
    """
    worst = Unauthentic("envelope")
    wasted, step = 0, _step(header)
    for number, session in candidates.items():
        ratchet, before = load_ratchet(session.ratchet), None
        jump = min(ratchet.jump(step), MAX_JUMP)
        if header.ratchet_key in session.chains and not ratchet.is_ahead(step):
            before = store.load_skipped(records, pair.bucket, number)
            ratchet, jump = msgspec.structs.replace(ratchet, skipped=before), 0
        if not budgets.may_jump(records, pair.contact.name, jump, now):
            continue
        try:
            ratchet, message_key = ratchet.next_receiving(step)
            associated = pair.associated(session, False, envelope.header, common)
            plaintext = open_message(message_key, envelope.sealed, associated)
        except Unauthentic as error:
            if not isinstance(worst, AlreadyUsed):
                worst = error
            wasted += jump
            continue
        content_key = checked_key(KEY_SIZE, plaintext, common)
        skipped = None if ratchet.skipped == (before or SkippedKeys()) else ratchet.skipped
        if skipped is not None and before is None:
            skipped = store.load_skipped(records, pair.bucket, number).join(skipped)
        return OpenedPart(number, _following(session, header, ratchet, skipped), skipped, content_key)
    if wasted:
        budgets.note_wasted(records, pair.contact.name, wasted, now)
    raise worst


def _following(session: Session, header: EnvelopeHeader, ratchet: Ratchet, skipped: SkippedKeys | None) -> Session:
    """A session as it is after it has opened a message; its skipped keys are kept beside it."""
    if skipped is not None:
        chains = tuple(chain.public for chain in skipped.chains)
        session = msgspec.structs.replace(session, chains=chains, skipped=len(skipped))
    return msgspec.structs.replace(
        session,
        ratchet=dump_ratchet(msgspec.structs.replace(ratchet, skipped=SkippedKeys())),
        confirmed=session.confirmed or session.initiated or header.prekey is None,
        opening=None,
    )


def _knows(session: Session, header: EnvelopeHeader) -> bool:
    """Whether the peer has used this ratchet key in this session before."""
    return header.ratchet_key in session.chains or load_ratchet(session.ratchet).knows(_step(header))


def _step(header: EnvelopeHeader) -> Header:
    return Header(header.ratchet_key, header.previous_length, header.number)
