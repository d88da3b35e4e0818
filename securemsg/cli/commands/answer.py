"""C{securemsg answer}: answer a question with one of its choices."""

from __future__ import annotations

import click

from securemsg.account.questions import answer as choose
from securemsg.account.tracking import ACCEPTED
from securemsg.cli.profiles import opened
from securemsg.cli.sending import Sending
from securemsg.cli.settings import json_option, settings_of, shared


@click.command()
@click.argument("who")
@click.argument("choice")
@json_option("Print the result as a JSON object.")
@shared
@click.pass_context
def answer(ctx: click.Context, who: str, choice: str) -> int:
    """
    Answer the question that WHO has asked with CHOICE: one of its choices, or its number from 1.

    WHO is an account; if several of its questions are open, the first digits of the id of one, which the error lists. An answer
    is signed: whoever has asked can show it to others. It can be given once, and only until the question expires.

    Messages that wait at the server are fetched first, if it can be reached. Then the answer is saved to disk; if it cannot be
    sent now, it goes out with the next connection.
    """
    with opened(settings_of(ctx)) as context:
        return Sending(context, ACCEPTED).run(lambda: choose(context.store, who, choice, now=context.now()))
