"""A server that was put back to a backup: clients that are ahead of it, or behind it, and what it hands out twice."""

from __future__ import annotations

import random

from securemsg.protocol import messages as m
from securemsg.protocol.states import Side
from tests.client.case import WorldCase
from tests.client.rig import MortalServerStore, User, Wire, decoded

# Numbers that random schedules follow, and how many things happen in each.
SEEDS = 12
STEPS = 60


class PutBackTests(WorldCase):
    """Alice, Bob and Carol of one server, which goes on from a backup."""

    def setUp(self) -> None:
        """All join."""
        super().setUp()
        self.carol = self.world.user("carol")
        self.world.settle()

    def restore(self, back: MortalServerStore, *come: User) -> None:
        """Everybody loses the connection, the server goes on from the copy, and these come back."""
        for user in self.world.users.values():
            user.disconnect()
        self.world.store = back
        self.world.restart_server()
        for user in come:
            user.connect()

    def one_time(self, wire: Wire | None) -> list[int]:
        """The one-time prekeys that the server handed out on a connection."""
        assert wire is not None, "connected"
        bundles = decoded(wire, Side.SERVER, m.Bundle)
        return [bundle.one_time.id for bundle in bundles if bundle.one_time is not None]

    def test_prekeys_handed_out_twice(self) -> None:
        """One-time prekeys that were used after the backup are handed out again while the owner is away: no text is lost."""
        back = self.world.store.crash()
        self.alice.send("bob", "first")
        self.assertEqual(self.bob.read(), ["first"])
        used = self.one_time(self.alice.wire)
        self.restore(back, self.carol)
        self.carol.send("bob", "second")
        self.carol.send("bob", "third")
        self.assertEqual((self.one_time(self.carol.wire), len(used)), (used, 1))
        self.bob.connect()
        self.world.advance(5, ticks=5)
        self.assertEqual((self.bob.read(), {line.gap_before for line in self.bob.has_read}), (["second", "third"], {0}))
        self.bob.send("carol", "back")
        self.assertEqual(self.carol.read(), ["back"])
        self.alice.connect()
        self.alice.send("bob", "fourth")
        self.assertEqual(self.bob.read(), ["fourth"])

    def test_delivered_again(self) -> None:
        """What waits in the backup and was read since is delivered again, and not shown again."""
        self.bob.disconnect()
        for text in ("one", "two"):
            self.alice.send("bob", text)
        back = self.world.store.crash()
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["one", "two"])
        self.restore(back, self.bob, self.alice)
        assert self.bob.wire is not None, "connected"
        self.assertEqual(len(decoded(self.bob.wire, Side.SERVER, m.Deliver)), 2)
        self.assertEqual(self.bob.read(), [])
        self.alice.send("bob", "three")
        self.assertEqual((self.bob.read(), self.bob.has_read[-1].gap_before), (["three"], 0))

    def test_joined_since(self) -> None:
        """Who joined after the backup cannot log in, and who writes to them is told."""
        back = self.world.store.crash()
        dave = self.world.user("dave")
        self.world.settle()
        self.alice.send("dave", "hello")
        self.assertEqual(dave.read(), ["hello"])
        self.restore(back, self.alice)
        dave.connect()
        self.assertEqual(dave.codes()[-1], "login-failed")
        sent = self.alice.sent(self.alice.send("dave", "are you there?"))
        self.assertEqual((sent.status, sent.code), ("failed", "no-such-account"))

    def test_any_schedule(self) -> None:
        """
        Whoever comes, goes and writes, and however often the server is put back: nothing is read twice, and what is not read
        shows as a gap.
        """
        for seed in range(SEEDS):
            self.setUp()
            self.live(random.Random(seed))

    def live(self, dice: random.Random) -> None:
        """A schedule."""
        people = [self.alice, self.bob, self.carol]
        back = self.world.store.crash()
        self.restore(back.crash(), *people)
        sent: dict[tuple[str, str], list[str]] = {}
        for number in range(STEPS):
            user = dice.choice(people)
            deed = dice.choices(["write", "go", "come", "wait", "copy", "restore"], [12, 3, 4, 2, 1, 1])[0]
            if deed == "write":
                other = dice.choice([each for each in people if each is not user])
                user.send(other.name, f"{number}")
                sent.setdefault((user.name, other.name), []).append(f"{number}")
            elif deed == "go":
                user.disconnect()
            elif deed == "come":
                user.connect()
            elif deed == "wait":
                self.world.advance(dice.choice([1, 30, 4000]), ticks=3)
            elif deed == "copy":
                there = [each for each in people if each.is_connected]
                back = self.world.store.crash()
                self.restore(back.crash(), *there)
            else:
                self.restore(back.crash(), *[each for each in people if dice.random() < 0.7])
        for _ in range(4):
            for user in people:
                user.connect()
            self.world.advance(4000, ticks=5)
        for user in people:
            user.read()
        for (sender, name), texts in sent.items():
            lines = [line for line in self.world.users[name].has_read if line.sender == sender]
            read = [line.text for line in lines]
            self.assertEqual(len(read), len({*read} & {*texts}))
            self.assertLessEqual(len(texts) - len(read), sum(line.gap_before for line in lines))
            in_time = [line.text for line in lines if line.note != "late"]
            self.assertEqual(in_time, [text for text in texts if text in in_time])
