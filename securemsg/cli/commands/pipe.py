"""C{securemsg pipe}: standard input of one person becomes standard output of another."""

from __future__ import annotations

from pathlib import Path

import click

from securemsg.account.errors import error_for
from securemsg.account.names import full_name
from securemsg.cli.commands.send import MessageId
from securemsg.cli.profiles import opened
from securemsg.cli.settings import PEER, NamedPath, json_option, settings_of, shared
from securemsg.protocol.devices import ROOM_MARK, SERVER_NAME


@click.command()
@click.argument("name", type=PEER, required=False)
@click.option("--from", "sender", type=PEER, metavar="NAME", help="Receive a stream from NAME.")
@click.option("--id", "stream", type=MessageId(), metavar="HEX", help="The stream to continue, or to take.")
@click.option("--output", type=NamedPath(), metavar="FILE", help="With --from: write to FILE, each byte once, after kills too.")
@json_option("Print what became of the stream as a JSON object; with --from and without --output, on standard error.")
@shared
@click.pass_context
def pipe(ctx: click.Context, name: str | None, sender: str | None, stream: bytes | None, output: Path | None) -> int:
    """
    Stream standard input to NAME, who takes it with pipe --from.

    It is end-to-end encrypted, and may have any length: at most 1 MiB is sent ahead of what NAME has taken. Status 0 means
    the same at both ends: NAME has taken all of it. 74 means that the stream was cut: by Ctrl-C at the sender, or because the
    recipient's output was closed. After anything else it can go on; SIGTERM and SIGHUP leave a stream with --id open.

    If either end was killed, run it again: the sender with --id and the same input from its beginning, where it skips what was
    sent already; the recipient as before. Without --id, pipe --from takes the oldest stream of NAME that has something to take.

    It waits for the other side as long as it takes, or until nothing has moved for --timeout.
    """
    if (name is None) == (sender is None):
        raise click.UsageError("give either NAME, to send, or --from NAME, to receive")
    if output is not None and sender is None:
        raise click.UsageError("--output needs --from")
    with opened(settings_of(ctx)) as context:
        other = name or sender or ""
        if not other.startswith(ROOM_MARK):
            other = full_name(context.store, other)
        if other.startswith(ROOM_MARK) or other in (SERVER_NAME, context.profile.name):
            raise error_for("no-pipe", other)
        # These bring in the reactor, which neither help nor a mistake needs.
        if sender is None:
            from securemsg.cli.pipesender import PipeSender

            return PipeSender(context, other, stream).run()
        from securemsg.cli.pipereceiver import PipeReceiver

        return PipeReceiver(context, other, stream, output).run()
