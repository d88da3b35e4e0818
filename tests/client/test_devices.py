"""Devices that join and leave an account: nobody adds one unseen."""

from __future__ import annotations

from typing import Any

import msgspec
from attrs import evolve

from securemsg.client import messages
from securemsg.client.maintenance import PERIOD
from securemsg.client.owndevices import renew
from securemsg.client.sessions import budgets
from securemsg.client.state import contacts, ownlist, verification
from securemsg.client.state.contacts import Contact
from securemsg.client.state.conversations import direct
from securemsg.client.state.counters import conversation_of
from securemsg.client.state.lists import first_seen
from securemsg.client.state.ownlist import PUBLISHED
from securemsg.client.state.profile import DAY, create_profile, resigned, save_profile
from securemsg.client.state.records import (
    META,
    OUTBOX,
    ROWS,
    OutboxRow,
    clear_notices,
    draft,
    next_seq,
    save,
    save_number,
)
from securemsg.crypto.keys import SigningKey, sha256
from securemsg.errors import Refusal
from securemsg.protocol import messages as m
from securemsg.protocol.devices import MAX_VERSION, Device, DeviceList, decode_device_list
from securemsg.protocol.envelope import Kind, encode_record
from securemsg.storage.memory import MemoryProfile
from tests.client.case import WorldCase
from tests.client.rig import MortalProfile, MortalServerStore, User
from tests.client.test_malice import replacing, signed


class DeviceCase(WorldCase):
    """Alice and Bob have talked, and Bob has compared numbers."""

    def setUp(self) -> None:
        """Both know one device of the other."""
        super().setUp()
        self.alice.send("bob", "zero")
        self.bob.send("alice", "reply")
        profile = self.bob.profile()
        known = self.contact()
        with self.bob.store.writing() as records:
            verification.mark_shown(records, known)
            verification.confirm(records, profile, "alice")
        self.own = self.alice.profile().listing.devices
        made = create_profile(self.world.link, "alice", int(self.world.clock))
        self.ghost = made.listing.devices[0]
        self.thief = User(self.world, "alice", MortalProfile(MemoryProfile()))
        self.copy = evolve(made, identity=self.alice.profile().identity, registered=True)

    def device(self, name: str) -> Device:
        """A device with keys of its own."""
        return create_profile(self.world.link, name, 0).listing.devices[0]

    def ask(self, user: User, question: m.Fetch | m.Publish) -> Any:
        """What the server answers."""
        answers: list[object] = []
        assert user.agent is not None, "connected"
        user.agent.ask(question, answers.append)
        self.world.settle()
        return answers[0]

    def published(self) -> DeviceList:
        """Alice's list, as the server shows it."""
        return decode_device_list(self.ask(self.bob, m.Fetch(0, "alice")).record.devices.body)

    def sign(self, devices: list[Device], identity: SigningKey | None = None, **fields: Any) -> m.SignedDeviceList:
        """A list that follows the server's, signed with a copy of Alice's key, or with another."""
        profile, record = self.alice.profile(), self.ask(self.bob, m.Fetch(0, "alice")).record
        before = decode_device_list(record.devices.body)
        values: dict[str, Any] = {
            "version": before.version + 1,
            "previous": sha256(record.devices.body),
            "issued_at": int(self.world.clock),
            "devices": devices,
        }
        return signed(identity or profile.identity, msgspec.structs.replace(before, **values | fields))

    def steal(self, devices: list[Device]) -> None:
        """Whoever has a copy of Alice's profile publishes a list with these devices, and connects the one that is new."""
        stolen = self.sign(devices)
        self.assertIsInstance(self.ask(self.alice, m.Publish(0, stolen)), m.Done)
        with self.thief.store.writing() as records:
            save_profile(records, evolve(self.copy, devices=stolen))
            save_number(records, META, PUBLISHED, decode_device_list(stolen.body).version)
        self.thief.connect()

    def change(self, kind: str, device: Device) -> Any:
        """Alice changes her own list."""
        answers: list[object] = []
        assert self.alice.agent is not None, "connected"
        self.alice.agent.change_devices(kind, device.id, answers.append)
        self.world.settle()
        return answers[0]

    def notices(self, user: User, code: str) -> int:
        """How often somebody was told this."""
        return [notice.code for notice in messages.notices(user.store)].count(code)

    def contact(self) -> Contact:
        """What Bob knows of Alice."""
        with self.bob.store.reading() as records:
            contact = contacts.get_contact(records, "alice")
        assert contact is not None, "they have met"
        return contact

    def refused(self) -> list[Device]:
        """The devices that Alice's profile has refused."""
        with self.alice.store.reading() as records:
            return [row.device for row in ownlist.refused(records)]


