"""The store key and its file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from securemsg.client.state.vault import (
    KEY_FILE,
    KEY_IN_FILE,
    LOWEST_COST,
    PASSPHRASE,
    PassphraseNeeded,
    PassphraseUnneeded,
    Vault,
    VaultDamaged,
    VaultError,
    VaultExists,
    VaultExposed,
    VaultMissing,
    WrongPassphrase,
    change_passphrase,
    create_vault,
    open_vault,
    protection,
)
from securemsg.errors import Unauthentic
from securemsg.interfaces import ISealer
from tests.net.fakes import give_away
from tests.storage.dying import dies_after

SECRET = b"correct horse"
OTHER = b"battery staple"


class SealerTests(SynchronousTestCase):
    """The store key at work."""

    def test_interface(self) -> None:
        """A vault is a sealer."""
        verifyObject(ISealer, Vault(bytes(32)))

    def test_sealed(self) -> None:
        """What is sealed opens with the same key and associated data, and with nothing else."""
        vault = Vault(bytes(32))
        sealed = vault.seal(b"plain", b"place")
        self.assertEqual(vault.open(sealed, b"place"), b"plain")
        self.assertRaises(Unauthentic, vault.open, sealed, b"other place")
        self.assertRaises(Unauthentic, vault.open, sealed[:-1], b"place")
        self.assertRaises(Unauthentic, vault.open, b"", b"place")
        self.assertRaises(Unauthentic, Vault(b"\x01" * 32).open, sealed, b"place")

    def test_never_the_same(self) -> None:
        """Equal records look different."""
        vault = Vault(bytes(32))
        self.assertNotEqual(vault.seal(b"plain", b"place"), vault.seal(b"plain", b"place"))

    def test_tags(self) -> None:
        """A tag has 16 bytes, is the same for the same name and key, and different for others."""
        vault = Vault(bytes(32))
        self.assertEqual(len(vault.tag(b"bob")), 16)
        self.assertEqual(vault.tag(b"bob"), Vault(bytes(32)).tag(b"bob"))
        self.assertNotEqual(vault.tag(b"bob"), vault.tag(b"eve"))
        self.assertNotEqual(vault.tag(b"bob"), Vault(b"\x01" * 32).tag(b"bob"))

    def test_keeps_quiet(self) -> None:
        """The text of a vault says nothing of its key."""
        self.assertNotIn("\\x01", repr(Vault(b"\x01" * 32)))

    def test_key_size(self) -> None:
        """A store key of another length is our own bug."""
        self.assertRaises(ValueError, Vault, bytes(16))


class VaultFileTests(SynchronousTestCase):
    """C{store.key}."""

    def setUp(self) -> None:
        """A folder that does not exist yet."""
        self.folder = Path(self.mktemp())
        self.path = self.folder / KEY_FILE

    def create(self, passphrase: bytes | None = None) -> Vault:
        """A vault that costs little."""
        return create_vault(self.folder, passphrase, cost=LOWEST_COST)

    def test_key_file(self) -> None:
        """Without a passphrase the file holds the 32 bytes, and opens again."""
        sealed = self.create().seal(b"x", b"")
        vault = open_vault(self.folder, None)
        self.assertEqual(vault.open(sealed, b""), b"x")
        self.assertEqual(self.path.stat().st_size, 32)
        self.assertEqual((vault.kind, protection(self.folder)), (KEY_IN_FILE, KEY_IN_FILE))

    def test_passphrase(self) -> None:
        """With a passphrase the key comes out by it alone."""
        sealed = self.create(SECRET).seal(b"x", b"")
        vault = open_vault(self.folder, SECRET)
        self.assertEqual(vault.open(sealed, b""), b"x")
        self.assertEqual((vault.kind, protection(self.folder)), (PASSPHRASE, PASSPHRASE))
        self.assertNotIn(SECRET, self.path.read_bytes())

    def test_wrong_passphrase(self) -> None:
        """Another passphrase, and none, are told apart and change nothing."""
        self.create(SECRET)
        before = self.path.read_bytes()
        self.assertRaises(WrongPassphrase, open_vault, self.folder, b"incorrect horse")
        self.assertRaises(WrongPassphrase, open_vault, self.folder, b"")
        self.assertRaises(PassphraseNeeded, open_vault, self.folder, None)
        self.assertEqual(self.path.read_bytes(), before)

    def test_unneeded(self) -> None:
        """A passphrase for a key that none protects is an error: whoever gives one takes the key for protected."""
        self.create()
        error = self.assertRaises(PassphraseUnneeded, open_vault, self.folder, SECRET)
        self.assertNotIn(SECRET.decode(), str(error))

    def test_own_keys(self) -> None:
        """Every vault has a key of its own."""
        sealed = self.create().seal(b"x", b"")
        other = create_vault(Path(self.mktemp()), None)
        self.assertRaises(Unauthentic, other.open, sealed, b"")

    def test_never_overwritten(self) -> None:
        """A key file that is there stays."""
        self.create()
        before = self.path.read_bytes()
        self.assertRaises(VaultExists, self.create)
        self.assertRaises(VaultExists, self.create, SECRET)
        self.assertEqual(self.path.read_bytes(), before)

    def test_nothing_beside(self) -> None:
        """No draft of the file is left behind."""
        self.create()
        self.assertRaises(VaultExists, self.create)
        self.assertEqual([path.name for path in self.folder.iterdir()], [KEY_FILE])

    def test_rights(self) -> None:
        """Folder and file are the owner's alone, whatever the umask."""
        umask = os.umask(0)
        self.addCleanup(os.umask, umask)
        self.create()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.folder.stat().st_mode & 0o777, 0o700)

    def test_exposed(self) -> None:
        """A key that others may read or change is not used, and the remedy is told."""
        self.create()
        for mode in (0o644, 0o640, 0o620, 0o604, 0o602):
            self.path.chmod(mode)
            error = self.assertRaises(VaultExposed, open_vault, self.folder, None)
            self.assertIn(f"chmod 600 {self.path}", str(error))

    def test_of_another_user(self) -> None:
        """Nor is one that belongs to another user."""
        self.create()
        give_away(self, self.path)
        error = self.assertRaises(VaultExposed, open_vault, self.folder, None)
        self.assertIn("belongs to another user", str(error))

    def test_missing(self) -> None:
        """Where there is no key, nothing is made."""
        self.assertRaises(VaultMissing, open_vault, self.folder, None)
        self.assertFalse(self.folder.exists())

    def test_no_file(self) -> None:
        """A folder in the place of the file, or a file in the place of the folder, has its own message."""
        self.path.mkdir(parents=True)
        self.assertRaises(VaultError, open_vault, self.folder, None)
        (self.folder / "file").touch()
        self.assertRaises(VaultError, create_vault, self.folder / "file", None)

    def test_damaged(self) -> None:
        """Every truncation of a protected key file is refused as damaged, and so is anything else that is none."""
        self.create(SECRET)
        content = self.path.read_bytes()
        contents = [content[:size] for size in range(len(content)) if size != 32]
        for wrong in (*contents, content + b"\x00", bytes(5000), b"\x91" * 1000):
            self.path.write_bytes(wrong)
            self.assertRaises(VaultDamaged, open_vault, self.folder, SECRET)

    def test_costs_bounded(self) -> None:
        """A file that asks for more memory or less work than is sensible is refused before any work is done."""
        self.create(SECRET)
        good = msgspec.msgpack.decode(self.path.read_bytes())
        for place, value in (
            (3, 21),
            (3, 13),
            (3, -1),
            (4, 1024),
            (4, 1),
            (5, 1000),
            (5, 0),
            (2, b"salt"),
            (1, 2),
            (0, "other"),
        ):
            wrong = [*good]
            wrong[place] = value
            self.path.write_bytes(msgspec.msgpack.encode(wrong))
            self.assertRaises(VaultDamaged, open_vault, self.folder, SECRET)

    def test_bound_to_costs(self) -> None:
        """Salt and costs belong to the sealed key: changed ones open nothing."""
        self.create(SECRET)
        good = msgspec.msgpack.decode(self.path.read_bytes())
        for place, value in ((3, LOWEST_COST + 1), (5, 2), (2, bytes(16))):
            wrong = [*good]
            wrong[place] = value
            self.path.write_bytes(msgspec.msgpack.encode(wrong))
            self.assertRaises(WrongPassphrase, open_vault, self.folder, SECRET)


