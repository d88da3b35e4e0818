"""Backups of the server's state, and what becomes of them."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path
from unittest import skipIf, skipUnless

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import SecuremsgError
from securemsg.cli.admin import serverbackup
from securemsg.cli.admin.backup import _read_back
from securemsg.cli.admin.serverbackup import (
    DIGESTS,
    MAX_FILES,
    MAX_SMALL,
    SNAPSHOT,
    check_state,
    read_backup,
    restore_backup,
    small_files,
    write_backup,
)
from securemsg.client.state.profile import create_profile, save_profile
from securemsg.client.state.vault import create_vault
from securemsg.daemon import folder as daemon
from securemsg.daemon.checks import check_whole
from securemsg.protocol.invite import InviteLink
from securemsg.storage.backupfile import end_archive, write_member
from securemsg.storage.errors import BackupDamaged
from securemsg.storage.files import FileLock, as_owner
from securemsg.storage.profile import create_profile as create_store
from tests.storage.dying import dies_after
from tests.storage.stores import HandReactor, account

LINK = InviteLink("127.0.0.1", 1, bytes(range(32)), b"token")


class StateCase(SynchronousTestCase):
    """A server's state, and a backup of it."""

    def setUp(self) -> None:
        """Make both."""
        self.place = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.place)
        self.state = self.make("state", "alice")
        shutil.copytree(self.state, self.state / SNAPSHOT)
        self.backup = self.write()

    def make(self, name: str, who: str) -> Path:
        """The state of a server with one account."""
        state = self.place / name
        (state / "contact").mkdir(0o700, parents=True)
        (state / "server.key").write_text(who[0].encode().hex() * 32 + "\n")
        (state / "tls.key").write_text(f"key of {who}")
        reactor = HandReactor()
        store = reactor.open(state / "server.db")
        reactor.wait(store.register(account(who)))
        reactor.wait(store.close())
        profile = create_store(state / "contact", create_vault(state / "contact", None))
        with profile.writing() as records:
            save_profile(records, create_profile(LINK, "server", 1))
        profile.close()
        for path in state.glob("**/*"):
            if path.is_file():
                path.chmod(0o600)
        return state

    def write(self) -> bytes:
        """Make a backup."""
        out = io.BytesIO()
        write_backup(self.state, out)
        return out.getvalue()

    def restore(self, state: Path, backup: bytes | None = None, when: str = "then") -> Path | None:
        """Restore a backup; where has gone what was there?"""
        aside = restore_backup(io.BytesIO(self.backup if backup is None else backup), "FILE", state, when)
        return None if aside is None else state / aside

    def names(self, state: Path) -> list[str]:
        """Who has an account in this state."""
        connection = sqlite3.connect(state / "server.db")
        try:
            return [name for (name,) in connection.execute("SELECT name FROM accounts")]
        finally:
            connection.close()

    def faults(self, state: Path) -> dict[str, list[str]]:
        """What is wrong with a state."""
        return {part: faults for part, faults in check_state(state, state) if faults}