class OwnTests(DeviceCase):
    """A list of our own account with a device that this profile did not add."""

    def assert_replaced(self, *refused: Device) -> None:
        """Alice is told, and the server has a list without it, which follows the one that had it."""
        self.assertEqual(self.notices(self.alice, "own-device-added"), 1)
        listing = self.published()
        self.assertEqual((listing.version, listing.devices), (3, self.own))
        self.assertEqual(self.alice.profile().listing, listing)
        self.assertEqual(self.refused(), list(refused or [self.ghost]))

    def altered(self) -> Device:
        """Alice's device with an X25519 key of the thief."""
        return msgspec.structs.replace(self.own[0], agreement_key=self.ghost.agreement_key)

    def test_own_key_replaced(self) -> None:
        """This device with another key is a device that was added: it is refused, and so is what was added with it."""
        other = self.device("alice")
        self.steal([self.altered(), other])
        self.alice.connect()
        self.assert_replaced(self.altered(), other)
        self.assertEqual(self.notices(self.alice, "device-removed"), 0)
        self.bob.send("alice", "to the owner")
        self.assertEqual(self.alice.read(), ["reply", "to the owner"])

    def test_own_key_replaced_alone(self) -> None:
        """So it is where no other device was added, and it cannot be accepted beside the true one."""
        self.steal([self.altered()])
        self.alice.connect()
        self.assert_replaced(self.altered())
        answer = self.change("accept-device", self.altered())
        assert isinstance(answer, Refusal), "its id stands on the list"
        self.assertEqual((answer.code, self.published().devices), ("unlisted-device", self.own))

    def test_other_device_replaced(self) -> None:
        """Where another of our devices was exchanged under its id, both are off the list; the true one may be accepted."""
        other = self.device("alice")
        self.steal([*self.own, other])
        self.alice.connect()
        self.change("accept-device", other)
        false = msgspec.structs.replace(other, agreement_key=self.ghost.agreement_key)
        for devices in (self.own, [*self.own, false]):
            self.assertIsInstance(self.ask(self.alice, m.Publish(0, self.sign(devices))), m.Done)
        self.alice.connect()
        self.assertEqual((self.published().devices, self.refused()), (self.own, [other]))
        self.assertIsInstance(self.change("accept-device", other), m.Done)
        self.assertEqual(self.published().devices, [*self.own, other])

    def test_another_soon_after(self) -> None:
        """Each device that was added is told, however soon it follows another."""
        for number in (1, 2, 3):
            self.steal([*self.own, self.device("alice")])
            self.alice.connect()
            self.assertEqual((self.notices(self.alice, "own-device-added"), len(self.refused())), (number, number))

    def test_backdated(self) -> None:
        """A device is known since its list was seen by the own clock, whatever the list says of when it was issued."""
        self.ask(self.alice, m.Publish(0, self.sign([*self.own, self.ghost], issued_at=1_000_000_000)))
        self.world.clock += 2 * DAY
        self.bob.send("alice", "look her up")
        with self.bob.store.reading() as records:
            self.assertEqual(first_seen(records, "alice", self.ghost), int(self.world.clock))
        self.alice.connect()
        with self.alice.store.reading() as records:
            self.assertEqual([row.since for row in ownlist.refused(records)], [int(self.world.clock)])

    def test_found_by_a_contact(self) -> None:
        """A contact that was shown it gives it away with its next message."""
        self.steal([*self.own, self.ghost])
        self.world.clock += 2 * DAY
        self.bob.send("alice", "to both")
        self.assert_replaced()

    def test_found_by_login(self) -> None:
        """It is found with the next login."""
        self.steal([*self.own, self.ghost])
        self.alice.connect()
        self.assert_replaced()

    def test_found_by_time(self) -> None:
        """It is found while a connection lasts."""
        self.steal([*self.own, self.ghost])
        self.world.advance(PERIOD, ticks=60)
        self.assert_replaced()

    def test_found_by_renewal(self) -> None:
        """It is found when our own list was to be signed again at that moment."""
        self.steal([*self.own, self.ghost])
        self.world.clock += 8 * DAY
        self.alice.connect()
        self.assert_replaced()

    def test_contradictory(self) -> None:
        """
        It is found as well where both signed the same version: the next one follows what the server has. What the thief's
        device asks or says after that is not answered.
        """
        self.steal([*self.own, self.ghost])
        renewed = resigned(self.alice.profile(), int(self.world.clock))
        with self.alice.store.writing() as records:
            save_profile(records, renewed)
        self.alice.connect()
        self.assert_replaced()
        self.assertIn("device-removed", self.thief.codes())

    def test_after_a_restore(self) -> None:
        """A restored profile does not take it either."""
        backup = self.alice.backup()
        self.alice.send("bob", "one")
        self.steal([*self.own, self.ghost])
        self.alice.die()
        self.world.settle()
        self.alice.store = MortalProfile(backup)
        self.alice.connect()
        self.assertIn("state-restored", self.alice.codes())
        self.assert_replaced()

    def test_same_devices_after_a_restore(self) -> None:
        """A restored profile takes a newer list with the same devices: it signed that itself."""
        backup = self.alice.backup()
        self.world.clock += 8 * DAY
        self.alice.connect()
        newer = self.alice.profile().devices
        self.alice.send("bob", "one")
        self.alice.die()
        self.world.settle()
        self.world.set_clocks(-2 * DAY)
        self.alice.store = MortalProfile(backup)
        self.world.set_clocks(-6 * DAY)
        self.alice.connect()
        self.assertEqual(self.alice.profile().devices, newer)
        self.assertEqual(self.notices(self.alice, "own-device-added"), 0)

    def test_not_for_every_message(self) -> None:
        """A contact that names lists nobody made does not have us ask the directory for each message."""
        assert self.alice.wire is not None, "connected"
        shown = msgspec.structs.replace(self.contact(), version=9, digest=bytes(32))
        with self.bob.store.writing() as records:
            contacts.put_contact(records, shown)
        self.alice.wire.log.clear()
        for number in range(3):
            self.bob.send("alice", str(number))
        asked = [message for _, message in self.alice.wire.log if isinstance(message, m.Fetch)]
        self.assertEqual([question.account for question in asked], ["alice"])

    def refuse(self, list_shown: m.SignedDeviceList) -> None:
        """The server refuses Alice's renewed list, and shows this one as hers."""
        record = m.AccountRecord("alice", self.alice.profile().identity.public, list_shown)
        self.world.clock += 8 * DAY
        wire = self.alice.connect(settle=False)
        refusing = replacing(m.Done, lambda answer: m.Refused(answer.request, "stale-list"))
        showing = replacing(m.Account, lambda answer: m.Account(answer.request, record))
        wire.to_client = lambda message: [shown for altered in refusing(message) for shown in showing(altered)]
        self.world.settle()

    def test_not_signed_by_us(self) -> None:
        """A list of ours that our identity has not signed is not taken, whatever is on it."""
        self.refuse(self.sign(self.own, SigningKey.generate(), version=7, previous=bytes(32)))
        self.assertEqual(self.notices(self.alice, "own-list-invalid"), 1)
        self.assertEqual(self.alice.profile().listing.version, 2)

    def test_of_another(self) -> None:
        """Nor is one that our identity has signed for another account, or for another server."""
        profile = self.alice.profile()
        for account, server in (("bob", profile.pin), ("alice", bytes(32))):
            devices = self.sign(self.own, account=account, server=server)
            record = m.AccountRecord("alice", profile.identity.public, devices)
            self.assertEqual(self.assertRaises(Refusal, ownlist.read_own, profile, record).code, "bad-device-list")

    def test_other_key(self) -> None:
        """A device of ours that has another key on a list is another device."""
        profile = self.alice.profile()
        changed = [msgspec.structs.replace(device, agreement_key=self.ghost.agreement_key) for device in self.own]
        with self.alice.store.reading() as records:
            listing = msgspec.structs.replace(profile.listing, devices=changed)
            self.assertEqual(ownlist.added(records, profile, listing), changed)

    def test_older(self) -> None:
        """An older list of ours is not taken."""
        self.refuse(self.alice.profile().devices)
        self.assertEqual(self.alice.profile().listing.version, 2)

    def test_last_version(self) -> None:
        """A list that nothing could follow is not taken."""
        self.refuse(self.sign(self.own, version=MAX_VERSION, previous=bytes(32)))
        self.assertEqual(self.notices(self.alice, "own-list-invalid"), 1)
        self.assertEqual(self.alice.profile().listing.version, 2)

    def test_without_us(self) -> None:
        """A list without this device is told, and not replaced: the user may have removed it elsewhere."""
        self.steal([*self.own, self.ghost])
        self.alice.connect()
        self.change("accept-device", self.ghost)
        self.refuse(self.sign([self.ghost], version=5))
        self.assertEqual(self.notices(self.alice, "device-removed"), 1)
        self.assertEqual(self.notices(self.alice, "own-device-added"), 1)
        listing = self.alice.profile().listing
        self.assertEqual((listing.version, listing.devices), (5, [*self.own, self.ghost]))

    def test_with_another_in_our_place(self) -> None:
        """A list with a device that we did not add and without this one is replaced, if the server still lets us."""
        self.refuse(self.sign([self.ghost], version=3))
        self.assertEqual(self.notices(self.alice, "device-removed"), 0)
        self.assertEqual(self.notices(self.alice, "own-device-added"), 1)
        listing = self.alice.profile().listing
        self.assertEqual((listing.version, listing.devices, self.refused()), (4, self.own, [self.ghost]))

    def test_device_removed(self) -> None:
        """A device that leaves the list while it is connected is told so, and does not connect again."""
        self.ask(self.alice, m.Publish(0, self.sign([self.ghost])))
        self.assertIn("device-removed", self.alice.codes())


