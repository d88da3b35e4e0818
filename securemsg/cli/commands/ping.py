"""C{securemsg ping}: how long the server takes to answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from attrs import evolve

from securemsg.account.errors import Exit
from securemsg.cli.output import write_record
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.client.times import iso

if TYPE_CHECKING:
    from securemsg.account.connection import AccountConnection


@click.command()
@json_option("Print a JSON object.")
@shared
@click.pass_context
def ping(ctx: click.Context) -> int:
    """Measure how long the server takes to answer."""
    with opened(settings_of(ctx)) as context:

        async def ask(reactor: Any, connection: AccountConnection) -> int:
            facts = await connection.ask("ping", timeout=context.settings.time_limit)
            milliseconds = round(float(facts["seconds"]) * 1000, 3)
            # Of several routes, the one that is used.
            used = connection.link_facts().get("transport", context.address.transport)
            where = evolve(context.address, transport=used).in_words
            record: dict[str, object] = {
                "server": context.where,
                "milliseconds": milliseconds,
                "server_time": iso(int(facts["now"])),
            }
            write_record(record, context.settings.as_json, f"{where} answered in {milliseconds:.1f} ms")
            return Exit.DONE

        return context.run_connected(ask)
