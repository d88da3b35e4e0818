"""From a short invite to the invite that it stands for, over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimeLimit

from securemsg.account.address import ServerAddress
from securemsg.account.connection import Dialing
from securemsg.account.errors import error_for
from securemsg.account.routes import routes
from securemsg.client.newcomer import Newcomer
from securemsg.errors import Refusal
from securemsg.net.dialer import Dialer
from securemsg.net.turn import Turn
from securemsg.protocol.channel import IPeer
from securemsg.protocol.invite import InviteLink

# Makes what connects a peer, given the peer and a callback for a failed attempt.
Dial = Callable[[IPeer, Callable[[str], None]], Dialing]
# A server that is not the one of the invite.
_STRANGER = "the server at {name} is not the one that this invite is for: somebody may be in between"
_ASK_AGAIN = "nothing was given to it; check the address, or ask for the long invite"


def dial_server(reactor: Any, server: ServerAddress) -> Dial:
    """
    Connect to a server, whichever it is.

    @raise SecuremsgError: see L{routes}.
    """
    ways, turn = routes(reactor, server), Turn(reactor)
    return lambda peer, failed: Dialer(ways, peer, reactor, turn, failed)


async def fetch_invite(clock: Any, dial: Dial, number: int, words: str, where: str, timeout: float | None) -> InviteLink:
    """
    Ask for the invite of a number and words, once.

    @param words: the six, in lower case, with hyphens between them.
    @param where: the server's address, for messages.
    @param timeout: seconds; C{None}: as long as a login may take.
    @raise SecuremsgError: there is none; see L{Newcomer}.
    """
    done: Deferred[InviteLink | Refusal] = Deferred()

    def finish(result: InviteLink | Refusal) -> None:
        if not done.called:
            done.callback(result)

    dialer = dial(Newcomer(number, words.encode(), finish), lambda code: finish(Refusal(code)))
    dialer.start()
    if timeout is not None:
        done.addTimeout(timeout, clock)
    try:
        result = await done
    except TimeLimit:
        result = Refusal("timeout")
    finally:
        dialer.stop()
    if isinstance(result, InviteLink):
        return result
    if result.code == "server-identity":
        raise error_for(result.code, where, text=_STRANGER, hint=_ASK_AGAIN)
    raise error_for(result.code, where)