class ChangeTests(DeviceCase):
    """The user's own changes."""

    def setUp(self) -> None:
        """A device was refused."""
        super().setUp()
        self.steal([*self.own, self.ghost])
        self.world.clock += 2 * DAY
        self.bob.send("alice", "to both")

    def test_accept(self) -> None:
        """An accepted device is on the list, and stays there."""
        self.assertIsInstance(self.change("accept-device", self.ghost), m.Done)
        self.assertEqual(self.published().devices, [*self.own, self.ghost])
        self.assertEqual(self.refused(), [])
        self.world.clock += 8 * DAY
        self.alice.connect()
        self.assertEqual(self.published().devices, [*self.own, self.ghost])
        self.assertEqual(self.notices(self.alice, "own-device-added"), 1)

    def test_remove(self) -> None:
        """A removed device is on the list no more."""
        self.change("accept-device", self.ghost)
        self.assertIsInstance(self.change("remove-device", self.ghost), m.Done)
        self.assertEqual(self.published().devices, self.own)

    def test_one_at_a_time(self) -> None:
        """The server takes the next version only: until it has confirmed one, none is signed behind it, by hand or by time."""
        assert self.alice.wire is not None, "connected"
        self.alice.wire.to_server = replacing(m.Publish, lambda message: None)
        with self.assertRaises(IndexError):
            self.change("accept-device", self.ghost)
        answer = self.change("remove-device", self.ghost)
        assert isinstance(answer, Refusal), "not confirmed"
        self.assertEqual(answer.code, "list-unpublished")
        self.world.clock += 30 * DAY
        self.alice.connect()
        self.assertEqual(self.published().devices, [*self.own, self.ghost])

    def test_refusals(self) -> None:
        """This very device stays, and what is not there can be neither removed nor accepted."""
        before = self.published()
        for kind, device, code in (
            ("remove-device", self.own[0], "own-device"),
            ("remove-device", self.ghost, "unlisted-device"),
            ("accept-device", self.device("other"), "unlisted-device"),
        ):
            answer = self.change(kind, device)
            assert isinstance(answer, Refusal), kind
            self.assertEqual(answer.code, code)
        self.assertEqual(self.published(), before)

    def test_full(self) -> None:
        """A full list takes no other device, and the device stays among those that were refused."""
        with self.alice.store.writing() as records:
            ownlist.refuse(records, [self.device(str(number)) for number in range(m.MAX_DEVICES - 1)], 0)
        for device in self.refused()[1:]:
            self.assertIsInstance(self.change("accept-device", device), m.Done)
        answer = self.change("accept-device", self.ghost)
        assert isinstance(answer, Refusal), "full"
        self.assertEqual(answer.code, "too-many-devices")
        self.assertEqual(self.refused(), [self.ghost])

    def test_same_id(self) -> None:
        """Of two refused devices with the same id the newer one is kept, and may be accepted."""
        self.change("accept-device", self.ghost)
        self.change("remove-device", self.ghost)
        older, newer = (msgspec.structs.replace(self.device(name), id=self.ghost.id) for name in ("one", "two"))
        for device in (older, newer):
            self.ask(self.alice, m.Publish(0, self.sign([*self.own, device])))
            self.alice.connect()
        self.assertEqual(self.refused(), [newer])
        self.assertIsInstance(self.change("accept-device", self.ghost), m.Done)
        self.assertEqual(self.published().devices, [*self.own, newer])

    def test_bounded(self) -> None:
        """Of refused devices the newest are kept, as many as a list may have."""
        with self.alice.store.writing() as records:
            for number in range(m.MAX_DEVICES + 3):
                ownlist.refuse(records, [self.device(str(number))], number)
            self.assertEqual([row.since for row in ownlist.refused(records)], list(range(3, m.MAX_DEVICES + 3)))


