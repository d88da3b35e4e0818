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
            '            _require(replace(kept, members=old.members) == old, "changes more")\n'
            "            _require(new.members == with_role",
            "            _require(new.members == with_role",
            "FollowTests::test_two_things_at_once",
        ),
        (
            "new.members == with_role_changed(old, changed[0])",
            "True",
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
    *guards(
        "client/receiving/rooms.py",
        "tests/client/rooms/test_malice.py",
        ("room.state in (RoomState.INVITED, RoomState.OUT) or ", "", "MemberTests::test_writes_to_who_is_out"),
        (
            "        if item.step is None or delivery.account != room.inviter:\n",
            "        if False:\n",
            "tests/client/rooms/test_mishaps.py::FullTests::test_first_list",
        ),
        ("        if known and known != item.digest:\n", "        if False:\n", "ForkTests::test_in_a_delivery"),
        (
            "        if not is_next:\n",
            "        if False:\n",
            "tests/client/rooms/test_catchup.py::CatchUpTests::test_step_kept_from_one",
        ),
        ("    if member is None:\n        return False\n", "    if member is None:\n        return True\n",
         "StrangerTests::test_writes_into_the_room"),
        (
            "is_known or suites.introduced(delivery.own) in (b\"\", member.identity)",
            "True",
            "StrangerTests::test_has_the_name_of_a_member",
        ),
        ("room is None or item.n >= room.seen", "True", "ReplayTests::test_older_behind_newer"),
        (
            "    if not newest.body.stands(sender.name, sender.identity):\n        return False\n    if content.counter",
            "    if content.counter",
            "MemberTests::test_fills_a_gap_when_out",
        ),
        (
            "return load(records, Gap, COUNTERS, GAPS + stream, content.counter) is not None",
            "return True",
            "MemberTests::test_says_something_else",
        ),
        ("        return resets.has_asked(records, sender.name, now)\n", "        return True\n",
         "MemberTests::test_says_it_again_unasked"),
        (
            "sealed != (None if item is None else ListMark(item.n, item.digest))",
            "False",
            "MemberTests::test_another_list_inside",
        ),
        (
            "listing is not None and not listing.body.stands(sender.name, sender.identity)",
            "False",
            "StrangerTests::test_is_known_under_the_name",
        ),
        (
            "        if item.n <= room.mark.version:\n            return False\n        if content",
            "        if content",
            "MemberTests::test_old_list_as_step",
        ),
        (
            '                ordering.break_at(records, room, item, sender.name, now)\n',
            "                pass\n",
            "StepTests::test_garbage_in_the_place_of_a_list",
        ),
    ),
    *guards(
        "client/rooms/ordering.py",
        "tests/client/rooms/test_malice.py",
        ("        if known and known != mark.digest:\n", "        if False:\n", "ForkTests::test_in_a_refusal"),
        (
            "room = replace(room, server_mark=ListMark(item.n, item.digest), behind_since=now, server_mark_by=culprit,"
            " asked=0)\n    return",
            "return",
            "StepTests::test_right_list_from_another",
        ),
        ("since = room.behind_since or now", "since = now", "NumberTests::test_one_after_the_other"),
    ),
    *guards(
        "client/rooms/adopting.py",
        "tests/client/rooms/test_malice.py",
        ("not lists.fits_item(listing, item) or (", "(", "StepTests::test_different_lists"),
        (
            "not lists.fits_item(listing, item) or (listing.body.author, listing.body.device) != sender",
            "not lists.fits_item(listing, item)",
            "StepTests::test_list_of_another",
        ),
        ("            lists.check_follows(before, listing)\n", "            pass\n", "StepTests::test_invalid_lists"),
        (
            "        remove_row(records, room.step)\n        room = replace(room, step=0)\n",
            "        pass\n",
            "tests/client/rooms/test_mishaps.py::BehindTests::test_step_behind_message",
        ),
        (
            "RoomLists(listing.body.room, (lists.without_proof(listing.signed),), 0)",
            "RoomLists(listing.body.room, (listing.signed,), 0)",
            "MemberTests::test_proof_when_told",
        ),
    ),
    *guards(
        "client/rooms/steps.py",
        "tests/client/rooms/test_malice.py",
        (
            " or not lists.has_proof(newest):\n        return False\n",
            ":\n        return False\n",
            "tests/client/rooms/test_mishaps.py::BehindTests::test_without_proof",
        ),
        ("if own is None or (not own.is_admin and", "if False and (not own.is_admin and",
         "tests/client/rooms/test_talk.py::TalkTests::test_title_and_admins"),
    ),
    *guards(
        "client/rooms/catchup.py",
        "tests/client/rooms/test_malice.py",
        ("if not last or not _within_limit(records, contact.name, now):", "if not last:", "StrangerTests::test_many_questions"),
        ("if is_member else _taken_out(records, room, contact, body.n)", "", "StrangerTests::test_many_questions"),
        (" or _is_new(records, room, newest, contact, body.n):", ":", "MemberTests::test_asks_for_old_lists"),
        (
            "signed if is_member and number == last else",
            "signed if number == last else",
            "MemberTests::test_proof_when_asked",
        ),
        ("            lists.check_follows(one, following)\n", "            pass\n",
         "MemberTests::test_answers_with_an_invalid_list"),
        ("if each.mark == room.server_mark), 0)", "if index), 0)", "StepTests::test_never_stepped"),
        ("chain[1 : ordered + 1]", "chain[1:]", "StepTests::test_beyond_what_was_ordered"),
        (
            "if contact.name != room.inviter or (room.identity and contact.identity != room.identity):",
            "if False:",
            "StepTests::test_first_list_of_another",
        ),
        (" if listing.mark == room.server_mark else None", "", "StepTests::test_first_list_never_stepped"),
        (
            "    if last.mark != room.server_mark:\n        return None\n",
            "",
            "tests/client/rooms/test_mishaps.py::FarBehindTests::test_not_ordered",
        ),
        (
            "    if member is None or not member.is_admin or member.identity != contact.identity:\n        return None\n",
            "",
            "tests/client/rooms/test_mishaps.py::FarBehindTests::test_from_no_admin",
        ),
        (
            "last.body.n <= room.mark.version + store.MAX_KEPT",
            "False",
            "tests/client/rooms/test_mishaps.py::FarBehindTests::test_not_far",
        ),
    ),
    *guards(
        "client/rooms/joining.py",
        "tests/client/rooms/test_malice.py",
        ("    if has_secret or is_invited:\n", "    if True:\n", "StrangerTests::test_many_accepts"),
        ("statement.account != contact.name or ", "", "MemberTests::test_leaves_for_another"),
        ("waiting if len(waiting) >= store.MAX_INVITED else []", "[]", "StrangerTests::test_many_invitations"),
        ("newest is None or old.state not in (RoomState.BROKEN, RoomState.FORKED)", "newest is None",
         "StrangerTests::test_renews_what_is_well"),
        (
            "member is not None and member.is_admin and member.identity == contact.identity",
            "True",
            "StrangerTests::test_renews",
        ),
    ),
    *guards(
        "client/sessions/resets.py",
        "tests/client/rooms/test_malice.py",
        (" and history.accepted_under >= joined", "", "MemberTests::test_asks_for_what_was_before"),
        (
            "        if member is not None and member.identity == contact.identity:\n            found",
            "        if True:\n            member = member or newest.body.members[0]\n            found",
            "MemberTests::test_asks_when_out",
        ),
    ),
    *guards(
        "client/rooms/changes.py",
        "tests/client/rooms/test_doubt.py",
        ("room.state is RoomState.IN and not kinds.isdisjoint(", "False and not kinds.isdisjoint(",
         "RemovalTests::test_message_behind_removal"),
    ),
    *guards(
        "client/rooms/adopting.py",
        "tests/client/rooms/test_doubt.py",
        ("RoomState.OUT if len(listing.body.members) == 1 else RoomState.LEAVING", "RoomState.LEAVING",
         "LeavingTests::test_two_at_once"),
        ("if before is None and own is not None and room.state is RoomState.LEAVING:", "if False:",
         "LeavingTests::test_request_withdrawn"),
        ("        store.forget_invited(records, room, account)\n", "        pass\n", "RemovalTests::test_old_invitation"),
        ("change.account in moved and body.member(change.account) is None", "False", "RemovalTests::test_asked_before_removal"),
    ),
    *guards(
        "client/rooms/steps.py",
        "tests/client/rooms/test_doubt.py",
        (" for number, change in waiting if change.kind is ChangeKind.LEFT]", " for number, change in waiting]",
         "LeavingTests::test_nothing_but_leaving"),
        ("not change.digest or change.digest == body.link", "True", "LinkTests::test_withdrawn_before_the_step"),
        (" and identity not in taken and", " and", "LinkTests::test_one_person_twice"),
    ),
    *guards(
        "client/rooms/joining.py",
        "tests/client/rooms/test_doubt.py",
        (" and not room.alias):\n", "):\n", "LeavingTests::test_declined"),
        ("    if len(chosen) != 1:\n", "    if not chosen:\n", "LeavingTests::test_second_inviter"),
        ("[-store.MAX_INVITERS :]", "", "LeavingTests::test_many_inviters"),
        ("        if room.state is RoomState.ASKED and room.identity in (b\"\", contact.identity):\n", "        if False:\n",
         "LeavingTests::test_invited_again"),
        ("    if changes.removes_anybody(records, room):\n", "    if False:\n", "LeavingTests::test_removal_waits"),
        (" or own is None or not own.is_admin:\n        return\n    is_invited", ":\n        return\n    is_invited",
         "LinkTests::test_shown_to_a_member"),
        ("member.is_admin and member.identity == contact.identity", "member.is_admin",
         "tests/client/rooms/test_malice.py::StrangerTests::test_renews_under_the_name"),
        ("    if room.state is RoomState.ASKED and room.step:\n", "    if False:\n", "LeavingTests::test_not_made_yet"),
    ),
    *guards(
        "client/receiving/rooms.py",
        "tests/client/rooms/test_malice.py",
        ("        room = ordering.come_back(records, room)\n", "        pass\n", "StepTests::test_removal_never_stepped"),
        ('            if waited != "room-forked":\n', "            if True:\n", "DecidedTests::test_not_again"),
    ),
    *guards(
        "client/rooms/catchup.py",
        "tests/client/rooms/test_malice.py",
        ("            return _keep_ours(records, room, contact)\n", "            pass\n", "DecidedTests::test_not_again"),
        ("is_trying=room.asked + 1 >= len(candidates)", "is_trying=False", "NumberTests::test_in_one_delivery"),
        ("    if not is_named and not last", "    if False and not last", "StepTests::test_chain_never_stepped"),
    ),
    *guards(
        "client/rooms/changes.py",
        "tests/client/rooms/test_doubt.py",
        (" and known < MAX_FAILED", "", "FailedTests::test_many"),
        ("if len(pending(records, room)) >= MAX_PENDING:", "if False:", "FailedTests::test_too_many"),
    ),
    *guards(
        "client/receiving/rooms.py",
        "tests/client/rooms/test_malice.py",
        (" and opened.suite == PQXDH and", " and", "MemberTests::test_other_suite"),
    ),
    *guards(
        "client/rooms/joining.py",
        "tests/client/rooms/test_doubt.py",
        ("if contact is not None and contact.identity != link.identity:", "if False:", "LinkTests::test_of_another_identity"),
        ("    changes.forget(records, room)\n", "", "FailedTests::test_forgotten"),
    ),
    *guards(
        "client/rooms/catchup.py",
        "tests/client/rooms/test_malice.py",
        (" and len(chain) <= store.MAX_KEPT:", ":", "FloodTests::test_pages"),
    ),
    *guards(
        "client/rooms/steps.py",
        "tests/account/test_rooms.py",
        ("if code and room.state is RoomState.ASKED:", "if False:", "JoiningTests::test_create_refused"),
    ),
    *guards(
        "client/rooms/ordering.py",
        "tests/client/rooms/test_malice.py",
        ("room is not None and room.is_member and item.step is not None", "False", "StepTests::test_unreadable"),
    ),
    *guards(
        "client/rooms/heard.py",
        "tests/client/rooms/test_talk.py",
        ("    if known is not None and 0 <= now - known.at < PAUSE:\n", "    if False:\n", "HeardTests::test_once_a_day"),
    ),
    *guards(
        "client/sending/results.py",
        "tests/client/rooms/test_malice.py",
        ("        ordering.accepted(records, sealed.room.room, sealed.room.n)\n", "", "NumberTests::test_in_one_delivery"),
    ),
)
