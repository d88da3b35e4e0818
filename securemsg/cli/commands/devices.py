"""C{securemsg devices}: the devices of an account, and changes to our own list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from securemsg.account.errors import Exit, error_for
from securemsg.account.names import find_contact, full_name
from securemsg.cli.context import CommandContext
from securemsg.cli.output import columns, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import DeviceRow, device_record, device_text
from securemsg.cli.settings import NAME, json_option, name_or_action, settings_of, shared
from securemsg.client.state import contacts, ownlist
from securemsg.client.state.lists import first_seen
from securemsg.client.state.profile import load_profile
from securemsg.interfaces import IProfileStore

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

ACTIONS = {"accept": "accept-device", "remove": "remove-device"}


@click.command()
@click.argument(
    "words",
    nargs=-1,
    metavar="[NAME | remove ID | accept ID]",
    callback=name_or_action(ACTIONS),
    shell_complete=NAME.shell_complete,
)
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def devices(ctx: click.Context, words: tuple[str, str]) -> int:
    """
    List your own devices, or those of the contact NAME: id, fingerprint, and since when they are known.

    remove ID removes a device from your account, and publishes that. A device that this profile did not add is refused
    automatically; accept ID puts it on the list after all. An unambiguous prefix of the ID is enough.
    """
    action, argument = words
    with opened(settings_of(ctx)) as context:
        name = context.profile.name
        if action:
            device_id = chosen(own_devices(context.store), argument, action)
            status = context.run_connected(_changing(context, ACTIONS[action], device_id))
            if status != Exit.DONE:
                return status
        if action or argument in ("", name):
            rows = own_devices(context.store)
        else:
            name = full_name(context.store, argument)
            rows = devices_of(context.store, name)
        for row in rows:
            write_record(device_record(name, row), context.settings.as_json, device_text(row, columns()))
    return Exit.DONE


def own_devices(store: IProfileStore) -> list[DeviceRow]:
    """Our own devices, and behind them those that were refused."""
    with store.reading() as records:
        profile = load_profile(records)
        assert profile is not None, "it is open"
        listed = []
        for device in profile.listing.devices:
            state = "this" if device.id == profile.device_id else "listed"
            listed.append(DeviceRow(device, first_seen(records, profile.name, device), state))
        return listed + [DeviceRow(row.device, row.since, "refused") for row in ownlist.refused(records)]


def devices_of(store: IProfileStore, name: str) -> list[DeviceRow]:
    """
    The devices of a contact.

    @raise SecuremsgError: C{no-such-account}.
    """
    contact = find_contact(store, name)
    if contact is None:
        raise error_for("no-such-account", name, text="{name} is not among your contacts")
    with store.reading() as records:
        return [
            DeviceRow(device, first_seen(records, name, device), "new" if device.id in contact.unconfirmed else "listed")
            for device in contacts.devices(contact)
        ]


def chosen(rows: list[DeviceRow], prefix: str, action: str) -> str:
    """
    The device of ours whose id begins like this, in hex.

    @raise SecuremsgError: C{unlisted-device}; C{own-device}: it is this very device, and to be removed.
    @raise UsageError: it is not said which.
    """
    possible = [row for row in rows if (row.state == "refused") == (action == "accept")]
    found = [row for row in possible if row.device.id.hex().startswith(prefix.lower())]
    if not found:
        text = f"no device whose id begins with {prefix} can be {'accepted' if action == 'accept' else 'removed'}"
        raise error_for("unlisted-device", text=text)
    if len(found) > 1:
        raise click.UsageError(f"several ids begin with {prefix}; give more of the id")
    if found[0].state == "this":
        raise error_for("own-device")
    return found[0].device.id.hex()


def _changing(context: CommandContext, kind: str, device_id: str) -> Any:
    """Have the owner of the connection sign and publish a list."""

    async def ask(reactor: Any, connection: AccountConnection) -> int:
        await connection.ask(kind, device_id, timeout=context.settings.time_limit)
        return Exit.DONE

    return ask
