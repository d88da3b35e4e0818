"""One valid message of each kind, and strategies that draw any."""

from __future__ import annotations

from typing import get_args

from hypothesis import strategies as st

from securemsg.protocol import messages as m
from securemsg.protocol.messages import Message

ID = bytes(range(16))
KEY = bytes(range(32))
SIGNATURE = bytes(64)
LIST = m.SignedDeviceList(b"body", SIGNATURE)
RECORD = m.AccountRecord("alice", KEY, LIST)
PREKEY = m.Prekey(7, KEY, SIGNATURE)
KINDS: tuple[type, ...] = get_args(Message)

EXAMPLES: dict[type, Message] = {
    type(message): message
    for message in (
        m.Hello([1], ["f"], "device", "tcp", KEY),
        m.Challenge(1, ["f"], KEY, KEY, SIGNATURE),
        m.Proof("alice", ID, 9, SIGNATURE),
        m.Register("alice", ID, b"token", KEY, LIST, SIGNATURE, SIGNATURE),
        m.Welcome(9, 1_800_000_000, m.PrekeyStock(1, 2, 3, 4)),
        m.Failed("stopping"),
        m.Deposit(ID, 10, 86400, b"common", [m.Destination("bob", [m.Part(ID, b"own")])]),
        m.Accepted(1_800_000_000, [m.Acceptance(ID, [m.Missed("bob", ID, "mailbox-full")])]),
        m.DepositRefused(ID, "stale-devices", [RECORD]),
        m.Deliver(1, "alice", ID, ID, 1_800_000_000, b"common", b"own"),
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
        m.Accounts(1, [m.AccountRow("bob", 1, 2, 3, 4)], False),
        m.RemoveAccount(1, "bob"),
        m.GetAddress(1),
        m.Address(1, "127.0.0.1", 8443, KEY, b""),
        m.Reply(1, "bob", "text"),
    )
}

# Anything that msgpack can say.
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=20,
)
