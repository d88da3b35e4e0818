"""What the user wants of an account that others know nothing of: an alias, silence, or to read nothing from it at all."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from securemsg.client.state import contacts
from securemsg.client.state.profile import Private, Profile
from securemsg.client.state.records import load, save
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import NAME_PATTERN, is_reserved
from securemsg.protocol.messages import Counter, Name, Record

TABLE = "preferences"  # bucket = name of the account
ALIASES = "aliases"  # bucket = alias

# Accounts that may have any: anybody may be blocked.
MAX_ACCOUNTS = 10_000


class Preferences(Private, frozen=True):
    """
    What is wanted of an account.

    @ivar alias: what the user calls it; empty: its name.
    @ivar is_blocked: what it sends is dropped, and it is told nothing.
    @ivar is_muted: what it sends makes no noise, and does not count as unread.
    @ivar dropped: how many of its messages were dropped since it was blocked.
    """

    alias: Annotated[str, Meta(max_length=32)] = ""
    is_blocked: bool = False
    is_muted: bool = False
    dropped: Counter = 0


class _Account(Record, frozen=True):
    """Whose alias it is."""

    name: Name


NONE = Preferences()


def get(records: IRecords, name: str) -> Preferences:
    """What is wanted of an account."""
    return load(records, Preferences, TABLE, name.encode()) or NONE


def all_preferences(records: IRecords) -> dict[str, Preferences]:
    """What is wanted of each account of which anything is."""
    return {bucket.decode(): msgspec.msgpack.decode(value, type=Preferences) for bucket, _, value in records.scan(TABLE)}


def put(records: IRecords, name: str, wanted: Preferences) -> None:
    """
    Save what is wanted of an account.

    @raise Refusal: C{too-many-preferences}.
    """
    if wanted == NONE:
        records.delete(TABLE, name.encode())
        return
    if records.get(TABLE, name.encode()) is None and len(records.scan(TABLE)) >= MAX_ACCOUNTS:
        raise Refusal("too-many-preferences")
    save(records, TABLE, name.encode(), wanted)


def block(records: IRecords, name: str, *, is_blocked: bool) -> None:
    """Drop what an account sends from now on, or take it again. What was dropped in between is gone."""
    put(records, name, replace(get(records, name), is_blocked=is_blocked, dropped=0))


def note_dropped(records: IRecords, name: str) -> None:
    """A message of a blocked account was dropped."""
    wanted = get(records, name)
    put(records, name, replace(wanted, dropped=wanted.dropped + 1))


def set_alias(records: IRecords, profile: Profile, name: str, alias: str) -> None:
    """
    Call an account so.

    @param alias: empty: by its name again.
    @raise Refusal: C{illegal-name}; C{alias-taken}: that is the name of somebody else whom we know, or we call somebody so.
    """
    wanted = get(records, name)
    if alias:
        if not NAME_PATTERN.fullmatch(alias) or is_reserved(alias):
            raise Refusal("illegal-name")
        known = load(records, _Account, ALIASES, alias.encode())
        is_taken = (known is not None and known.name != name) or alias == profile.name
        if is_taken or contacts.get_contact(records, alias) is not None:
            raise Refusal("alias-taken")
        save(records, ALIASES, alias.encode(), _Account(name))
    if wanted.alias and wanted.alias != alias:
        records.delete(ALIASES, wanted.alias.encode())
    put(records, name, replace(wanted, alias=alias))


def account_of(records: IRecords, name: str) -> str:
    """
    The account that is meant by a name or an alias.

    @raise Refusal: C{name-unclear}: it is both, of two accounts: one of them has come since.
    """
    found = load(records, _Account, ALIASES, name.encode())
    if found is None:
        return name
    if contacts.get_contact(records, name) is not None:
        raise Refusal("name-unclear")
    return found.name


def forget(records: IRecords, profile: Profile, name: str) -> None:
    """Forget what is wanted of an account, but that it is blocked."""
    set_alias(records, profile, name, "")
    wanted = get(records, name)
    put(records, name, replace(NONE, is_blocked=wanted.is_blocked, dropped=wanted.dropped))
