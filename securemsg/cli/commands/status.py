"""C{securemsg status}, C{whoami}, C{ping}, C{invite}: how we stand with the server."""

from __future__ import annotations

from typing import Any

import click

from securemsg.account.connection import Uplink
from securemsg.account.errors import Exit, Trouble
from securemsg.cli.context import Desk
from securemsg.cli.locked import counted, kept, text_of
from securemsg.cli.output import put_record
from securemsg.cli.profiles import opened
from securemsg.cli.rendering import fact_lines
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import Duration, iso
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.sessions import suites
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
def whoami(context: click.Context, as_json: bool) -> int:
    """Print the name and the fingerprint of this profile."""
    with opened(settings_of(context)) as desk:
        profile = desk.profile
        facts: dict[str, object] = {
            "name": profile.name,
            "server": desk.where,
            "fingerprint": fingerprint(profile.identity.public),
            "device": profile.device_id.hex(),
            "profile": str(desk.folder),
        }
        put_record(facts, as_json, f"{profile.name} at {desk.where}, fingerprint {facts['fingerprint']}")
    return Exit.DONE


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def status(context: click.Context, as_json: bool) -> int:
    """
    Print how the connection and the keys are protected, and what waits.

    What is known here is printed without a connection, too; the exit status is 6 then.
    """
    with opened(settings_of(context)) as desk:
        facts = local_facts(desk)
        problem: Trouble | None = None

        async def look(reactor: Any, uplink: Uplink) -> int:
            facts.update(await uplink.ask("link", patience=desk.settings.patience))
            facts["connected"] = True
            return Exit.DONE

        result = int(Exit.DONE)
        try:
            result = desk.connected(look)
        except Trouble as trouble:
            problem = trouble
        facts.update(queue_facts(desk))
        warnings = [notice_record(notice) for notice in messages.notices(desk.store)[-SHOWN_NOTICES:]]
        named = ", ".join(f"{key} with {name}" for name, key in key_files(desk).items())
        locked = [text_of(row) for row in kept(desk)]
        shown = {**facts, "key_files": named or "none", "need_key_file": "\n".join(locked) or "none"}
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


def local_facts(desk: Desk) -> dict[str, object]:
    """What is known without a connection."""
    profile = desk.profile
    return {
        "name": profile.name,
        "server": desk.where,
        "connected": False,
        "tls": None,
        "cipher": None,
        "group": None,
        "pin": fingerprint(profile.pin),
        "fingerprint": fingerprint(profile.identity.public),
        "device": profile.device_id.hex(),
        "suite": profile.suite,
        "key_files": key_files(desk),
        "keys_protected": desk.protection,
        "profile": str(desk.folder),
    }


def key_files(desk: Desk) -> dict[str, str]:
    """With whom a key file is pinned, by name, and what the file is called."""
    with desk.store.reading() as records:
        choices = {contact.name: suites.chosen(records, contact.name) for contact in all_contacts(records)}
    return {name: choice.shared.name for name, choice in choices.items() if choice.suite == suites.PSK}


def queue_facts(desk: Desk) -> dict[str, object]:
    """What waits."""
    held, dropped = messages.quarantined(desk.store)
    return {
        "outbox": messages.pending(desk.store),
        "unread": sum(messages.unread(desk.store).values()),
        "quarantined": held,
        "quarantine_dropped": dropped,
        "need_key_file": counted(kept(desk)),
    }


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def ping(context: click.Context, as_json: bool) -> int:
    """Measure how long an answer of the server takes."""
    with opened(settings_of(context)) as desk:

        async def ask(reactor: Any, uplink: Uplink) -> int:
            facts = await uplink.ask("ping", patience=desk.settings.patience)
            milliseconds = round(float(facts["seconds"]) * 1000, 3)
            record: dict[str, object] = {
                "server": desk.where,
                "milliseconds": milliseconds,
                "server_time": iso(int(facts["now"])),
            }
            put_record(record, as_json, f"{desk.where} answered in {milliseconds:.1f} ms")
            return Exit.DONE

        return desk.connected(ask)


@click.command()
@click.option(
    "--expires", type=Duration(60, 366 * DAY), default="7d", show_default=True, metavar="TIME", help="How long it is good."
)
@json_option("Print a JSON object.")
@shared
@click.pass_context
def invite(context: click.Context, expires: int, as_json: bool) -> int:
    """Print an invite that serves once, if the server lets its users invite. Whoever joins with it has you verified."""
    with opened(settings_of(context)) as desk:

        async def ask(reactor: Any, uplink: Uplink) -> int:
            facts = await uplink.ask("invite", str(expires), patience=desk.settings.patience)
            profile = desk.profile
            link = InviteLink(
                host=desk.host,
                port=desk.port,
                pin=profile.pin,
                token=bytes.fromhex(facts["token"]),
                contact=profile.contact,
                inviter=profile.name,
                inviter_identity=profile.identity.public,
            )
            record: dict[str, object] = {"invite": str(link), "uses": 1, "expires_at": iso(int(facts["expires_at"]))}
            put_record(record, as_json, str(link))
            return Exit.DONE

        return desk.connected(ask)
