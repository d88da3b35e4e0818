"""Tests of L{securemsg.interfaces}: the records that pass through."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from securemsg.interfaces import DepositRow, MailboxRow, NewAccount, StoredPrekey, StoreRecord

SECRET = b"precious"


class RecordTests(SynchronousTestCase):
    """What their text shows."""

    def test_no_bytes(self) -> None:
        """No record shows keys, tokens or envelopes; what says which record it is can be read."""
        prekey = StoredPrekey(7, SECRET, SECRET)
        row = MailboxRow(3, 4, SECRET)
        deposit = DepositRow(2, SECRET, SECRET, 5, "ada", SECRET, 6, 7, 8, SECRET, (row,))
        account = NewAccount("ada", SECRET, SECRET, SECRET, 1, ((b"phone", b"public"),), SECRET, 9)
        records: tuple[StoreRecord, ...] = prekey, row, deposit, account
        for record in records:
            self.assertNotIn("precious", f"{record!r} {record}")
        self.assertEqual(repr(prekey), "StoredPrekey(id=7)")
        self.assertIn("rows=(MailboxRow(mailbox=3, position=4),)", repr(deposit))
