"""The guards of the lobby: who may say what there, how much, and what is believed of it."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/relay.py",
        "tests/client/test_relay.py",
        ("at <= now + key[1]", "True", "BoundTests::test_lines"),
        ("if len(self._full_at) >= MAX_RATES and", "if False and", "BoundTests::test_rates"),
        ("(most * OWN_PART)", "most", "BoundTests::test_own_copies"),
        ('costs["", period] = period * copies / most', 'costs["", period] = 0', "BoundTests::test_copies"),
        ("DAY: 200_000}", "DAY: 2_000_000}", "BoundTests::test_copies_of_a_day"),
        (
            "            self._retention.trim(records, message.conversation, int(self._now()))\n",
            "",
            "BoundTests::test_history",
        ),
        ("        self._retention.trim(self._records, to, self._now)\n", "", "BoundTests::test_history"),
        ("if records.get(INBOUND, ROWS, message.seq) is None or row is None:", "if row is None:", "TakenTests::test_once"),
        ("if not is_open:", "if False:", "ClosedTests::test_refused"),
        ("if len(content.body) > MAX_LOBBY_TEXT:", "if False:", "TalkTests::test_too_long_from_another_client"),
        ("if content.kind != Kind.TEXT:", "if False:", "TalkTests::test_machine_outside"),
        ("if len(self.members) >= MAX_LOBBY_MEMBERS:", "if False:", "BoundTests::test_members"),
        ("if not self._enter():", "if self._enter() is None:", "BoundTests::test_members"),
        (
            "        self._records.delete(SEEN, seen_message(self.name, self._content.message_id))\n",
            "",
            "BoundTests::test_refused_again",
        ),
        ("contact is None or contact.identity != member.identity", "contact is None", "GoneTests::test_same_name"),
        ("        if contact.has_changed:\n            return True\n", "", "GoneTests::test_claimed"),
        ("last.sent and last.status is Status.FAILED", "False", "GoneTests::test_removed"),
        (
            "copy_id(self.name, self._content.message_id, name) if kind in COPIES else None",
            "None",
            "TakenTests::test_put_back",
        ),
        ("COPIES = (Kind.RELAYED, Kind.CONFIRMED)", "COPIES = (Kind.RELAYED,)", "TakenTests::test_put_back"),
        (
            "        self._write(self.name, Kind.CONFIRMED, ConfirmedLine(content.message_id))\n",
            "",
            "TalkTests::test_not_yet",
        ),
    ),
    *guards(
        "daemon/contact.py",
        "tests/daemon/test_contact.py",
        ("if self.answerer.is_unfinished and", "if False and", "ContactTests::test_lobby"),
    ),
    *guards(
        "client/autoresponder.py",
        "tests/client/test_relay.py",
        ("if relayed == MAX_RELAYED:", "if False:", "BoundTests::test_in_one_go"),
        ("fitting(text, text_limit(question.conversation))", "fitting(text)", "TalkTests::test_long_answer"),
    ),
    *guards(
        "client/receiving/inbox.py",
        "tests/client/test_relay.py",
        (
            "FROM_LOBBY if profile.name == SERVER_NAME else TO_LOBBY | LINES",
            "() if profile.name == SERVER_NAME else TO_LOBBY | LINES",
            "LieTests::test_author",
        ),
        ("return kind not in TO_LOBBY | FROM_LOBBY", "return True", "LieTests::test_from_a_contact"),
        (
            "lobby.check_names(decode_record(rules.record, content.body))",
            "decode_record(rules.record, content.body)",
            "LieTests::test_bad_names",
        ),
    ),
    *guards(
        "client/state/counters.py",
        "tests/client/test_relay.py",
        (
            "if SERVER_NAME in (profile.name, name) and not (profile.is_guest or is_guest(name)):",
            "if not (profile.is_guest or is_guest(name)):",
            "LieTests::test_from_a_contact",
        ),
    ),
    *guards(
        "client/state/lobby.py",
        "tests/client/test_relay.py",
        (
            "    if state.presence is Presence.OUT:\n        return state\n    return replace(state, presence=Presence.IN",
            "    return replace(state, presence=Presence.IN",
            "TalkTests::test_left_meanwhile",
        ),
        ("(state.presence is Presence.IN and code not in OUTSIDE)", "False", "BoundTests::test_lines"),
        ("if found is None or found[0].conversation != lobby(SERVER_NAME):", "if found is None:", "LieTests::test_confirmed"),
        ("if row.status is Status.DELIVERED:", "if False:", "LieTests::test_confirmed_again"),
    ),
    *guards(
        "client/state/receipts.py",
        "tests/client/test_relay.py",
        ("found[0].conversation != conversation:", "False:", "LieTests::test_confirmed"),
        (" or device in row.devices:", ":", "LieTests::test_confirmed_again"),
    ),
    *guards(
        "client/sending/results.py",
        "tests/client/test_relay.py",
        (
            "if history.status not in (Status.DELIVERED, Status.FAILED):",
            "if history.status is not Status.DELIVERED:",
            "BoundTests::test_refused_before_accepted",
        ),
    ),
    *guards(
        "client/sending/losses.py",
        "tests/client/test_relay.py",
        ("for of in (direct, lobby)", "for of in (direct,)", "TalkTests::test_lost_by_the_server"),
    ),
    *guards(
        "client/messages.py",
        "tests/client/test_relay.py",
        ("    if len(body) > text_limit(to):", "    if len(body) > MAX_TEXT:", "TalkTests::test_longest"),
    ),
    *guards(
        "client/messages.py",
        "tests/cli/chat/test_lobby.py",
        ("return self.conversation.kind is ConversationKind.LOBBY", "return False", "SentTests::test_relayed"),
        ("is ConversationKind.LOBBY and self.kind in LINES", "is ConversationKind.LOBBY", "SentTests::test_leaving"),
    ),
    *guards(
        "account/tracking.py",
        "tests/cli/chat/test_lobby.py",
        (" and not sent.needs_relay)", ")", "SentTests::test_refused"),
        ('sent.status == "accepted" or sent.code or', "sent.code or", "SentTests::test_limit"),
        ('if sent.status == "accepted" and sent.needs_relay:', "if False:", "SentTests::test_not_answered"),
    ),
    *guards(
        "client/lobby.py",
        "tests/client/test_relay.py",
        ("state.presence is not Presence.OUT and _ask(", "_ask(", "TalkTests::test_not_refreshed"),
        (
            "if state.presence is Presence.ENTERING and not _is_due(state, now):",
            "if False:",
            "TalkTests::test_refreshed",
        ),
        ("state, Presence.ENTERING, now)", "state, state.presence, now)", "TalkTests::test_refreshed"),
    ),
    *guards(
        "client/state/lobby.py",
        "tests/cli/chat/test_lobby.py",
        ("if state.members and code not in OUTSIDE:", "if False:", "MembersTests::test_busy"),
    ),
    *guards(
        "cli/rendering.py",
        "tests/cli/chat/test_lobby.py",
        ('and line.status in ("accepted", "delivered"):', "and False:", "LobbyChatTests::test_events_of_ours"),
        (' and line.status in ("accepted", "delivered"):', ":", "LobbyChatTests::test_events_of_ours"),
    ),
    *guards(
        "cli/chat/lobby.py",
        "tests/cli/chat/test_lobby.py",
        ('state.code if state.presence is Presence.REFUSED else ""', "state.code", "MembersTests::test_busy"),
    ),
    *guards(
        "cli/commands/lobby.py",
        "tests/cli/chat/test_lobby.py",
        ("    refresh(context.store, context.now())\n", "", "MembersTests::test_closed"),
        ("    if code:\n", "    if False:\n", "MembersTests::test_busy"),
    ),
    *guards(
        "cli/chat/conversation.py",
        "tests/cli/chat/test_lobby.py",
        ("        if self._patience:\n", "        if False:\n", "LobbyChatTests::test_members_awaited"),
        ("else True, self._patience)", "else True, None)", "LobbyChatTests::test_members_awaited_in_vain"),
    ),
    *guards(
        "cli/chat/ending.py",
        "tests/cli/chat/test_lobby.py",
        ("unanswered.pending or unanswered.unrelayed or", "unanswered.pending or", "EndTests::test_relayed"),
    ),
    *guards(
        "cli/chat/unanswered.py",
        "tests/cli/chat/test_lobby.py",
        ("if sent.needs_relay and sent.status not in _RELAYED)", "if False)", "EndTests::test_refused"),
        (" or self._has_come(self._unrelayed, _RELAYED)", "", "EndTests::test_relayed"),
    ),
    *guards(
        "account/compose.py",
        "tests/cli/chat/test_lobby.py",
        ("if to.startswith(ROOM_MARK) and wait == DELIVERED:", "if False:", "WordTests::test_no_receipts"),
    ),
    *guards(
        "cli/suites.py",
        "tests/cli/chat/test_lobby.py",
        ("if name == LOBBY_NAME and settings.suite != PQXDH:", "if False:", "WordTests::test_no_suite"),
    ),
    *guards(
        "cli/settings.py",
        "tests/cli/chat/test_lobby.py",
        ("if not NAME_PATTERN.fullmatch(value.removeprefix(ROOM_MARK)):", "if False:", "WordTests::test_arguments"),
    ),
    *guards(
        "protocol/envelope.py",
        "tests/protocol/test_envelope.py",
        ("Meta(max_length=MAX_LOBBY_TEXT)", "Meta()", "RecordTests::test_limits"),
        ("Meta(max_length=MAX_LOBBY_MEMBERS)", "Meta()", "RecordTests::test_limits"),
        ("Annotated[int, Meta(ge=1, le=2)]", "int", "RecordTests::test_limits"),
        ("MAX_LOBBY_TEXT = MAX_TEXT - 128", "MAX_LOBBY_TEXT = MAX_TEXT", "PaddingTests::test_lobby_fits"),
    ),
)