class BackupTests(StateCase):
    """What is in one."""

    def test_names(self) -> None:
        """The command and the daemon call the files alike."""
        for name in ("SERVER_KEY", "DATABASE", "CONTACT", "LOCK_FILE", "SNAPSHOT", "RESTORING", "AUDIT"):
            self.assertEqual(getattr(serverbackup, name), getattr(daemon, name))
        self.assertIn(daemon.HIGH_WATER, serverbackup.LEFT_OUT)

    def test_left_out(self) -> None:
        """What belongs to a running daemon is not in it, nor what is too large or too much, which is named."""
        for name in ("lock", "high-water", "x.pid", "x.new", "server.db-wal", ".hidden"):
            (self.state / name).touch()
        (self.state / "link").symlink_to("/etc/passwd")
        (self.state / "large").write_bytes(bytes(MAX_SMALL + 1))
        fitting, others = small_files(self.state)
        self.assertEqual([path.name for path in fitting], ["server.key", "tls.key"])
        self.assertEqual([path.name for path in others], ["large"])
        for number in range(MAX_FILES):
            (self.state / f"a{number:02}").touch()
        fitting, others = small_files(self.state)
        self.assertEqual((fitting[0].name, len(fitting), len(others)), ("server.key", MAX_FILES, 3))
        read_backup(io.BytesIO(self.write()))

    def test_links(self) -> None:
        """No link that was laid since leads to somebody else's file, nor does a pipe hold the backup up."""
        secret = self.place / "secret"
        secret.write_text("secret", "utf-8")
        others = shutil.copytree(self.state / SNAPSHOT / "contact", self.place / "others")
        for name, target in (("contact/store.key", secret), (f"{SNAPSHOT}/server.db", secret), (f"{SNAPSHOT}/contact", others)):
            path = self.state / name
            kept = path.rename(self.place / "kept")
            for make in (lambda path=path, target=target: path.symlink_to(target), lambda path=path: os.mkfifo(path)):
                make()
                self.assertRaises(OSError, self.write)
                path.unlink()
            kept.rename(path)
        read_backup(io.BytesIO(self.write()))

    def test_damaged(self) -> None:
        """A bit flipped anywhere in a file of it, a cut and an addition are found."""
        digests = read_backup(io.BytesIO(self.backup))
        self.assertEqual(list(digests), ["server.key", "tls.key", "contact/store.key", "contact/profile.db", "server.db"])
        for at in range(512, len(self.backup), 4099):
            data = bytearray(self.backup)
            data[at] ^= 1
            if any(data[at - at % 512 : at - at % 512 + 512]) and data[at] != 1:
                self.assertRaises(BackupDamaged, read_backup, io.BytesIO(bytes(data)))
        for cut in (self.backup[:-1], self.backup[:5000], b"", self.backup[:-1024] + self.backup):
            self.assertRaises(BackupDamaged, read_backup, io.BytesIO(cut))

    def test_read_back(self) -> None:
        """What is not what was written does not become a backup."""
        for damaged in (self.backup[:-1], self.backup.replace(b"key of alice", b"key of alicE")):
            with self.assertRaisesRegex(BackupDamaged, "FILE was not written as it should be"):
                _read_back(io.BytesIO(damaged), Path("FILE"))
        self.assertIn("server.db", _read_back(io.BytesIO(self.backup), Path("FILE")))

    def test_contents(self) -> None:
        """An archive by somebody else with other names, too much, or too little is refused."""
        small = [("server.key", b"k"), ("contact/store.key", b""), ("contact/profile.db", b""), ("server.db", b"")]
        for files in (
            small[:3],
            [*small, ("../x", b"")],
            [*small, ("contact/x", b"")],
            [*small, (".x", b"")],
            [*small, ("lock", b"")],
            [*small, ("contact", b"")],
            [*small, ("server.db-wal", b"")],
            [*small, ("before-restore-x", b"")],
            [*small, small[0]],
            [*small, ("x", bytes(MAX_SMALL + 1))],
            [*small, *((f"x{number}", b"") for number in range(MAX_FILES + 1))],
        ):
            self.assertRaises(BackupDamaged, read_backup, io.BytesIO(self.archive(files)))
            folder = Path(tempfile.mkdtemp(dir=self.place))
            self.assertRaises(BackupDamaged, read_backup, io.BytesIO(self.archive(files)), folder)
        self.assertEqual(len(read_backup(io.BytesIO(self.archive(small)))), 4)

    def archive(self, files: list[tuple[str, bytes]]) -> bytes:
        """An archive with these files and right digests."""
        out = io.BytesIO()
        digests = []
        for name, content in files:
            write_member(out, name, io.BytesIO(content), len(content), lambda count: None)
            one = serverbackup._Digested()
            one.write(content)
            digests.append(f"{one.hexdigest}  {name}\n")
        sums = "".join(digests).encode()
        write_member(out, DIGESTS, io.BytesIO(sums), len(sums), lambda count: None)
        end_archive(out)
        return out.getvalue()


class CheckTests(StateCase):
    """What is found wrong with a state."""

    def test_whole(self) -> None:
        """Nothing, where nothing is; and nothing is changed."""
        before = sorted(self.state.glob("**/*"))
        self.assertEqual(self.faults(self.state), {})
        self.assertEqual(sorted(self.state.glob("**/*")), before)

    def test_damaged(self) -> None:
        """Each part is looked at."""
        (self.state / "server.key").write_text("x" * 64)
        data = bytearray((self.state / "server.db").read_bytes())
        data[5000:9000] = bytes(4000)
        (self.state / "server.db").write_bytes(bytes(data))
        (self.state / "contact" / "store.key").write_text("x")
        self.assertEqual(list(self.faults(self.state)), ["server.key", "server.db", "contact"])
        (self.state / "server.db").unlink()
        self.assertEqual(self.faults(self.state)["server.db"], ["it is missing"])

    def test_rows(self) -> None:
        """Rows that do not belong together are found in a file that is whole."""
        for change, what in (
            ("DELETE FROM accounts", "devices without an account"),
            ("DELETE FROM mailboxes", "devices without a mailbox"),
            ("DELETE FROM devices", "mailboxes without a device"),
            ("UPDATE mailboxes SET messages = 1", "mailboxes that count other messages than they hold"),
            ("INSERT INTO messages VALUES (9 << 36, 1, 1, 0, NULL, x'', x'')", "segments of messages without a mailbox"),
            ("INSERT INTO commons VALUES (1, 0, x'')", "common parts that nobody waits for"),
        ):
            shutil.copy(self.state / SNAPSHOT / "server.db", self.state / "server.db")
            connection = sqlite3.connect(self.state / "server.db", isolation_level=None)
            connection.execute(change)
            connection.close()
            self.assertIn(f"1 {what}", self.faults(self.state)["server.db"])


