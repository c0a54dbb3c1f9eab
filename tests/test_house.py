"""The order of the house: who may import whom, and habits that hold for every file of the package."""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import spatialgraph

ROOT = Path(spatialgraph.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

MAY_IMPORT = {
    "tracing": "",
    "checks": "tracing",
    "atomic": "",
    "settings": "",
    "projections": "checks",
    "precision": "",
    "columns": "",
    "pyg": "",
    "sealed": "",
    "used": "",
    "laws": "checks",
    "polarity": "checks",
    "distributed": "checks",
    "neighbors": "",
    "edges": "neighbors checks",
    "wiring": "edges neighbors checks",
    "network_fields": "columns laws polarity checks",
    "networkx_reader": "network_fields columns checks",
    "compilation": "",
    "compiled": "compilation",
    "compiled_checks": "compilation",
    "compiled_leaky": "compilation",
    "compiled_vectors": "",
    "compiled_sparse": "compilation compiled_checks compiled_vectors",
    "compiled_trial": "compilation compiled_vectors",
    "compiled_delays": "compilation compiled_checks",
    "compiled_normalisation": "compilation",
    "kernels": "tracing laws compilation compiled compiled_checks compiled_trial checks",
    "leaky_kernels": "kernels compilation compiled_leaky checks",
    "delay_kernels": "kernels compilation compiled_delays checks",
    "normalisation_kernels": "kernels compilation compiled_normalisation checks",
    "sparse_kernels": "kernels compilation compiled_sparse checks",
    "composed": "laws projections",
    "threshold": "kernels checks",
    "leaky": "kernels leaky_kernels composed checks",
    "normalisation": "kernels normalisation_kernels composed checks",
    "compressed": "laws projections kernels sparse_kernels composed precision checks",
    "functional": "laws projections kernels threshold composed compressed precision checks",
    "delays": "compressed projections kernels delay_kernels composed precision checks",
    "linear_pruning": "threshold checks",
    "topology": "projections sealed checks",
    "connectivity": "topology wiring projections checks",
    "positions": "connectivity used checks",
    "synapses": "functional precision projections checks",
    "structure": "wiring projections positions connectivity synapses checks",
    "graph": "pyg laws wiring structure positions polarity synapses used settings checks network_fields "
    "networkx_reader connectivity",
    "kept": "kernels laws",
    "conv": "pyg functional laws projections checks",
    "linear": "functional kernels kept laws polarity settings checks",
    "transmission": "functional delays graph projections synapses threshold",
    "serving": "graph kept positions projections synapses transmission",
    "coding": "kernels checks",
    "neurons": "leaky settings checks",
    "models": "graph normalisation projections serving settings transmission checks",
    "spiking_network": "neurons leaky coding settings checks",
    "spiking": "graph kernels transmission delays leaky models serving settings spiking_network checks",
    "spiking_cost": "spiking_network",
    "pruning": "graph used checks",
    "regrowth": "pruning graph neighbors edges checks",
    "pruning_while_training": "graph transmission checks",
    "connectome": "graph network_fields",
    "files": "atomic connectome graph laws network_fields positions sealed topology wiring checks",
    "summary": "files graph projections transmission checks",
    "neuromorphic_neurons": "leaky neurons",
    "neuromorphic": "checks connectome columns graph network_fields neuromorphic_neurons spiking transmission",
    "plotting": "graph connectome polarity checks",
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


@pytest.mark.parametrize("importer", [name for name in MODULES if name])
def test_imports_go_downwards(importer):
    if importer.partition(".")[0] == "training":
        others = {name for name in imported_modules(importer) if name.partition(".")[0] != "training"}
        strangers = others - {"atomic", "distributed"}  # which know no spatial network either
    else:
        assert importer in MAY_IMPORT, f"{importer} needs a place in the table of imports"
        strangers = imported_modules(importer) - set(MAY_IMPORT[importer].split())
    assert not strangers, f"{importer} must not import {sorted(strangers)}"


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
        "import spatialgraph.laws as l\nfrom spatialgraph import checks\nfrom .conv import SpatialConv\n"
        "from .training.fit import fit\nimport torch\n"
        "def f():\n    from spatialgraph.graph.spatial_graph import SpatialGraph\n"
    )
    monkeypatch.setitem(MODULES, "sample", path)
    assert imported_modules("sample") == {"laws", "checks", "conv", "training.fit", "graph"}


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
