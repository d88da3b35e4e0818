"""A profile that is backed up while it is in use, and restored elsewhere."""

from __future__ import annotations

import shutil

from tests.functional.support import Person, PlaceCase, until


class BackupTests(PlaceCase):
    """C{recv --follow} runs, and goes on."""

    def test_elsewhere(self) -> None:
        """
        The backup holds what was there. Restored elsewhere it talks on with the same contact, whose keys have not changed for
        anybody, and what came after the backup comes again; the original, when it comes back, says that a copy is in use.
        """
        ada, ben = self.person("ada"), self.person("ben")
        ada.send("ben", "zero")
        self.assertEqual(ben.texts(1), ["zero"])
        secret = self.place.folder / "secret"
        secret.write_text("correct horse\n", "utf-8")
        secret.chmod(0o600)
        file = self.place.folder / "backup"
        following = ben.start("recv", "--follow", "--json")
        ada.send("ben", "one")
        until(lambda: '"one"' in following.out, "a message that is shown")
        ben.run("profile", "backup", str(file), "--backup-passphrase-file", str(secret))
        ben.run("passphrase", "--new-passphrase-file", str(secret))
        ada.send("ben", "two")
        until(lambda: '"two"' in following.out, "a message after the backup")
        following.process.terminate()
        following.wait()

        other = Person(self.place, "restored")
        protected = ("--passphrase-file", str(secret))
        done = other.run("profile", "restore", str(file), *protected)
        self.assertIn("ben at ", done.out)
        self.assertIn("two copies of a profile must not both be in use", done.err)
        other.run("profile", "check", *protected)
        other.send("ada", "from elsewhere", *protected)
        ada.send("ben", "three")
        self.assertEqual(ada.texts(1), ["from elsewhere"])
        found = other.texts(1, *protected)
        self.assertEqual(found[-1], "three")
        rows = other.run("history", "ada", "--json", *protected).rows
        self.assertEqual([row["text"] for row in rows][:2], ["zero", "one"])
        self.assertNotIn("changed", ada.run("contacts").out)
        warned = ben.run("ping", *protected).err
        self.assertIn("state-restored", warned)
        shutil.rmtree(other.profile)
