"""The options for the suite of a conversation and its key file. Both are pinned in the sealed profile."""

from __future__ import annotations

from securemsg.account.errors import Exit, SecuremsgError, error_for
from securemsg.account.rooms import is_room
from securemsg.cli.commands.keygen import load_key
from securemsg.cli.context import CommandContext
from securemsg.cli.output import report_note
from securemsg.cli.rendering import CIPHER_NAMES, lack_words, suite_mark
from securemsg.cli.settings import Settings
from securemsg.client.sending.results import drafts
from securemsg.client.sessions import pins
from securemsg.client.sessions.pins import DEFAULT_CIPHER, SECRET_SIZES, Chosen
from securemsg.client.state.ownlist import is_published
from securemsg.client.state.profile import load_profile
from securemsg.client.state.rsakeys import load_rsa_key, save_rsa_key, with_rsa_key
from securemsg.crypto.rsa import DEFAULT_BITS, RsaKey
from securemsg.protocol.devices import LOBBY_NAME, SERVER_NAME
from securemsg.protocol.envelope import PQXDH, RSA

# Names in one warning.
SHOWN = 5
_RSA_READERS = "whoever gets a device's RSA key, now or later, can read everything that was sent to it"


def wanted(settings: Settings, name: str, pinned: Chosen) -> Chosen:
    """
    The suite that the options choose for a conversation; without options: the pinned one.

    @raise SecuremsgError: the options make no sense, or the key file cannot be used.
    """
    if settings.cipher is not None and settings.suite != RSA:
        raise SecuremsgError(Exit.USAGE, "usage", "only suite rsa has a choice of ciphers", "omit --cipher, or choose rsa")
    if settings.suite is None:
        return pinned
    if name == LOBBY_NAME and settings.suite != PQXDH:
        text = f"{LOBBY_NAME} has no suite of its own: what you say there goes to `{SERVER_NAME}` in suite pqxdh"
        raise SecuremsgError(Exit.USAGE, "usage", text, "omit --suite and --key-file")
    if is_room(name) and settings.suite != PQXDH:
        raise SecuremsgError(Exit.USAGE, "usage", "rooms have suite pqxdh alone", "omit --suite and --key-file")
    if settings.suite not in SECRET_SIZES:
        if settings.key_file is not None:
            raise SecuremsgError(
                Exit.USAGE, "usage", "only suite psk uses a key file", "omit --key-file, or choose suite psk"
            )
        if settings.suite == RSA and name == SERVER_NAME:
            text = f"`{SERVER_NAME}` has no RSA key"
            raise error_for("suite-unavailable", name, Exit.USAGE, text, "omit the suite; messages go out with suite pqxdh")
        kept = pinned.cipher if pinned.suite == settings.suite else DEFAULT_CIPHER
        return Chosen(settings.suite, cipher=settings.cipher or kept)
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
    """The pinned suite of a conversation; a room has the default."""
    if is_room(name):
        return Chosen()
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
    if (choice.suite, choice.key, choice.cipher) == (pinned.suite, pinned.key, pinned.cipher):
        return False
    with context.store.writing() as records:
        conversation = context.profile.conversation(name)
        pins.pin_suite(records, conversation, choice.suite, choice.key, choice.cipher)
        sharing, waiting = pins.sharing(records, name), drafts(records, conversation)
        has_rsa_key = load_rsa_key(records) is not None
    report_note("suite-pinned", _consequences(context, name, pinned, choice, has_rsa_key), context.settings.as_json)
    if waiting:
        report_note("suite-of-waiting", _outbox_note(name, choice, waiting), context.settings.as_json)
    if sharing:
        report_note("key-shared", _shared_file(name, sharing), context.settings.as_json)
    return True


def caution(choice: Chosen) -> str:
    """What a suite lacks, in words; empty where it lacks nothing."""
    if choice.key:
        return f"messages are encrypted with {suite_mark(choice)}: anyone who has this file, now or later, can read them"
    if choice.lacks:
        return f"messages are encrypted with suite {choice.suite}: {lack_words(choice)}; {_RSA_READERS}"
    return ""


def ensure_rsa_key(context: CommandContext) -> bool:
    """
    Make the RSA key of this device, if it has none.

    @return: whether the account's list lacks it so far: the owner of the connection has to publish it.
    @raise SecuremsgError: C{usage}: it has one, and the options name a size.
    """
    with context.store.reading() as records:
        is_made = load_rsa_key(records) is not None
    bits = context.settings.rsa_bits
    if is_made and bits:
        raise SecuremsgError(Exit.USAGE, "usage", "this device has an RSA key already, and keeps it", "omit --rsa-bits")
    if not is_made:
        # Not inside a transaction: it may take seconds.
        key = RsaKey.generate(bits or DEFAULT_BITS)
        with context.store.writing() as records:
            save_rsa_key(records, key)
        text = f"an RSA key of {bits or DEFAULT_BITS} bits was made for this device"
        report_note("rsa-key-made", text, context.settings.as_json)
    with context.store.reading() as records:
        profile = load_profile(records) or context.profile
        return with_rsa_key(records, profile) != profile.listing.devices or not is_published(records, profile)


def _consequences(context: CommandContext, name: str, pinned: Chosen, choice: Chosen, has_rsa_key: bool) -> str:
    """
    The consequences of a choice, in words.

    @param pinned: what was chosen before.
    """
    if choice.suite == RSA:
        same = f"securemsg contacts {name} --set-suite rsa"
        answers = "" if has_rsa_key else f". {name} cannot answer in this suite until you have an RSA key, too: {same}"
        suite = f"suite rsa ({CIPHER_NAMES[choice.key_size]})"
        return f"from now on messages to {name} are encrypted with {suite}: {lack_words(choice)}; {_RSA_READERS}{answers}"
    if not choice.key:
        waits = f", without a key file; what {name} encrypts with the old one waits until it is pinned again"
        return f"from now on messages to {name} are encrypted with suite {choice.suite}{waits if pinned.key else ''}"
    same = f"securemsg contacts {context.profile.name} --set-suite psk --key-file FILE"
    return (
        f"from now on messages to {name} are encrypted with suite psk and {suite_mark(choice)}: anyone who has this file, now"
        " or later, can read everything, including the daemon's operator if the daemon has the same file."
        f" {name} needs this file too: {same}"
    )


def _outbox_note(name: str, choice: Chosen, waiting: int) -> str:
    """A note about messages that were written before the choice, and are not sealed yet."""
    what = f"1 message waiting for {name} goes" if waiting == 1 else f"{waiting} messages waiting for {name} go"
    with_key = f" and {suite_mark(choice)}" if choice.key else ""
    return f"{what} out with suite {choice.suite}{with_key} as well"


def _shared_file(name: str, sharing: list[str]) -> str:
    """The consequence of one file for several contacts, in words."""
    shown, more = sharing[:SHOWN], len(sharing) - SHOWN
    others = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    return (
        f"this key file is also pinned for {others}: each of them can read messages to {name}, and {name} can read messages to"
        " them. create one file for each: securemsg keygen FILE"
    )
