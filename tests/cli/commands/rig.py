"""A profile on disk, and commands that need no server, run within this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase

from securemsg.cli import main, output
from securemsg.client.state.conversations import Conversation
from securemsg.client.state.profile import create_profile, save_profile
from securemsg.client.state.records import (
    HISTORY,
    INDEX,
    HistoryRow,
    MessageIndex,
    Status,
    draft,
    next_seq,
    save,
    save_unread,
)
from securemsg.client.state.vault import create_vault
from securemsg.interfaces import IProfileStore
from securemsg.protocol.envelope import Kind
from securemsg.protocol.invite import InviteLink
from securemsg.storage import profile as profiles

NOW = 1_800_000_000


@frozen
class Done:
    """A command that has ended."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What it printed as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


class ProfileCase(SynchronousTestCase):
    """Ada, who has joined, and whose server is away."""

    store: IProfileStore

    def setUp(self) -> None:
        """Make the profile."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "profile"
        self.store = profiles.create_profile(self.folder, create_vault(self.folder, None))
        self.addCleanup(self.store.close)
        made = create_profile(InviteLink("127.0.0.1", 1, bytes(range(32))), "ada", NOW)
        self.profile = evolve(made, registered=True)
        with self.store.writing() as records:
            save_profile(records, self.profile)

    def add(
        self, to: Conversation, text: str, *, status: Status = Status.RECEIVED, code: str = "", at: int = NOW
    ) -> bytes:
        """
        Write a message into a history.

        @return: its id.
        """
        with self.store.writing() as records:
            sent, seq = status is not Status.RECEIVED, next_seq(records)
            content = msgspec.structs.replace(draft(self.profile, Kind.TEXT, at), body=text.encode())
            save(records, HISTORY, to.bucket, HistoryRow(content, sent, at, status, code), seq)
            if sent:
                save(records, INDEX, content.message_id, MessageIndex(to, seq, 0))
            else:
                save_unread(records, to, int(Kind.TEXT), seq)
            return content.message_id

    def run_command(self, *arguments: str, status: int = 0) -> Done:
        """Run a command, and check its exit status."""
        err = io.StringIO()
        with tempfile.TemporaryFile() as out:
            self.patch(output, "STDOUT", out.fileno())
            with contextlib.redirect_stderr(err):
                ended = main.run(["--profile", str(self.folder), *arguments])
            out.seek(0)
            done = Done(ended, os.read(out.fileno(), 1 << 20).decode(), err.getvalue())
        self.assertEqual(done.status, status, done)
        return done
