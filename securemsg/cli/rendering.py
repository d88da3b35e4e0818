"""Messages, contacts and the rest, as records for programs and as lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten

from attrs import frozen

from securemsg.account.errors import error_for
from securemsg.account.names import shown_name
from securemsg.account.rooms import JOIN_COMMAND, command_for
from securemsg.cli.chat.screen import ACCEPTED, DELIVERED, FAILED, READ, WAITING, WITHDRAWN, Screen
from securemsg.cli.times import duration_text, expiry_text, parse_since, shown_time
from securemsg.cli.wrapping import block
from securemsg.client import messages
from securemsg.client.escape import escape
from securemsg.client.lobby import event_text
from securemsg.client.messages import Line, Received, Sent
from securemsg.client.rooms.events import words
from securemsg.client.sessions.pins import FORWARD_SECRECY, POST_QUANTUM, Chosen
from securemsg.client.state import preferences
from securemsg.client.state.contacts import Contact, Policy, is_signed_claim, offered
from securemsg.client.state.preferences import Preferences
from securemsg.client.state.questions import SHOWN_QUESTION, Asked
from securemsg.client.state.records import EVENTS
from securemsg.client.times import iso
from securemsg.client.wiredump import WireDump
from securemsg.crypto.keys import fingerprint
from securemsg.protocol.devices import Device
from securemsg.protocol.envelope import PQXDH, Kind
from securemsg.protocol.rooms import MAX_ROOM_DEVICES

NO_ALIASES: Mapping[str, str] = {}
# Notes about messages in words; an unknown code is shown as it is.
NOTES = {
    "late": "arrived after later ones",
    "repeated": "repeats the number of an earlier one",
    "forked": "contradicts earlier ones",
    "unsupported": "is of a kind unknown to this version",
    "other-suite": "came in suite {suite}, which is not the suite of this conversation",
}
# The ciphers, by the sizes of their keys.
CIPHER_NAMES = {64: "A256CBC-HS512", 32: "A128CBC-HS256"}
# What a suite may lack.
LACKS = {FORWARD_SECRECY: "no forward secrecy", POST_QUANTUM: "not post-quantum"}
# Why a member of a room is left out, where that has another meaning than elsewhere.
LEFT_OUT = {"too-many-devices": f"the members have more than {MAX_ROOM_DEVICES} devices"}
# How many encrypted bytes are shown: the random bytes at the beginning, and as many of ciphertext.
SHOWN_BYTES = 32
# How many bytes of a deposit id are shown: enough to distinguish those on one screen.
SHOWN_ID = 4


def amount(count: int, what: str) -> str:
    """So many of something, such as C{1 message} or C{2 messages}."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def kind_name(kind: int) -> str:
    """The kind of a message, in a word."""
    try:
        return Kind(kind).name.lower()
    except ValueError:
        return f"kind-{kind}"


def received_record(message: Received) -> dict[str, object]:
    """A received message, for programs; of what happened in a room, and of an invitation, with what that says."""
    return {**_record_of(message), **_facts_of(message)}


def _facts_of(message: Received) -> dict[str, object]:
    """What a message says that is no text."""
    if message.event is not None:
        event = message.event
        changed = {"event": event.decision, "author": event.author, "names": list(event.names), "title": event.title}
        is_admin, has_link = (event.is_on if event.decision == kind else None for kind in ("role", "link"))
        return {"kind": "room", **changed, "gone": list(event.gone), "is_admin": is_admin, "has_link": has_link}
    if message.question is not None:
        return {"question": question_record(message.question)}
    if message.invite is not None:
        invite = message.invite
        facts = {"room_id": invite.room.hex(), "title": invite.title, "members": list(invite.members)}
        return {**facts, "join": command_for(invite.room, invite.title)}
    return {}


def question_record(question: Asked) -> dict[str, object]:
    """A question, for programs, and what was chosen."""
    return {
        "id": question.id.hex(),
        "text": question.text,
        "choices": list(question.choices),
        "until": iso(question.until),
        "choice": question.choice or None,
    }


