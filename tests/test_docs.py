"""Every block of Python on the pages runs, and prints what its comments say; readers find what they look for."""

import contextlib
import dataclasses
import functools
import io
import re
import warnings
from pathlib import Path

import pytest
import torch
from test_house import MAY_IMPORT

import spatialgraph as sg
from spatialgraph import datasets

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# A block of Python, and the comment before it that says why it is not run.
BLOCK = re.compile(r"^(<!-- not run: .+ -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if "_build" not in page.parts and "```python" in page.read_text(encoding="utf-8")
)

# What readers search for in the documentation.
SEARCHED = ["visualize", "3d", "gpu", "cite", "recurrent", "convert", "pretrained", "onnx", "dropout"]


@pytest.fixture
def small_data(monkeypatch, tmp_path):
    """The bundled sample of MNIST, an empty folder to write to, and one thread."""
    training = pytest.importorskip("spatialgraph.training")
    monkeypatch.setattr(training, "load_mnist", functools.partial(training.load_mnist, tmp_path, download=False))
    monkeypatch.chdir(tmp_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_of_a_page_run_in_order(page, small_data):
    text = (DOCS / page).read_text(encoding="utf-8")
    namespace = {"__name__": "__main__"}
    torch.manual_seed(0)
    for block in BLOCK.finditer(text):
        if block[1]:
            continue
        line = text[: block.start(2)].count("\n")
        # Errors then name the page's line.
        code = compile("\n" * line + block[2], str(DOCS / page), "exec")
        printed = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.filterwarnings("ignore", message="load_mnist returns the bundled sample")
            warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")
            exec(code, namespace)  # noqa: S102 - the pages are part of the repository
        expected = PRINTED.findall(block[2])
        if expected:
            assert printed.getvalue().splitlines() == expected, f"{page}, block at line {line}"


@pytest.mark.filterwarnings("ignore:load_mnist returns the bundled sample")
def test_the_quick_start_trains(monkeypatch, small_data):
    full = datasets.load_mnist(download=False)
    few = dataclasses.replace(
        full,
        train_images=full.train_images[:2000],
        train_labels=full.train_labels[:2000],
        test_images=full.test_images[:500],
        test_labels=full.test_labels[:500],
    )
    monkeypatch.setattr(datasets, "load_mnist", lambda: few)
    namespace, printed = {}, io.StringIO()
    torch.manual_seed(0)
    blocks = [block[2] for block in BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))]
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(block, namespace)  # noqa: S102 - the page is part of the repository
    assert len(blocks) == 2
    assert float(re.search(r"[0-9.]+", printed.getvalue())[0]) > 0.6
    assert sg.load("network.safetensors").graph.synapses == namespace["graph"].synapses


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 120
    links = re.findall(r"\]\((?!https?://)([^)#]+)", text)
    assert links and [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("word", SEARCHED)
def test_a_search_finds_a_page(word):
    pages = [page.read_text(encoding="utf-8").lower() for page in DOCS.rglob("*.md") if "_build" not in page.parts]
    assert any(re.search(rf"\b{word}\b", page) for page in pages)


def test_all_pages_have_blocks_that_run():
    assert len(PAGES) >= 7


@pytest.mark.parametrize(("example", "page"), [("mnist_mlp", "mnist.md"), ("mnist_snn", "mnist_snn.md")])
def test_every_option_of_an_example_is_named(example, page, capsys, scripts_of):
    pytest.importorskip("lightning")
    with pytest.raises(SystemExit):
        scripts_of("examples")(example).main(["--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out.split("options:")[1])) - {"--help"}
    text = (DOCS / "tutorials" / page).read_text(encoding="utf-8")
    assert options and set(re.findall(r"^\| `(--[a-z-]+)", text, re.MULTILINE)) == options


def test_lines_are_short():
    for page in [*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if "_build" in page.parts:
            continue
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
            assert len(line) <= 120 or line.startswith("|"), f"{page}:{number} has {len(line)} characters"


def test_the_tables_of_rooms_are_those_of_the_imports():
    text = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## From a wiring")[0]
    rows = re.findall(r"^\| `(\w+)(?:/|\.py)` \| .+ \| (.+) \|$", text, re.MULTILINE)
    assert {room: set(re.findall(r"`(\w+)`", others)) for room, others in rows} == {
        room: set(others.split()) for room, others in MAY_IMPORT.items()
    }


@pytest.fixture
def draw_rooms(scripts_of):
    pytest.importorskip("matplotlib")
    return scripts_of("docs")("draw_rooms")


def test_no_arrow_of_the_drawing_leads_upwards(draw_rooms):
    levels = {room: level for room, (level, _) in draw_rooms.PLACES.items()}
    folders = {path.parent.name for path in draw_rooms.PACKAGE.glob("*/__init__.py")}
    assert set(levels) == folders | {"laws"}
    pairs = draw_rooms.arrows()
    assert [pair for pair in pairs if levels[pair[0]] <= levels[pair[1]]] == []
    assert {room for room in levels if room not in {end for pair in pairs for end in pair}} == set()


def test_the_drawing_finds_imports_wherever_they_stand(draw_rooms, tmp_path):
    path = tmp_path / "sample.py"
    path.write_text(
        "import torch\nfrom spatialgraph import checks\nimport spatialgraph.laws as laws\n"
        "def f():\n    from spatialgraph.graph.spatial_graph import SpatialGraph\n"
    )
    assert draw_rooms.imported(path) == {"checks", "laws", "graph"}
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert [pair for pair in pairs if draw_rooms.is_direct(pair, pairs)] == [("a", "b"), ("b", "c")]
