"""C{securemsg history}, C{contacts}, C{verify}: whom we know, and what was said."""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from securemsg.account.connection import ServerConnection
from securemsg.account.errors import Exit, error_for, explain
from securemsg.cli.commands.keygen import check_loose
from securemsg.cli.context import CommandContext
from securemsg.cli.output import columns, put_record, say
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import (
    contact_record,
    contact_text,
    line_record,
    line_text,
    safety_record,
    safety_text,
)
from securemsg.cli.settings import NAME, json_option, settings_of, shared, suite_options
from securemsg.cli.suites import chosen, key_name, pin, wanted
from securemsg.client import messages
from securemsg.client.sessions import choices
from securemsg.client.state.contacts import Contact, accept, all_contacts, get_contact, offered, safety
from securemsg.client.state.records import META
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore

# Where we remember which identity `verify` has shown: another may claim the name before `--accept`.
SHOWN = b"shown/"
MAX_LINES = 1_000_000


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option("--limit", type=click.IntRange(1, MAX_LINES), default=MAX_LINES, metavar="N", help="The last N messages only.")
@json_option("One JSON object a line.")
@shared
@click.pass_context
def history(ctx: click.Context, name: str, limit: int, as_json: bool) -> int:
    """Print the messages to and from NAME; this marks nothing as read."""
    with opened(settings_of(ctx)) as context:
        lines = messages.history(context.store, name, limit)
        if not lines and _find(context.store, name) is None:
            raise error_for("no-such-account", name)
        width = columns()
        for line in lines:
            own = context.profile.name
            put_record(line_record(line, own), as_json, line_text(line, own, width))
    return Exit.DONE


@click.command()
@click.argument("name", type=NAME, metavar="[NAME]", required=False)
@suite_options("The key file, for suite psk.", "--set-suite")
@json_option("One JSON object a line.")
@shared
@click.pass_context
def contacts(ctx: click.Context, name: str | None, as_json: bool) -> int:
    """
    Print the contacts, or NAME alone: whether they are verified, whether their identity has changed, how many messages are
    unread, how the conversation is encrypted.

    --set-suite psk --key-file FILE pins for NAME that messages both ways are encrypted with a file that NAME holds too, and
    opens those that waited for it. Whoever holds the file can read everything, the daemon's operator included if the daemon
    has the same file. --set-suite pqxdh goes back to what there is without a file.
    """
    settings = settings_of(ctx)
    if name is None and (settings.suite is not None or settings.key_file is not None):
        raise click.UsageError("say whose suite is meant: securemsg contacts NAME --set-suite SUITE")
    check_loose(settings)
    if settings.suite is None and settings.key_file is not None:
        raise click.UsageError("--key-file is for --set-suite psk")
    with opened(settings) as context:
        if name is not None and settings.suite is not None:
            # What is wrong with the file is said before anybody is asked.
            wanted(context.settings, name, chosen(context, name))
            status = known_or_fetched(context, name)
            if status != Exit.DONE:
                return status
            if pin(context, name):
                context.wake_owner()
        elif name is not None and _find(context.store, name) is None:
            raise error_for("no-such-account", name, text="{name} is not among your contacts")
        unread = messages.unread(context.store)
        with context.store.reading() as records:
            known = [(contact, choices.chosen(records, contact.name)) for contact in all_contacts(records)]
        for contact, choice in known:
            if name in (None, contact.name):
                facts = contact, unread.get(contact.name, 0), choice
                put_record(contact_record(*facts), as_json, contact_text(*facts))
    return Exit.DONE


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option(
    "--accept", "compared", is_flag=True, help="I compared the number: mark NAME verified, and take the new identity."
)
@json_option("Print a JSON object.")
@shared
@click.pass_context
def verify(ctx: click.Context, name: str, compared: bool, as_json: bool) -> int:
    """
    Show the safety number with NAME: 60 digits, the same on both sides if nobody is in between.

    Compare it over another channel, by telephone or face to face, then say --accept.
    """
    with opened(settings_of(ctx)) as context:
        status = known_or_fetched(context, name)
        if status != Exit.DONE:
            return status
        contact = _find(context.store, name)
        assert contact is not None, "it is known now"
        if compared:
            contact = accept_shown(context.store, name, int(context.now()))
            context.wake_owner()
        number = safety(context.profile, contact)
        choice = chosen(context, name)
        put_record(safety_record(contact, number, choice), as_json, safety_text(contact, number))
        if not compared:
            remember_shown(context.store, contact)
        if not as_json:
            _advise(contact, number, compared)
            if choice.suite == choices.PSK:
                say(f"Messages are encrypted with {key_name(choice)}: whoever holds this file, now or later, can read them.")
    return Exit.DONE


def known_or_fetched(context: CommandContext, name: str) -> int:
    """
    See to it that somebody is a contact of ours: who is not known yet is looked up on the server.

    @return: 0, or 130 when that was interrupted.
    @raise SecuremsgError: C{own-name}, C{no-such-account}, or there is no connection.
    """
    if name == context.profile.name:
        raise error_for("own-name", name)
    if _find(context.store, name) is None:
        status = context.connected(_asking(name, context))
        if status != Exit.DONE:
            return status
        if _find(context.store, name) is None:
            raise error_for("no-such-account", name)
    return Exit.DONE


def accept_shown(store: IProfileStore, name: str, now: int) -> Contact:
    """
    Take the user's word for the identity that was shown last.

    @raise SecuremsgError: C{no-such-account}, or C{identity-changed}: another identity has claimed the name since it was shown.
    """
    try:
        with store.writing() as records:
            shown = records.get(META, SHOWN + name.encode()) or b""
            contact = accept(records, name, now, shown)
            records.put(META, SHOWN + name.encode(), contact.identity)
            return contact
    except Refusal as refusal:
        if refusal.code == "identity-changed":
            raise error_for(
                "identity-changed",
                name,
                text="the identity of {name} has changed again since its number was shown",
                hint="compare the number of `securemsg verify {name}` once more",
            ) from None
        raise explain(refusal, name) from None


def remember_shown(store: IProfileStore, contact: Contact) -> None:
    """Keep which identity the user has seen the number of."""
    bucket = SHOWN + contact.name.encode()
    with store.reading() as records:
        known = records.get(META, bucket)
    if known != offered(contact):
        with store.writing() as records:
            records.put(META, bucket, offered(contact))


def _find(store: IProfileStore, name: str) -> Contact | None:
    """The contact of this name."""
    with store.reading() as records:
        return get_contact(records, name)


def _asking(name: str, context: CommandContext) -> Any:
    """Have the directory asked for somebody we do not know yet."""

    async def ask(reactor: Any, connection: ServerConnection) -> int:
        await connection.ask("fetch", name, timeout=context.settings.time_limit)
        return Exit.DONE

    return ask


def _advise(contact: Contact, number: str, compared: bool) -> None:
    """What to do with the number; at a terminal there is a QR code, too."""
    if sys.stderr.isatty() and not compared:
        say(_qr_code(number.replace(" ", "")))
    if contact.is_blocked:
        say(
            f"The identity of {contact.name} has CHANGED. Only if both sides read the same: "
            f"securemsg verify {contact.name} --accept"
        )
    elif not contact.verified:
        say(f"If {contact.name} reads the same number: securemsg verify {contact.name} --accept")
    else:
        say(f"{contact.name} is verified.")


def _qr_code(digits: str) -> str:
    """The number for a camera."""
    # Only here: the other commands in this module do without it.
    import segno

    out = io.StringIO()
    segno.make(digits, error="m").terminal(out=out, compact=True)
    return out.getvalue()