class RestoreTests(StateCase):
    """What a backup becomes."""

    def test_empty_folder(self) -> None:
        """A state is made where there was none, for its owner alone."""
        state = self.place / "new"
        self.assertIsNone(self.restore(state))
        check_whole(state)
        self.assertEqual(self.names(state), ["alice"])
        self.assertEqual({path.stat().st_mode & 0o077 for path in (state, *state.glob("**/*"))}, {0})

    def test_moved_aside(self) -> None:
        """What was there is kept; the mark of how far it had come does not hold for the backup."""
        state = self.make("other", "bob")
        (state / "high-water").write_text("999\n")
        aside = self.restore(state)
        assert aside is not None
        self.assertEqual((self.names(state), self.names(aside)), (["alice"], ["bob"]))
        self.assertEqual((aside / "high-water").read_text(), "999\n")
        check_whole(state)
        self.restore(state, when="later")
        self.assertEqual(self.names(aside), ["bob"])
        # A clock that was set back may give the same time again.
        again = self.restore(state)
        self.assertEqual(again, state / "before-restore-then-2")
        line = json.loads((state / "audit.jsonl").read_text("utf-8").splitlines()[-1])
        self.assertEqual((line["action"], line["uid"], line["result"]), ("restore", os.getuid(), "done"))

    @skipUnless(os.geteuid() == 0, "only root can have files of others there")
    def test_foreign(self) -> None:
        """What belongs to somebody else stays where it is, and does not keep the rest from its place."""
        state = self.make("other", "bob")
        (state / "lost+found").mkdir()
        os.chown(state / "lost+found", 61234, 61234)
        self.restore(state)
        self.assertTrue((state / "lost+found").exists())
        self.assertEqual(self.names(state), ["alice"])

    @skipUnless(os.geteuid() == 0, "only root could be led astray")
    def test_links(self) -> None:
        """Root works in the folder of a user as that user: a link of theirs does not lead to what they may not change."""
        state, target = self.make("other", "bob"), self.place / "roots"
        target.write_text("root's", "utf-8")
        (state / "audit.jsonl").unlink(missing_ok=True)
        for path in (state, *state.rglob("*")):
            os.chown(path, 61234, 61234)
        with as_owner(state) as folder:
            (folder / "link").symlink_to(target)
            self.assertRaises(PermissionError, (folder / "link").write_text, "ours", "utf-8")
            (folder / "link").unlink()
            (folder / "mine").write_text("ours", "utf-8")
        self.assertEqual((os.geteuid(), (state / "mine").stat().st_uid), (0, 61234))
        self.assertEqual(target.read_text("utf-8"), "root's")

    def test_in_use(self) -> None:
        """While a daemon runs nothing is touched."""
        state = self.make("other", "bob")
        lock = FileLock(state / "lock")
        lock.take()
        self.addCleanup(lock.free)
        self.assertEqual(self.assertRaises(SecuremsgError, self.restore, state).code, "state-in-use")
        self.assertEqual(self.names(state), ["bob"])

    def test_damaged(self) -> None:
        """A backup that is not whole, or whose contents are not, changes nothing."""
        state = self.make("other", "bob")
        (self.state / "server.key").write_text("x" * 64)
        for backup in (self.backup[:-1], self.write()):
            self.assertIn("nothing was restored", str(self.assertRaises(BackupDamaged, self.restore, state, backup)))
            self.assertEqual(self.names(state), ["bob"])
            self.assertEqual(sorted(path.name for path in state.glob(".*")), [])
            check_whole(state)

    @skipIf(os.geteuid() != 0, "only root can give files away")
    def test_owner(self) -> None:
        """Where root restores, everything belongs to whom the folder does, as with a user that systemd makes."""
        state = self.make("other", "bob")
        os.chown(state, 61234, 61234)
        self.assertRaises(PermissionError, self.restore, state)
        self.assertEqual((self.names(state), (state / daemon.RESTORING).exists()), (["bob"], False))
        for path in state.glob("**/*"):
            os.chown(path, 61234, 61234)
        self.restore(state)
        self.assertEqual({path.stat().st_uid for path in (state, *state.glob("**/*"))}, {61234})
        self.assertEqual(self.faults(state), {})

    def test_killed(self) -> None:
        """Wherever it is killed, the daemon finds the old state or the new one, or refuses; repeated, it succeeds."""
        seen = set()
        other, state = self.make("other", "bob"), self.place / "new"
        for steps in range(1000):
            shutil.copytree(other, state)
            died = dies_after(steps, lambda: self.restore(state))
            if (state / daemon.RESTORING).exists():
                self.assertIn("repeat it", str(self.assertRaises(daemon.StateError, check_whole, state)))
                seen.add("between")
            else:
                check_whole(state)
                seen.update(self.names(state))
            if not died:
                break
            if steps % 20 == 0 or (state / daemon.RESTORING).exists():
                self.restore(state, when="again")
                check_whole(state)
                self.assertEqual(self.names(state), ["alice"])
                kept = [self.names(folder) for folder in state.glob("before-restore-*") if (folder / "server.db").exists()]
                self.assertIn(["bob"], kept)
            shutil.rmtree(state)
        self.assertEqual(seen, {"alice", "between", "bob"})
