"""C{securemsg ask}: ask people a question with choices, and wait for their answers."""

from __future__ import annotations

from math import ceil

import click

from securemsg.account import questions
from securemsg.account.errors import error_for
from securemsg.account.names import full_name
from securemsg.account.questions import Draft
from securemsg.cli.commands.send import MessageId, Peers, given_text, id_of
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.crypto.keys import random_id
from securemsg.protocol.envelope import MAX_CHOICES, Question
from securemsg.protocol.messages import MAX_EXPIRY

# People who can be asked at once.
MAX_ASKED = 16
# How long a question is open unless --timeout says otherwise, seconds.
DEFAULT_TIME = 600


class Choices(click.ParamType[tuple[str, ...]]):
    """An option that takes choices with commas between."""

    name = "choices"

    def convert(
        self, value: str | tuple[str, ...], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Check them."""
        if isinstance(value, tuple):
            return value
        choices = tuple(choice.strip() for choice in value.split(","))
        if not 2 <= len(choices) <= MAX_CHOICES:
            self.fail(f"a question has 2 to {MAX_CHOICES} choices", param, ctx)
        try:
            Question("", choices, 0)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return choices


@click.command()
@click.argument("name", type=Peers(), metavar="NAME[,NAME]...")
@click.argument("text", required=False)
@click.option(
    "--choices", type=Choices(), default="yes,no", show_default=True, metavar="A,B...", help="What can be chosen, 2 to 16."
)
@click.option("--first", is_flag=True, help="Of several NAMEs the first answer counts.")
@click.option("--all", "everybody", is_flag=True, help="Wait for the answers of all NAMEs.")
@click.option(
    "--id",
    "message_id",
    type=MessageId(),
    metavar="HEX",
    help="32 hex digits; with the same id, asking again waits for the answer to the same question.",
)
@json_option("Print each result as a JSON object.")
@shared
@click.pass_context
def ask(
    ctx: click.Context,
    name: tuple[str, ...],
    text: str | None,
    choices: tuple[str, ...],
    first: bool,
    everybody: bool,
    message_id: bytes | None,
) -> int:
    """
    Ask NAME the question TEXT (standard input where there is none, or it is -), and wait for the answer.

    NAME chooses with /answer in a chat, or with securemsg answer. The answer is signed and bound to this question, and only the
    first one counts. It is printed; the exit status is 0 for the first choice, 10 for the second, 11 for the third, and so on,
    and 7 if there is no answer within --timeout (10 minutes unless it is given): then the question is over.

    After a kill or Ctrl-C, ask again with the same --id, TEXT and --choices: it waits for the rest of the time, and NAME is not
    asked twice. A question that cannot be sent is withdrawn, and the exit status is that of send.

    Several NAMEs need --first or --all. With --all the exit status is the highest of all choices, or, if somebody did not
    answer, 7 (or that of send). With --id each question gets an id that is made of it and NAME.
    """
    settings = settings_of(ctx)
    time = DEFAULT_TIME if settings.timeout is None else settings.timeout
    if not 1 <= time <= MAX_EXPIRY:
        raise click.UsageError("a question can be open for 1s to 30d: give another --timeout")
    with opened(settings) as context:
        names = tuple(dict.fromkeys(full_name(context.store, each) for each in name))
        if context.profile.name in names:
            raise error_for("own-name", context.profile.name)
        if len(names) > MAX_ASKED:
            raise click.UsageError(f"{len(names)} names; at most {MAX_ASKED} can be asked at once")
        if (first and everybody) or (len(names) > 1 and not (first or everybody)):
            raise click.UsageError("to ask several, say --first (the first answer counts) or --all (wait for everybody)")
        given = random_id() if message_id is None else message_id
        words = given_text(text)
        drafts = [Draft(to, given if len(names) == 1 else id_of(to, given) or given, words, choices) for to in names]
        questions.ask(context.store, drafts, ceil(context.now()) + time, now=context.now())
        # It brings in the reactor, which neither help nor a mistake needs.
        from securemsg.cli.asking import Asking

        return Asking(context, given, [draft.message_id for draft in drafts], first).run()
