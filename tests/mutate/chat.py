"""The guards of a chat."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "account/connection.py",
        "tests/account/test_connection.py",
        (" or self._is_paused:", ":", "OwnerTests::test_paused"),
        ("        if isinstance(event, ShortInviteEnded):\n", "        if False:\n", "OwnerTests::test_paused"),
        ("        if self._agent is None:\n            # We have hung up", "        if False:\n            # We have hung up",
         "OwnerTests::test_paused"),
    ),
    *guards(
        "cli/suspending.py",
        "tests/cli/test_suspending.py",
        ("    await connection.pause()\n", "", "SuspendTests::test_left_to_others"),
        ("    if connection.is_paused:\n", "    if False:\n", "SuspendTests::test_twice"),
        ("        connection.resume()\n", "        pass\n", "SuspendTests::test_wakes_up"),
    ),
    *guards(
        "cli/chat/bindings.py",
        "tests/cli/chat/test_bindings.py",
        ("        event.current_buffer.reset()\n", "        event.app.exit(exception=EOFError)\n", "KeyTests::test_clear"),
        (" & Condition(lambda: bool(get_app().current_buffer.text))", "", "KeyTests::test_leave"),
    ),
    *guards(
        "cli/chat/conversation.py",
        "tests/cli/chat/test_conversation.py",
        ("HINTS.get(sent.code, problem.hint)", "problem.hint", "ConversationTests::test_refused"),
    ),
    *guards(
        "cli/chat/ending.py",
        "tests/cli/chat/test_conversation.py",
        ("    if waiting:\n", "    if False:\n", "FinishTests::test_still_waiting"),
    ),
    *guards(
        "cli/chat/slash.py",
        "tests/cli/chat/test_slash.py",
        (" if name else \"\"\n        return Misunderstood", "\n        return Misunderstood", "UnderstandTests::test_why"),
    ),
    *guards(
        "cli/rendering.py",
        "tests/cli/chat/test_room.py",
        ('event.replace(f" {JOIN_COMMAND} ", " /join ")', "event", "JoinTests::test_joined"),
    ),
    *guards(
        "cli/chat/scrollback.py",
        "tests/cli/chat/test_sentlines.py",
        ("        self._sent_lines.showed(found)\n", "", "FollowTests::test_earlier"),
    ),
    *guards(
        "cli/rendering.py",
        "tests/cli/chat/test_sentlines.py",
        (', "withdrawn": WITHDRAWN}', "}", "FollowTests::test_withdrawn"),
    ),
)
