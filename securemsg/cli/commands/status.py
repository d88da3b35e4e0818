"""C{securemsg status}: how connection and keys are protected, and what waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.context import CommandContext
from securemsg.cli.output import columns, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import fact_lines, lack_words, suite_facts
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import shown_time
from securemsg.client import messages, unsent
from securemsg.client.escape import escape
from securemsg.client.sessions import pins
from securemsg.client.sessions.pins import Chosen
from securemsg.client.state import invites, receipts
from securemsg.client.state.contacts import all_contacts
from securemsg.client.state.records import Notice
from securemsg.client.times import iso
from securemsg.crypto.keys import fingerprint
from securemsg.net.link import is_post_quantum

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection

# The last warnings of the agent; older ones were shown when they came.
SHOWN_NOTICES = 10


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def status(ctx: click.Context) -> int:
    """
    Show how connection and keys are protected, and what is waiting.

    Without a connection this prints what is known locally, and the exit status is 6.
    """
    with opened(settings_of(ctx)) as context:
        facts = local_facts(context)
        problem: SecuremsgError | None = None

        async def look(reactor: Any, connection: AccountConnection) -> int:
            facts.update(await connection.ask("link", timeout=context.settings.time_limit))
            facts["connected"] = True
            facts["post_quantum"] = is_post_quantum(str(facts["group"]))
            return Exit.DONE

        result = int(Exit.DONE)
        try:
            result = context.run_connected(look)
        except SecuremsgError as error:
            problem = error
        facts.update(queue_facts(context))
        noted = messages.notices(context.store)[-SHOWN_NOTICES:]
        warnings = [notice_record(notice) for notice in noted]
        named = ", ".join(f"{key} with {name}" for name, key in key_files(context).items())
        shown = {**facts, "key_files": named, "suites": _suites_text(context), "held_back": held_back(context)}
        # Facts that need a connection are marked as unknown; zero needs no line.
        shown = {name: value for name, value in shown.items() if value or value is None or value is False}
        text = [fact_lines(shown, context.now()), *(notice_text(notice, columns()) for notice in noted)]
        write_record({**facts, "warnings": warnings}, context.settings.as_json, "\n".join(text))
        if problem is not None:
            raise problem
        return result


def notice_record(notice: Notice) -> dict[str, object]:
    """Something that people should know, for programs."""
    return {"at": iso(notice.at), "code": notice.code, "name": notice.name, "text": notice.text}


def notice_text(notice: Notice, width: int) -> str:
    """The same, for people."""
    about = f" ({escape(notice.name)})" if notice.name else ""
    return f"[{shown_time(notice.at, width)}] warning{about}: {escape(notice.text)} [{escape(notice.code)}]"


def local_facts(context: CommandContext) -> dict[str, object]:
    """What is known without a connection."""
    profile = context.profile
    return {
        "name": profile.name,
        "server": context.where,
        "connected": False,
        "transport": None,
        "tls": None,
        "cipher": None,
        "group": None,
        "post_quantum": None,
        "certificate_expires_at": None,
        "pin": fingerprint(profile.pin),
        "fingerprint": fingerprint(profile.identity.public),
        "device": profile.device_id.hex(),
        "key_files": key_files(context),
        "suites": suites_in_use(context),
        "receipts": receipts_to(context),
        "keys_protected": context.protection,
        "profile": str(context.folder),
    }


def receipts_to(context: CommandContext) -> str:
    """Who gets receipts."""
    with context.store.reading() as records:
        return receipts.policy_of(records, context.profile)


def suites_in_use(context: CommandContext) -> dict[str, dict[str, object]]:
    """With whom another suite than the usual one is pinned, by name, and what it lacks."""
    return {name: suite_facts(choice) for name, choice in _pinned(context).items() if choice.lacks}


def _suites_text(context: CommandContext) -> str:
    """The same, for people."""
    rows = [(name, choice) for name, choice in _pinned(context).items() if choice.lacks]
    return "; ".join(f"{choice.suite} with {escape(name)}: {lack_words(choice)}" for name, choice in rows)


def _pinned(context: CommandContext) -> dict[str, Chosen]:
    """The pinned suites, by name."""
    with context.store.reading() as records:
        names = [contact.name for contact in all_contacts(records)]
        return {name: pins.pinned_suite(records, context.profile.conversation(name)) for name in names}


def key_files(context: CommandContext) -> dict[str, str]:
    """With whom a key file is pinned, by name, and what the file is called."""
    return {name: choice.shared.name for name, choice in _pinned(context).items() if choice.key}


def queue_facts(context: CommandContext) -> dict[str, object]:
    """What waits."""
    return {
        "outbox": unsent.count(context.store, context.now()),
        "unread": sum(messages.unread_counts(context.store).values()),
        "held_back": {peer.name: peer.rows for peer in messages.held_back(context.store)},
        "held_back_dropped": messages.quarantined(context.store)[1],
        "invite_wrong_proofs": wrong_proofs(context),
    }


def wrong_proofs(context: CommandContext) -> int:
    """How many claimed to have joined with an invite of ours, and did not prove it."""
    with context.store.reading() as records:
        return invites.wrong_proofs(records)


def held_back(context: CommandContext) -> str:
    """Which messages could not be opened, for people."""
    peers = messages.held_back(context.store)
    named = []
    for peer in peers:
        reason = ": needs a key file" if peer.locked else ": identity changed" if peer.identity else ""
        named.append(f"{escape(peer.name)} {peer.rows}{reason}")
    return f"{sum(peer.rows for peer in peers)} ({', '.join(named)})" if named else ""
