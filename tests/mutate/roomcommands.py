"""The guards of what people and programs do with rooms."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "account/roomchanges.py",
        "tests/account/test_rooms.py",
        ("if self._current(records, room).is_unsupported:", "if False:", "JoiningTests::test_old_server"),
        (
            "if known is not None and known.is_member and known.state is not RoomState.LEAVING:",
            "if False:",
            "JoiningTests::test_join",
        ),
        ('if known is not None and known.alias and alias not in ("",', "if False and (", "JoiningTests::test_not_added"),
        ("elif known is not None and known.state not in admitted and (", "elif False and (", "ChangeTests::test_changes"),
        ("        if link.account == profile.name:\n", "        if False:\n", "JoiningTests::test_own_link"),
        (
            "if not what.startswith(LINK_PREFIX) and not self._is_invited(what):",
            "if False:",
            "JoiningTests::test_invitation_on_the_way",
        ),
        ("if room.state is RoomState.LEAVING and room.is_member:", "if False:", "ChangeTests::test_changes"),
        ("            if body.member(who) is not None:\n", "            if False:\n", "JoiningTests::test_invited"),
        ("            if is_reserved(who):\n", "            if False:\n", "JoiningTests::test_invited"),
        ("if contact is None or contact.has_changed:", "if contact is None:", "JoiningTests::test_invited"),
        ("if kind is ChangeKind.REMOVE and who == profile.name:", "if False:", "ChangeTests::test_refused"),
        ("            if who and body.member(who) is None:\n", "            if False:\n", "ChangeTests::test_refused"),
        ("if without and newest.body.member(without) is None:", "if False:", "ChangeTests::test_refused"),
        ("            if room.state is not RoomState.FORKED:\n", "            if False:\n", "ChangeTests::test_refused"),
        ("    if not 0 < size <= MAX_TITLE:\n", "    if False:\n", "JoiningTests::test_titles"),
        ("        if found.needs_lists:\n", "        if False:\n", "ChangeTests::test_behind"),
        ("            code = changes.pop_failed(records, number)\n", "            code = ''\n", "ChangeTests::test_refused"),
    ),
    *guards(
        "account/rooms.py",
        "tests/account/test_rooms.py",
        ("contact.has_changed or contact.identity != member.identity", "False", "ChangeTests::test_members"),
        ("if is_verified or by in (profile.name, member.account)", "if is_verified", "ChangeTests::test_members"),
    ),
    *guards(
        "client/autoresponder.py",
        "tests/account/test_rooms.py",
        ("if message.conversation.is_room and not self._in_rooms:", "if False:", "MessageTests::test_machine"),
    ),
    *guards(
        "account/reader.py",
        "tests/account/test_rooms.py",
        ("if self._in_rooms or not message.conversation.is_room]", "]", "MessageTests::test_reader"),
    ),
    *guards(
        "client/rooms/events.py",
        "tests/cli/chat/test_room.py",
        (" or body.decision in BY_CLIENTS:", ":", "LineTests::test_by_client"),
    ),
    *guards(
        "cli/chat/slash.py",
        "tests/cli/chat/test_room.py",
        ('(?!\\.?[a-z0-9_-])"', '"', "WordTests::test_mentions"),
        ('rf"(?<![a-z0-9._-])@', 'rf"@', "WordTests::test_mentions"),
        ("if not NAME_PATTERN.fullmatch(name.removeprefix(ROOM_MARK)):", "if False:", "WordTests::test_understood"),
        (" or not all(NAME_PATTERN.fullmatch(word) for word in words):", ":", "WordTests::test_understood"),
    ),
    *guards(
        "cli/chat/room.py",
        "tests/cli/chat/test_room.py",
        ("            raise self._problem\n", "            self._problem = None\n", "CommandTests::test_store_fails"),
        ("if self._said != (room.state, room.code):", "if True:", "TroubleTests::test_forked"),
    ),
    *guards(
        "cli/chat/ending.py",
        "tests/cli/chat/test_room.py",
        ("conversation.is_entering or conversation.is_changing", "conversation.is_entering", "CommandTests::test_awaited"),
    ),
    *guards(
        "cli/chat/conversation.py",
        "tests/cli/chat/test_room.py",
        ("and message.event is None and not message.verified:", "and message.event is None:", "LineTests::test_talk"),
    ),
    *guards(
        "account/tracking.py",
        "tests/account/test_rooms.py",
        ("room.state in (RoomState.FORKED, RoomState.BROKEN):", "False:", "MessageTests::test_forked"),
        ('return sent.code if sent.code == ROOM_CHANGED else ""', 'return ""', "MessageTests::test_held"),
    ),
    *guards(
        "client/messages.py",
        "tests/account/test_rooms.py",
        (" and history.code == ROOM_CHANGED and", " and", "MessageTests::test_released"),
        ('replace(history, code=""), row.history)', "replace(history), row.history)", "MessageTests::test_released_offline"),
    ),
    *guards(
        "client/rooms/store.py",
        "tests/client/rooms/test_forks.py",
        ("return self.is_behind or self.follows_server", "return self.is_behind", "FollowTests::test_follow"),
        ("found[0] if found else find_room(records, name)", "find_room(records, name)", "InvitationTests::test_named"),
        ("    if len(found) > 1:\n", "    if False:\n", "InvitationTests::test_named"),
    ),
    *guards(
        "client/rooms/adopting.py",
        "tests/client/rooms/test_talk.py",
        ("(room.secret) in links", "(room.secret) == body.link", "TalkTests::test_link_after_another_step"),
        ("has_link = bool(room.secret) and", "has_link = True or", "TalkTests::test_link_after_another_step"),
    ),
    *guards(
        "client/rooms/joining.py",
        "tests/client/rooms/test_forks.py",
        ("    if room.state is not RoomState.FORKED:\n", "    if False:\n", "FollowTests::test_not_forked"),
        ("by_one if len(by_one) >= store.MAX_INVITED_BY_ONE else ", "", "InvitationTests::test_flood"),
        ("follows_server=True, asked=0, behind_since=now)", "follows_server=True, asked=0)", "FollowTests::test_much_later"),
    ),
)