def _record_of(message: Received) -> dict[str, object]:
    return {
        "id": message.id.hex(),
        "from": message.sender,
        "to": message.to,
        "room": message.room or None,
        "sent_at": iso(message.sent_at),
        "received_at": iso(message.received_at),
        "text": message.text,
        "kind": kind_name(message.kind),
        "verified": message.verified,
        "suite": message.suite,
        "gap_before": message.gap_before,
        "note": message.note,
        "keep": message.keep or None,
        "lacks_one_time": message.lacks_one_time,
    }


def received_text(message: Received, columns: int = 0, mark: str = "", aliases: Mapping[str, str] = NO_ALIASES) -> str:
    """
    A received message, for people.

    @param mark: a note about the sender.
    @param aliases: see L{securemsg.account.names.aliases}.
    """
    return _text_of(message, message.to, shown_name(message.sender, aliases), columns, mark)


def line_of(time: str, sender: str, text: str, columns: int = 0, mark: str = "", room: str = "") -> str:
    """
    One message as people read it: C{[time] sender: text}, in a room C{[time] #room sender: text}.

    @param time: already written out.
    @param mark: a note about the sender, such as C{unverified}.
    """
    whom = f"{sender} ({mark})" if mark else sender
    where = f"{room} " if room else ""
    return block(f"[{time}] {where}{escape(whom)}: ", text, columns)


def event_line(time: str, room: str, event: str, columns: int = 0, mark: str = "") -> str:
    """What happened, in a room or with one: C{[time] #room -- event}."""
    where = f"{room} " if room else ""
    return block(f"[{time}] {where}-- ", f"{event} ({mark})" if mark else event, columns)


def gap_line(sender: str, missing: int) -> str:
    """Says that messages are missing."""
    what = "1 message" if missing == 1 else f"{missing} messages"
    return f"-- {what} from {escape(sender)} before this line did not arrive (yet)"


def _text_of(line: Line, own: str, sender: str, columns: int, mark: str = "") -> str:
    """A message, or what happened in a room, for people."""
    event = _event_of(line, own)
    if event:
        return event_line(shown_time(line.sent_at, columns), line.room, event, columns, mark)
    marks = ", ".join(each for each in (mark, _kept(line)) if each)
    return line_of(shown_time(line.sent_at, columns), sender, _said_in(line, columns), columns, marks, line.room)


def _said_in(line: Line, columns: int, command: str = "") -> str:
    """
    The text of a message; of a question with its choices, and until when and how they can be chosen.

    @param command: that answers; empty: the one for a shell.
    """
    question = line.question
    if question is None:
        return line.text
    if line.kind == Kind.CHOICE:
        return f"{question.said} (the answer to: {shorten(question.text, SHOWN_QUESTION, placeholder='...')})"
    listed = ", ".join(f"{number} {choice}" for number, choice in enumerate(question.choices, 1))
    if question.choice:
        state = f"answered: {question.choice}"
    elif question.outcome.closed:
        state = "not answered"
    else:
        state = f"until {shown_time(question.until, columns)}"
        if isinstance(line, Received):
            state += f"; to answer: {command or f'securemsg answer {line.sender}'} CHOICE"
    return f"{question.text} ({listed}; {state})"


def _kept(line: Line) -> str:
    """For how long a message is kept that disappears, for people."""
    return f"keep {duration_text(line.keep)}" if line.keep else ""


def _event_of(line: Line, own: str) -> str:
    """What happened, in words; empty where something was said."""
    if isinstance(line, Received) and line.event is not None:
        return words(line.event, own)
    if isinstance(line, Received) and line.invite is not None:
        invite = line.invite
        among = f" ({', '.join(invite.members)})" if invite.members else ""
        return f"{line.sender} invites you to the room {invite.title}{among}; join: {command_for(invite.room, invite.title)}"
    return event_text(line, own)


