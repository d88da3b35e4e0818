"""
Removes each guard once, in a copy of the product, and runs the test that must fail then.

The checkout itself is not touched. A test that does not fail proves nothing, or the guard is not needed: either is a fault.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import track

from tests.mutate import (
    bounds,
    chat,
    client,
    clientrooms,
    commands,
    crypto,
    gateway,
    histories,
    lobby,
    mailboxes,
    metrics,
    network,
    pipes,
    prekeys,
    profiles,
    protocol,
    questions,
    roomcommands,
    rooms,
    sending,
    server,
    sessions,
    shortinvites,
    state,
    storage,
    tls,
)  # fmt: skip
from tests.mutate.mutation import Guard, Stale

ROOT = Path(__file__).resolve().parent.parent.parent
# What the tests import and read.
COPIED = ("securemsg", "tests", "docs", "twisted", "setup.cfg")
GUARDS: tuple[Guard, ...] = (
    *crypto.GUARDS,
    *protocol.GUARDS,
    *client.GUARDS,
    *chat.GUARDS,
    *commands.GUARDS,
    *state.GUARDS,
    *sessions.GUARDS,
    *prekeys.GUARDS,
    *sending.GUARDS,
    *histories.GUARDS,
    *clientrooms.GUARDS,
    *lobby.GUARDS,
    *roomcommands.GUARDS,
    *gateway.GUARDS,
    *questions.GUARDS,
    *pipes.GUARDS,
    *server.GUARDS,
    *bounds.GUARDS,
    *shortinvites.GUARDS,
    *mailboxes.GUARDS,
    *rooms.GUARDS,
    *storage.GUARDS,
    *profiles.GUARDS,
    *network.GUARDS,
    *metrics.GUARDS,
    *tls.GUARDS,
)
# Without a guard something may never end, seconds.
PATIENCE = 300
# Of pytest.
PASSED, FAILED = 0, 1


def copy_product(folder: Path) -> Path:
    """Make a folder with a copy of everything that the tests need."""
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run(
    folder: Path, tests: Iterable[str], timeout: float | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """
    Run tests in a copy.

    @raise subprocess.TimeoutExpired: they do not end in time.
    """
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-p", "no:cacheprovider", *tests],
        cwd=folder,
        # The plugins take half of the time, and the tests do without.
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def survival(folder: Path, guard: Guard) -> str:
    """
    Remove a guard from a copy, run its test, and put the guard back.

    @return: what is wrong; empty: the test failed, as it must.
    """
    path = folder / "securemsg" / guard.file
    text, before = path.read_text("utf-8"), path.stat()
    try:
        path.write_text(guard.remove(text), "utf-8")
        # So old that it is no compiled file's source, though it may be as long.
        os.utime(path, (0, 0))
        status = run(folder, [guard.test], PATIENCE, PYTHONDONTWRITEBYTECODE="1").returncode
    except Stale as stale:
        return str(stale)
    except subprocess.TimeoutExpired:
        return f"its test does not end within {PATIENCE} seconds"
    finally:
        path.write_text(text, "utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    if status == PASSED:
        return "survives: its test passes without it"
    return "" if status == FAILED else f"its test cannot be run without it: pytest says {status}"


def check(guards: Sequence[Guard], jobs: int) -> list[tuple[Guard, str]]:
    """
    Remove each of these guards, several at the same time.

    @return: those whose removal nobody notices, with what is wrong.
    @raise SystemExit: a test fails anyway.
    """
    with TemporaryDirectory(prefix="mutate-") as temporary:
        first = copy_product(Path(temporary) / "0")
        print("running the tests once, with all guards", file=sys.stderr)
        whole = run(first, sorted({guard.test for guard in guards}))
        if whole.returncode != PASSED:
            sys.exit(f"{whole.stdout}{whole.stderr}mutate: the tests must pass as long as no guard is removed")
        # Behind that run, so that the copies are compiled.
        copies: SimpleQueue[Path] = SimpleQueue()
        copies.put(first)
        for number in range(1, jobs):
            copies.put(shutil.copytree(first, Path(temporary) / str(number)))

        def judge(guard: Guard) -> str:
            """Find a copy that nobody uses."""
            folder = copies.get()
            try:
                return survival(folder, guard)
            finally:
                copies.put(folder)

        with ThreadPoolExecutor(jobs) as pool:
            found = track(pool.map(judge, guards), "removing guards", len(guards), console=Console(stderr=True))
            return [(guard, wrong) for guard, wrong in zip(guards, found, strict=True) if wrong]


def main() -> int:
    """
    Read the arguments, and report.

    @return: the exit status: 1 if a guard survives.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.mutate", description="Remove each guard once: its test must fail.")
    parser.add_argument("pattern", nargs="*", help="a part of a file's name, a guard or its test")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="how many at once (default: as cores)")
    arguments = parser.parse_args()
    chosen = arguments.pattern or [""]
    guards = [guard for guard in GUARDS if any(part in f"{guard.file} {guard.source} {guard.test}" for part in chosen)]
    if not guards:
        parser.error("no guard is called so")
    wrong = check(guards, max(1, arguments.jobs))
    for guard, why in wrong:
        print(f"{guard.file}: {why}", f"guard:   {guard.source}", f"without: {guard.replacement}", guard.test, sep="\n    ")
    print(f"guards: {len(guards)}, of which {len(wrong) or 'none'} can go unnoticed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
