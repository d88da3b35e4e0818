"""
Our own devices: changes of our device list by the user, its publication, and what the directory shows as our list.

Source: C{docs/protocol.md}, section "Device lists".
"""

from __future__ import annotations

from functools import partial

from attrs import define, evolve, field

from securemsg.client.context import Context
from securemsg.client.requests import Answer, Callback
from securemsg.client.rooms.joining import want_fresh
from securemsg.client.sessions import prekeys
from securemsg.client.state import ownlist
from securemsg.client.state.lists import device_digest
from securemsg.client.state.ownlist import PUBLISHED, is_published
from securemsg.client.state.profile import Profile, is_due, resigned, save_profile
from securemsg.client.state.records import META, load_number, save_number
from securemsg.client.state.rsakeys import load_rsa_key, with_rsa_key
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol import messages as m
from securemsg.protocol.devices import SERVER_NAME, Device, DeviceList

# A contact that names another list of ours cannot make us look it up more often than this, seconds.
CHECK_PAUSE = prekeys.BATCH_PAUSE


def renew(records: IRecords, profile: Profile, now: int) -> Profile:
    """
    Sign our list again if it is time. What the server has not confirmed is published before another is signed.

    C{server} is restored together with the directory: of a list that it has signed since it knows nothing. Its versions pass
    with the seconds, so that the next list is ahead of that one, too, and contacts take it.
    """
    if is_due(profile, now) and is_published(records, profile):
        age = now - profile.listing.issued_at
        profile = resigned(profile, now, rise=age if profile.name == SERVER_NAME else 1)
        save_profile(records, profile)
    return profile


def _foreign_rsa_key(records: IRecords, profile: Profile, listing: DeviceList) -> bytes | None:
    """The RSA key under which a list has this device, where this profile has another or none."""
    key = load_rsa_key(records)
    shown = next((device.rsa_key for device in listing.devices if device.id == profile.device_id), None)
    return None if key is not None and shown == key.public else shown


