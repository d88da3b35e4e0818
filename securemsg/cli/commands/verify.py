"""C{securemsg verify}: show the safety number, and accept it once it was compared."""

from __future__ import annotations

import io
import sys

import click

from securemsg.account.errors import Exit, error_for, explain
from securemsg.cli.commands.contacts import find_contact, known_or_fetched
from securemsg.cli.output import say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import safety_record, safety_text
from securemsg.cli.settings import NAME, json_option, settings_of, shared
from securemsg.cli.suites import key_name, pinned_suite
from securemsg.client.state.contacts import Contact, accept, offered, safety
from securemsg.client.state.records import META
from securemsg.errors import Refusal
from securemsg.interfaces import IProfileStore

# Where we remember which identity `verify` has shown: another may claim the name before `--accept`.
SHOWN = b"shown/"


@click.command()
@click.argument("name", type=NAME, metavar="NAME")
@click.option(
    "--accept", "compared", is_flag=True, help="The numbers are the same: mark NAME as verified, and accept new keys."
)
@json_option("Print a JSON object.")
@shared
@click.pass_context
def verify(ctx: click.Context, name: str, compared: bool) -> int:
    """
    Show the safety number with NAME: 60 digits, the same on both sides unless somebody is in between.

    Compare it over another channel, by phone or face to face, then run this again with --accept.
    """
    with opened(settings_of(ctx)) as context:
        status = known_or_fetched(context, name)
        if status != Exit.DONE:
            return status
        contact = find_contact(context.store, name)
        assert contact is not None, "it is known now"
        if compared:
            contact = accept_shown(context.store, name, int(context.now()))
            context.wake_owner()
        number = safety(context.profile, contact)
        choice = pinned_suite(context, name)
        write_record(safety_record(contact, number, choice), context.settings.as_json, safety_text(contact, number))
        if not compared:
            remember_shown(context.store, contact)
        if not context.settings.as_json:
            _advise(contact, number, compared)
            if choice.key:
                say(f"Messages are encrypted with {key_name(choice)}: anyone who has this file, now or later, can read them.")
    return Exit.DONE


def accept_shown(store: IProfileStore, name: str, now: int) -> Contact:
    """
    Accept the identity whose number was shown last.

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
                text="the keys of {name} have changed again since the number was shown",
                hint="compare numbers once more: securemsg verify {name}",
            ) from None
        raise explain(refusal, name) from None


def remember_shown(store: IProfileStore, contact: Contact) -> None:
    """Remember the identity whose number was shown."""
    bucket = SHOWN + contact.name.encode()
    with store.reading() as records:
        known = records.get(META, bucket)
    if known != offered(contact):
        with store.writing() as records:
            records.put(META, bucket, offered(contact))


def _advise(contact: Contact, number: str, compared: bool) -> None:
    """What to do with the number; at a terminal there is a QR code, too."""
    if sys.stderr.isatty() and not compared:
        say(_qr_code(number.replace(" ", "")))
    if contact.is_blocked:
        say(
            f"The keys of {contact.name} have CHANGED. Only if both sides see the same number: "
            f"securemsg verify {contact.name} --accept"
        )
    elif not contact.verified:
        say(f"If {contact.name} sees the same number: securemsg verify {contact.name} --accept")
    else:
        say(f"{contact.name} is verified.")


def _qr_code(digits: str) -> str:
    # Only here: it takes long to import, and a pipe has no use for it.
    import segno

    out = io.StringIO()
    segno.make(digits, error="m").terminal(out=out, compact=True)
    return out.getvalue()
