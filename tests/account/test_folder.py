"""Tests of L{securemsg.account.folder}: whose profile may be opened."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from securemsg.account.errors import Exit, SecuremsgError
from securemsg.account.folder import check_whole
from tests.net.fakes import scratch


class OwnerTests(SynchronousTestCase):
    """A profile is for one user."""

    def test_of_another_user(self) -> None:
        """Root does not open somebody's profile: its lock files would shut the owner out. Nothing is made."""
        folder = scratch(self)
        self.patch(os, "geteuid", lambda: os.getuid() + 1)
        error = self.assertRaises(SecuremsgError, check_whole, folder)
        self.assertEqual((error.code, error.status), ("profile-unreadable", Exit.PROFILE))
        self.assertIn(str(folder), error.text)
        self.assertEqual(list(folder.iterdir()), [])
