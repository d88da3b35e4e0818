"""A profile that was put back from an older copy."""

from __future__ import annotations

from functools import partial

import msgspec

from securemsg.client import messages
from securemsg.client.login import greeting
from securemsg.client.messages import Received, Sent
from securemsg.client.restored import MAX_OWN_LOGINS, Logins, note_login, start_new_incarnation
from securemsg.client.sending import losses
from securemsg.client.sending.outbox import HORIZON
from securemsg.client.sessions.prekeys import BATCH_PAUSE
from securemsg.client.state.contacts import get_contact
from securemsg.client.state.profile import DAY, load_profile
from securemsg.client.state.records import LOGINS, META, load, save
from securemsg.client.state.settings import Policy
from securemsg.protocol import messages as m
from securemsg.protocol.envelope import Kind
from securemsg.protocol.states import Side
from securemsg.storage.memory import MemoryProfile
from tests.client.case import WorldCase
from tests.client.rig import TLS, Fate, MortalProfile, User, Wire, World, decoded
from tests.client.sessions.test_resets import Loss
from tests.client.test_malice import replacing


class RestoredTests(WorldCase):
    """A profile that was put back from an older copy."""

    def setUp(self) -> None:
        """Alice's profile is as it was before her last messages."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        backup = self.alice.backup()
        self.alice.send("bob", "one")
        self.bob.send("alice", "after the backup")
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(backup)
        self.before = self.alice.profile()
        self.wire = self.alice.connect()

    def test_found_out(self) -> None:
        """The server's n gives it away, and the user is told."""
        self.assertIn("state-restored", [notice.code for notice in messages.notices(self.alice.store)])

    def test_new_incarnation(self) -> None:
        """
        It goes on under a new incarnation. Prekeys that may have been used are dropped at once, and new ones made when a batch
        may be made again.
        """
        self.assertNotEqual(self.alice.profile().incarnation, self.before.incarnation)
        self.world.advance(BATCH_PAUSE)
        uploads = decoded(self.wire, Side.CLIENT, m.Upload)
        made = [(upload.replace, len(upload.one_time), len(upload.kem)) for upload in uploads]
        self.assertEqual(made, [(True, 0, 0), (False, 50, 50)])

    def test_conversation(self) -> None:
        """Both sides read each other again."""
        self.alice.send("bob", "two")
        self.bob.send("alice", "three")
        self.assertEqual(self.bob.read(), ["zero", "one", "two"])
        self.assertEqual(self.alice.texts("bob")[-1], "three")

    def test_lost_is_asked_for(self) -> None:
        """What had come after the copy was made is seen to be missing, and sent again."""
        self.bob.send("alice", "three")
        self.alice.send("bob", "two")
        self.world.advance(3600 * 3, ticks=20)
        self.assertEqual(self.alice.texts("bob"), ["reply", "after the backup", "three"])

    def test_only_once(self) -> None:
        """The next login is an ordinary one."""
        incarnation = self.alice.profile().incarnation
        self.alice.connect()
        self.assertEqual(self.alice.profile().incarnation, incarnation)


class NewLifeTests(WorldCase):
    """A backup that was restored by a command, which lets it start a new incarnation before it connects."""

    def restore(self, backup: MemoryProfile) -> None:
        """Alice's profile is put back."""
        self.alice.die()
        self.world.settle()
        with backup.writing() as records:
            profile = load_profile(records)
            assert profile is not None
            start_new_incarnation(records, profile)
        self.alice.store = MortalProfile(backup)

    def test_conversation(self) -> None:
        """Both sides read each other again, what is missing comes again, and nobody's keys have changed."""
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        backup = self.alice.backup()
        self.alice.send("bob", "one")
        self.bob.send("alice", "after the backup")
        self.restore(backup)
        self.alice.connect()
        self.alice.send("bob", "two")
        self.bob.send("alice", "three")
        self.world.advance(3600 * 3, ticks=20)
        self.assertEqual(self.bob.read(), ["zero", "one", "two"])
        self.assertEqual(self.alice.texts("bob"), ["reply", "after the backup", "three"])
        with self.bob.store.reading() as records:
            contact = get_contact(records, "alice")
        assert contact is not None
        self.assertFalse(contact.has_changed)

    def test_no_word_from_the_server(self) -> None:
        """It does not depend on the server: where nothing came after the backup, and where the server hides what did, too."""
        for hidden in (False, True):
            self.setUp()
            self.alice.send("bob", "zero")
            self.bob.send("alice", "reply")
            self.alice.disconnect()
            self.world.settle()
            before, backup = self.alice.profile(), self.alice.backup()
            self.restore(backup)
            wire = self.alice.connect(settle=False)
            if hidden:
                wire.to_client = replacing(m.Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=0, logins=[]))
            self.world.settle()
            self.assertGreater(self.alice.profile().incarnation, before.incarnation)
            self.assertIn(True, [upload.replace for upload in decoded(wire, Side.CLIENT, m.Upload)])
            self.alice.send("bob", "two")
            self.bob.send("alice", "three")
            self.assertEqual((self.bob.read(), self.alice.read()[-1]), (["zero", "two"], "three"))

    def test_waiting(self) -> None:
        """What waited in the outbox when the backup was made arrives once, whether the original has sent it since or not."""
        for sent in (True, False):
            self.setUp()
            self.alice.send("bob", "zero")
            self.part(self.alice)
            self.alice.send("bob", "waiting")
            backup = self.alice.backup()
            if sent:
                self.alice.connect()
            self.restore(backup)
            self.alice.connect()
            self.alice.send("bob", "later")
            self.assertEqual(self.bob.read(), ["zero", "waiting", "later"])


