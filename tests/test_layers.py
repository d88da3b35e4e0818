"""
The house keeps its own order: who may import what, and what things may be called.

The rules are data and the checker is a function of a module's name and source, so that each rule is shown to bite on a
source that breaks it, and the whole tree is shown to be clean. Source of the rules: C{CONTRIBUTING.md}, "The house".
"""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
CHECKED = ("securemsg", "tests", "bench")

# What every wing of the client may know.
CLIENT = ("securemsg.crypto", "securemsg.errors", "securemsg.interfaces", "securemsg.protocol")

# How a file is kept private is written once. It needs no library, no SQL and nothing else of the storage layer, so that the
# client may use it, too, where it keeps the store key.
FILES = ("securemsg.storage.errors", "securemsg.storage.files")

# Which of our own modules a layer may import. A layer that is not named here may not exist.
OURS: dict[str, tuple[str, ...]] = {
    "securemsg.errors": (),
    "securemsg.interfaces": ("securemsg.errors",),
    "securemsg.coredump": (),
    # Plain numbers, which many count in.
    "securemsg.counters": (),
    "securemsg.protocol": ("securemsg.protocol", "securemsg.errors"),
    "securemsg.crypto": ("securemsg.crypto", "securemsg.errors"),
    # Of all cryptography the server gets to see public keys: what it cannot import, it cannot decrypt with.
    "securemsg.server": (
        "securemsg.server",
        "securemsg.protocol",
        "securemsg.interfaces",
        "securemsg.errors",
        "securemsg.crypto.keys",
        "securemsg.counters",
    ),
    # The client's wings: each knows those above its own row, and none of those below.
    "securemsg.client.state.vault": (*CLIENT, *FILES),
    "securemsg.client.state": ("securemsg.client.state", *CLIENT),
    "securemsg.client.rooms": ("securemsg.client.rooms", "securemsg.client.state", *CLIENT),
    "securemsg.client.sessions": (
        "securemsg.client.rooms",
        "securemsg.client.sessions",
        "securemsg.client.state",
        *CLIENT,
    ),
    "securemsg.client.sending": (
        "securemsg.client.sending",
        "securemsg.client.context",
        "securemsg.client.events",
        "securemsg.client.rooms",
        "securemsg.client.requests",
        "securemsg.client.sessions",
        "securemsg.client.state",
        *CLIENT,
    ),
    "securemsg.client.receiving": (
        "securemsg.client.receiving",
        "securemsg.client.context",
        "securemsg.client.events",
        "securemsg.client.rooms",
        "securemsg.client.sending",
        "securemsg.client.sessions",
        "securemsg.client.state",
        *CLIENT,
    ),
    # The top floor: what user interfaces ask of a store, what the parts of the agent share, and then the agent.
    "securemsg.client.context": (
        "securemsg.client.events",
        "securemsg.client.requests",
        "securemsg.client.state",
        "securemsg.client.warnings",
        *CLIENT,
    ),
    "securemsg.client.messages": (
        "securemsg.client.rooms",
        "securemsg.client.sessions",
        "securemsg.client.state",
        "securemsg.client.times",
        *CLIENT,
    ),
    "securemsg.client.jobs": ("securemsg.client.state", *CLIENT),
    "securemsg.client.events": CLIENT,
    "securemsg.client.requests": CLIENT,
    "securemsg.client.escape": CLIENT,
    "securemsg.client.times": CLIENT,
    "securemsg.client.warnings": CLIENT,
    "securemsg.client.wiredump": CLIENT,
    "securemsg.client": ("securemsg.client", *CLIENT),
    "securemsg.storage.errors": (),
    "securemsg.storage.files": FILES,
    # To a store everything is opaque bytes.
    "securemsg.storage": ("securemsg.storage", "securemsg.interfaces", "securemsg.errors", "securemsg.counters"),
    # The network is handed the objects of server and client; it does not fetch them.
    "securemsg.net": ("securemsg.net", "securemsg.protocol", "securemsg.errors", "securemsg.counters"),
    # Machines that answer, for the daemon and for people's accounts: where alone other programs are run.
    "securemsg.responders": (
        "securemsg.client.autoresponder",
        "securemsg.client.messages",
        "securemsg.client.times",
        "securemsg.protocol.messages",
        "securemsg.responders",
    ),
    # An account at work in a process: what a command line or a program around us builds on, through C{securemsg.bot}.
    "securemsg.account": (
        "securemsg.account",
        "securemsg.client",
        "securemsg.crypto",
        "securemsg.errors",
        "securemsg.interfaces",
        "securemsg.net",
        "securemsg.protocol",
        "securemsg.storage",
    ),
    "securemsg.bot": (
        "securemsg.account",
        "securemsg.client",
        "securemsg.errors",
        "securemsg.interfaces",
        "securemsg.protocol",
        "securemsg.storage",
    ),
    # Webhooks, and messages of an account that are made of them.
    "securemsg.gateway": (
        "securemsg.account",
        "securemsg.client",
        "securemsg.crypto.keys",
        "securemsg.errors",
        "securemsg.gateway",
        "securemsg.interfaces",
        "securemsg.protocol",
        "securemsg.storage",
    ),
    # The contact that lives in the daemon knows nothing of the server that it lives beside.
    "securemsg.daemon.contact": (
        "securemsg.client",
        "securemsg.crypto.keyfile",
        "securemsg.daemon.folder",
        "securemsg.daemon.printer",
        "securemsg.daemon.worker",
        "securemsg.interfaces",
        "securemsg.protocol",
        "securemsg.storage",
    ),
    "securemsg.daemon": (
        "securemsg.client",
        "securemsg.crypto",
        "securemsg.daemon",
        "securemsg.errors",
        "securemsg.counters",
        "securemsg.net",
        "securemsg.protocol",
        "securemsg.responders.choice",
        "securemsg.responders.errors",
        "securemsg.server",
        "securemsg.storage",
    ),
    # It describes what users type, and is run when a package is built.
    "securemsg.manpages": (
        "securemsg.account.errors",
        "securemsg.cli",
        "securemsg.daemon.configfile",
        "securemsg.daemon.options",
    ),
    # The two roots know nothing of each other, and nobody else knows of them.
    "securemsg.tap": (
        "securemsg.coredump",
        "securemsg.daemon.checks",
        "securemsg.daemon.folder",
        "securemsg.daemon.logs",
        "securemsg.daemon.options",
        "securemsg.daemon.service",
        "securemsg.daemon.twistd",
        "securemsg.net.clock",
        "securemsg.responders.choice",
    ),
    # No other command waits for the libraries that webhooks need.
    "securemsg.cli.commands.gateway": (
        "securemsg.account.errors",
        "securemsg.cli",
        "securemsg.gateway",
        "securemsg.protocol",
    ),
    "securemsg.cli.gateway": (
        "securemsg.account",
        "securemsg.cli",
        "securemsg.client",
        "securemsg.gateway",
        "securemsg.protocol",
    ),
    "securemsg.cli": (
        "securemsg.account",
        "securemsg.bot",
        "securemsg.cli",
        "securemsg.client",
        "securemsg.coredump",
        "securemsg.crypto",
        "securemsg.errors",
        "securemsg.interfaces",
        "securemsg.net",
        "securemsg.protocol",
        "securemsg.responders",
        "securemsg.storage",
    ),
}

