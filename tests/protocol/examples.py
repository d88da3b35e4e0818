"""One valid message of each kind, and strategies that draw any."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from securemsg.protocol import messages as m
from securemsg.protocol.messages import Message

ID = bytes(range(16))
KEY = bytes(range(32))
SIGNATURE = bytes(64)
PAKE = b"A" + KEY
LIST = m.SignedDeviceList(b"body", SIGNATURE)
RECORD = m.AccountRecord("alice", KEY, LIST)
ROOM = m.RoomItem(ID, 3, KEY, m.RoomStep(KEY, KEY))
ROW = m.AccountRow("bob", 1, 2, 3, 4, 5, 1, 7, False)
PREKEY = m.Prekey(7, KEY, SIGNATURE)
KINDS: tuple[type, ...] = get_args(Message)

EXAMPLES: dict[type, Message] = {
    type(message): message
    for message in (
        m.Hello([1], ["f"], "device", "tcp", KEY),
        m.Challenge(1, ["f"], KEY, KEY, SIGNATURE),
        m.Proof("alice", ID, 9, SIGNATURE),
        m.Register("alice", ID, b"token", KEY, LIST, SIGNATURE, SIGNATURE),
        m.Welcome(9, 1_800_000_000, m.PrekeyStock(1, 2, 3, 4), [ID, KEY[16:]]),
        m.Failed("stopping", 1500),
        m.Deposit(ID, 10, 86400, b"common", [m.Destination("bob", [m.Part(ID, b"own")])], ROOM),
        m.Accepted(1_800_000_000, [m.Acceptance(ID, [m.Missed("bob", ID, "mailbox-full")], stored=True)]),
        m.DepositRefused(ID, "stale-room", [RECORD], m.ListMark(3, KEY)),
        m.Deliver(1, "alice", ID, ID, 1_800_000_000, b"common", b"own", ROOM),
        m.Acknowledge(1),
        m.Drained(),
        m.Stock(m.PrekeyStock(1, 2, 3, 4)),
        m.Fetch(1, "bob"),
        m.Account(1, RECORD),
        m.Claim(1, "bob", ID, 0),
        m.Bundle(1, PREKEY, PREKEY, True, None),
        m.Upload(1, PREKEY, None, [PREKEY], [PREKEY], False),
        m.Publish(1, LIST),
        m.Invite(1, 1, 3600),
        m.Invited(1, b"token", 1_800_000_000),
        m.Ping(1),
        m.Pong(1, 1_800_000_000),
        m.Done(1),
        m.Refused(1, "forbidden"),
        m.ListAccounts(1, ""),
        m.Accounts(1, [ROW], False),
        m.RemoveAccount(1, "bob"),
        m.GetAddress(1),
        m.Address(1, "127.0.0.1", 8443, 0, KEY, b""),
        m.Reply(1, "bob", "text"),
        m.OpenCode(1, PAKE),
        m.CodeOpened(1, 7),
        m.CodeUsed(7, PAKE, SIGNATURE),
        m.AnswerCode(1, 7, b"sealed"),
        m.AskCode(7),
        m.CodeMessage(PAKE),
        m.UseCode(PAKE, SIGNATURE),
        m.CodeAnswer(b"sealed"),
        m.ListInvites(1, b""),
        m.Invites(1, [m.InviteRow(KEY, 2, 3, "alice")], False),
        m.RevokeInvite(1, KEY),
        m.SetSuspended(1, "bob", True),
        m.SetQuota(1, "bob", 9),
        m.Kick(1, "bob"),
        m.ListConnections(1),
        m.Connections(1, 2, 1, [m.ConnectionRow("bob", ID, 3, "tcp")]),
        m.GetStats(1),
        m.Stats(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, False, 12),
        m.SetDraining(1, True),
        m.SetLogLevel(1, "info"),
        m.TakeSnapshot(1),
        m.RotateKey(1),
        m.Removed(1, 1, 2, 3),
        m.GetDetails(1, "bob"),
        m.Details(1, ROW, [m.DeviceRow(ID, 2, True, 3, 4)], 5, 6, True),
    )
}

# Anything that msgpack can say.
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)

# Marks that a number of so many bytes follows; but for the longest of its kind, the next mark has a number twice as long.
_WIDTHS = {0xC4: 1, 0xC5: 2, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD9: 1, 0xDA: 2, 0xDC: 2}
_LONGEST = 0xCF
# The short marks: from, to, and the mark that a longer form begins with.
_SHORT = ((0x00, 0x7F, b"\xcc"), (0x90, 0x9F, b"\xdc\x00"), (0xA0, 0xBF, b"\xd9"))


def reencoded(data: bytes) -> list[bytes]:
    """Ways to say the same in msgpack: in each, one item is written longer than it need be."""
    found, offset = [], 0
    while offset < len(data):
        mark, size, longer = data[offset], 1, b""
        for low, high, other in _SHORT:
            if low <= mark <= high:
                longer = other + bytes([mark - low])
        if mark in _WIDTHS:
            size += _WIDTHS[mark]
            longer = b"" if mark == _LONGEST else bytes([mark + 1]) + bytes(_WIDTHS[mark]) + data[offset + 1 : offset + size]
        if longer:
            found.append(data[:offset] + longer + data[offset + size :])
        if 0xA0 <= mark <= 0xBF:
            size += mark - 0xA0
        elif mark in (0xC4, 0xC5, 0xD9, 0xDA):
            size += int.from_bytes(data[offset + 1 : offset + size], "big")
        offset += size
    return found