class SameCopyTests(WorldCase):
    """The same copy of a profile is put back before each message, as by an image of a machine."""

    def put_back(self, copy: MemoryProfile) -> Wire:
        """Alice's profile is what it was."""
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(copy.snapshot())
        return self.alice.connect(settle=False)

    def test_every_message(self) -> None:
        """All arrive in order, also beyond the limit of one-time prekeys, whether the two have met or not; so do later ones."""
        for met in ((), ("alice",), ("alice", "bob")):
            world = self.world = World()
            self.alice, self.bob = world.user("alice"), world.user("bob")
            for name in met:
                world.users[name].send("bob" if name == "alice" else "alice", "hello")
            copy, self.bob.has_read = self.alice.backup(), []
            self.bob.read()
            self.bob.disconnect()
            for number in range(6):
                self.put_back(copy)
                self.alice.send("bob", f"{number}")
            self.bob.connect()
            self.assertEqual(self.bob.read(), [f"{number}" for number in range(6)])
            self.bob.send("alice", "reply")
            self.alice.send("bob", "later")
            self.assertEqual((self.bob.read(), self.alice.read()[-1:]), (["later"], ["reply"]))

    def test_uploads_lost(self) -> None:
        """Nor does that depend on what the client uploads: the server sees that its state is an older one."""
        copy = self.alice.backup()
        for number in range(4):
            wire = self.put_back(copy)
            wire.to_server = replacing(m.Upload, lambda upload: None)
            self.alice.send("bob", f"{number}")
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(4)])

    def test_in_turn(self) -> None:
        """Two machines that use one copy in turn are both told, and what was accepted from either arrives."""
        copy = self.alice.backup()
        other = self.world.users["other"] = User(self.world, "other", MortalProfile(copy))
        for number in range(3):
            for user in (self.alice, other):
                user.connect()
                user.send("bob", f"{user.name} {number}")
                user.disconnect()
        self.assertEqual(self.bob.read(), [f"{name} {number}" for number in range(3) for name in ("alice", "other")])
        for user, times in ((self.alice, 2), (other, 3)):
            codes = [notice.code for notice in messages.notices(user.store) if notice.code.startswith("state-")]
            self.assertEqual(len(codes), times, user.name)


