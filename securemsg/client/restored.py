"""
A state that was restored or copied, as the server's Welcome reveals it: deposits or logins that this profile did not make. Or
C{securemsg profile restore} says so itself.

Keys and counters that were used since must not be used again, so the device goes on in a new incarnation. Source:
C{docs/protocol.md}, section "Login".
"""

from __future__ import annotations

from msgspec.structs import replace

from securemsg.client.context import Context
from securemsg.client.sending import losses
from securemsg.client.sessions import prekeys, suites
from securemsg.client.state.profile import DAY, Profile, next_incarnation, save_profile
from securemsg.client.state.records import (
    COUNTERS,
    LEAPS,
    LOGINS,
    META,
    NUMBER,
    STORED,
    load,
    load_number,
    save,
    save_number,
)
from securemsg.crypto import keys
from securemsg.errors import RemoteProtocolError
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import MAX_N, Counter, Hello, Id, Record, Welcome

# How far ahead of us the server may say that we are: more than any device sends between a copy of its state and its return. A
# client that believed any number could soon never send again; nor is a small one believed over and over: lies take 22 years to
# use up all numbers.
MAX_LEAP = 2**24
MAX_LEAPS_A_DAY = 8 * MAX_LEAP
# A server that was put back to an older copy names logins of then, before those since, answered or not. 16 bytes each, written
# at each login.
MAX_OWN_LOGINS = 512


class Logins(Record, frozen=True):
    """
    The logins of this device that we know (L{Hello.login}). Table C{META}, bucket C{LOGINS}.

    @ivar own: those of this profile, answered or not, the newest last.
    @ivar named: what the server knew of when it answered us last: those in its Welcome, and the one that this answered.
    """

    own: tuple[Id, ...] = ()
    named: tuple[Id, ...] = ()


class Leaps(Record, frozen=True):
    """
    How far the server's word has moved our count of deposits. Table C{META}, bucket C{LEAPS}.

    @ivar since: when the day began in which this was counted.
    """

    since: Counter = 0
    total: Counter = 0


def note_login(records: IRecords, hello: Hello) -> None:
    """Remember a login, before the server can hear of it."""
    known = _logins(records)
    save(records, META, LOGINS, replace(known, own=(*known.own[1 - MAX_OWN_LOGINS :], hello.login)))


def check_welcome(
    context: Context, records: IRecords, profile: Profile, welcome: Welcome, *, has_logged_in: bool
) -> Profile:
    """
    Compare the deposits and the logins that the server names with our own, and warn of what differs.

    @param has_logged_in: in this process, which has held the profile since: so nobody put an older copy in its place.
    @return: the profile to go on with.
    @raise RemoteProtocolError: C{bad-count}: its count of our deposits is impossible.
    """
    own = load_number(records, COUNTERS, NUMBER)
    _count_leap(records, welcome.highest, context.time())
    # What this profile knows nothing of: deposits up to this n, or these logins.
    highest = welcome.highest if welcome.highest > own else 0
    logins = _note_named(records, welcome.logins)
    if highest or logins:
        profile = _go_on(records, profile, highest or own)
        code = "state-copied" if has_logged_in else "state-restored"
        context.warn(records, code, about=keys.digest(highest.to_bytes(8, "big"), *logins))
    stored = load_number(records, COUNTERS, STORED)
    if welcome.highest < stored:
        # What is in the outbox is sent again anyway; this is for the rest. The user is told once for each loss.
        losses.note_loss(records, welcome.highest, stored)
        save_number(records, COUNTERS, STORED, welcome.highest)
        context.warn(records, "server-behind", about=keys.digest(stored.to_bytes(8, "big"), welcome.highest.to_bytes(8, "big")))
    return profile


def start_new_incarnation(records: IRecords, profile: Profile) -> Profile:
    """
    This state is being restored from a backup: go on in a new incarnation, before anything is sent, and without the server's
    word for it. What the server says of it later, it says once more.

    @return: the profile to go on with.
    """
    return _go_on(records, profile, load_number(records, COUNTERS, NUMBER))


def _go_on(records: IRecords, profile: Profile, highest: int) -> Profile:
    """
    Go on in a new incarnation, without the keys that a copy of this state may have used. What comes next says how far we had
    come, so that nothing is hidden if the server has lied about C{highest}.
    """
    profile = next_incarnation(profile, highest)
    save_profile(records, profile)
    prekeys.discard_one_time(records)
    suites.archive_all(records)
    save_number(records, COUNTERS, NUMBER, highest)
    return profile


def _note_named(records: IRecords, logins: list[bytes]) -> list[bytes]:
    """
    Remember the logins in a Welcome, so that each is told once.

    @return: those that this profile did not know: another copy of it made them.
    """
    known = _logins(records)
    save(records, META, LOGINS, replace(known, named=(*logins, *known.own[-1:])))
    return [login for login in logins if login not in (*known.own, *known.named)]


def _count_leap(records: IRecords, highest: int, now: int) -> None:
    """
    The server names this as our highest C{n}: count how far it is ahead of our own.

    @raise RemoteProtocolError: C{bad-count}: further than is believed at once or in a day.
    """
    leap = max(highest - load_number(records, COUNTERS, NUMBER), 0)
    leaps = load(records, Leaps, META, LEAPS) or Leaps()
    if not 0 <= now - leaps.since < DAY:
        leaps = Leaps(now)
    total = leaps.total + leap
    if highest > MAX_N or leap > MAX_LEAP or total > MAX_LEAPS_A_DAY:
        raise RemoteProtocolError("bad-count")
    if leap:
        save(records, META, LEAPS, replace(leaps, total=total))


def _logins(records: IRecords) -> Logins:
    return load(records, Logins, META, LOGINS) or Logins()
