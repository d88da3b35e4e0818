"""
The daemon with room for a mailbox of a million messages: C{python -m bench.roomy MESSAGES} and what C{twistd} takes.

How much a mailbox holds is no option of the daemon, because no operator asked for one.
"""

from __future__ import annotations

import sys
from functools import partial

from twisted.scripts.twistd import run

from securemsg.daemon import service
from securemsg.server.limits import Settings

# More than a text of 200 bytes takes.
_EACH = 1024


def main() -> None:
    """Run twistd."""
    messages = int(sys.argv.pop(1))
    roomy = partial(Settings, mailbox_messages=messages, mailbox_size=messages * _EACH)
    setattr(service, Settings.__name__, roomy)
    sys.argv[0] = "twistd"
    run()


if __name__ == "__main__":
    main()
