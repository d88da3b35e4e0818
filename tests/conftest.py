"""
What every test may ask of the command line.
"""

import pytest

# Enough to meet the interesting moments, few enough for the default run; `make rounds` asks for many more.
DEFAULT_ROUNDS = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """
    Offer C{--rounds}.
    """
    parser.addoption(
        "--rounds",
        type=int,
        default=DEFAULT_ROUNDS,
        metavar="N",
        help=f"how often the kill tests kill a process (default: {DEFAULT_ROUNDS})",
    )


@pytest.fixture(scope="session")
def rounds(pytestconfig: pytest.Config) -> int:
    """
    How often to kill something.

    A C{TestCase} cannot take fixtures as arguments; it takes this one in an autouse fixture of its own that sets
    C{self.rounds}.
    """
    wanted: int = pytestconfig.getoption("rounds")
    return wanted
