"""The layout holds: imports go one way, and no file is too long to be read at once."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from checkout import REPO

import web

LAYERS = ("models", "realtime", "web", "run_live")
"""Each may import from those before it."""

WEB = (
    ("errors", "settings"),
    ("access", "observability"),
    ("sessions",),
    ("calls",),
    ("exports", "ingest", "webrtc"),
    ("app",),
    ("server",),
    ("commands",),
)
"""The same within `web`; those of one row know nothing of each other."""

MOST_LINES = 450

SUFFIXES = {".py", ".js", ".css", ".html"}


def module_of(file: Path) -> str:
    parts = file.relative_to(REPO).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    module_of(file): file
    for file in [
        *(f for layer in LAYERS for f in (REPO / layer).rglob("*.py")),
        REPO / "run_live.py",
    ]
}


def imports_of(file: Path) -> set[str]:
    """The modules of the program that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = {f"{node.module}.{alias.name}" for alias in node.names} & FILES.keys()
            found |= members or {node.module}
    return found & FILES.keys()


GRAPH = {module: imports_of(file) for module, file in FILES.items()}


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert len(list(TopologicalSorter(GRAPH).static_order())) == len(FILES)


def package_of(module: str) -> str:
    """The folder in the second row that a module lies in; itself, if it lies in none."""
    return ".".join(module.split(".")[:2])


def test_no_package_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for module, imported in GRAPH.items():
        others = {package_of(other) for other in imported} - {package_of(module)}
        graph.setdefault(package_of(module), set()).update(others)
    assert len(list(TopologicalSorter(graph).static_order())) > 50


@pytest.mark.parametrize("module", FILES)
def test_no_import_runs_upward(module: str) -> None:
    layer = LAYERS.index(module.split(".")[0])
    for imported in GRAPH[module]:
        assert LAYERS.index(imported.split(".")[0]) <= layer, imported


def row_of(module: str) -> int:
    return next(row for row, names in enumerate(WEB) if module.split(".")[1] in names)


@pytest.mark.parametrize(
    "module", [module for module in FILES if module.count(".") and module[:4] == "web."]
)
def test_within_web_no_import_runs_upward(module: str) -> None:
    for imported in GRAPH[module]:
        if imported.startswith("web.") and imported.split(".")[1] != module.split(".")[1]:
            assert row_of(imported) < row_of(module), imported


def test_the_packages_of_web_are_told_in_their_order() -> None:
    assert re.findall("`(\\w+)`", web.__doc__ or "") == [name for row in WEB[::-1] for name in row]
    there = {module.split(".")[1] for module in FILES if module.startswith("web.")}
    assert there == {name for row in WEB for name in row}


def test_no_file_is_too_long() -> None:
    folders = (*LAYERS[:-1], "tests")
    files = [f for folder in folders for f in (REPO / folder).rglob("*") if f.suffix in SUFFIXES]
    long = {str(f): n for f in files if (n := f.read_bytes().count(b"\n")) > MOST_LINES}
    assert len(files) > 200
    assert long == {}
