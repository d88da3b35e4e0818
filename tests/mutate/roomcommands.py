"""The guards of what people and programs do with rooms."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/rooms/store.py",
        "tests/client/rooms/test_forks.py",
        ("return self.is_behind or self.following", "return self.is_behind", "FollowTests::test_follow"),
        ("return found[0] if found else named(records, name)", "return named(records, name)", "InvitationTests::test_named"),
        ("    if len(found) > 1:\n", "    if False:\n", "InvitationTests::test_named"),
    ),
    *guards(
        "client/rooms/steps.py",
        "tests/client/rooms/test_talk.py",
        (
            "keys.sha256(room.secret) in links",
            "keys.sha256(room.secret) == body.link",
            "TalkTests::test_link_after_another_step",
        ),
        ("has_link = bool(room.secret) and", "has_link = True or", "TalkTests::test_link_after_another_step"),
    ),
    *guards(
        "client/rooms/joining.py",
        "tests/client/rooms/test_forks.py",
        ("    if room.state is not RoomState.FORKED:\n", "    if False:\n", "FollowTests::test_not_forked"),
        ("following=True, asked=0, told_at=now)", "following=True, asked=0)", "FollowTests::test_much_later"),
    ),
)