def remark(message: Received) -> str:
    """A remark about a message, or an empty text."""
    remarks = []
    if message.gap_before:
        remarks.append(gap_line(_whose(message), message.gap_before))
    if message.note:
        known = NOTES.get(message.note)
        what = escape(message.note) if known is None else known.format(suite=escape(message.suite))
        remarks.append(f"-- the next message from {escape(_whose(message))} {what}")
    return "\n".join(remarks)


def _whose(message: Received) -> str:
    """Whose messages are counted: in a room each member's, in the lobby those of the server, which relays."""
    return f"{message.sender} in {message.room}" if message.conversation.is_room else message.conversation.name


def runs(page: Sequence[Received], as_json: bool) -> list[list[Received]]:
    """Messages that are put out in one go: before each that needs a remark another run begins. Programs get no remarks."""
    found: list[list[Received]] = []
    for message in page:
        if found and (as_json or not remark(message)):
            found[-1].append(message)
        else:
            found.append([message])
    return found


def sent_record(message: Sent) -> dict[str, object]:
    """A sent message, for programs."""
    return {
        "id": message.id.hex(),
        "to": message.to,
        "room": message.room or None,
        "status": message.status,
        "code": message.code,
        "accepted_at": iso(message.accepted_at) if message.accepted_at else None,
        "delivered_at": iso(message.delivered_at) if message.delivered_at else None,
        "read_at": iso(message.read_at) if message.read_at else None,
        "devices": [device.hex() for device in message.devices],
        "lacks_one_time": message.lacks_one_time,
        "missed": [{"name": each.account, "code": each.code} for each in message.missed],
    }


def left_out_text(name: str, code: str) -> str:
    """Why a member of a room does not get a message, in words."""
    return LEFT_OUT.get(code) or error_for(code, name).text


def line_record(line: Line, own: str) -> dict[str, object]:
    """A line of history, for programs."""
    if isinstance(line, Received):
        return received_record(line)
    return {
        **sent_record(line),
        "from": own,
        "sent_at": iso(line.sent_at),
        "received_at": None,
        "text": line.text,
        "kind": kind_name(line.kind),
        # Our own messages need no mark.
        "verified": None,
        "suite": line.suite,
        "keep": line.keep or None,
        **({} if line.question is None else {"question": question_record(line.question)}),
    }


def conversation_record(line: Line, own: str) -> dict[str, object]:
    """A line of one history among several, for programs: with the conversation's name."""
    return {**line_record(line, own), "conversation": line.conversation.name}


def conversation_text(line: Line, own: str, columns: int = 0, aliases: Mapping[str, str] = NO_ALIASES) -> str:
    """A line of one history among several, for people: what we wrote to somebody says to whom."""
    sender = own if isinstance(line, Received) or line.room else f"{own} to {shown_name(line.to, aliases)}"
    return line_text(line, own, columns, sender, aliases)


def line_text(
    line: Line, own: str, columns: int = 0, sender: str = "", aliases: Mapping[str, str] = NO_ALIASES
) -> str:
    """
    A line of history, for people.

    @param sender: in place of our own name.
    """
    if isinstance(line, Received):
        return received_text(line, columns, aliases=aliases)
    state = "read" if line.read_at else f"{line.status}: {line.code}" if line.code else line.status
    if line.missed:
        state += f", not to {', '.join(each.account for each in line.missed)}"
    if line.kind in EVENTS and line.status in ("accepted", "delivered"):
        state = ""
    return _text_of(line, own, sender or own, columns, state)


def screen_text(
    screen: Screen, line: Line, own: str, aliases: Mapping[str, str], mark: str = ""
) -> str:
    """A line of a chat, for somebody at a terminal."""
    event = _event_of(line, own)
    if isinstance(line, Received) and line.invite is not None:
        event = event.replace(f" {JOIN_COMMAND} ", " /join ")
    if event:
        return screen.event(line.sent_at, f"{event} ({mark})" if mark else event)
    text = _said_in(line, screen.size()[0], "/answer")
    kept = [_kept(line)] if line.keep else []
    if isinstance(line, Received):
        marks = ", ".join([mark, *kept] if mark else kept)
        return screen.line(line.sent_at, shown_name(line.sender, aliases), text, mark=marks)
    notes = [*kept, line.code] if line.code and line.status == "failed" else kept
    if line.status == "withdrawn":
        notes.append("withdrawn")
    if line.missed:
        notes.append(f"not to {', '.join(each.account for each in line.missed)}")
    return screen.line(line.sent_at, own, text, mark=", ".join(notes), own=state_of(line))