class RestoredServerTests(DeviceCase):
    """The server was restored from a backup, or shows an old list of Alice's as if it were."""

    def renew(self, user: User) -> None:
        """Somebody's list is signed again, a week later."""
        self.world.clock += 8 * DAY
        user.connect()

    def restore(self, back: MortalServerStore) -> None:
        """The server goes on from a backup."""
        self.part(self.alice)
        self.part(self.bob)
        self.world.store = back
        self.world.restart_server()

    def test_renewed_since(self) -> None:
        """
        A list that was renewed after the backup is published again, and told, so that contacts who have seen it can write.
        """
        back = self.world.store.crash()
        self.renew(self.alice)
        self.bob.send("alice", "one")
        self.renew(self.alice)
        self.bob.connect()
        self.bob.send("alice", "two")
        newest = self.alice.profile().listing
        self.assertEqual((newest.version, self.contact().version), (3, 3))
        self.restore(back)
        self.alice.connect()
        self.assertEqual(self.notices(self.alice, "own-list-rolled-back"), 1)
        self.world.clock += 2 * DAY
        self.bob.connect()
        self.assertEqual(self.published(), newest)
        self.assertEqual(self.bob.sent(self.bob.send("alice", "three")).status, "accepted")
        self.assertEqual(self.alice.read(), ["reply", "one", "two", "three"])
        self.renew(self.alice)
        self.assertEqual(self.published().version, 4)

    def test_due_at_once(self) -> None:
        """So it is where the list is to be signed again with the first login after the restore."""
        back = self.world.store.crash()
        self.renew(self.alice)
        self.restore(back)
        self.renew(self.alice)
        self.bob.connect()
        self.assertEqual((self.published().version, self.notices(self.alice, "own-list-rolled-back")), (3, 1))

    def test_refused_device(self) -> None:
        """A device that was refused, and is on the old list, is told as well, and gone again."""
        self.steal([*self.own, self.ghost])
        back = self.world.store.crash()
        self.alice.connect()
        self.world.clock += 2 * DAY
        self.restore(back)
        self.alice.connect()
        self.bob.connect()
        self.assertEqual((self.published().version, self.published().devices), (3, self.own))
        self.assertEqual(self.notices(self.alice, "own-list-rolled-back"), 1)
        self.assertEqual(self.notices(self.alice, "own-device-added"), 2)
        self.assertEqual(self.refused(), [self.ghost])

    def test_device_added_after_it(self) -> None:
        """Nor does a device stay that somebody with a copy of the keys adds to the old list, whatever ours followed."""
        back = self.world.store.crash()
        for _ in range(2):
            self.renew(self.alice)
        self.restore(back)
        self.steal_unseen([*self.own, self.ghost])
        self.alice.connect()
        self.assertEqual((self.published().version, self.published().devices), (4, self.own))
        self.assertEqual(self.notices(self.alice, "own-device-added"), 1)

    def steal_unseen(self, devices: list[Device]) -> None:
        """A list is stolen before Alice has seen what the server goes on from."""
        self.bob.connect()
        wire = self.alice.connect(settle=False)
        wire.to_client = replacing(m.Account, lambda answer: None)
        self.world.settle()
        self.steal(devices)

    def test_other_device(self) -> None:
        """Where a device of ours has other keys on it, ours is off the list, until the user accepts it again."""
        back = self.world.store.crash()
        other = self.device("alice")
        self.steal([*self.own, other])
        self.alice.connect()
        self.change("accept-device", other)
        self.restore(back)
        self.steal_unseen([*self.own, msgspec.structs.replace(other, agreement_key=self.ghost.agreement_key)])
        self.alice.connect()
        self.assertEqual((self.published().version, self.published().devices), (5, self.own))
        self.assertEqual(self.refused(), [other])

    def test_removed_device(self) -> None:
        """A device that the user has removed since is no device that somebody has added."""
        self.steal([*self.own, self.ghost])
        self.alice.connect()
        self.change("accept-device", self.ghost)
        back = self.world.store.crash()
        self.change("remove-device", self.ghost)
        clear = self.notices(self.alice, "own-device-added")
        self.world.clock += 2 * DAY
        self.restore(back)
        self.alice.connect()
        self.bob.connect()
        self.assertEqual((self.published().version, self.published().devices), (5, self.own))
        self.assertEqual(self.notices(self.alice, "own-list-rolled-back"), 1)
        self.assertEqual((self.notices(self.alice, "own-device-added"), self.refused()), (clear, []))

    def show_old(self) -> None:
        """The server has the right list, and shows Alice an old one, or says that hers is stale."""
        old = m.AccountRecord("alice", self.alice.profile().identity.public, self.alice.profile().devices)
        self.renew(self.alice)
        wire = self.alice.connect(settle=False)
        wire.to_client = replacing(m.Account, lambda answer: m.Account(answer.request, old))
        self.world.settle()

    def test_shown_an_old_one(self) -> None:
        """It is told as well if the server has the right list all the same; and another change goes on from that."""
        self.show_old()
        self.assertEqual(self.notices(self.alice, "own-list-rolled-back"), 1)
        self.assertEqual(self.published().version, 2)
        with self.alice.store.writing() as records:
            ownlist.refuse(records, [self.ghost], 0)
        self.assertIsInstance(self.change("accept-device", self.ghost), m.Done)

    def test_no_loop(self) -> None:
        """However often the server shows an old list and refuses the newest, that is published once for each look."""
        self.show_old()
        assert self.alice.wire is not None, "connected"
        shown = self.alice.wire.to_client
        assert shown is not None, "it lies"
        refusing = replacing(m.Done, lambda answer: m.Refused(answer.request, "stale-list"))
        self.alice.wire.to_client = lambda message: [one for altered in refusing(message) for one in shown(altered)]
        self.alice.wire.log.clear()
        self.world.advance(2 * PERIOD, ticks=4)
        said = [type(message) for _, message in self.alice.wire.log if isinstance(message, m.Fetch | m.Publish)]
        self.assertEqual(said, [m.Fetch, m.Publish] * 2)

    def test_changes_wait(self) -> None:
        """Until the server has taken the newest list the user changes nothing."""
        self.show_old()
        assert self.alice.wire is not None, "connected"
        self.alice.wire.to_server = replacing(m.Publish, lambda message: None)
        self.world.advance(PERIOD, ticks=1)
        with self.alice.store.writing() as records:
            ownlist.refuse(records, [self.ghost], 0)
        answer = self.change("accept-device", self.ghost)
        assert isinstance(answer, Refusal), "not confirmed"
        self.assertEqual(answer.code, "list-unpublished")
        self.alice.connect()
        self.assertIsInstance(self.change("accept-device", self.ghost), m.Done)

    def test_the_contact_server(self) -> None:
        """C{server}, restored with the directory, renews its list to one that those take who saw the list that was lost."""
        now, bob = int(self.world.clock), self.bob.profile()
        before = create_profile(self.world.link, "server", now)
        for age in (0, 7 * DAY, 7 * DAY + 60):
            with MemoryProfile().writing() as records:
                save_number(records, META, PUBLISHED, 1)
                profile = renew(records, before, now + age)
            with self.bob.store.writing() as records:
                record = m.AccountRecord("server", profile.identity.public, profile.devices)
                contacts.adopt(records, bob, record, now, contacts.DIRECTORY)


