"""Names of contacts and rooms for completion: quickly and silently, or none."""

from __future__ import annotations

import contextlib
from pathlib import Path

from securemsg.account.folder import check_whole
from securemsg.client.rooms.store import all_rooms
from securemsg.client.state.contacts import all_contacts
from securemsg.client.state.preferences import all_preferences
from securemsg.client.state.vault import open_vault
from securemsg.protocol.devices import LOBBY_NAME, ROOM_MARK, SERVER_NAME
from securemsg.storage.profile import open_profile

# Names that are offered at once; more help nobody.
MAX_NAMES = 200
# Seconds to wait for another process that writes to the profile.
TIMEOUT = 0.3


def known_names(folder: Path, prefix: str, *, people: bool, rooms: bool) -> list[str]:
    """
    The names of contacts, and of rooms with their mark, that begin so; none if the profile needs a passphrase, is missing or
    cannot be opened.
    """
    found: list[str] = []
    try:
        check_whole(folder)
        store = open_profile(folder, open_vault(folder, None), timeout=TIMEOUT)
        with contextlib.closing(store), store.reading() as records:
            if people:
                found += [SERVER_NAME, *(contact.name for contact in all_contacts(records))]
                found += [wanted.alias for wanted in all_preferences(records).values() if wanted.alias]
            if rooms:
                found += [f"{ROOM_MARK}{room.alias}" for room in all_rooms(records) if room.alias]
            if people and rooms:
                found.append(LOBBY_NAME)
    except Exception:  # noqa: BLE001 - a shell that completes shows no errors
        return []
    return sorted({name for name in found if name.startswith(prefix)})[:MAX_NAMES]
