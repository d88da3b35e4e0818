"""What is checked before the daemon starts, and before it changes anything."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from securemsg.client.state.vault import KEY_FILE, VaultError
from securemsg.crypto import keys
from securemsg.daemon.certificate import TLS_CERTIFICATE, TLS_KEY, load_credentials
from securemsg.daemon.folder import (
    CONTACT,
    DATABASE,
    KEY_SIZE,
    RESTORING,
    SERVER_KEY,
    SOCKET,
    StateError,
    check_folder,
    read_key,
    read_private,
)
from securemsg.daemon.highwater import check_high_water
from securemsg.daemon.options import Setup
from securemsg.net.control import BadSocketPath, check_socket_path
from securemsg.net.listener import PortUnavailable, check_port
from securemsg.responders.choice import BadAnswer
from securemsg.storage.errors import StorageError
from securemsg.storage.jsonlog import check_line_file
from securemsg.storage.keyfiles import KeyFileError, KeyFileMissing, read_key_file
from securemsg.storage.profile import PROFILE_FILE
from securemsg.storage.sqlite.store import check_server_store

NO_PROMETHEUS = "--metrics needs the library prometheus_client; install it in the checkout: pipx install --force '.[metrics]'"

# Errors whose text is written for people; nothing else is shown.
EXPECTED = (StateError, PortUnavailable, StorageError, VaultError, BadSocketPath, BadAnswer)


def check_start(setup: Setup, state: Path, user: int | None = None) -> None:
    """
    Check whether the daemon can start; nothing is changed.

    @param user: id of the user whom it becomes, if it becomes another.
    @raise StateError: or another of L{EXPECTED}: it cannot.
    """
    check_socket_path(state / SOCKET)
    check_folder(state, user)
    check_whole(state)
    for name in (TLS_KEY, TLS_CERTIFICATE):
        read_private(state / name)
    if setup.certificate is not None and setup.key is not None:
        load_credentials(setup.certificate, setup.key, keys.spki_digest)
    if not setup.descriptor:
        check_port(setup.host, setup.port)
    check_metrics(setup.metrics)
    if setup.key_file is not None:
        check_key_file(setup.key_file, setup.loose, state)
    if setup.record is not None:
        check_line_file(setup.record)


def check_metrics(where: Path | tuple[str, int] | int | None) -> None:
    """
    Check whether the daemon can say how it is.

    @raise StateError: the library is missing.
    @raise PortUnavailable: the port is in use, or not allowed.
    @raise BadSocketPath: the path of the socket is too long.
    """
    if where is None:
        return
    if find_spec("prometheus_client") is None:
        raise StateError(NO_PROMETHEUS)
    if isinstance(where, Path):
        check_socket_path(where, "--metrics")
    elif isinstance(where, tuple):
        check_port(*where, "--metrics")


def check_key_file(path: Path, loose: bool, state: Path) -> None:
    """
    Check whether a key file can be used, or made.

    @param state: may not be there yet; then a file in it can be made.
    @raise KeyFileError: it cannot.
    """
    try:
        read_key_file(path, loose)
    except KeyFileMissing:
        folder = path.parent
        if folder != state and not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
            raise KeyFileError(
                f"the key file {path} cannot be made: {folder} is not a folder that this user can write to; name another"
            ) from None


def check_whole(state: Path) -> None:
    """
    Check that the state is complete: a daemon that replaced a missing part would hide or destroy what is restored from a backup
    later.

    A first start makes the database, then the key, the contact and the first account; after a kill the next start continues.

    @raise StateError: a part is missing, the key is damaged, or the database has lost something.
    @raise StorageError: the database cannot be used.
    """
    if (state / RESTORING).exists():
        raise StateError(f"a restore into {state} was interrupted; repeat it: securemsg admin restore FILE --state {state}")
    key, database, contact = state / SERVER_KEY, state / DATABASE, state / CONTACT
    has_key = read_key(key, KEY_SIZE) is not None
    has_database = database.exists() and database.stat().st_size > 0
    # An empty one is not opened: SQLite would remove the journal beside it.
    high_water = check_server_store(database) if has_database else 0
    needed: list[Path] = []
    if has_key or high_water or contact.exists():
        needed = [key, database]
    if high_water:
        needed += [contact / KEY_FILE, contact / PROFILE_FILE]
    present = {key: has_key, database: has_database}
    for path in needed:
        if not present.get(path, path.exists()):
            what = "is empty" if path.exists() else "is missing"
            raise StateError(
                f"{path} {what}, but {state} holds other parts of the same state; nothing was changed; restore it from a"
                f" backup, ideally the whole folder into an empty one, and leave no other {DATABASE}-wal beside it"
            )
    check_high_water(state, high_water)
