"""C{securemsg status}, C{whoami}, C{ping}, C{invite}: how we stand with the server."""

from __future__ import annotations

from typing import Any

import click

from securemsg.account.connection import ServerConnection
from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.context import CommandContext
from securemsg.cli.output import put_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import fact_lines
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import Duration, iso
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.sessions import choices
from securemsg.client.state.contacts import all_contacts
from securemsg.client.state.records import Notice
from securemsg.crypto.keys import fingerprint
from securemsg.protocol.invite import InviteLink

DAY = 86400
# The last warnings of the agent; older ones were shown when they came.
SHOWN_NOTICES = 10


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def whoami(ctx: click.Context, as_json: bool) -> int:
    """Print the name and the fingerprint of this profile."""
    with opened(settings_of(ctx)) as context:
        profile = context.profile
        facts: dict[str, object] = {
            "name": profile.name,
            "server": context.where,
            "fingerprint": fingerprint(profile.identity.public),
            "device": profile.device_id.hex(),
            "profile": str(context.folder),
        }
        put_record(facts, as_json, f"{profile.name} at {context.where}, fingerprint {facts['fingerprint']}")
    return Exit.DONE


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """
    Print how the connection and the keys are protected, and what waits.

    What is known here is printed without a connection, too; the exit status is 6 then.
    """
    with opened(settings_of(ctx)) as context:
        facts = local_facts(context)
        problem: SecuremsgError | None = None

        async def look(reactor: Any, connection: ServerConnection) -> int:
            facts.update(await connection.ask("link", timeout=context.settings.time_limit))
            facts["connected"] = True
            return Exit.DONE

        result = int(Exit.DONE)
        try:
            result = context.connected(look)
        except SecuremsgError as error:
            problem = error
        facts.update(queue_facts(context))
        warnings = [notice_record(notice) for notice in messages.notices(context.store)[-SHOWN_NOTICES:]]
        named = ", ".join(f"{key} with {name}" for name, key in key_files(context).items())
        shown = {**facts, "key_files": named or "none", "held_back": held_back(context)}
        shown = {name: value for name, value in shown.items() if value or not name.startswith("held_back")}
        text = [fact_lines(shown), *(notice_text(notice) for notice in warnings)]
        put_record({**facts, "warnings": warnings}, as_json, "\n".join(text))
        if problem is not None:
            raise problem
        return result


def notice_record(notice: Notice) -> dict[str, object]:
    """Something that people should know, for programs."""
    return {"at": iso(notice.at), "code": notice.code, "name": notice.name, "text": notice.text}


def notice_text(record: dict[str, object]) -> str:
    """The same, for people."""
    about = f" ({escape(str(record['name']))})" if record["name"] else ""
    return f"[{record['at']}] warning{about}: {escape(str(record['text']))} [{escape(str(record['code']))}]"


def local_facts(context: CommandContext) -> dict[str, object]:
    """What is known without a connection."""
    profile = context.profile
    return {
        "name": profile.name,
        "server": context.where,
        "connected": False,
        "tls": None,
        "cipher": None,
        "group": None,
        "pin": fingerprint(profile.pin),
        "fingerprint": fingerprint(profile.identity.public),
        "device": profile.device_id.hex(),
        "suite": profile.suite,
        "key_files": key_files(context),
        "keys_protected": context.protection,
        "profile": str(context.folder),
    }


def key_files(context: CommandContext) -> dict[str, str]:
    """With whom a key file is pinned, by name, and what the file is called."""
    with context.store.reading() as records:
        pinned = {contact.name: choices.chosen(records, contact.name) for contact in all_contacts(records)}
    return {name: choice.shared.name for name, choice in pinned.items() if choice.suite == choices.PSK}


def queue_facts(context: CommandContext) -> dict[str, object]:
    """What waits."""
    return {
        "outbox": messages.pending(context.store),
        "unread": sum(messages.unread(context.store).values()),
        "held_back": {peer.name: peer.rows for peer in messages.held_back(context.store)},
        "held_back_dropped": messages.quarantined(context.store)[1],
    }


def held_back(context: CommandContext) -> str:
    """Which messages could not be opened, for people."""
    named = []
    for peer in messages.held_back(context.store):
        reason = ": needs a key file" if peer.locked else ": identity changed" if peer.identity else ""
        named.append(f"{escape(peer.name)} {peer.rows}{reason}")
    return ", ".join(named)


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def ping(ctx: click.Context, as_json: bool) -> int:
    """Measure how long an answer of the server takes."""
    with opened(settings_of(ctx)) as context:

        async def ask(reactor: Any, connection: ServerConnection) -> int:
            facts = await connection.ask("ping", timeout=context.settings.time_limit)
            milliseconds = round(float(facts["seconds"]) * 1000, 3)
            record: dict[str, object] = {
                "server": context.where,
                "milliseconds": milliseconds,
                "server_time": iso(int(facts["now"])),
            }
            put_record(record, as_json, f"{context.where} answered in {milliseconds:.1f} ms")
            return Exit.DONE

        return context.connected(ask)


@click.command()
@click.option(
    "--expires", type=Duration(60, 366 * DAY), default="7d", show_default=True, metavar="TIME", help="How long it is good."
)
@json_option("Print a JSON object.")
@shared
@click.pass_context
def invite(ctx: click.Context, expires: int, as_json: bool) -> int:
    """Print an invite that serves once, if the server lets its users invite. Whoever joins with it has you verified."""
    with opened(settings_of(ctx)) as context:

        async def ask(reactor: Any, connection: ServerConnection) -> int:
            facts = await connection.ask("invite", str(expires), timeout=context.settings.time_limit)
            profile = context.profile
            link = InviteLink(
                host=context.host,
                port=context.port,
                pin=profile.pin,
                token=bytes.fromhex(facts["token"]),
                contact=profile.contact,
                inviter=profile.name,
                inviter_identity=profile.identity.public,
            )
            record: dict[str, object] = {"invite": str(link), "uses": 1, "expires_at": iso(int(facts["expires_at"]))}
            put_record(record, as_json, str(link))
            return Exit.DONE

        return context.connected(ask)
