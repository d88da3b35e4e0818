"""The options for the suite of a conversation and its key file. Both are pinned in the sealed profile."""

from __future__ import annotations

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.cli.commands.keygen import load_key
from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_note
from securemsg.cli.settings import Settings
from securemsg.client.sending.results import drafts
from securemsg.client.sessions import pins
from securemsg.client.sessions.pins import SECRET_SIZES, Chosen
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME

# Names in one warning.
SHOWN = 5


def wanted(settings: Settings, name: str, pinned: Chosen) -> Chosen:
    """
    The suite that the options choose for a conversation; without options: the pinned one.

    @raise SecuremsgError: the options make no sense, or the key file cannot be used.
    """
    if settings.suite is None:
        return pinned
    if settings.suite not in SECRET_SIZES:
        if settings.key_file is not None:
            raise SecuremsgError(
                Exit.USAGE, "usage", "only suite psk uses a key file", "omit --key-file, or choose suite psk"
            )
        return Chosen(settings.suite)
    if name == LOBBY_NAME:
        text = f"{LOBBY_NAME} has no suite of its own: what you say there goes to `{SERVER_NAME}` in suite pqxdh"
        raise SecuremsgError(Exit.USAGE, "usage", text, "omit --suite and --key-file")
    if name == SERVER_NAME:
        raise SecuremsgError(
            Exit.USAGE,
            "usage",
            f"with a profile, `{SERVER_NAME}` accepts no key file; guests without a profile use one",
            f"omit the suite: securemsg send --key-file FILE {SERVER_NAME}",
        )
    if settings.key_file is not None:
        return Chosen(settings.suite, load_key(settings.key_file, settings.loose).secret)
    if not pinned.key:
        raise SecuremsgError(
            Exit.USAGE,
            "key-file",
            f"no key file is pinned for {name}",
            f"create one with `securemsg keygen FILE`, give {name} a copy, and add --key-file FILE here",
        )
    return pinned


def pinned_suite(context: CommandContext, name: str) -> Chosen:
    """The pinned suite of a conversation."""
    with context.store.reading() as records:
        return pins.pinned_suite(records, context.profile.conversation(name))


def pin(context: CommandContext, name: str) -> bool:
    """
    Pin the suite that the options choose, and report a change on standard error. The owner of the connection finds it in the
    store.

    @return: whether it has changed.
    @raise SecuremsgError: see L{wanted}.
    """
    pinned = pinned_suite(context, name)
    choice = wanted(context.settings, name, pinned)
    if (choice.suite, choice.key) == (pinned.suite, pinned.key):
        return False
    with context.store.writing() as records:
        conversation = context.profile.conversation(name)
        pins.pin_suite(records, conversation, choice.suite, choice.key)
        sharing, waiting = pins.sharing(records, name), drafts(records, conversation)
    report_note("suite-pinned", _consequences(context, name, choice), context.settings.as_json)
    if waiting:
        report_note("suite-of-waiting", _outbox_note(name, choice, waiting), context.settings.as_json)
    if sharing:
        report_note("key-shared", _shared_file(name, sharing), context.settings.as_json)
    return True


def key_name(choice: Chosen) -> str | None:
    """The name of the key file that is pinned, if one is."""
    return choice.shared.name if choice.key else None


def _consequences(context: CommandContext, name: str, choice: Chosen) -> str:
    """The consequences of a choice, in words."""
    if not choice.key:
        return (
            f"from now on messages to {name} are encrypted with suite {choice.suite}, without a key file; what {name} encrypts"
            " with the old one waits until it is pinned again"
        )
    same = f"securemsg contacts {context.profile.name} --set-suite psk --key-file FILE"
    return (
        f"from now on messages to {name} are encrypted with suite psk and {key_name(choice)}: anyone who has this file, now or"
        " later, can read everything, including the daemon's operator if the daemon has the same file."
        f" {name} needs this file too: {same}"
    )


def _outbox_note(name: str, choice: Chosen, waiting: int) -> str:
    """A note about messages that were written before the choice, and are not sealed yet."""
    what = f"1 message waiting for {name} goes" if waiting == 1 else f"{waiting} messages waiting for {name} go"
    with_key = f" and {key_name(choice)}" if choice.key else ""
    return f"{what} out with suite {choice.suite}{with_key} as well"


def _shared_file(name: str, sharing: list[str]) -> str:
    """The consequence of one file for several contacts, in words."""
    shown, more = sharing[:SHOWN], len(sharing) - SHOWN
    others = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return (
        f"this key file is also pinned for {others}: each of them can read messages to {name}, and {name} can read messages to"
        " them. create one file for each: securemsg keygen FILE"
    )
