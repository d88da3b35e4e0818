"""C{securemsg admin}: what the operator does; all but C{check} and C{restore} ask the running daemon."""

from __future__ import annotations

import click

from securemsg.cli.admin.accounts import account, accounts, kick, purge, quota, remove, reply, resume, suspend
from securemsg.cli.admin.backup import backup, check, restore
from securemsg.cli.admin.daemon import connections, drain, log_level, rotate_key, stats
from securemsg.cli.admin.invites import address, invite, invites, revoke_invite
from securemsg.cli.helptext import Group
from securemsg.cli.settings import json_option, shared, state_option


@click.group(cls=Group)
@state_option
@json_option("Print JSON.")
@shared
def admin() -> None:
    """Manage the daemon on this machine: invites, accounts, connections, TLS key, log level, backups."""


COMMANDS = (
    invite, invites, revoke_invite, address, accounts, account, suspend, resume, kick, quota, remove, purge, reply,
    connections, stats, drain, log_level, rotate_key, backup, check, restore,
)  # fmt: skip
for each in COMMANDS:
    admin.add_command(each)
