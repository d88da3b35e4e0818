"""What C{securemsg contacts} does to one account: its alias, silence, blocking, and forgetting it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from securemsg.account.errors import error_for, explain
from securemsg.account.names import find_contact
from securemsg.cli.context import CommandContext
from securemsg.cli.rendering import amount, keep_text
from securemsg.client import messages
from securemsg.client.state import contacts, disappearing, preferences, verification
from securemsg.client.state.contacts import Policy
from securemsg.errors import Refusal
from securemsg.interfaces import IRecords

# What happens when an account's keys change, by policy.
POLICY_TEXTS = {
    Policy.PIN: "if {name}'s keys change, nothing is sent to {name} until you have accepted the new ones",
    Policy.SIGNED: "if {name} renews their keys, and the old ones have signed the new ones, these are used from then on",
    Policy.TOFU: "whatever keys the server shows for {name} are used, with a warning: {name} is unverified, and whoever runs"
    " the server could read along",
}
# Does something to an account, with a further word or an empty one, and says what.
Action = Callable[[IRecords, CommandContext, str, str], str]


def _alias(records: IRecords, context: CommandContext, name: str, alias: str) -> str:
    alias, before = "" if alias == name else alias, preferences.get(records, name).alias
    preferences.set_alias(records, context.profile, name, alias)
    if alias:
        return f"you call {name} {alias}"
    return f"you no longer call {name} {before}" if before else f"{name} has no alias"


def _block(records: IRecords, context: CommandContext, name: str, _: str) -> str:
    preferences.block(records, name, is_blocked=True)
    return (
        f"{name} is blocked: what they send is dropped from now on, and they are not told; in rooms you share they still get"
        " what you say"
    )


def _unblock(records: IRecords, context: CommandContext, name: str, _: str) -> str:
    before = preferences.get(records, name)
    preferences.block(records, name, is_blocked=False)
    gone = f"; {amount(before.dropped, 'message')} from them dropped meanwhile" if before.dropped else ""
    return f"{_not(before.is_blocked, name)} blocked{gone}"


def _mute(records: IRecords, context: CommandContext, name: str, _: str) -> str:
    preferences.put(records, name, replace(preferences.get(records, name), is_muted=True))
    return f"{name} is muted: no bell, no notification, and not counted as unread elsewhere"


def _unmute(records: IRecords, context: CommandContext, name: str, _: str) -> str:
    before = preferences.get(records, name)
    preferences.put(records, name, replace(before, is_muted=False))
    return f"{_not(before.is_muted, name)} muted"


def _not(was: bool, name: str) -> str:
    """Whether something has ended, or there was nothing to end."""
    return f"{name} is no longer" if was else f"{name} was not"


def _keep(records: IRecords, context: CommandContext, name: str, seconds: str) -> str:
    disappearing.choose(records, context.profile.conversation(name), int(seconds))
    return keep_text(name, int(seconds))


def _policy(records: IRecords, context: CommandContext, name: str, word: str) -> str:
    before = contacts.get_contact(records, name)
    after = verification.set_policy(records, name, Policy(word), int(context.now()))
    followed = f"; {name}'s new keys are used now" if before is not None and before.identity != after.identity else ""
    return POLICY_TEXTS[after.policy].replace("{name}", name) + followed


def _forget(records: IRecords, context: CommandContext, name: str, _: str) -> str:
    contact = contacts.get_contact(records, name)
    if contact is None:
        raise Refusal("no-such-account")
    if messages.is_any_waiting(records, context.profile.conversation(name)):
        # They would go to whoever has the name then.
        raise Refusal("messages-wait")
    contacts.forget_contact(records, contact)
    preferences.forget(records, context.profile, name)
    disappearing.choose(records, context.profile.conversation(name), 0)
    return (
        f"forgot {name}, whose keys are trusted on first use if you meet again; what was said stays: securemsg history {name}"
    )


ACTIONS: dict[str, Action] = {
    "alias": _alias,
    "keep": _keep,
    "policy": _policy,
    "forget": _forget,
    "block": _block,
    "unblock": _unblock,
    "mute": _mute,
    "unmute": _unmute,
}


# Those that may be about somebody who is no contact.
FOR_ANYBODY = frozenset({"block", "unblock"})
# Those that take one word more.
WITH_WORD = frozenset({"alias", "keep", "policy"})


def carry_out(context: CommandContext, action: str, name: str, word: str) -> str:
    """
    Do something to an account.

    @return: what was done, for people.
    @raise SecuremsgError: it cannot be done.
    """
    if name == context.profile.name:
        raise error_for("own-name", name)
    if action not in FOR_ANYBODY and find_contact(context.store, name) is None:
        raise error_for("no-such-account", name, text="{name} is not among your contacts")
    try:
        with context.store.writing() as records:
            return ACTIONS[action](records, context, name, word)
    except Refusal as refusal:
        raise explain(refusal, word or name) from None
