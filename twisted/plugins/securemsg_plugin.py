"""
What makes C{twistd securemsg} exist.

Nothing of ours is imported here: a plugin that fails to import vanishes from C{twistd --help} without a word.
"""

from twisted.application.service import ServiceMaker

securemsg = ServiceMaker(
    "securemsg",
    "securemsg.tap",
    "A private message service: end-to-end encrypted, and nothing is lost.",
    "securemsg",
)
