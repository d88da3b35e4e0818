"""What the user has chosen for the whole profile."""

from __future__ import annotations

import enum
from typing import Annotated

from msgspec import Meta

from securemsg.client.state.profile import Private
from securemsg.client.state.records import META, load, save
from securemsg.interfaces import IRecords
from securemsg.protocol.messages import Counter

SETTINGS = b"settings"
# Of the command that is run for each message.
MAX_COMMAND = 4096


class Policy(enum.StrEnum):
    """Who gets receipts."""

    EVERYBODY = "everybody"
    KNOWN = "known"     # see L{securemsg.client.state.contacts.Contact.known}
    NOBODY = "nobody"   # and none are asked for
    READ = "read"       # as `known`, and they are told what was read as well


class UserSettings(Private, frozen=True):
    """
    What the user has chosen. Table C{META}, bucket C{SETTINGS}.

    @ivar receipts: who gets receipts; C{None}: not chosen.
    @ivar keep: for how long messages are kept, seconds; 0: for good.
    @ivar bell: the terminal's bell rings for messages in a chat.
    @ivar notify: the command that is run for each message that comes; empty: none. C{notify_text}: it gets the text as well.
    """

    receipts: Policy | None = None
    bell: bool = False
    notify: Annotated[str, Meta(max_length=MAX_COMMAND)] = ""
    notify_text: bool = False
    keep: Counter = 0


def get(records: IRecords) -> UserSettings:
    """What the user has chosen."""
    return load(records, UserSettings, META, SETTINGS) or UserSettings()


def put(records: IRecords, chosen: UserSettings) -> None:
    """Save what the user has chosen."""
    save(records, META, SETTINGS, chosen)
