"""A database of the daemon that has lost what was accepted, without a word of SQLite's: the daemon does not start over it."""

from __future__ import annotations

import shutil
from pathlib import Path

from securemsg.storage.sqlite.store import check_server_store
from tests.functional.support import PlaceCase, until


class HighWaterTests(PlaceCase):
    """Between two starts, something happens to the write-ahead log."""

    @property
    def log(self) -> Path:
        """The write-ahead log."""
        return self.daemon.state / "server.db-wal"

    @property
    def mark(self) -> Path:
        """How far the daemon says that its database had come."""
        return self.daemon.state / "high-water"

    def high_water(self) -> int:
        """How far the database has come, as a kill would leave it now."""
        copy = self.place.folder / "copy"
        copy.mkdir()
        for name in ("server.db", "server.db-wal"):
            shutil.copy(self.daemon.state / name, copy / name)
        number = check_server_store(copy / "server.db")
        shutil.rmtree(copy)
        return number

    def flip(self) -> None:
        """One bit in the middle of the log."""
        content = bytearray(self.log.read_bytes())
        content[len(content) // 2] ^= 1
        self.log.write_bytes(content)

    def assert_refused(self) -> None:
        """The start fails in one line, before the daemon leaves the terminal."""
        said = self.daemon.launch().wait()
        self.assertEqual((said.status, said.out, said.err.count("\n")), (1, "", 1), said)
        for part in ("lacks messages", "server.db-wal", f"rm {self.mark}"):
            self.assertIn(part, said.err)

    def test_damaged_log(self) -> None:
        """
        After a C{kill -9}, a log with one wrong bit, or none, keeps the daemon from starting, and stays as it is; without the
        mark it goes on with what is left. A backup that is whole brings its own mark.
        """
        ada, bob = self.person("ada"), self.person("bob")
        ada.send("bob", "before")
        self.daemon.stop()
        backup = self.place.folder / "backup"
        shutil.copytree(self.daemon.state, backup)
        self.daemon.start()
        for number in range(8):
            ada.send("bob", f"message {number}")
        high_water = self.high_water()
        until(lambda: int(self.mark.read_bytes()) >= high_water, "the mark")
        self.daemon.kill()
        self.flip()
        self.assert_refused()
        self.flip()
        whole = self.log.rename(self.place.folder / "whole")
        self.assert_refused()
        whole.rename(self.log)
        self.assertEqual((int(self.mark.read_bytes()), self.high_water()), (high_water, high_water))
        self.flip()
        self.mark.unlink()
        self.daemon.start()
        bob.run("ping", "--retry")
        texts = [row["text"] for row in bob.recv()]
        self.assertEqual(texts, ["before", *(f"message {number}" for number in range(len(texts) - 1))])
        self.assertLess(len(texts), 9)
        self.daemon.stop()
        shutil.rmtree(self.daemon.state)
        shutil.copytree(backup, self.daemon.state)
        self.daemon.start()
