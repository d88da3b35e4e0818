"""What is derived from a key file."""

from __future__ import annotations

from Crypto.Hash import SHA256
from Crypto.Protocol import KDF
from twisted.trial.unittest import SynchronousTestCase

from securemsg.crypto import keyfile, keys
from securemsg.crypto.keyfile import SharedKey

SECRET = bytes(range(32))
NONCE = bytes(range(32, 64))


def derived(label: bytes, *parts: bytes, salt: bytes = b"", length: int = 32) -> bytes:
    """HKDF-SHA-256 of the secret, as pycryptodome makes it."""
    return KDF.HKDF(SECRET, length, salt, SHA256, context=keys.length_prefixed(label, *parts))


class SharedKeyTests(SynchronousTestCase):
    """A key file in memory."""

    def test_name(self) -> None:
        """The holder of a file is called by the first 8 hex digits of its fingerprint, which is a labelled digest."""
        key = SharedKey(SECRET)
        self.assertEqual(key.fingerprint, keys.digest(keyfile.FILE_FINGERPRINT, SECRET))
        self.assertEqual(key.name, "key-" + key.fingerprint[:4].hex())

    def test_derived(self) -> None:
        """Each use has its own key, by HKDF under its own label: logins, content and the identity of a connection."""
        key = SharedKey(SECRET)
        self.assertEqual(key.login, derived(keyfile.FILE_LOGIN, length=64))
        self.assertEqual(key.content_key(NONCE, b"a", b"bc"), derived(keyfile.FILE_CONTENT, b"a", b"bc", salt=NONCE))
        identity = keys.SigningKey(derived(keyfile.FILE_GUEST, salt=NONCE))
        self.assertEqual(key.guest_identity(NONCE).public, identity.public)

    def test_told_apart(self) -> None:
        """Another file, nonce or list of parts gives other keys."""
        key, other = SharedKey(SECRET), SharedKey(SECRET[::-1])
        contents = {
            key.content_key(NONCE, b"a", b"bc"),
            key.content_key(NONCE, b"ab", b"c"),
            key.content_key(NONCE, b"a", b"bc", b""),
            key.content_key(NONCE[::-1], b"a", b"bc"),
            other.content_key(NONCE, b"a", b"bc"),
        }
        self.assertEqual(len(contents), 5)
        self.assertNotEqual(key.login, other.login)
        self.assertNotEqual(key.name, other.name)
        identities = {key.guest_identity(NONCE), key.guest_identity(NONCE[::-1]), other.guest_identity(NONCE)}
        self.assertEqual(len(identities), 3)

    def test_size(self) -> None:
        """A secret of another size is our bug: whoever reads files has to look first."""
        for size in (0, 16, 31, 33, 64):
            self.assertRaises(ValueError, SharedKey, bytes(size))

    def test_fresh(self) -> None:
        """Fresh secrets are never the same."""
        self.assertEqual(len({SharedKey.generate().secret for _ in range(100)}), 100)

    def test_no_secret_in_representation(self) -> None:
        """Neither the secret nor what proves it shows in logs."""
        key = SharedKey(SECRET)
        for hidden in (key.secret, key.login):
            self.assertNotIn(repr(hidden)[2:-1], repr(key))
            self.assertNotIn(hidden.hex(), repr(key))