# Pure, synchronous, and free of camelCase: only the edge speaks Twisted's dialect.
PURE = ("securemsg.protocol", "securemsg.crypto", "securemsg.server", "securemsg.client")

ROOTS = ("securemsg.tap", "securemsg.cli")
EDGE = (
    "securemsg.account",
    "securemsg.bot",
    "securemsg.daemon",
    "securemsg.gateway",
    "securemsg.net",
    "securemsg.responders",
    "securemsg.storage",
    *ROOTS,
)
VAULT = ("securemsg.crypto.primitives",)

# Where a library or a part of one may be imported; what is not named may be imported anywhere but in `LIBRARIES`.
HOMES: dict[str, tuple[str, ...]] = {
    "Crypto": VAULT,
    "cryptography": VAULT,
    "spake2": VAULT,
    "hashlib": VAULT,
    "hmac": VAULT,
    "secrets": VAULT,
    "os.urandom": VAULT,
    "OpenSSL": ("securemsg.daemon.certificate", "securemsg.net"),
    "service_identity": ("securemsg.net",),
    "aioquic": ("securemsg.net.quic", "securemsg.net.quicendpoint", "securemsg.net.quicwire", "securemsg.net.udp"),
    "ssl": ("securemsg.net",),
    "twisted": EDGE,
    "twisted.internet.reactor": ROOTS,
    # Webhooks, which no other command needs.
    "twisted.web": ("securemsg.daemon.site", "securemsg.gateway"),
    "jinja2": ("securemsg.daemon.page", "securemsg.gateway"),
    "prometheus_client": ("securemsg.daemon.metrics",),
    "asyncio": ("securemsg.cli",),
    "signal": ("securemsg.cli", "securemsg.daemon.twistd", "securemsg.responders"),
    "socket": ("securemsg.net",),
    # Programs are run by the reactor.
    "subprocess": (),
    "multiprocessing": (),
    "os.system": (),
    "os.popen": (),
    "os.fork": ("securemsg.responders.launcher",),
    # Random bytes come from `primitives`; delays may be jittered at the edge.
    "random": ("securemsg.net",),
    "uuid": (),
    # What is imported by name stands in the table of commands, or is the operator's function; an extra is looked for.
    "importlib": (
        "securemsg.account.routes",
        "securemsg.cli.checks",
        "securemsg.cli.main",
        "securemsg.daemon.checks",
        "securemsg.responders.function",
    ),
    "threading": ("securemsg.cli", "securemsg.daemon", "securemsg.responders", "securemsg.storage"),
    # Time is handed in, never fetched.
    "time": EDGE,
    "sqlite3": (
        "securemsg.storage.memory",
        "securemsg.storage.profile",
        "securemsg.storage.sealed",
        "securemsg.storage.sqlite",
    ),
    "click": ("securemsg.cli", "securemsg.manpages"),
    "platformdirs": ROOTS,
    "prompt_toolkit": ("securemsg.cli",),
    "rich": ("securemsg.cli",),
    "segno": ("securemsg.cli",),
    "idna": ("securemsg.client.escape",),
    "wcwidth": ("securemsg.cli", "securemsg.client.escape"),
}

