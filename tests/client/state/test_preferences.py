"""What a user wants of accounts: aliases are clear, and bounded."""

from __future__ import annotations

from securemsg.client.state import contacts, integrity, preferences
from securemsg.errors import Refusal
from tests.client.case import WorldCase


class AliasTests(WorldCase):
    """What accounts are called."""

    def setUp(self) -> None:
        """Alice knows Bob."""
        super().setUp()
        self.alice.send("bob", "hello")
        self.profile = self.alice.profile()

    def call(self, name: str, alias: str) -> None:
        """Call somebody so."""
        with self.alice.store.inner.writing() as records:
            preferences.set_alias(records, self.profile, name, alias)

    def meant(self, name: str) -> str:
        """Who is meant."""
        with self.alice.store.inner.reading() as records:
            return preferences.account_of(records, name)

    def refused(self, name: str, alias: str) -> str:
        """Why somebody cannot be called so."""
        with self.assertRaises(Refusal) as caught:
            self.call(name, alias)
        return str(caught.exception.code)

    def test_found(self) -> None:
        """An account is found by its alias and by its name; another alias takes the place of the first."""
        self.call("bob", "boss")
        self.assertEqual([self.meant(name) for name in ("boss", "bob", "carol")], ["bob", "bob", "carol"])
        self.call("bob", "chief")
        self.assertEqual([self.meant(name) for name in ("boss", "chief")], ["boss", "bob"])
        self.call("bob", "")
        self.assertEqual(self.meant("chief"), "chief")
        with self.alice.store.inner.reading() as records:
            self.assertEqual(preferences.all_preferences(records), {})

    def test_clear(self) -> None:
        """Nobody is called by a name that is, or might be, somebody else's."""
        self.call("carol", "boss")
        self.assertEqual([self.refused("bob", alias) for alias in ("boss", "alice")], ["alias-taken"] * 2)
        self.assertEqual([self.refused("bob", alias) for alias in ("server", "A b")], ["illegal-name"] * 2)
        self.assertEqual(self.refused("carol", "bob"), "alias-taken")

    def test_unclear_later(self) -> None:
        """Where somebody comes who has the name, nothing is guessed."""
        self.call("bob", "dave")
        with self.alice.store.inner.writing() as records:
            contacts.put_contact(records, contacts.new_contact("dave", bytes(32), contacts.MESSAGE, 1))
        with self.assertRaises(Refusal) as caught:
            self.meant("dave")
        self.assertEqual(caught.exception.code, "name-unclear")

    def test_forgotten(self) -> None:
        """With an account goes its alias; it stays blocked."""
        self.call("bob", "boss")
        with self.alice.store.inner.writing() as records:
            preferences.block(records, "bob", is_blocked=True)
            preferences.forget(records, self.profile, "bob")
            self.assertEqual(preferences.get(records, "bob"), preferences.Preferences(is_blocked=True))
        self.assertEqual(self.meant("boss"), "boss")

    def test_bounded(self) -> None:
        """No more is kept than has a limit."""
        self.patch(preferences, "MAX_ACCOUNTS", 1)
        self.call("bob", "boss")
        self.assertEqual(self.refused("carol", "chief"), "too-many-preferences")
        self.call("bob", "chief")


class ForgottenTests(WorldCase):
    """A contact is forgotten."""

    def test_met_again(self) -> None:
        """Whoever has written is met anew, and trusted on first use, though we have sessions."""
        self.alice.send("bob", "one")
        self.bob.send("alice", "two")
        self.alice.read()
        with self.alice.store.inner.writing() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None, "they have met"
            contacts.forget_contact(records, contact)
            noted = integrity.entries(records)
            self.assertNotIn((contacts.TABLE, b"bob"), noted or {})
            self.assertIsNotNone(noted, "what is known of others is noted")
        self.bob.send("alice", "three")
        self.world.advance(90, ticks=30)
        self.assertEqual(self.alice.read(), ["three"])
        with self.alice.store.inner.reading() as records:
            contact = contacts.get_contact(records, "bob")
            assert contact is not None, "they have met again"
            self.assertFalse(contact.verified)
        self.assertEqual(self.alice.codes(), [])