class StrangersTests(WorldCase):
    """A state that does not know whoever writes to it gets everything that was accepted, without having to write itself."""

    def put_back(self, user: User, backup: MemoryProfile) -> None:
        """Somebody's profile is put back."""
        user.die()
        self.world.settle()
        user.store = MortalProfile(backup)
        user.connect()

    def forget_meeting(self, user: User, other: User) -> None:
        """Somebody is put back to before the two met, and reads what the other goes on writing, and has written before."""
        backup = user.backup()
        for number in range(2):
            self.alice.send("bob", f"{number}")
            self.bob.send("alice", f"{number}")
        self.put_back(user, backup)
        other.send(user.name, "2")
        self.world.advance(3600, ticks=4)
        self.assertEqual(user.texts(other.name), ["0", "1", "2"])

    def test_first_writer(self) -> None:
        """The one who wrote first."""
        self.forget_meeting(self.alice, self.bob)

    def test_first_reader(self) -> None:
        """The one who was written to."""
        self.forget_meeting(self.bob, self.alice)

    def test_bot(self) -> None:
        """A bot, which knows nobody because it only answers, reads whoever asks again."""
        for number in range(3):
            backup = self.alice.backup()
            self.bob.send("alice", f"{number}")
            self.alice.send("bob", f"{number}", kind=Kind.ANSWER)
        self.put_back(self.alice, backup)
        self.bob.send("alice", "3")
        self.world.advance(3600, ticks=4)
        self.assertEqual(self.alice.texts("bob"), ["0", "1", "2", "3"])

    def test_lie(self) -> None:
        """A lie of the server, for which prekeys are dropped, loses nothing that strangers had written to them."""
        self.world.advance(3700, ticks=2)
        self.part(self.alice)
        carol = self.world.user("carol")
        for number in range(3):
            for user in (self.bob, carol):
                user.send("alice", f"{number}")
        wire = self.alice.connect(settle=False)
        wire.to_client = replacing(m.Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=welcome.highest + 1))
        self.world.settle()
        self.assertEqual(messages.quarantined(self.alice.store), (6, 0))
        self.world.advance(3600, ticks=4)
        for name in ("bob", "carol"):
            self.assertEqual(self.alice.texts(name), ["0", "1", "2"])

    def test_restored_server(self) -> None:
        """A server that was put back hands out prekeys that were used: what was sealed with them is asked for again."""
        carol = self.world.user("carol")
        back = self.world.store.crash()
        carol.send("alice", "from carol")
        for user in self.world.users.values():
            self.part(user)
        self.world.store = back
        self.world.restart_server()
        for user in self.world.users.values():
            user.connect()
        self.bob.send("alice", "from bob")
        self.world.advance(3600, ticks=4)
        self.assertEqual(self.alice.texts("bob"), ["from bob"])


