"""C{securemsg contacts}: whose messages are confirmed."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import time
from pathlib import Path

import msgspec
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit
from securemsg.account.names import find_contact
from securemsg.cli import output
from securemsg.cli.commands.join import prepare
from securemsg.cli.commands.status import local_facts
from securemsg.cli.main import run
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import contact_record
from securemsg.cli.settings import Settings
from securemsg.client import messages
from securemsg.client.sessions.pins import Chosen
from securemsg.client.state import contacts, disappearing, preferences
from securemsg.client.state.profile import load_profile, save_profile
from securemsg.client.state.records import OUTBOX, ROWS, OutboxRow, load_all, remove_row
from securemsg.protocol.envelope import PQXDH
from securemsg.protocol.invite import InviteLink
from tests.client.rig import outbox_rows

# What is chosen where nothing was.
DEFAULTS = (("receipts", "known"), ("bell", "off"), ("keep", "off"), ("notify", "off"), ("notify-text", "off"))


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
        return self.run_any("contacts", *arguments)

    def run_any(self, *arguments: str) -> int:
        """Run a command."""
        self.shown, self.said = io.StringIO(), io.StringIO()
        with tempfile.TemporaryFile() as out:
            self.patch(output, "STDOUT", out.fileno())
            with contextlib.redirect_stderr(self.said):
                status = run([*arguments, "--profile", str(self.folder)])
            out.seek(0)
            self.shown.write(out.read().decode())
        return status

    def policy(self) -> object:
        """What C{status} says."""
        with opened(Settings(profile=self.folder)) as context:
            return local_facts(context)["receipts"]

    def test_set(self) -> None:
        """Only those one knows get receipts; another choice stays."""
        self.assertEqual(self.policy(), "known")
        for choice in ("everybody", "nobody", "read", "known"):
            self.assertEqual(self.run_any("settings", "receipts", choice), Exit.DONE)
            self.assertEqual((self.shown.getvalue(), self.said.getvalue()), ("", f"receipts: {choice}\n"))
            self.assertEqual(self.policy(), choice)

    def test_settings(self) -> None:
        """What is chosen is listed, and nothing can be chosen that there is not."""
        self.assertEqual(self.run_any("settings"), Exit.DONE)
        self.assertEqual(self.shown.getvalue(), "".join(f"{name:<13}{value}\n" for name, value in DEFAULTS))
        self.assertEqual(self.run_any("settings", "bell", "on"), Exit.DONE)
        self.assertEqual(self.run_any("settings", "keep", "1y"), Exit.DONE)
        self.assertEqual(self.run_any("settings", "notify", "sh"), Exit.DONE)
        self.run_any("settings", "--json")
        rows = {row["name"]: row["value"] for row in map(json.loads, self.shown.getvalue().splitlines())}
        self.assertEqual(rows, {"receipts": "known", "bell": "on", "keep": "1y", "notify": "sh", "notify-text": "off"})
        for name, value in (("receipts", "some"), ("bell", "loud"), ("keep", "7d"), ("keep", "long"), ("other", "on")):
            self.assertEqual(self.run_any("settings", name, value), Exit.USAGE, name)
        for name, value in (("notify", " "), ("notify", "x" * 5000), ("notify", "'"), ("notify", "no-such-program")):
            self.assertEqual(self.run_any("settings", name, value), Exit.USAGE, name)
        self.run_any("settings", "notify", "off")
        self.run_any("settings", "notify")
        self.assertEqual(self.shown.getvalue(), "notify       off\n")

    def test_actions(self) -> None:
        """Each says what it has done, and the list shows it."""
        self.assertEqual(self.run_command("alias", "alice", "boss"), Exit.DONE)
        self.assertEqual(self.run_command("mute", "boss"), Exit.DONE)
        self.assertEqual(self.run_command("block", "alice"), Exit.DONE)
        self.assertIn("alice is blocked", self.said.getvalue())
        self.run_command()
        self.assertEqual(self.said.getvalue(), "")
        self.assertRegex(self.shown.getvalue(), "^boss [(]alice[)] +BLOCKED .*  muted\n")
        self.run_command("boss", "--json")
        row = json.loads(self.shown.getvalue())
        self.assertEqual((row["name"], row["alias"], row["blocked"], row["muted"]), ("alice", "boss", True, True))
        self.assertEqual(self.send("boss"), Exit.REFUSED)
        self.assertIn("securemsg contacts unblock alice", self.said.getvalue())
        # What ends something says whether there was anything to end.
        for words, ended, nothing in (
            (("unblock", "alice"), "alice is no longer blocked", "alice was not blocked"),
            (("unmute", "alice"), "alice is no longer muted", "alice was not muted"),
            (("alias", "alice", "alice"), "you no longer call alice boss", "alice has no alias"),
        ):
            for text in (ended, nothing):
                self.assertEqual(self.run_command(*words), Exit.DONE)
                self.assertEqual(self.said.getvalue(), f"{text}\n")
        self.run_command()
        self.assertRegex(self.shown.getvalue(), "^alice +verified ")

    def test_keep(self) -> None:
        """For how long what is written to somebody is kept; the list and each message say it, and --keep says otherwise."""
        self.assertEqual(self.run_command("keep", "alice", "1d"), Exit.DONE)
        self.assertIn("what you write to alice is deleted 1d after", self.said.getvalue())
        self.run_command()
        self.assertIn("  keep 1d", self.shown.getvalue())
        self.run_command("--json")
        self.assertEqual(json.loads(self.shown.getvalue())["keep"], 86400)
        for more in ([], ["--keep", "1h"], ["--keep", "off"]):
            self.assertEqual(self.run_any("send", "alice", "hello", "--wait", "none", *more), Exit.DONE)
        self.run_any("history", "alice", "--json")
        self.assertEqual([json.loads(line)["keep"] for line in self.shown.getvalue().splitlines()], [86400, 3600, None])
        self.run_any("history", "alice")
        self.assertRegex(self.shown.getvalue(), "bob [(]queued, keep 1d[)]: hello\n")
        self.assertEqual(self.run_command("keep", "alice", "off"), Exit.DONE)
        self.run_command("--json")
        self.assertIsNone(json.loads(self.shown.getvalue())["keep"])
        for wrong in ("9s", "367d", "always"):
            self.assertEqual(self.run_command("keep", "alice", wrong), Exit.USAGE)
        self.assertEqual(self.run_any("send", "#lobby", "hello", "--wait", "none", "--keep", "1d"), Exit.USAGE)
        self.assertIn("[lobby-keep]", self.said.getvalue())
        with opened(Settings(profile=self.folder)) as context:
            # It was not entered, either.
            self.assertEqual(outbox_rows(context.store), 3)

    def test_swept(self) -> None:
        """What is over is gone before anything is shown."""
        self.run_any("send", "alice", "gone soon", "--wait", "none", "--keep", "10s")
        with opened(Settings(profile=self.folder)) as context:
            [sent] = messages.history(context.store, "alice")
            messages.withdraw(context.store, sent.id)
            with context.store.writing() as records:
                disappearing.confirm_clock(records, int(time.time()))
        later = time.time() + 11
        self.patch(time, "time", lambda: later)
        self.run_any("history", "alice")
        self.assertEqual(self.shown.getvalue(), "")

    def test_strangers(self) -> None:
        """Somebody unknown can be blocked, and is listed for that."""
        self.assertEqual(self.run_command("block", "spammer"), Exit.DONE)
        self.run_command()
        self.assertIn("spammer               BLOCKED\n", self.shown.getvalue())
        with opened(Settings(profile=self.folder)) as context, context.store.writing() as records:
            preferences.note_dropped(records, "spammer")
        self.shown.truncate(0)
        self.assertEqual(self.run_command("spammer"), Exit.DONE)
        self.assertIn("BLOCKED  1 message dropped", self.shown.getvalue())

    def test_nobody(self) -> None:
        """What would be said of somebody unknown is refused: it is a mistyped name."""
        for words in (("alias", "nobody", "x"), ("mute", "nobody"), ("keep", "nobody", "1d"), ("nobody",)):
            self.assertEqual(self.run_command(*words), Exit.NO_CONTACT)

    def test_forgotten(self) -> None:
        """A contact is forgotten, unless messages wait, which would go to whoever has the name then."""
        self.assertEqual(self.send("alice"), Exit.DONE)
        self.assertEqual(self.run_command("forget", "alice"), Exit.REFUSED)
        with opened(Settings(profile=self.folder)) as context, context.store.writing() as records:
            for seq, _ in load_all(records, OutboxRow, OUTBOX, ROWS):
                remove_row(records, seq)
        self.assertEqual(self.run_command("forget", "alice"), Exit.DONE)
        self.assertEqual(self.run_command("alice"), Exit.NO_CONTACT)
        self.assertEqual(self.run_command("forget", "alice"), Exit.NO_CONTACT)

    def test_misused(self) -> None:
        """Wrong words are explained."""
        for words in (["block"], ["alias", "alice"], ["keep", "alice"], ["block", "a", "b"], ["nonsense", "alice"]):
            expected = Exit.NO_CONTACT if words == ["block"] else Exit.USAGE
            self.assertEqual(self.run_command(*words), expected, words)
        self.run_command("blok", "alice")
        self.assertIn("did you mean block?", self.said.getvalue())
        self.assertEqual(self.run_command("mute", "alice", "--set-suite", "pqxdh"), Exit.USAGE)
        self.assertEqual(self.run_command("block", "bob"), Exit.USAGE)

    def send(self, name: str) -> int:
        """Put a message into the outbox."""
        return self.run_any("send", name, "hello", "--wait", "none", "--id", "00" * 16)

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
        for arguments in (("--set-receipts", "nobody"), ("alice", "--cipher", "a128")):
            self.assertEqual(self.run_command(*arguments), Exit.USAGE)
        self.assertEqual(self.policy(), "known")

    def test_known(self) -> None:
        """Who is known is shown to programs: the inviter is."""
        with opened(Settings(profile=self.folder)) as context:
            contact = find_contact(context.store, "alice")
        assert contact is not None
        self.assertIs(contact_record(contact, 0, Chosen(PQXDH))["known"], True)