def state_of(sent: Sent) -> str:
    """How far a message of ours has come, as a screen shows it."""
    if sent.read_at:
        return READ
    states = {"queued": WAITING, "accepted": ACCEPTED, "delivered": DELIVERED, "withdrawn": WITHDRAWN}
    return states.get(sent.status, FAILED)


def keep_text(name: str, keep: int) -> str:
    """For how long what our user writes to somebody is kept, in words."""
    if not keep:
        return f"what you write to {name} is kept"
    return f"what you write to {name} is deleted {duration_text(keep)} after it was accepted here, and after it was read there"


def contact_record(
    contact: Contact, unread: int, choice: Chosen, wanted: Preferences = preferences.NONE, keep: int = 0
) -> dict[str, object]:
    """A contact, for programs."""
    return {
        "name": contact.name,
        "alias": wanted.alias or None,
        "blocked": wanted.is_blocked,
        "muted": wanted.is_muted,
        "dropped": wanted.dropped,
        "keep": keep or None,
        "fingerprint": fingerprint(contact.identity),
        "verified": contact.verified and not contact.has_changed,
        "changed": contact.has_changed,
        "signed": is_signed_claim(contact),
        "policy": contact.policy,
        "new_devices": len(contact.unconfirmed),
        "known": contact.known,
        "origin": contact.origin,
        "first_seen": iso(contact.first_seen),
        "unread": unread,
        **suite_facts(choice),
    }


def suite_facts(choice: Chosen) -> dict[str, object]:
    """How a conversation is encrypted, for programs: the suite, the name of its key file, its cipher, and what it lacks."""
    return {
        "suite": choice.suite,
        "key": choice.shared.name if choice.key else None,
        "cipher": CIPHER_NAMES[choice.key_size],
        "lacks": list(choice.lacks),
    }


def suite_mark(choice: Chosen) -> str:
    """The mark of a suite that is not the usual one: the name of its key file, or its own."""
    if choice.key:
        return choice.shared.name
    return "" if choice.suite == PQXDH else choice.suite


def lack_words(choice: Chosen) -> str:
    """What a suite lacks, in words."""
    return ", ".join(LACKS[code] for code in choice.lacks)


def mark_of(contact: Contact) -> str:
    """The mark beside a contact's name."""
    if contact.has_changed:
        return "CHANGED"
    if contact.unconfirmed:
        return "NEW DEVICE"
    return "" if contact.verified else "unverified"


def contact_text(
    contact: Contact, unread: int, choice: Chosen, wanted: Preferences = preferences.NONE, keep: int = 0
) -> str:
    """A contact, for people."""
    mark = "BLOCKED" if wanted.is_blocked else mark_of(contact) or "verified"
    name = shown_name(contact.name, {contact.name: wanted.alias} if wanted.alias else {})
    muted = "  muted" if wanted.is_muted else ""
    news = f"  {unread} unread" if unread else ""
    suite = f"  {suite_mark(choice)}" if suite_mark(choice) else ""
    kept = f"  keep {duration_text(keep)}" if keep else ""
    policy = "" if contact.policy is Policy.PIN else f"  policy {contact.policy}"
    marks = f"{suite}{policy}{kept}{muted}{news}{_dropped(wanted)}"
    return f"{escape(name):<20}  {mark:<10}  {fingerprint(contact.identity)}{marks}"


def stranger_text(name: str, wanted: Preferences) -> str:
    """Somebody who is blocked and no contact, for people."""
    return f"{escape(name):<20}  BLOCKED{_dropped(wanted)}"