class SwallowedTests(WorldCase):
    """The server has swallowed a message, which shows as a gap; then an older state of its sender is asked for it."""

    def setUp(self) -> None:
        """Bob sees that one is missing."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        self.backup = self.alice.backup()
        Loss(self.bob).lose(0)
        self.alice.send("bob", "swallowed")
        self.alice.send("bob", "later")
        self.assertEqual(self.missing(), 1)

    def missing(self) -> int:
        """How many messages Bob sees to be missing."""
        return sum(line.gap_before for line in self.bob.lines("alice") if isinstance(line, Received))

    def test_restored(self) -> None:
        """A sender that was put back to before it cannot send it again, and does not say that it was nothing."""
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(self.backup)
        self.alice.connect()
        self.world.advance(8 * 3600, ticks=30)
        self.assertEqual(self.missing(), 1)

    def test_copied(self) -> None:
        """Nor does a copy, and the true sender sends it when it is asked in its turn."""
        copy = self.world.users["copy"] = User(self.world, "copy", MortalProfile(self.backup))
        copy.connect()
        self.world.advance(2 * 3600, ticks=8)
        copy.disconnect()
        self.assertEqual(self.missing(), 1)
        self.alice.connect()
        self.world.advance(8 * 3600, ticks=30)
        self.assertEqual((self.missing(), "swallowed" in self.bob.texts("alice")), (0, True))


class RestoredServerTests(WorldCase):
    """A server that has seen less than it had accepted."""

    def connect(self, highest: int) -> list[str]:
        """What Alice is warned of when she logs in and the server names this n."""
        before = len(messages.notices(self.alice.store))
        wire = self.alice.connect(settle=False)
        wire.to_client = replacing(m.Welcome, lambda welcome: msgspec.structs.replace(welcome, highest=highest))
        self.world.settle()
        return [notice.code for notice in messages.notices(self.alice.store)[before:]]

    def say(self, *texts: str, **options: bool) -> None:
        """Alice writes this to Bob, and the server stores it, because Bob is away; then he comes."""
        self.bob.disconnect()
        for text in texts:
            self.alice.send("bob", text, **options)
        self.bob.connect()

    def test_told_once(self) -> None:
        """A server that has lost something it had stored is found out, once for each loss."""
        self.bob.confirm_to(Policy.EVERYBODY)
        self.say("one", "two", wants_receipt=True)
        self.world.advance(2, ticks=2)
        self.assertEqual(self.connect(highest=1), ["server-behind"])
        self.assertEqual(self.connect(highest=1), [])
        self.world.clock += 2 * DAY
        self.assertEqual(self.connect(highest=1), [])

    def test_told_of_each_loss(self) -> None:
        """Each further loss is told, however soon it follows, and though it be down to the same count."""
        self.say("one", "two")
        self.assertEqual(self.connect(highest=1), ["server-behind"])
        self.assertEqual(self.connect(highest=0), ["server-behind"])
        self.say("three")
        self.assertEqual(self.connect(highest=0), ["server-behind"])

    def test_relayed(self) -> None:
        """What was never stored, because Bob acknowledged it first, may be forgotten: it is not lost, and not sent again."""
        self.alice.send("bob", "one")
        self.assertEqual(self.connect(highest=0), [])
        self.assertEqual(self.deposits(), 0)
        self.assertEqual(self.bob.read(), ["one"])

    def test_goes_on(self) -> None:
        """No number is given twice, and what is sent afterwards arrives."""
        self.say("one")
        wires = [self.alice.wire]
        self.connect(highest=0)
        self.alice.send("bob", "two")
        wires.append(self.alice.wire)
        numbers = [deposit.n for wire in wires if wire for deposit in decoded(wire, Side.CLIENT, m.Deposit)]
        self.assertEqual(numbers, [1, 2, 3])
        self.assertEqual(self.bob.read(), ["one", "two"])

    def lose(self, count: int, **options: bool) -> list[bytes]:
        """Alice writes so many messages to Bob, who is away, and an older copy of the server's database is put back."""
        self.bob.disconnect()
        back = self.world.store.crash()
        sent = [self.alice.send("bob", f"{number}", **options) for number in range(count)]
        self.assertEqual(self.statuses(sent), {"accepted"})
        self.alice.disconnect()
        self.world.store = back
        self.world.restart_server()
        return sent

    def statuses(self, sent: list[bytes]) -> set[str]:
        """What became of messages of Alice's."""
        return {str(self.alice.sent(message_id).status) for message_id in sent}

    def test_sent_again(self) -> None:
        """What was accepted and lost is queued, and sent again in order; it is read once, and the receipt counts."""
        self.alice.send("bob", "before")
        self.bob.confirm_to(Policy.EVERYBODY)
        sent = self.lose(20, wants_receipt=True)
        self.alice.send("bob", "written since")
        wire = self.alice.connect(settle=False)
        wire.to_server = replacing(m.Deposit, lambda deposit: None)
        self.world.settle()
        self.assertEqual(self.statuses(sent), {"queued"})
        wire = self.alice.connect()
        self.assertEqual(self.statuses(sent), {"accepted"})
        self.alice.connect()
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["before", *(f"{number}" for number in range(20)), "written since"])
        self.world.advance(5, ticks=5)
        self.assertEqual(self.statuses(sent), {"delivered"})
        self.assertEqual({(line.gap_before, line.note) for line in self.bob.has_read}, {(0, "")})

    def test_wherever_killed(self) -> None:
        """So it is wherever the client is killed meanwhile."""
        for moment in range(1, 12):
            sent = self.lose(3)
            self.alice.store.fate = Fate(deadline=moment)
            self.world.survive(self.alice.connect)
            self.alice.connect()
            self.bob.connect()
            self.assertEqual((self.bob.read(), self.statuses(sent)), (["0", "1", "2"], {"accepted"}), moment)

    def test_not_for_ever(self) -> None:
        """What is older than the outbox may be is not sent again."""
        sent = self.lose(2)
        self.world.clock += HORIZON + 1
        self.alice.connect()
        self.assertEqual(self.deposits(), 0)
        self.assertEqual(self.statuses(sent), {"accepted"})

    def test_hidden(self) -> None:
        """A server that hides its loss gets nothing again, and the recipient sees that something is missing."""
        self.alice.send("bob", "before")
        self.bob.read()
        sent = self.lose(1)
        self.connect(highest=2)
        self.alice.send("bob", "later")
        self.bob.connect()
        self.assertEqual([(line.text, line.gap_before) for line in messages.unread(self.bob.store)], [("later", 1)])
        self.assertEqual(self.statuses(sent), {"accepted"})

    def test_in_parts(self) -> None:
        """However much it is, it goes out in order, before what is written meanwhile."""
        sent = self.lose(losses.BATCH + 3)
        wire = self.alice.connect(settle=False)
        wire.held = {Side.SERVER}
        self.world.settle()
        wire.held = set()
        self.world.settle()
        self.alice.send("bob", "written since")
        self.bob.connect()
        texts = self.bob.read() + self.bob.read()
        self.assertEqual(texts, [*(f"{number}" for number in range(len(sent))), "written since"])
        self.assertEqual({(line.gap_before, line.note) for line in self.bob.has_read}, {(0, "")})

    def test_withdrawn(self) -> None:
        """What is queued again can be withdrawn: the recipient misses nothing then."""
        sent = self.lose(2)
        wire = self.alice.connect(settle=False)
        wire.to_server = replacing(m.Deposit, lambda deposit: None)
        self.world.settle()
        self.assertTrue(messages.withdraw(self.alice.store, sent[0]))
        self.alice.connect()
        self.bob.connect()
        self.assertEqual(self.bob.read(), ["1"])
        self.assertEqual(self.bob.has_read[-1].gap_before, 0)

    def test_recipient_gone(self) -> None:
        """What cannot be sent again has failed, with its code."""
        sent = self.lose(1)
        wire = self.alice.connect(settle=False)
        wire.to_server = replacing(m.Deposit, lambda deposit: None)
        self.world.settle()
        self.world.clock += HORIZON + 1
        self.alice.connect()
        self.assertEqual(self.statuses(sent), {"failed"})

    def test_lies_bounded(self) -> None:
        """A server that says again and again that it lost something costs a bounded amount a day, and nobody reads twice."""
        self.bob.disconnect()
        for number in range(40):
            self.alice.send("bob", f"{number}")
        with self.alice.store.writing() as records:
            save(records, META, losses.LOSS, losses.Loss(since=int(self.world.now()), count=losses.MAX_A_DAY - 100))
        resent = 0
        for _ in range(5):
            self.connect(highest=0)
            resent += self.deposits()
        self.assertEqual(resent, 100)
        self.world.advance(DAY, ticks=2)
        self.assertEqual(self.deposits(), 40)
        self.bob.connect()
        self.assertEqual(self.bob.read(), [f"{number}" for number in range(40)])

    def deposits(self) -> int:
        """How many deposits Alice made on this connection."""
        assert self.alice.wire is not None, "connected"
        return len(decoded(self.alice.wire, Side.CLIENT, m.Deposit))

    def test_never_accepted(self) -> None:
        """What it has not answered for, it has not lost: that is in the outbox, and sent again."""
        assert self.alice.wire is not None, "connected"
        self.alice.wire.to_server = replacing(m.Deposit, lambda deposit: None)
        self.alice.send("bob", "one")
        self.alice.connect()
        self.assertEqual(messages.notices(self.alice.store), [])
        self.assertEqual(self.bob.read(), ["one"])


