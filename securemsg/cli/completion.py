"""Completion in shells: the script that a shell runs, and how it is answered. What is completed is said by click's commands."""

from __future__ import annotations

import os

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, get_completion_class

from securemsg.cli.settings import APPLICATION
from securemsg.protocol.devices import ROOM_MARK

# A shell that asks sets this, and gets answers instead of a command; click derives the name from the program's.
COMPLETION = "_SECUREMSG_COMPLETE"
# What to do with the script: either file is read by every new shell.
INSTALL = {
    "bash": "~/.local/share/bash-completion/completions/securemsg",
    "zsh": "~/.zfunc/_securemsg",
    "fish": "~/.config/fish/completions/securemsg.fish",
}
# What else a shell needs for that.
NEEDS = {
    "bash": "It needs the package bash-completion; without that: eval \"$(securemsg completion bash)\" in ~/.bashrc",
    "zsh": "It needs these lines in ~/.zshrc: fpath+=~/.zfunc; autoload -U compinit; compinit",
    "fish": "New shells find it there.",
}


@add_completion_class
class Bash(BashComplete):
    """Click's, but for the mark of rooms: bash takes what begins with it for a comment, unless it is escaped or quoted."""

    source_template = BashComplete.source_template.replace("read type value", "read -r type value")

    def format_completion(self, item: CompletionItem) -> str:
        """Escape the mark, where the user has not begun a quotation."""
        words, number = os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"])
        is_quoted = number < len(words) and words[number][:1] in ("'", '"')
        if not is_quoted and item.type == "plain" and item.value.startswith(ROOM_MARK):
            item.value = "\\" + item.value
        return super().format_completion(item)


def script(shell: str, group: click.Command) -> str:
    """The script for a shell, which says in a comment where it goes."""
    found = get_completion_class(shell)
    assert found is not None, "one of INSTALL"
    lines = found(group, {}, APPLICATION, COMPLETION).source().strip().split("\n")
    # The first line of zsh's says what it completes.
    place = 1 if lines[0].startswith("#compdef") else 0
    lines.insert(place, f"# To install it: securemsg completion {shell} > {INSTALL[shell]}\n# {NEEDS[shell]}")
    return "\n".join(lines)
