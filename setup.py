"""
The build. C{setup.cfg} says all there is to say about it, except how to write the manual pages, which a wheel installs, and how
to compile the modules that every message passes.

With C{SECUREMSG_EXT=1} in the environment mypyc compiles them, and they are installed beside their sources. Classes of
attrs and those that implement an Interface would stay slow, so both are first written out as plain ones, in a copy.
"""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path

from setuptools import Extension, setup  # type: ignore[import-untyped]

# A class comes after those that it inherits from.
COMPILED = (
    "counters",
    "protocol/framing",
    "protocol/connection",
    "server/accounts",
    "server/connection",
    "server/acks",
    "server/hold",
    "server/limits",
    "server/relayed",
    "server/deposits",
    "server/commits",
    "server/mailbox",
    "server/delivery",
    "server/guests",
    "net/turn",
)


class UnknownForm(Exception):
    """A class has something that L{write_out} does not know."""


def write_out(source: str, known: dict[str, list[str]]) -> str:
    """
    Write out the attrs classes of a module as plain ones. Every other line stays, and stays where it was.

    @param known: by class, the parameters of its constructor; those of this module are added.
    @raise UnknownForm: it cannot be done.
    """
    lines = source.splitlines()
    implemented = []
    for node in ast.parse(source).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            text = ast.unparse(decorator)
            name = text.partition("(")[0]
            if name == "define":
                if text != "define(eq=False)":
                    raise UnknownForm(f"{node.name}: {text}")
                _write_constructor(node, lines, known)
            elif name == "implementer":
                assert isinstance(decorator, ast.Call), "it has arguments"
                implemented.append(f"classImplements({', '.join([node.name, *map(ast.unparse, decorator.args)])})")
            else:
                continue
            _clear(decorator, lines)
    if implemented:
        lines += ["from zope.interface import classImplements", *implemented]
    return "\n".join(lines) + "\n"


def _write_constructor(node: ast.ClassDef, lines: list[str], known: dict[str, list[str]]) -> None:
    """
    Leave only names and types of the fields, and put a constructor into the empty line behind the last one.

    Fields that a class adds to those it inherits are set after the inherited constructor is through.
    """
    fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
    if any(isinstance(item, ast.Assign) for item in node.body):
        raise UnknownForm(f"{node.name}: a value without a type")
    inherited = next((known[base] for base in map(ast.unparse, node.bases) if base in known), [])
    parameters: list[str] = list(inherited)
    statements: list[str] = []
    if inherited:
        arguments = ", ".join(parameter.partition(":")[0] for parameter in inherited)
        statements.append(f"{ast.unparse(node.bases[0])}.__init__(self, {arguments})")
    for item in fields:
        parameter, statement = _field(item)
        parameters += parameter
        statements += statement
        _clear(item, lines)
        lines[item.lineno - 1] = f"    {ast.unparse(item.target)}: {ast.unparse(item.annotation)}"
    known[node.name] = parameters
    if any(isinstance(item, ast.FunctionDef) and item.name == "__attrs_post_init__" for item in node.body):
        statements.append("self.__attrs_post_init__()")
    if fields:
        end = fields[-1].end_lineno
        if end is None or (end < len(lines) and lines[end].strip()):
            raise UnknownForm(f"{node.name}: no empty line behind the fields")
        lines[end : end + 1] = [f"    def __init__({', '.join(['self', *parameters])}) -> None: {'; '.join(statements)}"]


def _field(item: ast.AnnAssign) -> tuple[list[str], list[str]]:
    """A field's parameter and statement in the constructor; each may be missing."""
    name, kind = ast.unparse(item.target), ast.unparse(item.annotation)
    options: dict[str, ast.expr] = {}
    if isinstance(item.value, ast.Call) and ast.unparse(item.value.func) == "field" and not item.value.args:
        options = {str(keyword.arg): keyword.value for keyword in item.value.keywords}
    elif item.value is not None:
        options = {"default": item.value}
    if kind.startswith("ClassVar") or options.keys() - {"default", "factory", "init", "repr"}:
        raise UnknownForm(f"{name}: {ast.unparse(item)}")
    default, factory = (ast.unparse(options[key]) if key in options else "" for key in ("default", "factory"))
    argument, made = name.lstrip("_"), f"({factory})()" if factory else ""
    if default.startswith("Factory("):
        call = options["default"]
        assert isinstance(call, ast.Call), "it looks like one"
        if [ast.unparse(keyword) for keyword in call.keywords] != ["takes_self=True"]:
            raise UnknownForm(f"{name}: {default}")
        made = f"({ast.unparse(call.args[0])})(self)"
    if "init" in options and ast.unparse(options["init"]) == "False":
        value = made or default
        return [], [f"self.{name} = {value}"] if value else []
    if made:
        return [f"{argument}: {kind} | None = None"], [f"self.{name} = {made} if {argument} is None else {argument}"]
    return [f"{argument}: {kind} = {default}" if default else f"{argument}: {kind}"], [f"self.{name} = {argument}"]


def _clear(node: ast.expr | ast.stmt, lines: list[str]) -> None:
    for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
        lines[number - 1] = ""


def compiled(root: Path, build: Path) -> list[Extension]:
    """Generate C in a folder of the build, from a copy of the sources there."""
    from mypyc.build import mypycify

    shutil.rmtree(build, ignore_errors=True)
    shutil.copytree(root / "securemsg", build / "securemsg", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    known: dict[str, list[str]] = {}
    paths = [f"securemsg/{name}.py" for name in COMPILED]
    for path in paths:
        (build / path).write_text(write_out((root / path).read_text("utf-8"), known), "utf-8")
    arguments = [f"--config-file={root / 'setup.cfg'}", "--no-warn-unused-ignores", *paths]
    os.chdir(build)
    try:
        extensions: list[Extension] = mypycify(arguments, debug_level="0", target_dir=str(build / "c"), group_name="securemsg")
    finally:
        os.chdir(root)
    return extensions


def manual_pages(root: Path) -> list[tuple[str, list[str]]]:
    """Write the manual pages, from the commands of these sources; where they are installed."""
    sys.path.insert(0, str(root))
    from securemsg.manpages import write_pages

    found: dict[str, list[str]] = {}
    for path in write_pages(root / "build" / "man"):
        found.setdefault(f"share/man/{path.parent.name}", []).append(str(path.relative_to(root)))
    return [*found.items()]


if __name__ == "__main__":
    root = Path(__file__).resolve().parent
    # Other commands only ask what there is to build.
    is_wheel = "bdist_wheel" in sys.argv
    is_wanted = os.environ.get("SECUREMSG_EXT") == "1" and (is_wheel or "build_ext" in sys.argv)
    setup(
        ext_modules=compiled(root, root / "build" / "compiled") if is_wanted else [],
        data_files=manual_pages(root) if is_wheel else [],
    )
