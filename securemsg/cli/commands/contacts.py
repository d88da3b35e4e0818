"""C{securemsg contacts}: who is known, and how conversations are encrypted."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from securemsg.account.errors import Exit, error_for, explain
from securemsg.account.names import find_contact, full_name
from securemsg.account.rooms import join_command
from securemsg.cli.commands.keygen import check_loose
from securemsg.cli.contactactions import ACTIONS, WITH_WORD, carry_out
from securemsg.cli.context import CommandContext
from securemsg.cli.output import json_line, say, write_line, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import contact_record, contact_text, stranger_text
from securemsg.cli.settings import NAME, Settings, json_option, rsa_bits_option, settings_of, shared, suite_options
from securemsg.cli.suites import ensure_rsa_key, pin, pinned_suite, wanted
from securemsg.cli.times import KeepTime
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.rooms import store
from securemsg.client.rooms.store import RoomState
from securemsg.client.sessions import pins
from securemsg.client.state import disappearing, preferences
from securemsg.client.state.contacts import Policy, all_contacts
from securemsg.client.state.verification import accept
from securemsg.errors import Refusal
from securemsg.protocol.envelope import RSA

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

POLICIES = click.Choice([policy.value for policy in Policy])
ALL_ACTIONS = ("accept", *ACTIONS)


def _read_words(ctx: click.Context, parameter: click.Parameter, words: tuple[str, ...]) -> tuple[str, str, str]:
    """Nothing, a name, an action and a name, or one that takes a word more."""
    match words:
        case ("alias", name, alias):
            return "alias", NAME.convert(name, parameter, ctx), NAME.convert(alias, parameter, ctx)
        case ("keep", name, keep):
            return "keep", NAME.convert(name, parameter, ctx), str(KeepTime().convert(keep, parameter, ctx))
        case ("policy", name, policy):
            return "policy", NAME.convert(name, parameter, ctx), POLICIES.convert(policy, parameter, ctx)
        case ("policy", *_):
            raise click.UsageError(f"give a name and a policy: {', '.join(Policy)}; contacts NAME shows it", ctx)
        case (action, name) if action in ALL_ACTIONS and action not in WITH_WORD:
            return action, NAME.convert(name, parameter, ctx), ""
        case (name,):
            return "", NAME.convert(name, parameter, ctx), ""
        case ():
            return "", "", ""
    near = get_close_matches(words[0], ALL_ACTIONS, 1)
    others = ", ".join(action for action in ALL_ACTIONS if action not in WITH_WORD)
    meant = f"did you mean {near[0]}? " if near and near[0] != words[0] else ""
    raise click.UsageError(
        f"{meant}give nothing, NAME, alias NAME ALIAS, keep NAME TIME, policy NAME POLICY, or an action and NAME;"
        f" actions: {others}",
        ctx,
    )


def _complete(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """An action or a name; behind an action, a name."""
    is_first = not any(ctx.params.get("words") or ())
    actions = [CompletionItem(action) for action in ALL_ACTIONS if is_first and action.startswith(incomplete)]
    return actions + NAME.shell_complete(ctx, parameter, incomplete)


@click.command()
@click.argument(
    "words", nargs=-1, metavar="[NAME | ACTION NAME]", callback=_read_words, shell_complete=_complete
)
@suite_options("Key file, for --set-suite psk.", "--set-suite")
@rsa_bits_option
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def contacts(ctx: click.Context, words: tuple[str, str, str]) -> int:
    """
    List all contacts, or NAME only: whether they are verified, whether their keys have changed, how many messages are unread,
    and how the conversation is encrypted.

    --set-suite psk --key-file FILE encrypts messages in both directions with a file that NAME has too, from now on, and opens
    messages that were waiting for it. Anyone who has the file can read everything, including the daemon's operator if the
    daemon has the same file. --set-suite pqxdh goes back to encryption without a file.

    --set-suite rsa encrypts messages to NAME with NAME's RSA key, and makes one for this device, so that NAME can do the same:
    not post-quantum, and whoever gets such a key, now or later, can read everything that was sent to it.

    accept NAME accepts the new keys of a contact whose keys have changed; messages flow again, and the contact is unverified.
    Compare numbers first: securemsg verify NAME. A contact whose keys have not changed counts as known from then on.

    alias NAME ALIAS gives NAME a nickname, here and in commands; it is shown as ALIAS (NAME). alias NAME NAME ends that.

    keep NAME 1d has what you write to NAME from now on disappear at both ends: here a day after the server has accepted it,
    there a day after NAME has read it. keep NAME off ends that. What NAME writes is NAME's to choose.

    policy NAME pin|signed|tofu chooses what happens when NAME's keys change while nobody watches. pin, the default: nothing is
    sent until you accept the new keys. signed: new keys that the old ones have signed (identity renew) are used at once, with
    a warning. tofu: whatever keys the server shows are used, with a warning; NAME is unverified then.

    block NAME drops what NAME sends, and tells NAME nothing; unblock NAME ends that, and what was dropped is gone. mute NAME
    only keeps NAME from ringing, and from counting as unread; unmute NAME ends that. forget NAME forgets NAME's keys and alias.
    """
    settings = settings_of(ctx)
    action, name = words[0], words[1] or None
    if action and (settings.suite or settings.key_file or settings.cipher):
        raise click.UsageError(f"{action} cannot be combined with --set-suite, --key-file or --cipher")
    if name is None and (settings.suite is not None or settings.key_file is not None or settings.cipher is not None):
        raise click.UsageError("a suite is set for one contact: securemsg contacts NAME --set-suite SUITE")
    check_loose(settings)
    if settings.suite is None and settings.key_file is not None:
        raise click.UsageError("--key-file needs --set-suite psk")
    if settings.suite != RSA and (settings.cipher is not None or settings.rsa_bits is not None):
        raise click.UsageError("--cipher and --rsa-bits need --set-suite rsa")
    with opened(settings) as context:
        name = None if name is None else full_name(context.store, name)
        if action in ACTIONS and name is not None:
            _report(settings, name, action, carry_out(context, action, name, words[2]))
            context.wake_owner()
            return Exit.DONE
        if name is not None and settings.suite is not None:
            # What is wrong with the file is said before anybody is asked.
            wanted(context.settings, name, pinned_suite(context, name))
            more = ["publish-key"] if settings.suite == RSA and ensure_rsa_key(context) else []
            # Somebody who is known needs no connection; what is to be published goes out with the next one.
            has_changed = find_contact(context.store, name) is not None and pin(context, name)
            status = ask_about(context, name, *more)
            if status != Exit.DONE:
                return status
            if pin(context, name) or has_changed:
                context.wake_owner()
        elif action and name is not None:
            is_new = accept_keys(context, name)
            text = (
                f"new keys of {name} accepted; {name} is unverified: securemsg verify {name}"
                if is_new
                else f"the keys of {name} have not changed; {name} now counts as known"
            )
            if not settings.as_json:
                say(text)
            context.wake_owner()
        unread = messages.unread_counts(context.store)
        with context.store.reading() as records:
            chosen = preferences.all_preferences(records)
            conversation = context.profile.conversation
            known = [
                (contact, pins.pinned_suite(records, of), disappearing.chosen(records, of))
                for contact in all_contacts(records)
                for of in [conversation(contact.name)]
            ]
        for contact, choice, keep in known:
            if name in (None, contact.name):
                facts = contact, unread.get(contact.name, 0), choice, chosen.pop(contact.name, preferences.NONE), keep
                write_record(contact_record(*facts), context.settings.as_json, contact_text(*facts))
        blocked = {other: each for other, each in chosen.items() if each.is_blocked and name in (None, other)}
        if name is not None and name not in (*(contact.name for contact, _, _ in known), *blocked):
            raise error_for("no-such-account", name, text="{name} is not among your contacts")
        for stranger, wants in blocked.items():
            record = {"name": stranger, "known": False, "blocked": True, "dropped": wants.dropped}
            write_record(record, context.settings.as_json, stranger_text(stranger, wants))
        if name is None and not context.settings.as_json:
            report_invitations(context)
    return Exit.DONE


def _report(settings: Settings, name: str, action: str, text: str) -> None:
    """Say what was done to an account."""
    if settings.as_json:
        write_line(json_line({"name": name, "action": action, "text": text}))
    else:
        say(text)


def report_invitations(context: CommandContext) -> None:
    """Say which invitations to rooms wait; programs list rooms."""
    with context.store.reading() as records:
        invited = [room for room in store.all_rooms(records) if room.state is RoomState.INVITED]
    for room in invited:
        say(f"{escape(room.inviter)} invites you to the room {escape(room.title)}; join: {join_command(room)}")


def accept_keys(context: CommandContext, name: str) -> bool:
    """
    Accept the new keys of a contact. What waited for that goes out and is opened once the owner of the connection looks.

    @return: whether there were new keys.
    @raise SecuremsgError: C{no-such-account}; C{not-shown}: others than those whose number the user was shown.
    """
    before = find_contact(context.store, name)
    if before is None:
        raise error_for("no-such-account", name, text="{name} is not among your contacts")
    try:
        with context.store.writing() as records:
            accept(records, name, int(context.now()))
    except Refusal as refusal:
        raise explain(refusal, name) from None
    return before.has_changed


def ask_about(context: CommandContext, name: str, *more: str) -> int:
    """
    Look somebody up who is not a contact of ours yet, and ask the owner of the connection for what else is wanted.

    @param more: what else.
    @return: 0, or 130 when that was interrupted.
    @raise SecuremsgError: C{own-name}, C{no-such-account}, or there is no connection.
    """
    if name == context.profile.name:
        raise error_for("own-name", name)
    questions = [] if find_contact(context.store, name) else [("fetch", name)]
    questions += [(kind, "") for kind in more]
    if questions:
        status = context.run_connected(_asking(questions, context))
        if status != Exit.DONE:
            return status
        if find_contact(context.store, name) is None:
            raise error_for("no-such-account", name)
    return Exit.DONE


def _asking(questions: list[tuple[str, str]], context: CommandContext) -> Any:
    """Have the owner of the connection asked, one question after the other."""

    async def ask(reactor: Any, connection: AccountConnection) -> int:
        for kind, argument in questions:
            await connection.ask(kind, argument, timeout=context.settings.time_limit)
        return Exit.DONE

    return ask