# The layers at the bottom name every library they need.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "securemsg.errors": (),
    "securemsg.coredump": (),
    "securemsg.counters": (),
    # Several records for each message pass through: a struct costs a quarter of what an attrs class does.
    "securemsg.interfaces": ("msgspec", "zope.interface"),
    "securemsg.protocol": ("attrs", "msgspec", "zope.interface"),
    "securemsg.crypto": ("attrs", "msgspec", "Crypto", "cryptography", "spake2"),
    "securemsg.server": ("attrs", "msgspec", "zope.interface"),
    # What a script needs to be shown as it is written.
    "securemsg.client.escape": ("idna", "wcwidth"),
    "securemsg.client": ("attrs", "msgspec", "zope.interface"),
    "securemsg.storage.files": (),
}

# Distributions whose import name is another.
DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyopenssl",
    "_pytest": "pytest",
    "yaml": "pyyaml",
    "zope": "zope.interface",
}

# What comes with an extra, which its users import when it is asked for.
EXTRAS = {f"securemsg.net.{name}": "udp" for name in ("quic", "quicendpoint", "quicwire", "udp")}
EXTRAS["securemsg.daemon.metrics"] = "metrics"

# Names that say nothing: a class is called by what it is.
EMPTY_WORDS = ("Manager", "Handler", "Processor", "Engine", "Helper", "Helpers", "Util", "Utils", "Common", "Base")
CAMEL_CASE = re.compile(r"_*[a-z0-9]+[A-Z]")

