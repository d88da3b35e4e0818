"""The guards of piped streams: what each end believes of the other, and what a kill may cost."""

from __future__ import annotations

from tests.mutate.mutation import Guard, guards

GUARDS: tuple[Guard, ...] = (
    *guards(
        "client/state/inpipes.py",
        "tests/client/test_pipes.py",
        ("if not part.is_sound or not is_in_window", "if not is_in_window", "MaliciousSenderTests::test_unsound"),
        (
            "row.taken <= part.offset <= row.taken + WINDOW",
            "part.offset <= row.taken + WINDOW",
            "MaliciousSenderTests::test_taken_again",
        ),
        (" <= row.taken + WINDOW * BLOCK and len", " and len", "MaliciousSenderTests::test_beyond_window"),
        (" and len(row.parts) <= WINDOW\n", "\n", "MaliciousSenderTests::test_many_parts"),
        (" or any(span.overlaps(other) for other in row.parts):", ":", "MaliciousSenderTests::test_overlap"),
        ("+ max(other.size, 1) and", "+ other.size and", "MaliciousSenderTests::test_overlap"),
        ("            if part.offset >= WINDOW * BLOCK:\n", "            if False:\n", "MaliciousSenderTests::test_unknown"),
        ("if row.end:\n            return False", "if False:\n            return False", "FlowTests::test_unwanted"),
        ("tell=row.taken > 0)", "tell=False)", "MaliciousSenderTests::test_taken_again"),
        (" and digest == row.chain.value\n", "\n", "MaliciousSenderTests::test_other_digest"),
        ("        if len(is_open) >= MAX_STREAMS:\n", "        if False:\n", "MaliciousSenderTests::test_many_streams"),
        ("if not row.taken and not row.output), (", "if True), (", "MaliciousSenderTests::test_all_taken"),
        (
            "        for order, other, _ in [each",
            "        for order, other, _ in [][:0] and [each",
            "MaliciousSenderTests::test_endless",
        ),
        ("PipeEnd.REFUSED, tell=contact.known)", "PipeEnd.REFUSED, tell=True)", "MaliciousSenderTests::test_strangers"),
        ("if row is None or row.end or row.taken != offset:", "if row is None or row.end:", "FlowTests::test_one_process"),
        ("        if row.taken:\n", "        if False:\n", "FlowTests::test_other_output"),
        ("            clear_notices(", "            bool(", "FlowTests::test_told_once"),
    ),
    *guards(
        "client/state/outpipes.py",
        "tests/client/test_pipes.py",
        ("        if row.to != to:\n", "        if False:\n", "FlowTests::test_other_recipient"),
        ("    if preferences.get(records, to).is_blocked:\n", "    if False:\n", "FlowTests::test_blocked"),
        ("        if row is not None and not row.end:\n", "        if False:\n", "FlowTests::test_known"),
        ("row is None or row.end or row.offset != offset:", "row is None or row.end:", "FlowTests::test_one_process"),
        ("row is None or row.to != name or", "row is None or", "MaliciousRecipientTests::test_somebody_else"),
        (" or row.outcome or row.device", " or row.device", "MaliciousRecipientTests::test_impossible"),
        (" or row.device not in (b\"\", device):", ":", "MaliciousRecipientTests::test_other_device"),
        (
            "if not row.taken <= said.offset <= row.offset:",
            "if not row.taken <= said.offset:",
            "MaliciousRecipientTests::test_impossible",
        ),
        (
            "if not row.taken <= said.offset <= row.offset:",
            "if not said.offset <= row.offset:",
            "MaliciousRecipientTests::test_impossible",
        ),
        (" or said.offset != row.offset):", "):", "MaliciousRecipientTests::test_not_all"),
        ("(row.end != PipeEnd.COMPLETE or said", "(said", "MaliciousRecipientTests::test_impossible"),
        ("if len(self.ends) < WINDOW else 0", "", "FlowTests::test_small_window"),
    ),
    *guards(
        "client/receiving/inbox.py",
        "tests/client/test_pipes.py",
        (" or SERVER_NAME in (name, profile.name):", ":", "MaliciousSenderTests::test_server"),
    ),
    *guards(
        "client/sending/results.py",
        "tests/client/test_pipes.py",
        ("        outpipes.note_lost(", "        bool(outpipes) or (", "FlowTests::test_no_such_account"),
    ),
    *guards(
        "cli/piping.py",
        "tests/cli/test_piping.py",
        ("        if chain != row.chain:\n", "        if False:\n", "SenderTests::test_other_input"),
        (
            "        if contact is not None and contact.has_changed:\n",
            "        if False:\n",
            "FlowTests::test_identity_changed",
        ),
        ("            self._end(row, PipeEnd.CUT)\n", "            pass\n", "SenderTests::test_cut"),
        ("            self._change(InPipes.cut, self._stream)\n", "            pass\n", "ReceiverTests::test_closed"),
        ("        if row.taken != offset:\n", "        if False:\n", "ReceiverTests::test_overtaken"),
        ("            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "", "ReceiverTests::test_second"),
        ("(row.output != path and found.st_size):", "False:", "ReceiverTests::test_existing"),
        ("        if not stat.S_ISREG(found.st_mode) or (", "        if (", "ReceiverTests::test_existing"),
        ("        if found.st_size < row.taken:\n", "        if False:\n", "ReceiverTests::test_shorter"),
        ("            os.ftruncate(descriptor, self._get().taken)\n", "", "ReceiverTests::test_cut_back"),
        ("        if row.taken and row.output != path:\n", "        if False:\n", "ReceiverTests::test_elsewhere"),
        ("os.O_NONBLOCK, 0o600)", "os.O_NONBLOCK, 0o666)", "FlowTests::test_through"),
    ),
    *guards(
        "cli/commands/pipe.py",
        "tests/cli/test_piping.py",
        (" or other in (SERVER_NAME, context.profile.name):", ":", "CommandTests::test_peers"),
        ("        if other.startswith(ROOM_MARK) or other in", "        if other in", "CommandTests::test_peers"),
    ),
)
