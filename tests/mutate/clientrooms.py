"""The guards of rooms: which member lists are valid, which are adopted, and what is sent to whom and taken from whom."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards


def _rule(condition: str, why: str, test: str) -> tuple[str, str, str]:
    """A rule of lists, in the place of which anything goes."""
    rule = f'_require({condition}, "{why}")'
    return rule, "pass", test


GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/rooms/lists.py",
        "tests/client/rooms/test_lists.py",
        ("            check_name(member.account)\n", "            pass\n", "ReadTests::test_illegal_name"),
        ("body.room == room and body.server == server", "body.server == server", "ReadTests::test_other_room"),
        ("body.room == room and body.server == server", "body.room == room", "ReadTests::test_other_server"),
        _rule("len(body.previous) == (DIGEST_SIZE if body.n > 1 else 0)", "follows none", "ReadTests::test_follows_none"),
        ("if body.n > 1 else 0)", "if body.previous else 0)", "ReadTests::test_first_follows"),
        _rule("len(body.link) in (0, DIGEST_SIZE)", "a link without a secret", "ReadTests::test_short_link"),
        _rule("len(body.title.encode()) <= MAX_TITLE", "a title that is too long", "ReadTests::test_long_title"),
        _rule(
            "len({member.account for member in body.members}) == len(body.members)",
            "an account twice",
            "ReadTests::test_account_twice",
        ),
        _rule(
            "len({member.identity for member in body.members}) == len(body.members)",
            "an identity twice",
            "ReadTests::test_identity_twice",
        ),
        _rule(
            "not any(is_reserved(member.account) for member in body.members)",
            "a reserved name",
            "ReadTests::test_reserved_names",
        ),
        _rule(
            "all(member.since <= body.n for member in body.members)",
            "a member of a later list",
            "ReadTests::test_member_of_later",
        ),
        _rule("any(member.is_admin for member in body.members)", "no admin", "ReadTests::test_no_admin"),
        _rule(
            '(body.decision == "left") == (body.statement is not None)',
            "a statement that nobody asked for",
            "ReadTests::test_statement_of_nobody",
        ),
        _rule('(body.decision == "created") == (body.n == 1)', "created twice", "ReadTests::test_created_late"),
        _rule(
            "len(body.members) == 1 and body.members[0].account == body.author",
            "created with others",
            "ReadTests::test_created_with_others",
        ),
        _rule("author is not None", "an author who is no member", "ReadTests::test_strange_author"),
        (
            "        _check_signature(\n            body.author, author.identity, server, signed.devices, body.device, "
            "signed.signature, LIST_LABEL, signed.body\n        )\n",
            "        pass\n",
            "ReadTests::test_signed_by_another",
        ),
        ("    keys.verify(key, signature, label, *parts)\n", "    pass\n", "ReadTests::test_changed"),
        (
            "next((row.signing_key for row in listing.devices if row.id == device), None)",
            "listing.devices[0].signing_key",
            "ReadTests::test_unlisted_device",
        ),
        (
            "    listing = verified_list(account, identity, server, devices)\n",
            "    from securemsg.protocol.devices import decode_device_list\n    listing = decode_device_list(devices.body)\n",
            "ReadTests::test_device_list_of_another_identity",
        ),
        ("new.n == old.n + 1 and new.previous == before.digest", "new.previous == before.digest", "FollowTests::test_number"),
        ("new.n == old.n + 1 and new.previous == before.digest", "new.n == old.n + 1", "FollowTests::test_chain"),
        (
            '    _require(author is not None, "its author was no member")\n    assert author is not None, "checked"\n',
            "    author = author or old.members[0]\n",
            "FollowTests::test_author_was_none",
        ),
        _rule(
            "author.is_admin or new.decision in BY_MEMBERS",
            "its author may not decide that",
            "FollowTests::test_members_decide",
        ),
        ("replace(kept, members=kept.members[:count]) == old and ", "", "FollowTests::test_two_things_at_once"),
        (
            "replace(kept, members=kept.members[:count]) == old and bool(added)",
            "replace(kept, members=kept.members[:count]) == old",
            "FollowTests::test_nothing_at_all",
        ),
        (
            "member.since == new.n and not member.is_admin for member",
            "not member.is_admin for member",
            "FollowTests::test_added_as_old",
        ),
        (
            "member.since == new.n and not member.is_admin for member",
            "member.since == new.n for member",
            "FollowTests::test_added_as_admin",
        ),
        (
            "replace(kept, members=old.members, link=old.link) == old and bool(left)",
            "bool(left)",
            "FollowTests::test_two_things_at_once",
        ),
        (
            "replace(kept, members=old.members, link=old.link) == old and bool(left)",
            "replace(kept, members=old.members, link=old.link) == old",
            "FollowTests::test_nothing_at_all",
        ),
        ("new.author not in left and not new.link", "new.author not in left", "FollowTests::test_removed_with_link"),
        (
            "left if new.members == tuple(member for member in old.members if member.account not in left) else set()",
            "left",
            "FollowTests::test_removed_and_more",
        ),
        _rule("len(changed) == 1", "changes more", "FollowTests::test_nothing_at_all"),
        (
            "replace(kept, members=old.members) == old and new.members == turned(old, changed[0])",
            "new.members == turned(old, changed[0])",
            "FollowTests::test_two_things_at_once",
        ),
        (
            "replace(kept, members=old.members) == old and new.members == turned(old, changed[0])",
            "replace(kept, members=old.members) == old",
            "FollowTests::test_role_and_more",
        ),
        ("replace(kept, title=old.title) == old and ", "", "FollowTests::test_two_things_at_once"),
        (" and new.title != old.title", "", "FollowTests::test_nothing_at_all"),
        ("replace(kept, link=old.link) == old and ", "", "FollowTests::test_two_things_at_once"),
        (" and new.link != old.link", "", "FollowTests::test_nothing_at_all"),
        _rule("kept == old", "changes more", "FollowTests::test_two_things_at_once"),
        (
            '            _require(replace(kept, members=old.members) == old, "changes more")\n'
            "            _require(new.members == members_without",
            "            _require(new.members == members_without",
            "FollowTests::test_two_things_at_once",
        ),
        _rule(
            "new.members == members_without(old, statement.account)",
            "takes out somebody else",
            "FollowTests::test_left_with_the_statement_of_another",
        ),
        ("            check_statement(before, statement)\n", "", "FollowTests::test_left_without_a_statement"),
        (" and member.since == statement.since", "", "FollowTests::test_left_long_ago"),
        ("(body.room, statement.account.", "(bytes(16), statement.account.", "FollowTests::test_left_another_room"),
        ("    read(after.signed, old.room, profile.pin)\n", "", "MakeTests::test_invalid"),
        ("    check_follows(before, after)\n    return", "    return", "MakeTests::test_invalid"),
        ("        salt=keys.random_bytes(32),\n", "", "MakeTests::test_salted"),
        ("        item.step is not None\n        and (", "        (", "ItemTests::test_no_step"),
        (
            "(listing.body.n, listing.digest, listing.body.next) == (item.n, item.digest, item.step.next)",
            "(listing.digest, listing.body.next) == (item.digest, item.step.next)",
            "ItemTests::test_other_number",
        ),
        (
            "(listing.body.n, listing.digest, listing.body.next) == (item.n, item.digest, item.step.next)",
            "(listing.body.n, listing.body.next) == (item.n, item.step.next)",
            "ItemTests::test_other_digest",
        ),
        (
            "(listing.body.n, listing.digest, listing.body.next) == (item.n, item.digest, item.step.next)",
            "(listing.body.n, listing.digest) == (item.n, item.digest)",
            "ItemTests::test_other_next",
        ),
        ("        and has_proof(listing)\n", "", "ItemTests::test_other_proof"),
    ),
)
