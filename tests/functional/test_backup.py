"""A backup of the daemon's state, made while it runs, and clients of a server that was put back to it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tests.functional.support import Done, PlaceCase


class BackupCase(PlaceCase):
    """A daemon and a place for a backup of it."""

    __test__ = False

    @property
    def file(self) -> Path:
        """The backup."""
        return self.place.folder / "server.backup"

    def restore(self, *arguments: str, status: int = 0) -> Done:
        """Put the state back to the backup, as far as that succeeds."""
        return self.daemon.admin("restore", "--yes", str(self.file), *arguments, status=status)


class RestoreTests(BackupCase):
    """The state is backed up, checked and restored."""

    __test__ = True

    def test_restored(self) -> None:
        """
        Clients that are ahead of the backup: what they have read is not shown again, what was lost is sent again or shown as a
        gap, and who joined since is told.
        """
        ada, ben = self.person("ada"), self.person("ben")
        ada.send("ben", "before")
        ben.run("recv", "--count", "1")
        ada.send("ben", "waits")
        (made,) = self.daemon.admin("backup", str(self.file), "--json").rows
        self.assertEqual((made["bytes"], self.file.stat().st_mode & 0o777), (self.file.stat().st_size, 0o600))
        self.assertIn("server.db", made["files"])
        self.assertFalse((self.daemon.state / ".snapshot").exists())
        self.assertIn("exists", self.daemon.admin("backup", str(self.file), status=2).err)
        others = self.file.with_name(f".{self.file.name}.settings")
        draft = self.file.with_name(f".{self.file.name}.securemsg-draft-x")
        for path in (others, draft):
            path.touch()
        self.daemon.admin("backup", str(self.file), "--force")
        self.assertEqual((others.exists(), draft.exists()), (True, False))
        self.assertEqual(self.daemon.admin("check", str(self.file)).out.count("whole"), 3)
        self.assertEqual(self.daemon.admin("check").out.count("whole"), 3)
        self.assertIn("is in use by", self.restore(status=5).err)
        # Beyond the backup: read, sent, joined.
        self.assertIn("waits", ben.run("recv", "--count", "1").out)
        ada.send("ben", "lost at first")
        cyd = self.person("cyd")
        cyd.send("ben", "from nowhere")
        self.daemon.stop()
        self.assertEqual(self.daemon.admin("check").out.count("whole"), 3)
        said = self.restore()
        (aside,) = self.daemon.state.glob("before-restore-*")
        self.assertTrue((aside / "server.db").is_file())
        self.assertIn(str(aside), said.err)
        self.daemon.start()
        self.assertIn("has lost", ada.run("ping").err)
        got = ben.run("recv", "--count", "1", "--timeout", "20").out
        self.assertIn("lost at first", got)
        self.assertNotIn("waits", got)
        self.assertNotIn("before", got)
        self.assertIn("does not know this account", cyd.run("ping", status=5).err)


class RefusalTests(BackupCase):
    """What is refused."""

    __test__ = True

    def test_refused(self) -> None:
        """One at a time, into no folder that is backed up; and a damaged backup is told from a whole one."""
        self.assertIn("elsewhere", self.daemon.admin("backup", str(self.daemon.state / "backup"), status=2).err)
        descriptor = os.open(self.daemon.state, os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.assertIn("another backup", self.daemon.admin("backup", str(self.file), status=5).err)
        os.close(descriptor)
        self.daemon.admin("backup", str(self.file))
        data = bytearray(self.file.read_bytes())
        data[len(data) // 2] ^= 1
        self.file.write_bytes(bytes(data))
        self.assertIn("not what was written", self.daemon.admin("check", str(self.file), status=9).err)
        self.daemon.stop()
        database = self.daemon.state / "server.db"
        database.write_bytes(database.read_bytes()[:-4096])
        self.assertIn("problem  server.db", self.daemon.admin("check", status=9).out)
        self.assertIn("nothing was restored", self.restore(status=9).err)
        self.file.write_bytes(b"rubbish")
        self.assertIn("not a backup", self.restore(status=9).err)
