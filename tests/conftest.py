"""What every test may ask of the command line, and where it runs."""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

ROOT = Path(__file__).resolve().parent.parent
# Enough to meet the interesting moments, few enough for the default run; `make rounds` asks for many more.
DEFAULT_ROUNDS = 20
DEFAULT_EXAMPLES = 60
DEFAULT_NOISE = 1000
DEFAULT_EVERY = 3


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer C{--rounds}, C{--examples}, C{--noise}, C{--browser} and C{--every}."""
    parser.addoption(
        "--rounds",
        type=int,
        default=DEFAULT_ROUNDS,
        metavar="N",
        help=f"how often the kill tests kill a process (default: {DEFAULT_ROUNDS})",
    )
    parser.addoption(
        "--examples",
        type=int,
        default=DEFAULT_EXAMPLES,
        metavar="N",
        help=f"how many histories tests/client/test_model.py tries; of rooms half as many (default: {DEFAULT_EXAMPLES})",
    )
    parser.addoption(
        "--noise",
        type=int,
        default=DEFAULT_NOISE,
        metavar="N",
        help=f"how many datagrams of each kind of noise the server is sent (default: {DEFAULT_NOISE})",
    )
    parser.addoption("--browser", default="", metavar="COMMAND", help="Chromium, for the test of the status page")
    parser.addoption("--machine", metavar="FOLDER", help="the folder of make machine, for tests/functional/test_machine.py")
    parser.addoption("--deb", metavar="FILE", help="the package of make deb that tests/functional/test_deb.py installs")
    parser.addoption(
        "--every",
        type=int,
        default=DEFAULT_EVERY,
        metavar="N",
        help=f"in memory, somebody dies at every Nth moment of a scene (default: {DEFAULT_EVERY}; 1: at each)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """
    What hypothesis has learned stays in the checkout, wherever the tests run. Whatever else they write, and the processes that
    they start, goes to one temporary folder, which the process that pytest-xdist's workers belong to makes and removes.
    """
    set_hypothesis_home_dir(ROOT / ".hypothesis")
    # How long an example takes says nothing on a busy machine.
    settings.register_profile("securemsg", deadline=None)
    settings.load_profile("securemsg")
    # A shell that runs us in the background lets us ignore Ctrl-C, and what we start would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        return
    # A short name: there are sockets in it.
    folder = tempfile.TemporaryDirectory(prefix="sm-")
    os.environ["TMPDIR"] = tempfile.tempdir = folder.name
    config.add_cleanup(folder.cleanup)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """C{-n auto}: two more than there are cores, because tests with processes wait for much of their time."""
    return len(os.sched_getaffinity(0)) + 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those with processes come first: while they wait, the others have the processor."""
    items.sort(key=lambda item: not item.nodeid.startswith(("tests/functional", "tests/faults")))


@pytest.fixture(scope="session", autouse=True)
def elsewhere() -> Iterator[None]:
    """
    Run everything in a temporary folder: C{TestCase.mktemp} makes what it makes in the current one. It also shows that nothing
    depends on where it is called from.
    """
    before = Path.cwd()
    os.chdir(tempfile.mkdtemp(prefix="cwd-"))
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """
    How often to kill something.

    A C{TestCase} cannot take fixtures as arguments; it takes this one in an autouse fixture of its own that sets
    C{self.rounds}.
    """
    wanted: int = pytestconfig.getoption("rounds")
    return wanted


@pytest.fixture(scope="session")
def examples(pytestconfig: pytest.Config) -> int:
    """How many histories of the model to try. As C{rounds}."""
    wanted: int = pytestconfig.getoption("examples")
    return wanted


@pytest.fixture(scope="session")
def noise(pytestconfig: pytest.Config) -> int:
    """How many datagrams of each kind. As C{rounds}."""
    wanted: int = pytestconfig.getoption("noise")
    return wanted


@pytest.fixture(scope="session")
def deb(pytestconfig: pytest.Config) -> Path | None:
    """The package to install, if there is one. As C{rounds}."""
    given: str | None = pytestconfig.getoption("deb")
    return None if given is None else pytestconfig.invocation_params.dir / given


@pytest.fixture(scope="session")
def every(pytestconfig: pytest.Config) -> int:
    """At every how many moments somebody dies. As C{rounds}."""
    wanted: int = pytestconfig.getoption("every")
    return wanted
