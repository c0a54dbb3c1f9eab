"""The order of the house: who may import whom, and habits that hold for every file of the package."""

import ast
import importlib
import inspect
import statistics
from pathlib import Path

import pytest

import spatialgraph

ROOT = Path(spatialgraph.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# Who may import whom: the rooms, and the single files beside them that stand on next to nothing. Training knows
# no models, only the graphs of spatial networks and their penalties, and data sets know no training.
MAY_IMPORT = {
    "tracing": "",
    "devices": "",
    "checks": "tracing",
    "settings": "",
    "atomic": "",
    "pyg": "",
    "distributed": "checks",
    "kernels": "checks tracing",
    "datasets": "devices",
    "laws": "checks",
    "wiring": "checks devices",
    "functional": "kernels laws checks tracing devices",
    "graph": "functional wiring laws checks atomic tracing settings pyg devices",
    "layers": "functional laws checks tracing settings pyg",
    "neurons": "functional checks tracing settings devices",
    "models": "graph layers neurons functional wiring checks tracing settings pyg devices",
    "conversion": "models graph wiring laws checks devices",
    "pruning": "graph functional wiring checks devices",
    "connectome": "graph functional wiring laws checks tracing atomic devices",
    "plotting": "connectome graph checks atomic",
    "costs": "connectome models graph functional checks devices",
    "deploy": "models graph neurons functional wiring laws checks atomic devices",
    "training": "graph datasets atomic distributed checks tracing",
    "experiments": "training plotting pruning graph wiring laws checks atomic",
}


def name_of(path):
    """Dotted name within the package: ``laws``, ``training.trainer``; empty for the package itself."""
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


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_the_table_allows_no_more_than_is_imported(room):
    files = [name for name in MODULES if room_of(name) == room]
    used = {room_of(other) for name in files for other in imported_modules(name)}
    assert set(MAY_IMPORT[room].split()) <= used


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
        "from .training.trainer import fit\nimport torch\n"
        "def f():\n    from spatialgraph.graph.spatial_graph import SpatialGraph\n"
    )
    monkeypatch.setitem(MODULES, "sample", path)
    assert imported_modules("sample") == {
        "laws",
        "checks",
        "layers.conv",
        "training.trainer",
        "graph.spatial_graph",
    }


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_assert_statement(path):
    lines = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
    assert not lines


def lines_of(function):
    """Lines of a function, its signature among them and its docstring not."""
    first = function.body[0]
    is_documented = ast.get_docstring(function, clean=False) is not None
    documentation = first.end_lineno - first.lineno + 1 if is_documented else 0
    return function.end_lineno - function.lineno + 1 - documentation


def test_files_are_small():
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert statistics.median(lines.values()) <= 150


def test_functions_are_small():
    trees = [ast.parse(path.read_text()) for path in FILES]
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    assert statistics.median(map(lines_of, functions)) <= 7


def test_lines_of_a_function_leave_out_its_docstring():
    code = '@cache\ndef f(\n    x\n):\n    """Return.\n\n    More.\n    """\n    y = x\n    return y\n'
    assert lines_of(ast.parse(code).body[0]) == 5


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


@pytest.mark.parametrize("package", [name for name, path in MODULES.items() if path.name == "__init__.py"])
def test_no_module_has_the_name_of_a_function_beside_it(package):
    module = importlib.import_module(f"spatialgraph.{package}".rstrip("."))
    files = {name.rpartition(".")[2] for name in MODULES if name and name.rpartition(".")[0] == package}
    public = {name for name in getattr(module, "__all__", ()) if not inspect.ismodule(getattr(module, name))}
    assert not files & public


def test_every_plot_takes_axes():
    plotting = importlib.import_module("spatialgraph.plotting")
    for name in plotting.__all__:
        assert inspect.signature(getattr(plotting, name)).parameters["ax"].default is None, name


def test_public_names_are_sorted_and_distinct():
    names = spatialgraph.__all__
    assert len(set(names)) == len(names) and sorted(names) == sorted(n for n in dir(spatialgraph) if n in names)