# Words of an earlier house, which only its builders knew. They are found nowhere, not even in a comment.
PRIVATE_WORDS = re.compile(
    r"(lodger|lodging|leash|errand|uplink|visitor|witness|ungiven|upkeep|lives_here|told_low|is_deaf)(s|ed)?(?![a-z])",
    re.IGNORECASE,
)
# Names that have a better one now; as words of plain English they may stay.
FORMER_NAMES = frozenset(
    (
        "Answering", "Arrivals", "Batches", "Beginning", "Bell", "Book", "Caller", "Crew", "Desk", "Exposure", "Giving", "Half",
        "Holder", "Inbound", "Indexed", "Lane", "Lanes", "Marks", "Opening", "Owing", "Pack", "Patience", "Post", "Router",
        "Tally", "Terms", "Timed", "Trouble", "Waits", "Wiring", "is_caller", "linefile", "troubles",
    )
)

# Modules that have a better name now.
FORMER_MODULES = frozenset(
    (
        "caller", "batches", "waits", "router", "visitors", "lanes", "post", "arrivals", "outcomes", "streams", "marks",
        "recovery", "wiring", "upkeep", "errands", "exposure", "opening", "archive", "pair", "journal", "trust",
        "answering", "callers", "calling", "holder", "composing", "following", "leaving", "giving", "draft", "folders",
        "troubles", "crew", "leash", "guard", "witness", "patience", "far", "desk", "owing", "kept", "standing",
        "pinning", "operator", "keystore", "linefile", "tables", "station",
    )
)


def under(name: str, *prefixes: str) -> bool:
    """Whether a dotted name is one of the prefixes or inside one."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def layer_of(module: str) -> str | None:
    """The layer that a module of ours belongs to."""
    return next((layer for layer in OURS if under(module, layer)), None)


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """
    Every import anywhere in a module, those inside functions and for type checking only included.

    @return: line and full dotted name; a relative import begins with a dot.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{'.' * node.level}{node.module or ''}.{alias.name}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            # Not an import, but the one thing of `os` that has a home.
            yield node.lineno, f"os.{node.attr}"


def circle(sources: dict[str, str]) -> list[str]:
    """
    Modules that import each other, directly or through others; imports inside functions and for type checking count too.

    @param sources: name and text of each module.
    @return: one circle, its first module again at the end; empty where there is none.
    """
    graph = {}
    for module, source in sources.items():
        targets = [target for _, target in imports(ast.parse(source))]
        # What is no module is a name inside one.
        graph[module] = {target if target in sources else target.rpartition(".")[0] for target in targets} & sources.keys()
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def is_library(target: str) -> bool:
    """Whether an import is neither ours nor Python's own."""
    top = target.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in CHECKED


