"""The order of the house: who may import whom, and habits that hold for every file of the package."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import spatialgraph

ROOT = Path(spatialgraph.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Who may import whom: rooms, and the files that lie beside them. Training knows no spatial network.
MAY_IMPORT = {
    "tracing": "",
    "checks": "tracing",
    "settings": "",
    "used": "",
    "atomic": "",
    "pyg": "",
    "distributed": "checks",
    "kernels": "checks tracing",
    "laws": "checks",
    "wiring": "checks",
    "functional": "kernels laws checks tracing",
    "graph": "functional wiring laws checks settings used pyg",
    "layers": "functional laws checks tracing settings pyg",
    "neurons": "functional checks tracing settings",
    "models": "graph layers neurons functional checks tracing settings",
    "pruning": "graph functional wiring used checks",
    "connectome": "graph wiring laws checks atomic",
    "plotting": "connectome graph functional checks",
    "costs": "connectome models graph checks",
    "deploy": "models graph neurons functional checks",
    "training": "atomic distributed",
}


def name_of(path):
    """Dotted name within the package: ``laws``, ``training.fit``; empty for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in FILES}


def absolute(node, importer):
    """Full names that an import statement reaches."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    origin = node.module or ""
    if node.level:
        package = f"spatialgraph.{importer}".rstrip(".").split(".")
        is_package = MODULES[importer].name == "__init__.py"
        package = package[: len(package) - node.level + is_package]
        origin = ".".join([*package, origin]).rstrip(".")
    return [f"{origin}.{alias.name}" for alias in node.names]


def imported_modules(importer):
    """Modules of the package that a module imports, wherever in its code."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[importer].read_text())):
        for name in absolute(node, importer) if isinstance(node, ast.Import | ast.ImportFrom) else ():
            if name == "spatialgraph" or name.startswith("spatialgraph."):
                inner = name.removeprefix("spatialgraph").removeprefix(".")
                while inner and inner not in MODULES:  # the name of a thing within a module
                    inner = inner.rpartition(".")[0]
                found.add(inner)
    return found


def room_of(name):
    return name.partition(".")[0]


@pytest.mark.parametrize("importer", [name for name in MODULES if name])
def test_imports_go_downwards(importer):
    room = room_of(importer)
    assert room in MAY_IMPORT, f"{room} needs a place in the table of imports"
    strangers = {room_of(name) for name in imported_modules(importer)} - {room, *MAY_IMPORT[room].split()}
    assert not strangers, f"{importer} must not import {sorted(strangers)}"


def test_no_circle_of_files():
    waiting = {name: imported_modules(name) - {name} for name in MODULES}
    order = set()
    while ready := [name for name, needed in waiting.items() if needed <= order]:
        order |= set(ready)
        waiting = {name: needed for name, needed in waiting.items() if name not in ready}
    assert not waiting


def test_the_table_itself_has_no_cycles():
    order = []
    waiting = {name: set(allowed.split()) for name, allowed in MAY_IMPORT.items()}
    while ready := [name for name, allowed in waiting.items() if allowed <= set(order)]:
        order += ready
        waiting = {name: allowed for name, allowed in waiting.items() if name not in ready}
    assert not waiting


def test_imports_are_found_in_every_form(tmp_path, monkeypatch):
    path = tmp_path / "sample.py"
    path.write_text(
        "import spatialgraph.laws as l\nfrom spatialgraph import checks\nfrom .layers.conv import SpatialConv\n"
        "from .training.fit import fit\nimport torch\n"
        "def f():\n    from spatialgraph.graph.spatial_graph import SpatialGraph\n"
    )
    monkeypatch.setitem(MODULES, "sample", path)
    assert imported_modules("sample") == {
        "laws",
        "checks",
        "layers.conv",
        "training.fit",
        "graph.spatial_graph",
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_assert_statement(path):
    lines = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
    assert not lines


def test_no_module_for_everything():
    assert not [name for name in MODULES if name.rpartition(".")[2] in ("utils", "util", "helpers", "misc", "common")]


@pytest.mark.parametrize("name", MODULES)
def test_public_names_exist_and_are_documented(name):
    module = importlib.import_module(f"spatialgraph.{name}".rstrip("."))
    assert module.__doc__, name
    for public in getattr(module, "__all__", ()):
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isroutine(thing) or inspect.ismodule(thing):
            assert vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__, public


def test_public_names_are_sorted_and_distinct():
    names = spatialgraph.__all__
    assert len(set(names)) == len(names) and sorted(names) == sorted(n for n in dir(spatialgraph) if n in names)
