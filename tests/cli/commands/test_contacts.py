"""C{securemsg contacts}: whose messages are confirmed."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit
from securemsg.cli.commands.contacts import find_contact
from securemsg.cli.commands.join import prepare
from securemsg.cli.commands.status import local_facts
from securemsg.cli.main import run
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import contact_record
from securemsg.cli.settings import Settings
from securemsg.client.sessions.pins import Chosen
from securemsg.client.state import contacts
from securemsg.client.state.profile import load_profile, save_profile
from securemsg.protocol.envelope import PQXDH
from securemsg.protocol.invite import InviteLink


class ReceiptsTests(SynchronousTestCase):
    """A profile that knows its inviter."""

    def setUp(self) -> None:
        """Bob was invited by Alice, and has joined."""
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        settings = Settings(profile=self.folder)
        link = InviteLink("127.0.0.1", 1, bytes(32), inviter="alice", inviter_identity=bytes([7]) * 32)
        prepare(settings, link, "bob")
        with opened(settings, joined=False) as context, context.store.writing() as records:
            profile = load_profile(records)
            assert profile is not None
            save_profile(records, evolve(profile, registered=True))

    def run_command(self, *arguments: str) -> int:
        """Run C{contacts}: its status."""
        self.shown, self.said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(self.shown), contextlib.redirect_stderr(self.said):
            return run(["contacts", *arguments, "--profile", str(self.folder)])

    def policy(self) -> object:
        """What C{status} says."""
        with opened(Settings(profile=self.folder)) as context:
            return local_facts(context)["receipts"]

    def test_set(self) -> None:
        """Only those one knows get receipts; another choice stays."""
        self.assertEqual(self.policy(), "known")
        for choice in ("everybody", "nobody", "known"):
            self.assertEqual(self.run_command("--set-receipts", choice), Exit.DONE)
            self.assertEqual((self.shown.getvalue(), self.said.getvalue()), ("", f"delivery receipts go to: {choice}\n"))
            self.assertEqual(self.policy(), choice)

    def test_accepted(self) -> None:
        """It is said whether there were new keys, and what follows."""
        self.assertEqual(self.run_command("accept", "alice"), Exit.DONE)
        self.assertIn("the keys of alice have not changed; alice now counts as known", self.said.getvalue())
        with opened(Settings(profile=self.folder)) as context, context.store.writing() as records:
            known = contacts.get_contact(records, "alice")
            assert known is not None
            contacts.put_contact(records, msgspec.structs.replace(known, changed_to=bytes([8]) * 32))
        self.assertEqual(self.run_command("accept", "alice"), Exit.DONE)
        self.assertIn("new keys of alice accepted; alice is unverified: securemsg verify alice", self.said.getvalue())

    def test_another_claim(self) -> None:
        """Others than those whose number was shown are not accepted, and it is said what to do."""
        with opened(Settings(profile=self.folder)) as context, context.store.writing() as records:
            known = contacts.get_contact(records, "alice")
            assert known is not None
            claimed = {"changed_to": bytes([9]) * 32, "shown_claim": bytes([8]) * 32}
            contacts.put_contact(records, msgspec.structs.replace(known, **claimed))
        self.assertEqual(self.run_command("accept", "alice"), Exit.REFUSED)
        self.assertIn("securemsg verify alice", self.said.getvalue())

    def test_for_all(self) -> None:
        """The choice is for all contacts, and nothing else is taken."""
        for arguments in (("alice", "--set-receipts", "nobody"), ("--set-receipts", "friends")):
            self.assertEqual(self.run_command(*arguments), Exit.USAGE)
        self.assertEqual(self.policy(), "known")

    def test_known(self) -> None:
        """Who is known is shown to programs: the inviter is."""
        with opened(Settings(profile=self.folder)) as context:
            contact = find_contact(context.store, "alice")
        assert contact is not None
        self.assertIs(contact_record(contact, 0, Chosen(PQXDH))["known"], True)