class ContactTests(DeviceCase):
    """A contact's new device."""

    def setUp(self) -> None:
        """Alice is away, and Bob looks her up again when he writes."""
        super().setUp()
        self.steal([*self.own, self.ghost])
        self.part(self.alice)
        self.world.clock += 2 * DAY

    def test_told(self) -> None:
        """Whoever looks the contact up is told, once, and the contact is unverified; messages go to all devices on the list."""
        self.assertTrue(self.contact().verified)
        self.bob.send("alice", "to both")
        self.world.clock += 2 * DAY
        self.bob.send("alice", "and again")
        self.assertEqual(self.thief.read(), ["to both", "and again"])
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 1)
        contact = self.contact()
        self.assertEqual((contact.verified, contact.unconfirmed), (False, (self.ghost.id,)))
        self.assertEqual(contacts.devices(contact), [*self.own, self.ghost])

    def test_exchanged(self) -> None:
        """Whoever was told of a device is told again when its keys are exchanged under its id."""
        self.bob.send("alice", "to both")
        self.alice.connect()
        other = msgspec.structs.replace(self.device("alice"), id=self.ghost.id)
        self.ask(self.alice, m.Publish(0, self.sign([*self.own, other])))
        self.part(self.alice)
        # Within a day, in which the same warning would not be repeated.
        known = msgspec.structs.replace(self.contact(), checked_at=0)
        with self.bob.store.writing() as records:
            contacts.put_contact(records, known)
        self.bob.send("alice", "to whom?")
        self.assertEqual(self.contact().unconfirmed, (self.ghost.id,))
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 2)

    def test_settled(self) -> None:
        """Once the user has confirmed the device the warning is gone."""
        self.bob.send("alice", "to both")
        profile, known = self.bob.profile(), self.contact()
        with self.bob.store.writing() as records:
            verification.mark_shown(records, known)
            verification.confirm(records, profile, "alice")
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 0)
        self.assertTrue(self.contact().verified)

    def test_told_by_a_message(self) -> None:
        """So is whoever gets a message that introduces itself with such a list."""
        self.thief.send("bob", "from whom?")
        self.assertEqual(self.bob.read(), ["zero", "from whom?"])
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 1)
        self.assertFalse(self.contact().verified)

    def senseless(self) -> None:
        """The ghost begins a session with a message that claims to be another device's, and is refused for that."""
        identities = self.alice.profile().identity.public, self.bob.profile().identity.public
        content = draft(self.thief.profile(), Kind.TEXT, int(self.world.clock))
        content = msgspec.structs.replace(content, counter=1, device=bytes(16), conversation=conversation_of(*identities))
        with self.thief.store.inner.writing() as records:
            row = OutboxRow(direct("bob"), content.kind, 0, content.sent_at, 3600, encode_record(content))
            save(records, OUTBOX, ROWS, row, next_seq(records))
        self.thief.pump()

    def test_told_by_a_refused_message(self) -> None:
        """So is whoever gets a message with such a list and refuses what it says: the list counts all the same."""
        self.senseless()
        self.assertIn("bad-content", self.bob.codes())
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 1)
        self.assertFalse(self.contact().verified)

    def test_told_by_a_retried_message(self) -> None:
        """So is whoever could not open that message before, and whom the server tells nothing."""
        known = msgspec.structs.replace(self.contact(), checked_at=int(self.world.clock))
        with self.bob.store.writing() as records:
            contacts.put_contact(records, known)
            for _ in range(budgets.MAX_BEGUN):
                budgets.note_begun(records, "alice", self.own[0].id, 0, int(self.world.clock))
        self.bob.connect(settle=False).to_server = replacing(m.Deposit, lambda deposit: None)
        self.senseless()
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 0)
        self.world.clock += budgets.HOUR
        self.bob.connect(settle=False).to_server = replacing(m.Deposit, lambda deposit: None)
        self.world.settle()
        self.assertEqual(messages.quarantined(self.bob.store), (1, 0))
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 1)

    def test_nothing_sent_untold(self) -> None:
        """Nothing goes to a device that the user was not told of: the directory is asked, and the user is told first."""
        self.bob.send("alice", "to both")
        known = self.contact()
        with self.bob.store.writing() as records:
            contacts.put_contact(records, msgspec.structs.replace(known, unannounced=True))
            clear_notices(records, "contact-device-added", "alice")
        self.bob.send("alice", "and again")
        self.assertEqual(self.notices(self.bob, "contact-device-added"), 1)

    def test_removed_again(self) -> None:
        """Once the device has left the list the contact is still not verified: its keys are in other hands."""
        self.bob.send("alice", "to both")
        self.alice.connect()
        self.assertEqual(self.published().devices, self.own)
        self.world.clock += 2 * DAY
        self.bob.send("alice", "to one")
        contact = self.contact()
        self.assertEqual((contacts.devices(contact), contact.unconfirmed, contact.verified), (self.own, (), False))
