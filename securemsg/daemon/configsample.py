"""
A configuration file with every option of the daemon, its help and its default, commented out:
C{python -m securemsg.daemon.configsample >securemsg.conf}.
"""

from __future__ import annotations

import sys
from typing import cast

from securemsg.daemon.configfile import SECTION
from securemsg.daemon.options import FLAGS, PARAMETERS, Options

HEAD = """\
# Options of the securemsg daemon; see securemsg.conf(5). Remove the # before an option to change it. What is commented out
# is the default; where that is empty, the option is not set.
#
# After a change: systemctl restart securemsg, which refuses no connection. Options on the command line win; the service has
# --port there, because systemd listens for it (securemsg.socket).
"""


def sample_config() -> str:
    """The text of the file."""
    rows = [(name, default or "", text) for name, _, default, text in cast(list[list[str]], Options.optParameters)]
    rows += [(name, "no", text) for name, _, text in cast(list[list[str]], Options.optFlags)]
    options = [f"\n# {text}\n#{name} = {default}".rstrip() for name, default, text in rows if name in (*PARAMETERS, *FLAGS)]
    return f"{HEAD}\n[{SECTION}]\n" + "\n".join(options) + "\n"


if __name__ == "__main__":
    sys.stdout.write(sample_config())