class ChangeTests(SynchronousTestCase):
    """Another passphrase for the same store key."""

    def setUp(self) -> None:
        """A folder, and something that its key has sealed."""
        self.folder = Path(self.mktemp())

    def create(self, passphrase: bytes | None) -> None:
        """Make a vault, and seal something."""
        self.sealed = create_vault(self.folder, passphrase, cost=LOWEST_COST).seal(b"x", b"")

    def change(self, old: bytes | None, new: bytes | None) -> Vault:
        """Change the passphrase at little cost."""
        vault = open_vault(self.folder, old)
        change_passphrase(self.folder, vault, new, cost=LOWEST_COST)
        return vault

    def opens(self, passphrase: bytes | None) -> bool:
        """Whether the file opens so, with the key that it always had."""
        try:
            return open_vault(self.folder, passphrase).open(self.sealed, b"") == b"x"
        except VaultError:
            return False

    def test_changes(self) -> None:
        """A passphrase is set, changed and removed; then the file opens with the new one alone, and holds the same key."""
        for old, new in ((None, SECRET), (SECRET, OTHER), (OTHER, None), (SECRET, SECRET)):
            self.folder = Path(self.mktemp())
            self.create(old)
            vault = self.change(old, new)
            self.assertEqual(vault.open(self.sealed, b""), b"x")
            self.assertEqual(vault.kind, protection(self.folder))
            self.assertEqual([each for each in (None, SECRET, OTHER) if self.opens(each)], [new])
            self.assertEqual([path.name for path in self.folder.iterdir()], [KEY_FILE])
            self.assertEqual((self.folder / KEY_FILE).stat().st_mode & 0o777, 0o600)

    def test_killed(self) -> None:
        """Wherever the process is killed, the file is whole, and opens with the old passphrase or the new one."""
        for old, new in ((SECRET, OTHER), (SECRET, None), (None, SECRET)):
            self.folder = Path(self.mktemp())
            self.create(old)
            steps, found = 0, []
            while dies_after(steps, lambda old=old, new=new: self.change(old, new)):  # type: ignore[misc]
                found.append((self.opens(old), self.opens(new)))
                steps += 1
                if self.opens(new):
                    self.change(new, old)
            self.assertGreater(steps, 4)
            self.assertEqual(set(found), {(True, False), (False, True)})
            self.assertTrue(self.opens(new))

    def test_drafts_removed(self) -> None:
        """What a killed process has left, perhaps the key as it is, does not stay beside a key that a passphrase protects."""
        self.create(SECRET)
        self.assertTrue(dies_after(4, lambda: self.change(SECRET, None)))
        [left] = [path for path in self.folder.iterdir() if path.name != KEY_FILE]
        self.assertEqual(left.stat().st_mode & 0o777, 0o600)
        self.change(SECRET, OTHER)
        self.assertEqual([path.name for path in self.folder.iterdir()], [KEY_FILE])
