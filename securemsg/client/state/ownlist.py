"""
Our own device list as the server shows it, judged by the one that this profile has signed.

Whoever has a copy of our keys can sign a list with one device more. Devices that this profile did not add are refused, and kept
for the user to see and, perhaps, to accept. Source: C{docs/protocol.md}, section "Device lists".
"""

from __future__ import annotations

import msgspec

from securemsg.client.state.lists import first_seen
from securemsg.client.state.profile import TABLE, Profile
from securemsg.client.state.records import META, load_number
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords
from securemsg.protocol.devices import DEVICE_LIST_LABEL, MAX_VERSION, Device, DeviceList, decode_device_list
from securemsg.protocol.messages import MAX_DEVICES, AccountRecord, Counter, Record, SignedDeviceList

REFUSED = b"refused"
# The version of our list that the server has confirmed.
PUBLISHED = b"published"


class RefusedDevice(Record, frozen=True):
    """
    A device on a list of ours that this profile did not add. Table C{profile}, bucket C{REFUSED}: all of them, oldest first.

    @ivar since: when this profile first saw it, by its own clock.
    """

    device: Device
    since: Counter


def is_published(records: IRecords, profile: Profile) -> bool:
    """Whether the server has confirmed our list as it is now."""
    return load_number(records, META, PUBLISHED) >= profile.listing.version


def read_own(profile: Profile, record: AccountRecord) -> DeviceList:
    """
    Check and decode a list of our own account.

    @raise Unauthentic: our identity has not signed it.
    @raise Refusal: C{bad-device-list}: malformed, for another account or server, or without a version left to follow it.
    """
    keys.verify(profile.identity.public, record.devices.signature, DEVICE_LIST_LABEL, record.devices.body)
    listing = decode_device_list(record.devices.body)
    if (listing.account, listing.server) != (profile.name, profile.pin) or listing.version == MAX_VERSION:
        raise Refusal("bad-device-list")
    return listing


def added(records: IRecords, profile: Profile, listing: DeviceList) -> list[Device]:
    """
    The devices on a list of ours that this profile did not add. On one that is older than ours those do not count that this
    profile has removed since.
    """
    known = {device.keys for device in profile.listing.devices}
    others = [device for device in listing.devices if device.keys not in known]
    if listing.version < profile.listing.version:
        return [device for device in others if not first_seen(records, profile.name, device)]
    return others


def displaced(profile: Profile, listing: DeviceList) -> list[Device]:
    """Other devices of ours whose ids stand on this list with other keys: the server exchanges no device's keys."""
    shown = {device.id: device for device in listing.devices}
    others = (device for device in profile.listing.devices if device.id != profile.device_id)
    return [device for device in others if device.keys != shown.get(device.id, device).keys]


def may_follow(profile: Profile, before: SignedDeviceList) -> bool:
    """Whether the server takes our list in place of this older one."""
    listing = profile.listing
    is_next = listing.version == decode_device_list(before.body).version + 1
    return not is_next or listing.previous == keys.sha256(before.body)


def refused(records: IRecords) -> tuple[RefusedDevice, ...]:
    """The devices that were refused and not accepted since, oldest first."""
    data = records.get(TABLE, REFUSED)
    return () if data is None else msgspec.msgpack.decode(data, type=tuple[RefusedDevice, ...])


def refuse(records: IRecords, devices: list[Device], since: int) -> None:
    """Keep devices that are refused; of those with the same id, and of more than a list may have, the newest."""
    rows = {row.device.id: row for row in refused(records)}
    for device in devices:
        if device.id not in rows or rows[device.id].device != device:
            rows.pop(device.id, None)
            rows[device.id] = RefusedDevice(device, since)
    _save(records, tuple(rows.values())[-MAX_DEVICES:])


def accept(records: IRecords, listed: list[Device], device_id: bytes) -> Device:
    """
    Take a device off those that are refused, to put it on the list.

    @param listed: the devices on the list: none of them may share its id or a key.
    @raise Refusal: C{unlisted-device}: there is no such device that may join them.
    """
    known = refused(records)
    taken = {key for device in listed for key in device.keys}
    found = [row.device for row in known if row.device.id == device_id and taken.isdisjoint(row.device.keys)]
    if not found:
        raise Refusal("unlisted-device")
    _save(records, tuple(row for row in known if row.device.id != device_id))
    return found[0]


def _save(records: IRecords, rows: tuple[RefusedDevice, ...]) -> None:
    records.put(TABLE, REFUSED, msgspec.msgpack.encode(rows))
