"""C{securemsg settings}: what is chosen for the whole profile."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable

import click
from attrs import frozen
from msgspec.structs import replace

from securemsg.account.errors import Exit
from securemsg.cli.output import say, write_record
from securemsg.cli.profiles import opened
from securemsg.cli.settings import json_option, settings_of, shared
from securemsg.cli.times import duration_text, parse_duration
from securemsg.client.state import receipts
from securemsg.client.state import settings as chosen
from securemsg.client.state.profile import DAY, Profile
from securemsg.client.state.settings import MAX_COMMAND, Policy, UserSettings
from securemsg.interfaces import IRecords

ON, OFF = "on", "off"
# For how long a contact may ask for what was missed, and the longest that is a time at all.
SHORTEST_KEEP, LONGEST_KEEP = 30 * DAY, 36_500 * DAY


@frozen
class Setting:
    """
    One thing that can be chosen.

    @ivar values: what it may be, for people.
    @ivar show: its value; C{change}: the settings with another value.
    @raise ValueError: from C{change}: it cannot be that.
    """

    values: str
    show: Callable[[IRecords, Profile], str]
    change: Callable[[UserSettings, str], UserSettings]


def _flag(text: str) -> bool:
    """
    Whether something is on.

    @raise ValueError: it is neither on nor off.
    """
    if text not in (ON, OFF):
        raise ValueError(text)
    return text == ON


def _command(text: str) -> str:
    """
    A command: a program and its arguments, quoted as for a shell.

    @raise ValueError: it is empty or too long, or the quotes do not match.
    """
    argv = shlex.split(text)
    if not argv or len(text.encode()) > MAX_COMMAND:
        raise ValueError(text)
    if text.lower() == OFF:
        return ""
    if shutil.which(argv[0]) is None:
        raise ValueError(text)
    return text


def _time(text: str) -> int:
    """
    For how long messages are kept.

    @raise ValueError: it is no time, or too short or long a one.
    """
    if text == OFF:
        return 0
    seconds = parse_duration(text)
    if not SHORTEST_KEEP <= seconds <= LONGEST_KEEP:
        raise ValueError(text)
    return seconds


SETTINGS: dict[str, Setting] = {
    "receipts": Setting(
        "everybody, known, nobody or read",
        lambda records, profile: receipts.policy_of(records, profile).value,
        lambda now, text: replace(now, receipts=Policy(text)),
    ),
    "bell": Setting(
        "on or off",
        lambda records, profile: ON if chosen.get(records).bell else OFF,
        lambda now, text: replace(now, bell=_flag(text)),
    ),
    "keep": Setting(
        "30d to 100y, or off",
        lambda records, profile: duration_text(chosen.get(records).keep) if chosen.get(records).keep else OFF,
        lambda now, text: replace(now, keep=_time(text)),
    ),
    "notify": Setting(
        "a program that can be run, with its arguments, or off",
        lambda records, profile: chosen.get(records).notify or OFF,
        lambda now, text: replace(now, notify=_command(text)),
    ),
    "notify-text": Setting(
        "on or off",
        lambda records, profile: ON if chosen.get(records).notify_text else OFF,
        lambda now, text: replace(now, notify_text=_flag(text)),
    ),
}


@click.command()
@click.argument("name", required=False, type=click.Choice(list(SETTINGS)), metavar="[NAME]")
@click.argument("value", required=False, metavar="[VALUE]")
@json_option("Print JSON, one object per line.")
@shared
@click.pass_context
def settings(ctx: click.Context, name: str | None, value: str | None) -> int:
    """
    List the settings of this profile, or set NAME to VALUE.

    receipts: who learns that their messages have arrived, and so that you are online: everybody, known (whom you wrote to,
    accepted, verified, invited or were invited by; the default), nobody (and you ask for none, either), or read: those you know
    also learn what you have read.

    keep: how long messages are kept here, such as 90d or 1y, or off. At least 30d: a contact may ask for what it misses for so
    long. Older messages are deleted while the profile is connected, but for those you have not read.

    bell: on or off: whether a chat rings the terminal's bell for messages to you.

    notify: a command for notifications, which `chat` and `recv --follow` run for each message that comes, or off. It finds
    SECUREMSG_FROM, SECUREMSG_CONVERSATION and SECUREMSG_ID in its environment; with notify-text on, also SECUREMSG_TEXT.
    """
    with opened(settings_of(ctx)) as context:
        if name is not None and value is not None:
            try:
                with context.store.writing() as records:
                    chosen.put(records, SETTINGS[name].change(chosen.get(records), value))
            except ValueError:
                raise click.UsageError(f"{name} is {SETTINGS[name].values}, not {value!r}", ctx) from None
            context.wake_owner()
        with context.store.reading() as records:
            shown = {each: SETTINGS[each].show(records, context.profile) for each in SETTINGS if name in (None, each)}
        for each, text in shown.items():
            if name is not None and value is not None and not context.settings.as_json:
                say(f"{each}: {text}")
            else:
                write_record({"name": each, "value": text}, context.settings.as_json, f"{each:<13}{text}")
    return Exit.DONE