class CopiedTests(WorldCase):
    """A profile that was copied, and is used in two places."""

    def setUp(self) -> None:
        """There are two of Alice's."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        self.alice.read()
        self.world.users["copy"] = self.copy = User(self.world, "copy", MortalProfile(self.alice.backup()))

    def warned(self, user: User) -> list[str]:
        """What somebody was warned of about the own profile."""
        return [notice.code for notice in messages.notices(user.store) if not notice.name]

    def test_told_by_itself(self) -> None:
        """A copy that has only logged in is found out by the next login of the profile, also while it was connected."""
        self.copy.connect()
        self.assertEqual(self.warned(self.copy), [])
        self.alice.connect()
        self.assertEqual(self.warned(self.alice), ["state-copied"])
        self.copy.connect()
        self.assertEqual(self.warned(self.copy), ["state-copied"])

    def test_told_each_time(self) -> None:
        """Each further use of a copy is told, however soon it follows; the same one is told once."""
        for uses in (1, 2, 3):
            self.copy.connect()
            self.copy.disconnect()
            self.alice.connect()
            self.alice.connect()
            self.assertEqual(self.warned(self.alice), ["state-copied"] * uses)

    def test_told_each_count(self) -> None:
        """So is each further count of deposits that this profile did not make."""
        for times in (1, 2, 3):
            wire = self.alice.connect(settle=False)
            wire.to_client = replacing(m.Welcome, partial(msgspec.structs.replace, highest=10 + times))
            self.world.settle()
            self.assertEqual(self.warned(self.alice), ["state-copied"] * times)

    def test_told_to_a_new_process(self) -> None:
        """A client that was not running cannot tell a copy from a restore, and says so."""
        self.alice.die()
        self.copy.connect()
        self.copy.die()
        self.alice.connect()
        self.assertEqual(self.warned(self.alice), ["state-restored"])

    def lose_welcome(self, times: int) -> None:
        """The answer to a login of Alice's is lost, so many times."""
        for _ in range(times):
            wire = self.alice.connect(settle=False)
            wire.to_client = replacing(m.Welcome, lambda welcome: None)
            self.world.settle()
            self.alice.die()

    def test_lost_welcome(self) -> None:
        """A login whose Welcome was lost, over and over, is our own."""
        self.lose_welcome(m.MAX_LOGINS + 2)
        self.alice.connect()
        self.assertEqual(self.warned(self.alice), [])

    def test_told_after_lost_welcomes(self) -> None:
        """The use of a copy is told although up to seven Welcomes are lost, and then it is not told again."""
        for lost in range(m.MAX_LOGINS):
            self.copy.connect()
            self.copy.die()
            self.lose_welcome(lost)
            self.alice.connect()
            self.assertEqual(len(self.warned(self.alice)), lost + 1)
            incarnation = self.alice.profile().incarnation
            for _ in range(m.MAX_LOGINS - lost):
                self.alice.connect()
                self.assertEqual(self.alice.profile().incarnation, incarnation)

    def test_restored_unsent(self) -> None:
        """A profile that was put back is told so, once, though nothing was sent since the copy and a Welcome is lost."""
        self.bob.send("alice", "one")
        self.alice.connect()
        self.alice.die()
        self.alice.store = self.copy.store
        self.lose_welcome(1)
        incarnation = self.alice.profile().incarnation
        for _ in range(2):
            self.alice.connect()
            self.assertEqual(self.warned(self.alice), ["state-restored"])
        self.assertNotEqual(self.alice.profile().incarnation, incarnation)

    def test_told_wherever_killed(self) -> None:
        """So it is if the client is killed at any commit of its login."""
        for moment in range(1, 9):
            self.copy.connect()
            self.copy.disconnect()
            self.alice.store.fate = Fate(deadline=moment)
            self.world.survive(self.alice.connect)
            self.assertEqual(len(self.warned(self.alice)), moment)

    def test_never_answered(self) -> None:
        """However many logins fail, the next is an ordinary one: neither a cut line nor a full server makes a copy."""
        incarnation = self.alice.profile().incarnation
        with self.alice.store.writing() as records:
            for _ in range(MAX_OWN_LOGINS + 1):
                note_login(records, greeting("device", TLS))
        self.alice.connect()
        self.assertEqual((self.warned(self.alice), self.alice.profile().incarnation), ([], incarnation))

    def test_restored_server(self) -> None:
        """A server that was put back to an older copy names logins of ours from then, though there were many since."""
        before = self.world.store.crash()
        for _ in range(100):
            self.alice.connect()
        self.world.restart_server()
        self.world.store = before
        self.world.restart_server()
        self.alice.connect()
        self.assertEqual(self.warned(self.alice), [])

    def test_crashed_server(self) -> None:
        """A server that lost its note of the last logins names earlier ones of ours, or none."""
        for _ in range(3):
            self.alice.connect()
            self.world.restart_server()
            self.alice.connect()
        self.assertEqual(self.warned(self.alice), [])

    def test_bounded(self) -> None:
        """However many logins fail, what is remembered of them is bounded."""
        with self.alice.store.writing() as records:
            for _ in range(MAX_OWN_LOGINS + 5):
                note_login(records, greeting("device", TLS))
            kept = load(records, Logins, META, LOGINS)
        self.assertEqual(len(kept.own if kept else ()), MAX_OWN_LOGINS)

    def test_in_turn(self) -> None:
        """Where both are used in turn, everything that was accepted is read by one of them, and from each of them by Bob."""
        for round_ in range(3):
            for user in (self.copy, self.alice):
                user.connect()
                self.bob.send("alice", f"to alice {round_} {user.name}")
                user.send("bob", f"from {user.name} {round_}")
                user.disconnect()
                self.world.settle()
                self.bob.send("alice", f"between {round_} {user.name}")
        for _ in range(6):
            for user in (self.copy, self.alice):
                user.connect()
                self.world.advance(3700, ticks=5)
                user.disconnect()
                self.world.settle()
        sent = [line.text for line in self.bob.lines("alice") if isinstance(line, Sent)]
        read = {*self.alice.texts("bob"), *self.copy.texts("bob")}
        self.assertEqual([text for text in sent if text not in read], [])
        wanted = {f"from {name} {round_}" for name in ("alice", "copy") for round_ in range(3)}
        self.assertEqual(wanted - set(self.bob.texts("alice")), set())
