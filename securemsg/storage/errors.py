"""Errors about files, with texts for people: what happened, and what to do next."""

from __future__ import annotations


class StorageError(Exception):
    """
    A file cannot be used as it is. Nothing was changed or deleted.

    The text is written for the user: it names the file, and what to do.
    """


class StateUnusable(StorageError):
    """The file cannot be opened, read or written: rights, a full disk, another process, or not there."""


class StateTooNew(StorageError):
    """A newer release wrote this file."""


class StateTooOld(StorageError):
    """A version that was never released wrote this file, and nothing converts it."""


class StateDamaged(StorageError):
    """This is not the file that was written."""


class ProfileDamaged(StateDamaged):
    """A profile, or a record in it, is not what was written, or was sealed with another key."""


class ProfileMissing(StateUnusable):
    """There is no profile in this folder."""


class ProfileBusy(StateUnusable):
    """Another process held the profile for too long. Nothing was written; the same may be tried again."""


class BackupDamaged(StateDamaged):
    """A file is not a backup of a profile, or not the whole of one."""
