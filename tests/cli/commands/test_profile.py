"""C{securemsg profile}."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

from securemsg.account.errors import Exit
from securemsg.client.state.vault import KEY_FILE
from securemsg.storage.profile import PROFILE_FILE
from tests.cli.commands.test_passphrase import PassphraseCase
from tests.cli.test_output import stdout_to


class ProfileCase(PassphraseCase):
    """Somebody with a profile, and a file for a backup of it."""

    def setUp(self) -> None:
        """The backup is not there yet."""
        super().setUp()
        self.backup = self.folder / "backup"
        self.other = self.folder / "other"

    def back_up(self, *options: str) -> tuple[int, str, str]:
        """Make a backup under a passphrase from a file."""
        file = self.file("battery staple", "of-backup")
        return self.ours("profile", "backup", str(self.backup), "--backup-passphrase-file", str(file), *options)

    def restore(self, *options: str, passphrase: str = "") -> tuple[int, str, str]:
        """Restore the backup into the other folder."""
        file = self.file(passphrase or "battery staple", "of-restore")
        ours, self.profile = self.profile, self.other
        try:
            return self.ours("profile", "restore", str(self.backup), "--passphrase-file", str(file), *options)
        finally:
            self.profile = ours


class PathTests(ProfileCase):
    """C{profile path}."""

    def test_path(self) -> None:
        """It prints the folder, whether there is a profile or not; relative ones in full."""
        self.assertEqual(self.ours("profile", "path"), (Exit.DONE, f"{self.profile}\n", ""))
        self.assertEqual(json.loads(self.ours("profile", "path", "--json")[1]), {"profile": str(self.profile)})
        self.profile = Path("here")
        self.assertEqual(self.ours("profile", "path")[1], f"{Path.cwd()}/here\n")


class CheckTests(ProfileCase):
    """C{profile check}."""

    def test_whole(self) -> None:
        """A whole profile is said to be whole."""
        self.make("correct horse")
        status, out, err = self.ours("profile", "check", "--passphrase-fd", self.pipe("correct horse"))
        self.assertEqual((status, out), (Exit.DONE, ""))
        self.assertRegex(err, r"is whole: \d+ records")

    def test_json(self) -> None:
        """For a program there is one object a fault, and one for the profile."""
        self.make()
        status, out, _ = self.ours("profile", "check", "--json")
        self.assertEqual((status, json.loads(out)["whole"], json.loads(out)["faults"]), (Exit.DONE, True, 0))

    def test_damaged(self) -> None:
        """A fault is printed with what can be done, and the status is 9."""
        self.make()
        connection = sqlite3.connect(self.profile / PROFILE_FILE)
        connection.execute("UPDATE records SET value = x'00' WHERE rowid = 1")
        connection.commit()
        connection.close()
        status, out, err = self.ours("profile", "check")
        self.assertEqual(status, Exit.PROFILE)
        self.assertIn("was altered or moved; restore", out)
        self.assert_one_line(err, "profile-damaged")

    def test_exposed(self) -> None:
        """A file that others can read is a fault that can be put right, and the check goes on where it can."""
        self.make()
        for name in (PROFILE_FILE, KEY_FILE):
            (self.profile / name).chmod(0o644)
            status, out, err = self.ours("profile", "check", "--json")
            first, last = map(json.loads, out.splitlines())
            self.assertEqual((status, first["damage"], last["faults"]), (Exit.PROFILE, False, 1))
            self.assertIn("chmod 600", first["hint"])
            self.assertEqual(json.loads(err)["code"], "profile-exposed")
            (self.profile / name).chmod(0o600)

    def test_damaged_key(self) -> None:
        """A key file that is none is a fault."""
        self.make()
        (self.profile / KEY_FILE).write_bytes(b"x")
        status, out, err = self.ours("profile", "check")
        self.assertEqual((status, KEY_FILE in out), (Exit.PROFILE, True))
        self.assert_one_line(err, "profile-damaged")

    def test_none(self) -> None:
        """Where there is no profile, there is nothing to check or to back up, and nothing is made."""
        self.assert_fails("no-profile", Exit.PROFILE, "profile", "check")
        self.assert_fails("no-profile", Exit.PROFILE, "profile", "backup", str(self.backup))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_wrong_passphrase(self) -> None:
        """Without the passphrase nothing is said about damage."""
        self.make("correct horse")
        self.assert_fails("passphrase-needed", Exit.PROFILE, "profile", "check")
        self.assert_fails("wrong-passphrase", Exit.PROFILE, "profile", "check", "--passphrase-fd", self.pipe("guess"))


class BackupTests(ProfileCase):
    """C{profile backup} and C{profile restore}."""

    def test_there_and_back(self) -> None:
        """A profile without a passphrase is restored with that of the backup, and it is said what that means."""
        self.make()
        status, out, err = self.back_up()
        self.assertEqual((status, out), (Exit.DONE, ""))
        self.assertIn("sealed with its own passphrase", err)
        self.assertEqual(self.backup.stat().st_mode & 0o777, 0o600)
        status, out, err = self.restore()
        self.assertEqual((status, out), (Exit.DONE, f"ada at 127.0.0.1:1 was restored into {self.other}\n"))
        for words in ("missing here, or comes again", "two copies of a profile must not both", "no new safety number"):
            self.assertIn(words, err)
        self.profile = self.other
        self.assert_opens("battery staple")
        status, _, err = self.ours("profile", "check", "--passphrase-fd", self.pipe("battery staple"))
        self.assertEqual(status, Exit.DONE, err)

    def test_json(self) -> None:
        """Both print an object."""
        self.make()
        record = json.loads(self.back_up("--json")[1])
        self.assertEqual(record, {"backup": str(self.backup), "size": self.backup.stat().st_size})
        record = json.loads(self.restore("--json")[1])
        self.assertEqual(record, {"name": "ada", "server": "127.0.0.1:1", "profile": str(self.other)})

    def test_asked_for(self) -> None:
        """At a terminal the passphrase of the profile is asked for, then twice that of the backup, and none is not enough."""
        self.make("correct horse")
        self.sit_down("correct horse", "battery staple", "battery staple")
        self.assertEqual(self.ours("profile", "backup", str(self.backup))[0], Exit.DONE)
        self.assertEqual(self.asked[1:], [f"New passphrase for the backup {self.backup}: ", "The same again: "])
        ours, self.profile = self.profile, self.other
        self.sit_down("battery staple")
        self.assertEqual(self.ours("profile", "restore", str(self.backup))[0], Exit.DONE)
        self.profile = ours
        self.backup.unlink()
        self.sit_down("correct horse", "")
        self.assert_fails("new-passphrase-needed", Exit.USAGE, "profile", "backup", str(self.backup))
        self.assertFalse(self.backup.exists())

    def test_nobody_to_ask(self) -> None:
        """On a pipe an option has to give it, and the error names the option."""
        self.make()
        said = self.assert_fails("new-passphrase-needed", Exit.USAGE, "profile", "backup", str(self.backup))
        self.assertIn("--backup-passphrase-file", said)
        self.back_up()
        self.profile = self.other
        self.assert_fails("passphrase-needed", Exit.PROFILE, "profile", "restore", str(self.backup))
        self.assertFalse(self.other.exists())

    def test_over_itself(self) -> None:
        """A profile is not overwritten by its own backup."""
        self.make()
        for name in (KEY_FILE, PROFILE_FILE, "new"):
            before = (self.profile / KEY_FILE).read_bytes()
            target = str(self.profile / name)
            options = ("--force", "--backup-passphrase-file", str(self.file("battery staple")))
            self.assertIn("elsewhere", self.assert_fails("usage", Exit.USAGE, "profile", "backup", target, *options))
            self.assertEqual((self.profile / KEY_FILE).read_bytes(), before)

    def test_existing_file(self) -> None:
        """A file that is there is replaced with C{--force} only."""
        self.make()
        self.backup.write_bytes(b"precious")
        status, _, err = self.back_up()
        self.assertEqual((status, self.backup.read_bytes()), (Exit.USAGE, b"precious"))
        self.assert_one_line(err, "backup-exists")
        self.assertEqual(self.back_up("--force")[0], Exit.DONE)
        self.assertTrue(tarfile.is_tarfile(self.backup))

    def test_unwritable(self) -> None:
        """A folder that is not there is an error, and nothing is left beside the profile."""
        self.make()
        before = sorted(self.profile.iterdir())
        self.backup = self.folder / "none" / "backup"
        status, _, err = self.back_up()
        self.assertEqual(status, Exit.INTERNAL)
        self.assert_one_line(err, "backup-failed")
        self.assertEqual([path for path in self.profile.iterdir() if path not in before and path.name[0] == "."], [])

    def test_standard_output(self) -> None:
        """C{-} is standard output, which then holds the backup and nothing else; a reader that is gone is an error."""
        self.make()
        self.backup.touch()
        file = self.backup
        self.backup = Path("-")
        with file.open("r+b") as out, stdout_to(out.fileno()):
            status, _, err = self.run_line(
                "--profile", str(self.profile), "profile", "backup", "-",
                "--backup-passphrase-file", str(self.file("battery staple")),
            )  # fmt: skip
        self.assertEqual((status, err), (Exit.DONE, ""))
        self.backup = file
        self.assertEqual(self.restore()[0], Exit.DONE)
        reader, writer = os.pipe()
        os.close(reader)
        with stdout_to(writer):
            status, _, err = self.run_line(
                "--profile", str(self.profile), "profile", "backup", "-",
                "--backup-passphrase-file", str(self.file("battery staple")),
            )  # fmt: skip
        os.close(writer)
        self.assertEqual(status, Exit.INTERNAL)
        self.assert_one_line(err, "backup-failed")

    def test_standard_input(self) -> None:
        """A backup is restored from standard input as well."""
        self.make()
        self.back_up()
        with self.backup.open() as stdin:
            self.patch(sys, "stdin", stdin)
            self.backup = Path("-")
            self.assertEqual(self.restore()[0], Exit.DONE)

    def test_refused(self) -> None:
        """A wrong passphrase, a file that is no backup, and none at all end with an error of one line, and restore nothing."""
        self.make()
        self.back_up()
        status, _, err = self.restore(passphrase="guess")
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "wrong-passphrase")
        self.backup.write_bytes(self.backup.read_bytes()[:-1])
        status, _, err = self.restore()
        self.assertEqual(status, Exit.PROFILE)
        self.assert_one_line(err, "backup-damaged")
        self.backup.unlink()
        status, _, err = self.restore()
        self.assertEqual(status, Exit.USAGE)
        self.assert_one_line(err, "backup-unreadable")
        self.assertEqual(list(self.other.iterdir()), [])

    def test_existing_profile(self) -> None:
        """A profile that is there stays, and nobody is asked for a passphrase first."""
        self.make()
        self.back_up()
        before = (self.profile / KEY_FILE).read_bytes()
        self.sit_down()
        self.assert_fails("profile-exists", Exit.REFUSED, "profile", "restore", str(self.backup))
        self.assertEqual((self.profile / KEY_FILE).read_bytes(), before)
        self.assertEqual(self.asked, [])

    def test_no_backup(self) -> None:
        """For a file that is no backup nobody is asked for a passphrase, wherever it comes from; nothing is made for it."""
        self.profile = self.other
        for content in (b"#!/bin/sh\n", b"x" * 100_000, b"store.key", b""):
            self.backup.write_bytes(content)
            self.sit_down()
            said = self.assert_fails("backup-damaged", Exit.PROFILE, "profile", "restore", str(self.backup))
            self.assertIn("is not a backup of a profile", said)
            with self.backup.open() as stdin:
                self.patch(sys, "stdin", stdin)
                self.assert_fails("backup-damaged", Exit.PROFILE, "profile", "restore", "-")
        self.assertEqual((self.asked, self.other.exists()), ([], False))

    def test_of_half_a_profile(self) -> None:
        """A key without its database is not backed up as if it were a profile."""
        self.make()
        (self.profile / PROFILE_FILE).unlink()
        status, _, err = self.back_up()
        self.assertEqual((status, self.backup.exists()), (Exit.PROFILE, False))
        self.assert_one_line(err, "profile-damaged")

    def test_no_room_for_text(self) -> None:
        """No backup goes to a terminal."""
        self.make()
        master, screen = os.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, screen)
        with stdout_to(screen):
            status, _, err = self.run_line("--profile", str(self.profile), "profile", "backup", "-")
        self.assertEqual(status, Exit.USAGE)
        self.assert_one_line(err, "usage")


class WhereTests(ProfileCase):
    """Where it all lies."""

    def test_copied_folder(self) -> None:
        """A folder that was put in place by hand works as it is, without a restore."""
        self.make()
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "copy"
            copy.mkdir(0o700)
            for name in (KEY_FILE, PROFILE_FILE):
                (copy / name).write_bytes((self.profile / name).read_bytes())
                (copy / name).chmod(0o600)
            self.profile = copy
            self.assert_opens("")
            self.assertEqual(self.ours("profile", "check")[0], Exit.DONE)
