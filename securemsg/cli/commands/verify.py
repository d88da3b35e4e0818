"""C{securemsg verify}: show the safety number, and confirm it once it was compared."""

from __future__ import annotations

import sys

import click

from securemsg.account.errors import Exit, explain
from securemsg.account.names import find_contact, full_name
from securemsg.cli.commands.contacts import ask_about
from securemsg.cli.commands.devices import devices_of
from securemsg.cli.context import CommandContext
from securemsg.cli.invites import qr_code
from securemsg.cli.output import columns, say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import device_text, safety_record, safety_text
from securemsg.cli.settings import NAME, json_option, settings_of, shared
from securemsg.cli.suites import caution, pinned_suite
from securemsg.client.state.contacts import Contact, is_signed_claim
from securemsg.client.state.verification import confirm, mark_shown, safety
from securemsg.crypto import keys
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.argument("digits", nargs=-1, metavar="[DIGITS]", callback=lambda ctx, parameter, words: number_in(words))
@click.option("--confirm", "compared", is_flag=True, help="The numbers are the same: mark NAME as verified.")
@json_option("Print a JSON object.")
@shared
@click.pass_context
def verify(ctx: click.Context, name: str, digits: str, compared: bool) -> int:
    """
    Show the safety number with NAME: 60 digits, the same on both sides unless somebody is in between.

    Compare it over another channel, by phone or face to face, then run this again with --confirm, or with the 60 digits that
    NAME sees. New keys are accepted with: securemsg contacts accept NAME.
    """
    with opened(settings_of(ctx)) as context:
        name = full_name(context.store, name)
        status = ask_about(context, name)
        if status != Exit.DONE:
            return status
        if compared or digits:
            contact = confirm_shown(context, name, digits)
        else:
            found = find_contact(context.store, name)
            assert found is not None, "it is known now"
            contact = found
        number = safety(context.profile, contact)
        choice = pinned_suite(context, name)
        write_record(safety_record(contact, number, choice), context.settings.as_json, safety_text(contact, number))
        remember_shown(context.store, contact)
        if not context.settings.as_json:
            _advise(context.store, contact, number)
            if words := caution(choice):
                say(f"{words[:1].upper()}{words[1:]}.")
    return Exit.DONE


def number_in(words: tuple[str, ...]) -> str:
    """
    The digits of a safety number, however they are grouped; none where none are given.

    @raise BadParameter: this is something else.
    """
    digits = keys.digits_in(words)
    if words and not digits:
        raise click.BadParameter(f"a safety number has {keys.SAFETY_DIGITS} digits")
    return digits


def confirm_shown(context: CommandContext, name: str, digits: str = "") -> Contact:
    """
    Verify a contact whose number was compared.

    @raise SecuremsgError: see L{confirm<securemsg.client.state.verification.confirm>}.
    """
    try:
        with context.store.writing() as records:
            return confirm(records, context.profile, name, digits)
    except Refusal as refusal:
        raise explain(refusal, name) from None


def remember_shown(store: IProfileStore, contact: Contact) -> None:
    """Remember what was shown to compare: another identity may claim the name, or a device join, before it is confirmed."""
    if contact.shown_comparison != contact.comparison:
        with store.writing() as records:
            mark_shown(records, contact)


def new_devices(store: IProfileStore, contact: Contact) -> list[str]:
    """A line for each device that the contact has to know as well."""
    if contact.has_changed:
        return []
    return [device_text(row, columns()) for row in devices_of(store, contact.name) if row.state == "new"]


def _advise(store: IProfileStore, contact: Contact, number: str) -> None:
    """What to do with the number; at a terminal there is a QR code, too."""
    name = contact.name
    if contact.verified and not contact.has_changed:
        say(f"{name} is verified.")
        return
    if sys.stderr.isatty():
        say(qr_code(number.replace(" ", "")))
    if contact.has_changed:
        words = " The old keys have signed the new ones: whoever made the change holds both."
        signed = words if is_signed_claim(contact) else ""
        say(
            f"The keys of {name} have CHANGED.{signed} Only if both sides see the same number:"
            f" securemsg contacts accept {name}, then: securemsg verify {name} --confirm"
        )
        return
    added = new_devices(store, contact)
    for line in added:
        say(line)
    condition = f"If {name} sees the same number" + (" and has added this device" if added else "")
    say(f"{condition}: securemsg verify {name} --confirm")
