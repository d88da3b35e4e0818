"""C{securemsg whoami}: the account of this profile."""

from __future__ import annotations

import click

from securemsg.account.errors import Exit
from securemsg.cli.output import write_record
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.crypto.keys import fingerprint


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def whoami(ctx: click.Context) -> int:
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
        write_record(facts, context.settings.as_json, f"{profile.name} at {context.where}, fingerprint {facts['fingerprint']}")
    return Exit.DONE