def wrong_imports(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The imports that a module of the package may not have."""
    layer = layer_of(module)
    for line, target in imports(tree):
        if target.startswith("."):
            yield line, "a relative import"
        elif under(target, "securemsg"):
            if target != "securemsg.__version__" and layer is not None and not under(target, *OURS[layer]):
                yield line, f"{layer} may not import {target}"
        else:
            for library, homes in HOMES.items():
                if under(target, library) and not under(module, *homes):
                    yield line, f"{library} is at home in {', '.join(homes)} only"
            allowed = next((names for part, names in LIBRARIES.items() if under(module, part)), None)
            if allowed is not None and is_library(target) and not under(target, *allowed):
                yield line, f"{layer} may not import {target}"


def wrong_names(module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The classes and functions whose names say nothing, or say it in the wrong dialect."""
    last = module.rpartition(".")[2]
    if last.capitalize() in EMPTY_WORDS:
        yield 1, f"a module called {module} could hold anything"
    if last in FORMER_MODULES:
        yield 1, f"{last} has a better name now"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            if node.name.endswith(EMPTY_WORDS) or node.name.startswith("Base"):
                yield node.lineno, f"the name {node.name} says nothing"
        elif (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and under(module, *PURE)
            and CAMEL_CASE.match(node.name)
        ):
            yield node.lineno, f"{node.name} is Twisted's dialect, in a pure layer"


def private_words(text: str) -> list[str]:
    """The private words in a text."""
    return [found.group() for found in PRIVATE_WORDS.finditer(text)]


def former_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Whatever is defined or assigned under a name that has a better one now."""
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            name = node.id if isinstance(node, ast.Name) else node.attr
        if name is not None and name.lstrip("_") in FORMER_NAMES:
            yield getattr(node, "lineno", 0), f"{name} has a better name now"


def violations(module: str, source: str) -> list[str]:
    """
    Everything in a module that breaks a rule of the house.

    @param module: its dotted name, which says what it may do.
    @return: a line of text each; none for a clean module.
    """
    tree = ast.parse(source)
    found: list[tuple[int, str]] = []
    if under(module, "securemsg"):
        if module != "securemsg" and layer_of(module) is None:
            found.append((1, "belongs to no layer"))
        found += wrong_imports(module, tree)
    found += wrong_names(module, tree)
    found += former_names(tree)
    if module != __name__:
        found += [(1, f"{word} is a private word") for word in private_words(source)]
    return [f"{module}:{line}: {what}" for line, what in sorted(found)]


def undeclared(source: str, declared: set[str]) -> list[str]:
    """
    The libraries that a module imports and nobody installs.

    @param declared: names of distributions, in lower case and with dashes.
    """
    missing = set()
    for _, target in imports(ast.parse(source)):
        top = target.partition(".")[0]
        if top and is_library(target):
            name = DISTRIBUTIONS.get(top, top).lower().replace("_", "-")
            if name not in declared:
                missing.add(name)
    return sorted(missing)


def needs_more_than_docstring(module: str, source: str) -> bool:
    """Whether the C{__init__} of a package holds more than a docstring (and, at the very top, the version)."""
    rest = [node for node in ast.parse(source).body if not isinstance(node, ast.Expr)]
    if module == "securemsg":
        rest = [node for node in rest if not ast.unparse(node).startswith("__version__ = ")]
    return bool(rest)


def modules(*tops: str) -> Iterator[tuple[str, Path]]:
    """Name and path of every module under the given folders of the tree."""
    for top in tops:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def setup_cfg() -> configparser.ConfigParser:
    """The packaging metadata of the tree."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def distributions(requirements: str) -> set[str]:
    """The names in a list of requirements."""
    names = (re.match(r"[\w.-]+", line.strip()) for line in requirements.splitlines())
    return {name.group().lower().replace("_", "-") for name in names if name}


class TreeTests(SynchronousTestCase):
    """The tree as it stands keeps every rule."""

    def test_rules_kept(self) -> None:
        """No module imports past its layer or carries an empty name."""
        found = [line for name, path in modules(*CHECKED) for line in violations(name, path.read_text("utf-8"))]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_no_circle(self) -> None:
        """No two modules import each other, however long the way round."""
        found = circle({name: path.read_text("utf-8") for name, path in modules("securemsg")})
        self.assertEqual(found, [], " -> ".join(found))

    def test_documents_plain(self) -> None:
        """No document speaks in private words."""
        for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *filter(Path.is_file, (ROOT / "deploy").iterdir())):
            self.assertEqual(private_words(path.read_text("utf-8")), [], path)

    def test_cited_sections(self) -> None:
        """Every section of the protocol that a docstring cites is there."""
        headings = set(re.findall(r"^#+ (.+)$", (ROOT / "docs" / "protocol.md").read_text("utf-8"), re.MULTILINE))
        for name, path in modules("securemsg"):
            for cited in re.findall(r"protocol\.md\},\s+(sections?[^.]*)", path.read_text("utf-8")):
                self.assertLessEqual(set(re.findall(r'"([^"]+)"', cited)), headings, name)

    def test_layers_exist(self) -> None:
        """Every layer that has rules is there to keep them."""
        names = [name for name, _ in modules("securemsg")]
        for layer in OURS:
            self.assertTrue(any(under(name, layer) for name in names), layer)

    def test_packages_listed(self) -> None:
        """Every folder with modules is named in C{setup.cfg}, the plugin folder last: none is missing from a wheel."""
        listed = setup_cfg()["options"]["packages"].split()
        folders = {".".join(path.parent.relative_to(ROOT).parts) for _, path in modules("securemsg")}
        self.assertEqual(set(listed), folders | {"twisted.plugins"})
        self.assertEqual(listed[-1], "twisted.plugins")

    def test_plugin_folder_open(self) -> None:
        """The plugin folders have no C{__init__.py}, which would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_libraries_declared(self) -> None:
        """Whatever the package imports is installed with it."""
        config = setup_cfg()
        always = distributions(config["options"]["install_requires"])
        for name, path in modules("securemsg"):
            extra = EXTRAS.get(name)
            declared = always if extra is None else always | distributions(config["options.extras_require"][extra])
            self.assertEqual(undeclared(path.read_text("utf-8"), declared), [], name)

    def test_test_libraries_declared(self) -> None:
        """Whatever tests and benches import besides is in an extra that C{make} installs."""
        config = setup_cfg()
        declared = distributions(config["options"]["install_requires"])
        for extra in ("udp", "metrics", "test"):
            declared |= distributions(config["options.extras_require"][extra])
        for name, path in modules("tests", "bench"):
            self.assertEqual(undeclared(path.read_text("utf-8"), declared), [], name)

    def test_package_heads_empty(self) -> None:
        """An C{__init__} holds a docstring only, so that importing one module never pulls in its neighbours."""
        for name, path in modules("securemsg"):
            if path.name == "__init__.py":
                self.assertFalse(needs_more_than_docstring(name, path.read_text("utf-8")), name)


class CheckerTests(SynchronousTestCase):
    """Each rule bites."""

    def assert_caught(self, module: str, *sources: str) -> None:
        """Every one of these sources breaks a rule in that module."""
        for source in sources:
            self.assertNotEqual(violations(module, source), [], f"{module}: {source!r}")

    def assert_clean(self, module: str, *sources: str) -> None:
        """Every one of these sources is fine in that module."""
        for source in sources:
            self.assertEqual(violations(module, source), [], source)

    def test_circle(self) -> None:
        """A circle is found, also where parts of it are imported inside a function, for type checking only, or by name."""
        sources = {
            "securemsg.net.one": "from securemsg.net import two\nfrom securemsg.net import four",
            "securemsg.net.two": "def later():\n    import securemsg.net.three",
            "securemsg.net.three": "if TYPE_CHECKING:\n    from securemsg.net.one import Thing",
            "securemsg.net.four": "from securemsg.errors import Refusal",
        }
        self.assertEqual(set(circle(sources)), {"securemsg.net.one", "securemsg.net.two", "securemsg.net.three"})
        for module in ("one", "two", "three"):
            self.assertEqual(circle({**sources, f"securemsg.net.{module}": ""}), [], module)

    def test_errors_alone(self) -> None:
        """C{errors} imports nothing of ours and no library."""
        self.assert_caught("securemsg.errors", "from securemsg.protocol import framing", "import msgspec")
        self.assert_clean("securemsg.errors", "from __future__ import annotations", "import enum")

    def test_interfaces_low(self) -> None:
        """C{interfaces} knows errors, msgspec and zope, and no layer above."""
        self.assert_caught(
            "securemsg.interfaces",
            "from securemsg.protocol.messages import Deposit",
            "from securemsg.storage import memory",
            "from attrs import frozen",
        )
        self.assert_clean(
            "securemsg.interfaces",
            "from securemsg.errors import Refusal",
            "from zope.interface import Interface",
            "import msgspec",
        )

    def test_protocol_pure(self) -> None:
        """C{protocol} knows errors, msgspec, attrs and zope, and neither time nor network."""
        self.assert_caught(
            "securemsg.protocol.connection",
            "from securemsg.interfaces import IBus",
            "from securemsg.crypto import keys",
            "from twisted.internet import defer",
            "import click",
            "import socket",
            "import time",
        )
        self.assert_clean(
            "securemsg.protocol.connection",
            "import msgspec\nfrom attrs import define",
            "from securemsg.protocol import framing\nfrom securemsg.errors import RemoteProtocolError",
        )

    def test_crypto_in_the_vault(self) -> None:
        """Crypto libraries, digests and random bytes come from C{primitives} alone."""
        offences = (
            "from Crypto.Cipher import AES",
            "from cryptography.exceptions import InvalidTag",
            "from spake2 import SPAKE2_A",
            "import hashlib",
            "import hmac",
            "from secrets import token_bytes",
            "from os import urandom",
            "import os\nnonce = os.urandom(16)",
            "def seal():\n    import hmac",
        )
        self.assert_caught("securemsg.crypto.ratchet", *offences)
        self.assert_clean("securemsg.crypto.primitives", *offences)

    def test_server_blind(self) -> None:
        """Of C{crypto}, the server imports C{keys} and nothing else, whichever way it is written."""
        self.assert_caught(
            "securemsg.server.mailbox",
            "from securemsg.crypto import ratchet",
            "from securemsg.crypto import keys, primitives",
            "from securemsg.crypto.ratchet import Ratchet",
            "import securemsg.crypto.primitives",
            "import securemsg",
            "from securemsg import crypto",
            "from securemsg.client import sessions",
            "from securemsg.storage import sqlite",
            "from securemsg.net import stream",
            "import hashlib",
        )
        self.assert_clean(
            "securemsg.server.mailbox",
            "from securemsg.crypto import keys",
            "from securemsg.crypto.keys import verify",
            "from securemsg.interfaces import IMailboxStore",
        )

    def test_client_offline(self) -> None:
        """The client knows neither the server, nor the stores, nor the network."""
        self.assert_caught(
            "securemsg.client.agent",
            "from securemsg.server import directory",
            "from securemsg.storage import profile",
            "from securemsg.net import stream",
            "from twisted.internet.defer import Deferred",
            "import asyncio",
        )
        self.assert_clean("securemsg.client.agent", "from securemsg.crypto import ratchet")

    def test_sql_in_storage(self) -> None:
        """SQL is spoken in C{storage} alone, and storage knows no layer that gives its bytes a meaning."""
        self.assert_caught("securemsg.server.directory", "import sqlite3")
        self.assert_caught("securemsg.tap", "import sqlite3")
        self.assert_caught("securemsg.storage.sqlite.store", "from securemsg.protocol import messages")
        self.assert_caught("securemsg.storage.sqlite.store", "from securemsg.crypto import keys")
        self.assert_clean("securemsg.storage.sqlite.store", "import sqlite3\nfrom twisted.internet.defer import Deferred")

    def test_tls_in_net(self) -> None:
        """OpenSSL is touched in C{net} alone, and C{net} fetches no domain object."""
        self.assert_caught("securemsg.tap", "from OpenSSL import SSL", "import ssl")
        self.assert_caught("securemsg.net.stream", "from securemsg.server.mailbox import Mailbox")
        self.assert_caught("securemsg.net.stream", "from securemsg.client.agent import Agent")
        self.assert_clean("securemsg.net.tls", "from OpenSSL import SSL")

    def test_twisted_at_the_edge(self) -> None:
        """Twisted stays out of every pure layer."""
        for layer in (*PURE, "securemsg.errors", "securemsg.interfaces"):
            self.assertNotEqual(violations(f"{layer}.thing", "from twisted.internet import defer"), [], layer)
        for layer in EDGE:
            self.assert_clean(f"{layer}.thing", "from twisted.internet import defer")

    def test_reactor_at_the_roots(self) -> None:
        """The reactor is handed to everybody but the two roots."""
        for source in ("from twisted.internet import reactor", "import twisted.internet.reactor"):
            self.assert_caught("securemsg.net.stream", source, f"def connect():\n    {source}")
            self.assert_clean("securemsg.tap", source)
            self.assert_clean("securemsg.cli.main", source)

    def test_roots_apart(self) -> None:
        """Nobody imports a root, not even the other root."""
        self.assert_caught("securemsg.cli.main", "from securemsg.tap import Options")
        self.assert_caught("securemsg.tap", "from securemsg.cli import main")
        self.assert_caught("securemsg.net.stream", "from securemsg.tap import Options")
        sources = ("from securemsg.tap import makeService", "from twisted.internet import reactor")
        self.assert_caught("securemsg.daemon.service", *sources)

    def test_daemon_for_its_root(self) -> None:
        """The daemon is composed for its root alone, and its contact knows nothing of the server that it lives beside."""
        for module in ("securemsg.cli.main", "securemsg.net.stream", "securemsg.account.folder", "securemsg.daemon.contact"):
            self.assert_caught(module, "from securemsg.daemon.service import Daemon")
        self.assert_caught("securemsg.daemon.contact", "from securemsg.server.core import Server")
        self.assert_clean("securemsg.daemon.service", "from securemsg.daemon.contact import Contact")
        self.assert_clean("securemsg.tap", "from securemsg.daemon.service import Daemon")

    def test_terminal_in_cli(self) -> None:
        """Only the command line knows of terminals."""
        self.assert_caught("securemsg.tap", "import click", "import rich.table", "from prompt_toolkit import prompt")

    def test_no_stranger(self) -> None:
        """A module of no layer is refused, so that a new layer begins with its rules."""
        self.assert_caught("securemsg.gossip", "")

    def test_relative_import(self) -> None:
        """Imports are absolute."""
        self.assert_caught("securemsg.protocol.states", "from . import framing", "from ..errors import Refusal")

    def test_version_for_all(self) -> None:
        """The version is the one thing that anybody may take from the top."""
        self.assert_clean("securemsg.protocol.messages", "from securemsg import __version__")

    def test_former_names(self) -> None:
        """A name or a word that was given up does not come back; plain English may use what is plain English."""
        offences = ("class Leash: pass", "def wait(troubles): pass", "class A:\n    def b(self):\n        self._uplink = 1")
        self.assert_caught("securemsg.net.thing", *offences, "# its errand\npass", "'a visitor came'")
        for module in ("securemsg.net.patience", "securemsg.storage.keystore"):
            self.assert_caught(module, "")
        self.assert_clean("securemsg.net.thing", "'the caller of a function, at her desk, is in trouble'")

    def test_empty_names(self) -> None:
        """Classes and modules whose names say nothing are refused everywhere."""
        for name in ("SessionManager", "Handler", "LineProcessor", "Engine", "TestHelper", "Utils", "BaseStore"):
            self.assert_caught("tests.test_thing", f"class {name}: pass")
        self.assert_caught("securemsg.net.utils", "")
        self.assert_clean("securemsg.net.stream", "class Handle: pass\nclass Database: pass")

    def test_dialect(self) -> None:
        """camelCase marks the edge, and is refused in the pure layers."""
        offences = ("def dataReceived(): pass", "async def _doIt(): pass", "class A:\n    def onLine(self): pass")
        for layer in PURE:
            self.assert_caught(f"{layer}.thing", *offences)
        self.assert_clean("securemsg.net.stream", *offences)
        self.assert_clean("securemsg.protocol.thing", "def data_received(): pass", "def __init__(): pass")

    def test_undeclared_library(self) -> None:
        """A library is found undeclared by the name it is installed under, not by the one it is imported under."""
        source = "import attrs, json, Crypto.Cipher\nfrom OpenSSL import SSL\nfrom zope.interface import Interface"
        self.assertEqual(undeclared(source, {"attrs", "pyopenssl"}), ["pycryptodome", "zope.interface"])
        self.assertEqual(undeclared("def later():\n    import prompt_toolkit", set()), ["prompt-toolkit"])

    def test_requirement_names(self) -> None:
        """Versions and extras are no part of a distribution's name."""
        self.assertEqual(distributions("\ntwisted[tls]>=26.10\nprompt_toolkit\n"), {"twisted", "prompt-toolkit"})

    def test_full_package_head(self) -> None:
        """Code in an C{__init__} is found, and only the very top may state a version."""
        self.assertTrue(needs_more_than_docstring("securemsg.net", '"""Doc."""\nfrom x import y'))
        self.assertTrue(needs_more_than_docstring("securemsg.net", '__version__ = "1"'))
        self.assertFalse(needs_more_than_docstring("securemsg", '"""Doc."""\n__version__ = "1"'))