def _dropped(wanted: Preferences) -> str:
    return f"  {amount(wanted.dropped, 'message')} dropped" if wanted.dropped else ""


@frozen
class DeviceRow:
    """
    A device in a list.

    @ivar since: when this profile first saw a list with it, by our own clock.
    @ivar state: C{this} (the one in use), C{listed} (on the account's list, which alone says nothing about verification),
        C{new} (added to a contact's list, not confirmed so far) or C{refused} (on a list of our own account that this profile
        did not sign).
    """

    device: Device
    since: int
    state: str


_DEVICE_STATES = {"this": "this device", "listed": "", "new": "NEW", "refused": "REFUSED"}


def device_record(name: str, row: DeviceRow) -> dict[str, object]:
    """A device of an account, for programs."""
    return {
        "account": name,
        "id": row.device.id.hex(),
        "fingerprint": fingerprint(row.device.signing_key),
        "since": iso(min(row.since, messages.LAST_SECOND)),
        "state": row.state,
    }


def device_text(row: DeviceRow, columns: int = 0) -> str:
    """A device, for people."""
    since = shown_time(row.since, columns)
    text = f"{row.device.id.hex()}  {fingerprint(row.device.signing_key)}  since {since}  {_DEVICE_STATES[row.state]}"
    return text.rstrip()


def safety_record(contact: Contact, number: str, choice: Chosen) -> dict[str, object]:
    """A safety number, for programs."""
    return {
        "name": contact.name,
        "safety_number": number,
        "verified": contact.verified and not contact.has_changed,
        "changed": contact.has_changed,
        "signed": is_signed_claim(contact),
        "new_devices": len(contact.unconfirmed),
        "fingerprint": fingerprint(offered(contact)),
        **suite_facts(choice),
    }


def safety_text(contact: Contact, number: str) -> str:
    """A safety number, for people: sixty digits, four groups of five in a row."""
    groups = number.split()
    rows = ["  " + " ".join(groups[start : start + 4]) for start in range(0, len(groups), 4)]
    return "\n".join([f"safety number with {escape(contact.name)}:", *rows])


def _for_people(name: str, value: object, now: float) -> tuple[str, object]:
    """A fact as people read it."""
    if name == "certificate_expires_at":
        return "certificate", value and expiry_text(parse_since(str(value), 0), now)
    return name, value


def fact_lines(facts: dict[str, object], now: float) -> str:
    """
    Names and values in two columns, for people.

    @param now: by the wall clock, for how many days are left.
    """
    facts = dict(_for_people(name, value, now) for name, value in facts.items())
    width = max(map(len, facts)) + 2
    rows = []
    for name, value in facts.items():
        shown = "yes" if value is True else "no" if value is False else "unknown" if value is None else str(value)
        rows.append(block(f"{name.replace('_', ' ') + ':':<{width}}", shown))
    return "\n".join(rows)


def wire_record(dump: WireDump) -> dict[str, object]:
    """What the wire shows of a message, for programs."""
    return {
        "wire": "deposit" if dump.is_ours else "delivery",
        "name": dump.name,
        "id": dump.deposit_id.hex(),
        "frame": dump.frame,
        "suite": dump.suite,
        "encrypted": len(dump.encrypted),
        "hex": dump.encrypted[:SHOWN_BYTES].hex(),
    }


def wire_text(dump: WireDump) -> str:
    """The same, for people: one line."""
    number = dump.deposit_id[:SHOWN_ID].hex()
    what = f"-> deposit {number} to {dump.name}" if dump.is_ours else f"<- delivery {number} from {dump.name}"
    suite = f"suite {escape(dump.suite)}" if dump.suite else "no readable suite"
    size = len(dump.encrypted)
    shown = dump.encrypted[:SHOWN_BYTES].hex(" ", -2) + (" ..." if size > SHOWN_BYTES else "")
    return f"{what}, {dump.frame:,} bytes in the frame, {suite}, encrypted content {size:,} bytes: {shown}"
