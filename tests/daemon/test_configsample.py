"""The sample of a configuration file."""

from __future__ import annotations

import re
from typing import cast

from twisted.python.usage import UsageError

from securemsg.daemon.configsample import sample_config
from securemsg.daemon.options import FLAGS, PARAMETERS, Options
from tests.daemon.test_configfile import ConfigCase


class SampleTests(ConfigCase):
    """What an installation puts into C{/etc/securemsg}."""

    def test_defaults(self) -> None:
        """As it is, and with every option uncommented, it gives the defaults."""
        defaults = Options()
        defaults.parse([])
        text = sample_config()
        self.assertEqual(self.options(text).setup, defaults.setup)
        self.assertEqual(self.options(re.sub(r"(?m)^#(?=[a-z])", "", text)).setup, defaults.setup)

    def test_every_option(self) -> None:
        """Each option of the daemon is there once, below its help; only C{--config} cannot be."""
        found = re.findall(r"(?m)^# (.+)\n#([a-z-]+) =", sample_config())
        rows = cast(list[list[str]], [*Options.optParameters, *Options.optFlags])
        helps = {row[0]: row[-1] for row in rows}
        self.assertEqual(found, [(helps[name], name) for name in (*PARAMETERS, *FLAGS)])
        self.assertEqual({*PARAMETERS, *FLAGS, "config"}, {*helps})

    def test_empty(self) -> None:
        """An option that has no default may be empty; one that has may not."""
        self.assertEqual(self.options("[securemsg]\nkey-file =\nstate =\n").setup.key_file, None)
        with self.assertRaisesRegex(UsageError, "securemsg.conf:2: --port is"):
            self.options("[securemsg]\nport =\n")
