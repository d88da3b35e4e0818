"""What commands say and do when they open the lobby."""

from __future__ import annotations

from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_note
from securemsg.client import lobby
from securemsg.protocol.devices import LOBBY_NAME


def announce_lobby(context: CommandContext, name: str | None) -> None:
    """Say who can read along, where a command is about to use the lobby."""
    if name == LOBBY_NAME:
        report_note("operator-reads", lobby.READABLE, context.settings.as_json, LOBBY_NAME)


def open_lobby(context: CommandContext, name: str | None) -> None:
    """Say who can read along, and enter."""
    announce_lobby(context, name)
    if name == LOBBY_NAME:
        lobby.enter(context.store, context.now())
