"""
What one account can make us keep.

Budgets count all devices of an account together, and only what an account's own devices have signed is charged to it, so that
nobody can use up another's. The exception is keys derived in vain: when that budget is used up, messages up to L{FREE_JUMP}
ahead still open. Source: C{docs/protocol.md}, section "Sessions".
"""

from __future__ import annotations

import msgspec

from securemsg.client.sessions import store
from securemsg.client.sessions.store import Session, bucket_of, load_session
from securemsg.client.state import contacts
from securemsg.client.state.contacts import Contact
from securemsg.client.state.records import META, load, save
from securemsg.crypto.dump import load_ratchet
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import Counter, Record

BUDGETS = b"budget/"
# No account has this name: strangers count together, because a server can make up as many as it likes.
STRANGERS = ""
HOUR = 3600
# Sessions that the devices of an account may begin in an hour: ten devices, each of which begins one and then asks for a reset.
MAX_BEGUN = 20
# The last sessions that an account began. Older ones are deleted unless we have sent in them.
MAX_REMEMBERED = 40
# Keys that are derived in an hour for messages that said they were far ahead and did not open: tens of milliseconds of work.
# After that a message may still be so far ahead.
MAX_WASTED = 10_000
FREE_JUMP = 100
# Secrets of epochs of suite C{rsa} that are decrypted in an hour, whether what came with them opened or not: those of a hundred
# messages a second, and less than a minute of work even with keys of 4096 bits.
MAX_UNWRAPPED = 3600
# Skipped message keys of an account, as many as two full sessions hold.
MAX_SKIPPED = 4000


class BegunSession(Record, frozen=True):
    """A session that a peer has begun."""

    bucket: bytes
    number: int


class Budget(Record, frozen=True):
    """
    What an account has begun. Table C{META}, bucket C{BUDGETS} and the name.

    @ivar hour: when the hour began in which it began C{count} sessions.
    @ivar begun: the last of them, the oldest first.
    @ivar failing_hour: when the hour began in which C{wasted} keys were derived for messages that did not open.
    @ivar unwrapping_hour: when the hour began in which C{unwrapped} secrets of epochs were decrypted.
    """

    hour: Counter = 0
    count: Counter = 0
    begun: tuple[BegunSession, ...] = ()
    failing_hour: Counter = 0
    wasted: Counter = 0
    unwrapping_hour: Counter = 0
    unwrapped: Counter = 0


def check_begin(records: IRecords, account: str, now: int) -> None:
    """
    See whether an account may begin a session.

    @raise Refusal: C{too-many-sessions}: not within this hour.
    """
    budget = _budget(records, account)
    if _is_this_hour(budget.hour, now) and budget.count >= MAX_BEGUN:
        raise Refusal("too-many-sessions")


def note_begun(records: IRecords, account: str, device: bytes, number: int, now: int) -> None:
    """Charge an account with a session; the oldest that we never sent in goes where there are too many."""
    budget = _budget(records, account)
    hour, count = (budget.hour, budget.count) if _is_this_hour(budget.hour, now) else (now, 0)
    begun = (*budget.begun, BegunSession(bucket_of(account, device), number))
    for older in begun[:-MAX_REMEMBERED]:
        session = load_session(records, older.bucket, older.number)
        if session is not None and not _is_answered(session):
            store.drop_session(records, older.bucket, older.number)
    budget = msgspec.structs.replace(budget, hour=hour, count=count + 1, begun=begun[-MAX_REMEMBERED:])
    save(records, META, BUDGETS + account.encode(), budget)


def may_jump(records: IRecords, account: str, jump: int, now: int) -> bool:
    """Whether so many keys may be derived for a message that may be anybody's."""
    if jump <= FREE_JUMP:
        return True
    budget = _budget(records, _charged(records, account))
    return not _is_this_hour(budget.failing_hour, now) or budget.wasted + jump <= MAX_WASTED


def note_wasted(records: IRecords, account: str, keys: int, now: int) -> None:
    """A message did not open: charge its account with the keys that were derived for it, whoever sent it."""
    charged = _charged(records, account)
    budget = _budget(records, charged)
    if not _is_this_hour(budget.failing_hour, now):
        budget = msgspec.structs.replace(budget, failing_hour=now, wasted=0)
    save(records, META, BUDGETS + charged.encode(), msgspec.structs.replace(budget, wasted=budget.wasted + keys))


def note_unwrapped(records: IRecords, account: str, now: int) -> None:
    """
    Charge an account with the secret of an epoch that we are about to decrypt: its device has signed it.

    @raise Refusal: C{too-many-sessions}: not within this hour.
    """
    charged = _charged(records, account)
    budget = _budget(records, charged)
    if not _is_this_hour(budget.unwrapping_hour, now):
        budget = msgspec.structs.replace(budget, unwrapping_hour=now, unwrapped=0)
    if budget.unwrapped >= MAX_UNWRAPPED:
        raise Refusal("too-many-sessions")
    save(records, META, BUDGETS + charged.encode(), msgspec.structs.replace(budget, unwrapped=budget.unwrapped + 1))


def check_skipped(records: IRecords, contact: Contact, more: int) -> None:
    """
    See whether so many more skipped message keys may be kept for an account.

    @raise Refusal: C{too-many-skipped}.
    """
    buckets = {bucket_of(contact.name, device.id) for device in contacts.devices(contact)}
    buckets |= {begun.bucket for begun in _budget(records, contact.name).begun}
    kept = sum(session.skipped for bucket in buckets for session in store.all_sessions(records, bucket).values())
    if kept + more > MAX_SKIPPED:
        raise Refusal("too-many-skipped")


def _is_this_hour(began: int, now: int) -> bool:
    """Whether an hour that began then is not over; where the clock was set back it is."""
    return 0 <= now - began < HOUR


def _is_answered(session: Session) -> bool:
    """Whether we have ever sent in a session."""
    return session.initiated or load_ratchet(session.ratchet).sent > 0


def _charged(records: IRecords, account: str) -> str:
    """Who is charged for what may not open: all strangers together, because a server can make up as many as it likes."""
    return account if contacts.get_contact(records, account) is not None else STRANGERS


def _budget(records: IRecords, account: str) -> Budget:
    return load(records, Budget, META, BUDGETS + account.encode()) or Budget()
