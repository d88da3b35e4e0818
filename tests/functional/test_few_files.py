"""A shell that allows a command too few open files."""

from __future__ import annotations

from tests.functional.support import PlaceCase


class FewFilesTests(PlaceCase):
    """One line says so, whatever the command would have failed at."""

    def test_commands(self) -> None:
        """The same for commands that need few files and many."""
        ann = self.person("ann")
        for command in ("whoami", "recv", "send server hello", "status"):
            script = f"ulimit -n 12; exec securemsg {command} --json"
            done = self.place.start_shell("few", script, SECUREMSG_PROFILE=str(ann.profile)).wait()
            self.assertIn('"code": "too-many-files"', done.err, command)
            self.assertIn("ulimit -n", done.err)
            self.assertNotEqual(done.status, 0)