@define(eq=False)
class OwnDevices:
    """The device list of an account's agent."""

    _context: Context
    _checked_at: float = field(default=float("-inf"), init=False)

    def check_own_list(self) -> None:
        """A contact names a list of ours that we never made: ask the directory, but not for every message that says so."""
        seconds = self._context.seconds()
        if seconds - self._checked_at >= CHECK_PAUSE:
            self._checked_at = seconds
            self.fetch_own()

    def accept_device(self, device_id: bytes, callback: Callback) -> None:
        """
        Put a device that was refused on our list, and publish it.

        @param callback: gets the server's answer, or a refusal: C{unlisted-device}, C{too-many-devices};
            C{list-unpublished}: the change before is not confirmed yet.
        """
        listed = self._context.profile.listing.devices
        try:
            with self._context.store.writing() as records:
                if len(listed) >= m.MAX_DEVICES:
                    raise Refusal("too-many-devices")
                accepted = ownlist.accept(records, listed, device_id)
                self._sign(records, [*listed, accepted])
        except Refusal as refusal:
            callback(refusal)
            return
        self._publish(callback)

    def remove_device(self, device_id: bytes, callback: Callback) -> None:
        """
        Take another device off our list, and publish it.

        @param callback: gets the server's answer, or a refusal: C{unlisted-device}; C{own-device}: it is this one;
            C{list-unpublished}: the change before is not confirmed yet.
        """
        profile = self._context.profile
        others = [device for device in profile.listing.devices if device.id != device_id]
        if device_id == profile.device_id:
            callback(Refusal("own-device"))
            return
        if len(others) == len(profile.listing.devices):
            callback(Refusal("unlisted-device"))
            return
        try:
            with self._context.store.writing() as records:
                self._sign(records, others)
                want_fresh(records, self._context.time())
        except Refusal as refusal:
            callback(refusal)
            return
        self._publish(callback)

    def publish_key(self, callback: Callback) -> None:
        """
        Sign the RSA key that was made for this device into our list, and publish it.

        @param callback: gets the server's answer, or a refusal: C{list-unpublished}: the change before is not confirmed yet.
        """
        try:
            with self._context.store.writing() as records:
                listed = with_rsa_key(records, self._context.profile)
                if listed != self._context.profile.listing.devices:
                    self._sign(records, listed)
        except Refusal as refusal:
            callback(refusal)
            return
        self._publish(callback)

    def _sign(self, records: IRecords, devices: list[Device]) -> None:
        """
        Commit the next version of our list, with these devices.

        @raise Refusal: C{list-unpublished}: the server has not confirmed the present one.
        """
        if not is_published(records, self._context.profile):
            raise Refusal("list-unpublished")
        self._context.profile = resigned(self._context.profile, self._context.time(), devices)
        save_profile(records, self._context.profile)

    def _publish(self, callback: Callback) -> None:
        """Publish our list as the user has changed it. What is not confirmed is published again with the next look."""
        profile = self._context.profile
        version = profile.listing.version

        def done(answer: Answer | Refusal) -> None:
            self._published(version, answer)
            if isinstance(answer, Refusal) and answer.code == "stale-list":
                self.fetch_own()
            callback(answer)

        self._context.ask(m.Publish(0, profile.devices), done)

    def _published(self, version: int, answer: Answer | Refusal) -> None:
        if self._context.channel is not None and not isinstance(answer, Refusal):
            with self._context.store.writing() as records:
                save_number(records, META, PUBLISHED, version)

    def fetch_own(self) -> None:
        """Ask the directory which list it shows as ours, and publish ours where it is another."""
        self._context.ask(m.Fetch(0, self._context.profile.name), self._own_account)

    def _own_account(self, answer: Answer | Refusal) -> None:
        """The directory's record of our own account: adopt a newer list of our own making, and replace any other."""
        context = self._context
        if not isinstance(answer, m.Account) or context.channel is None:
            return
        profile, record = context.profile, answer.record
        with context.store.writing() as records:
            try:
                listing = ownlist.read_own(profile, record)
            except Refusal:
                context.warn(records, "own-list-invalid")
                return
            added = ownlist.added(records, profile, listing)
            own = next(device for device in profile.listing.devices if device.id == profile.device_id)
            is_old = listing.version < profile.listing.version
            if not is_old and not added and own.keys not in {device.keys for device in listing.devices}:
                context.warn(records, "device-removed")
                return
            if is_old and listing.version < load_number(records, META, PUBLISHED):
                context.warn(records, "own-list-rolled-back")
            # Those that were put off the list, and are not taken back: the user may accept them again.
            displaced = ownlist.displaced(profile, listing)
            kept = [device for device in profile.listing.devices if device not in displaced]
            if added or displaced:
                ownlist.refuse(records, [*added, *displaced], context.time())
            if added:
                # Signed by a copy of this profile. What follows it is valid, and has this device, and not what we did not add.
                context.warn(records, "own-device-added", about=keys.digest(*map(device_digest, added)))
            foreign = _foreign_rsa_key(records, profile, listing)
            if foreign is not None:
                context.warn(records, "own-key-changed", about=keys.sha256(foreign))
            if is_old and (displaced or not ownlist.may_follow(profile, record.devices)):
                profile = resigned(profile, context.time(), kept)
            elif added and not is_old:
                profile = resigned(profile, context.time(), kept, after=record.devices)
            elif not is_old:
                # The list that the server shows to others; a newer one was signed before the state was restored.
                profile = evolve(profile, devices=record.devices)
                listed = with_rsa_key(records, profile)
                if listed != listing.devices:
                    profile = resigned(profile, context.time(), listed)
            save_number(records, META, PUBLISHED, listing.version)
            if profile.devices != context.profile.devices:
                save_profile(records, profile)
        context.profile = profile
        if profile.devices != record.devices:
            # If that is refused, the next look tries again.
            context.ask(m.Publish(0, profile.devices), partial(self._published, profile.listing.version))
