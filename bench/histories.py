"""
What C{search}, C{export}, C{history} and C{outbox} take with many messages: C{python -m bench.histories [MESSAGES]}.

The times are of whole commands, with the start of the program, on one core; the median of three.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec
from attrs import evolve

from bench.clients import COMMAND
from bench.sizes import MESSAGE_SIZE
from securemsg.client.state import profile as profiles
from securemsg.client.state.conversations import direct
from securemsg.client.state.records import HISTORY, INDEX, HistoryRow, MessageIndex, Status, draft, next_seq, save
from securemsg.client.state.vault import create_vault
from securemsg.protocol.envelope import Kind
from securemsg.protocol.invite import InviteLink
from securemsg.storage.profile import create_profile

MESSAGES = 100_000
CONVERSATIONS = 50
# Messages written in one transaction; seconds between two messages, so that all of them are of the last 30 days.
BATCH = 1000
PAUSE = 20
ROUNDS = 3
RARE = "xylophone"
# What is run, and the exit status that it has.
COMMANDS: dict[tuple[str, ...], int] = {
    ("whoami",): 0,
    ("search", "absent"): 1,
    ("search", RARE): 0,
    ("search", "message"): 0,
    ("search", RARE, "--with", "peer7"): 0,
    ("history", "peer7", "--limit", "20"): 0,
    ("outbox",): 0,
    ("export",): 0,
    ("export", "--format", "text"): 0,
}


def fill(folder: Path, count: int) -> None:
    """Make a profile with so many messages of 200 bytes, half of them sent, in several conversations."""
    now = int(time.time())
    store = create_profile(folder, create_vault(folder, None))
    profile = evolve(profiles.create_profile(InviteLink("127.0.0.1", 1, bytes(32)), "ada", now), registered=True)
    with store.writing() as records:
        profiles.save_profile(records, profile)
    for start in range(0, count, BATCH):
        with store.writing() as records:
            for number in range(start, min(start + BATCH, count)):
                peer, at = direct(f"peer{number % CONVERSATIONS}"), now - (count - number) * PAUSE
                text = f"message {number} {RARE if number % 997 == 7 else ''} ".ljust(MESSAGE_SIZE, "x")
                content = msgspec.structs.replace(draft(profile, Kind.TEXT, at), body=text.encode(), previous=bytes(32))
                is_sent, seq = number % 2 == 0, next_seq(records)
                status = Status.ACCEPTED if is_sent else Status.RECEIVED
                save(records, HISTORY, peer.bucket, HistoryRow(content, is_sent, at, status), seq)
                if is_sent:
                    save(records, INDEX, content.message_id, MessageIndex(peer, seq, 0))
    store.close()


def measured(folder: Path, arguments: tuple[str, ...], status: int) -> tuple[float, float]:
    """Seconds that a command takes, by the clock and of the processor."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [*COMMAND, "--profile", str(folder), *arguments]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, (arguments, done.returncode)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Make a profile, and time the commands."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else MESSAGES
    with TemporaryDirectory() as name:
        folder = Path(name) / "profile"
        fill(folder, count)
        print(f"{count} messages, {os.path.getsize(folder / 'profile.db') / 1e6:.0f} MB")
        for arguments, status in COMMANDS.items():
            times = [measured(folder, arguments, status) for _ in range(ROUNDS)]
            took, used = (median(column) for column in zip(*times, strict=True))
            print(f"{' '.join(arguments):<32} {took:6.2f} s, {used:6.2f} s of the processor")
        print(f"memory at most {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
