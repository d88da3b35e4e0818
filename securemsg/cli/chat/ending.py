"""The end of a chat: what is still on its way, and the exit status."""

from __future__ import annotations

from typing import Any

from securemsg.account.connection import AccountConnection
from securemsg.account.errors import Exit, error_for
from securemsg.account.lobby import not_relayed
from securemsg.account.timeouts import IdleTimeout, Timeout
from securemsg.cli.chat.conversation import Chat
from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_note
from securemsg.cli.rendering import amount
from securemsg.client import unsent
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME

# Seconds to wait after the last line of a pipe, until everything is accepted and, by the contact `server`, answered.
ENDING_TIME = 30
# At a terminal the user wants to leave; what is not accepted by then stays in the outbox.
LEAVING_TIME = 2
# If an answer takes longer than this, a note says that we wait, seconds.
SILENT_TIME = 1


async def finish(
    context: CommandContext, connection: AccountConnection, conversation: Chat, reactor: Any, timeout: float
) -> int:
    """
    Wait until everything is accepted and, by the contact C{server}, answered; what was said in a room, relayed.

    @return: 0, or 2 where a line was not understood.
    @raise SecuremsgError: it was not in time, or a message was refused.
    """
    if context.settings.timeout is not None:
        timeout = context.settings.timeout
    since = reactor.seconds()
    # Two seconds at the end of a terminal are not worth a line.
    is_silent = timeout > LEAVING_TIME
    limit: Timeout = IdleTimeout(timeout) if is_silent and context.settings.timeout is None else timeout
    accepted_at: float | None = None

    unanswered = conversation.unanswered

    def is_done() -> bool:
        # Answers are awaited only while the chat is with `server`.
        is_asking = conversation.name == SERVER_NAME and len(conversation.answers) > 0
        is_busy = conversation.is_entering or conversation.is_changing
        return not (unanswered.pending or unanswered.unrelayed or is_busy or is_asking)

    while True:
        await conversation.show_new()
        left = connection.time_left(since, limit) or 0
        if is_done() or unanswered.held_up or left <= 0:
            break
        if is_silent and not unanswered.pending:
            accepted_at = reactor.seconds() if accepted_at is None else accepted_at
            silent = accepted_at + SILENT_TIME - reactor.seconds()
            if silent <= 0:
                is_silent = False
                whom = LOBBY_NAME if unanswered.unrelayed else conversation.name
                text = f"waiting up to {timeout:.0f} s for an answer from {whom}; --timeout changes that"
                report_note("waiting", text, context.settings.as_json)
            else:
                left = min(left, silent)
        await connection.until(lambda: True if conversation.has_news() or unanswered.held_up else None, left)
    held_up = unanswered.held_up
    if held_up is not None:
        raise held_up
    if unanswered.pending:
        count = unanswered.pending
        what = "1 message was" if count == 1 else f"{count} messages were"
        failure = connection.last_failure
        reason = error_for(failure, connection.where).text + ": " if failure else ""
        is_kept = context.folder is not None
        kept = "what is in the outbox is sent with the next connection; to list it: securemsg outbox"
        fate = kept if is_kept else "it is not kept; send it again"
        raise error_for("not-accepted", text=f"{reason}{what} not accepted", hint=fate)
    if conversation.refused is not None:
        raise error_for(conversation.refused.code, conversation.refused.to)
    if conversation.kept_out:
        raise error_for(conversation.kept_out)
    if unanswered.unrelayed:
        count = unanswered.unrelayed
        raise not_relayed("1 message was" if count == 1 else f"{count} messages were")
    if not is_done():
        raise error_for("not-answered", text=f"{conversation.name} did not answer in time")
    if conversation.answers.lost:
        raise error_for("not-answered", text="the connection was lost before every message was answered", hint="ask again")
    waiting = 0 if context.folder is None else unsent.count(context.store, context.now())
    if waiting:
        still = f"{amount(waiting, 'message')} from before {'waits' if waiting == 1 else 'wait'} in the outbox"
        report_note("waiting", f"{still}; see: securemsg outbox", context.settings.as_json)
    return Exit.USAGE if conversation.mistakes else Exit.DONE
