"""C{securemsg admin}: the running daemon as a whole."""

from __future__ import annotations

import time
from typing import Literal

import click

from securemsg.cli.admin.accounts import DEVICE_DIGITS
from securemsg.cli.admin.client import AdminClient
from securemsg.cli.admin.control import ask, confirm, operate
from securemsg.cli.output import columns, json_line, say, write_line, write_record
from securemsg.cli.rendering import amount
from securemsg.cli.settings import json_option, settings_of, shared, state_option
from securemsg.cli.times import expiry_text, shown_time
from securemsg.client.escape import escape
from securemsg.client.times import iso
from securemsg.protocol import messages as m


@click.command()
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def connections(ctx: click.Context) -> int:
    """List who is connected, since when and over what: the first 500 by name, and how many there are."""

    async def work(operator: AdminClient) -> None:
        found = await ask(operator, m.ListConnections(0), m.Connections)
        width = columns()
        record: dict[str, object] = {
            "total": found.total,
            "logged_in": found.devices,
            "connections": [
                {"account": row.account, "device": row.device.hex(), "since": iso(row.since), "transport": row.transport}
                for row in found.rows
            ],
        }
        lines = [
            f"{escape(row.account):<20}  {row.device.hex()[:DEVICE_DIGITS]}  {shown_time(row.since, width)}  {row.transport}"
            for row in found.rows
        ]
        left = found.devices - len(found.rows)
        more = f"; {left} are not listed" if left else ""
        lines.append(f"{amount(found.total, 'connection')}, {amount(found.devices, 'device')} logged in{more}")
        write_record(record, settings_of(ctx).as_json, "\n".join(lines), verbatim=True)

    return operate(ctx, work)


@click.command()
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def stats(ctx: click.Context) -> int:
    """
    Print how many accounts, connections and waiting messages there are, how much disk is free, and when the certificate
    expires.
    """

    async def work(operator: AdminClient) -> None:
        found = await ask(operator, m.GetStats(0), m.Stats)
        record: dict[str, object] = {
            "started_at": iso(found.started_at),
            "connections": found.connections,
            "logged_in": found.logged_in,
            "guests": found.guests,
            "accounts": found.accounts,
            "devices": found.devices,
            "waiting_messages": found.messages,
            "waiting_bytes": found.size,
            "open_invites": found.invites,
            "free_bytes": found.free_space,
            "draining": found.draining,
            "certificate_expires_at": iso(found.certificate_expires_at),
        }
        shown = {
            **record,
            "started_at": shown_time(found.started_at, columns()),
            "draining": "yes" if found.draining else "no",
            "certificate": expiry_text(found.certificate_expires_at, time.time()),
        }
        del shown["certificate_expires_at"]
        text = "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in shown.items())
        write_record(record, settings_of(ctx).as_json, text)

    return operate(ctx, work)


@click.command()
@click.option("--off", is_flag=True, help="Let everybody in again.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def drain(ctx: click.Context, off: bool, yes: bool) -> int:
    """
    End all connections and let nobody log in, as before a restart. You are asked first.

    Clients are told that the server is shutting down, keep what they want to send, and try again. It lasts until --off, or
    until the daemon is started again.
    """
    if not off and not yes:
        confirm("End all connections, and let nobody log in?")

    async def work(operator: AdminClient) -> None:
        await ask(operator, m.SetDraining(0, not off), m.Done)
        if settings_of(ctx).as_json:
            write_line(json_line({"draining": not off}))
        else:
            say("everybody may log in again" if off else "nobody may log in; undo it with: securemsg admin drain --off")

    return operate(ctx, work)


@click.command("rotate-key")
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def rotate_key(ctx: click.Context) -> int:
    """
    Make the daemon's own TLS key and certificate anew, for new connections.

    Open connections stay, and no client needs to know: clients trust the identity of the server, which signs the TLS key in
    each login.
    """

    async def work(operator: AdminClient) -> None:
        await ask(operator, m.RotateKey(0), m.Done)
        if settings_of(ctx).as_json:
            write_line(json_line({"rotated": True}))
        else:
            say("new connections use a new TLS key")

    return operate(ctx, work)


@click.command("log-level")
@click.argument("level", type=click.Choice(["debug", "info", "warn", "error"]))
@json_option("Print a JSON object.")
@state_option
@shared
@click.pass_context
def log_level(ctx: click.Context, level: Literal["debug", "info", "warn", "error"]) -> int:
    """Have the daemon log from this level on, until it is started again; it starts with info."""

    async def work(operator: AdminClient) -> None:
        await ask(operator, m.SetLogLevel(0, level), m.Done)
        if settings_of(ctx).as_json:
            write_line(json_line({"level": level}))
        else:
            say(f"the daemon logs from {level} on")

    return operate(ctx, work)
