"""The explorer's page in a browser: what a mouse and keys do there, and what is then drawn."""

import numpy as np
import pytest
import torch
from browsers import a_browser

import spatialgraph as sg
from spatialgraph.connectome.receptive_fields import receptive_fields
from spatialgraph.graph.recording import Recording

SIZES = [16, 9, 4]
FIELD = """const canvas = document.querySelector(`${arguments[0]} canvas`);
return canvas && Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""


@pytest.fixture(scope="module")
def browser():
    with a_browser() as started:
        yield started


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return sg.SpatialGraph.layered(SIZES, wiring=sg.wiring.KNN(k=5))


@pytest.fixture(scope="module")
def recording(graph):
    recorded = Recording()
    generator = torch.Generator().manual_seed(1)
    places, polarities = graph.pos.detach().clone(), graph.raw_polarity.detach().clone()
    for epoch in range(3):
        drawn = torch.randn(places.shape, generator=generator)
        graph.place_(torch.cat([drawn[:, :2], places[:, 2:]], dim=1))
        with torch.no_grad():
            graph.raw_polarity.copy_(torch.randn(polarities.shape, generator=generator))
        recorded.add(graph, epoch)
    graph.place_(places)
    with torch.no_grad():
        graph.raw_polarity.copy_(polarities)
    recorded.add(graph, 7)
    return recorded


@pytest.fixture(scope="module")
def path(graph, recording, tmp_path_factory):
    torch.manual_seed(0)
    return sg.explore(
        graph,
        tmp_path_factory.mktemp("pages") / "network.html",
        title="A <network>",
        activations=torch.rand(3, graph.neurons),
        recording=recording,
        modules=torch.arange(graph.neurons) % 10,
        image=(4, 4),
    )


@pytest.fixture
def page(browser, path):
    browser.open(path)
    yield browser
    assert browser.errors() == []


def place_of(page, neuron):
    return page.run("return explorer.project(arguments[0])", neuron)


def state(page):
    return page.run("return explorer.state()")


def card_of(page, name):
    """The number and the text of a card, once it is there."""
    page.wait(f"return !document.getElementById('{name}').hidden")
    return page.run(f"const card = document.getElementById('{name}'); return [+card.dataset.neuron, card.innerText]")


def set_to(page, name, value):
    """Move a slider or choose an option, as its control does."""
    event = "change" if name == "color" else "input"
    script = "const box = document.getElementById(arguments[0]); box.value = arguments[1];"
    page.run(f"{script} box.dispatchEvent(new Event('{event}', {{bubbles: true}}))", name, value)


def texts_of(page, selector):
    return page.run("return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent)", selector)


def middle_of(page, selector):
    script = """const each = document.querySelector(arguments[0]);
    each.scrollIntoView();
    const box = each.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2]"""
    return page.run(script, selector)


def places_of(page, graph):
    """Where all neurons are on the screen, shape ``(N, 2)``."""
    script = "return Array.from({length: arguments[0]}, (_, neuron) => explorer.project(neuron))"
    return np.array(page.run(script, graph.neurons))


def paints_of(page, graph):
    """Colours of all neurons and how opaque they are, shape ``(N, 4)``."""
    script = "return Array.from({length: arguments[0]}, (_, neuron) => explorer.paint(neuron))"
    return np.array(page.run(script, graph.neurons))


def drawn_by(page, change):
    """The picture as bytes before and after a change."""
    page.run("explorer.frame(0)")
    before = page.driver.get_screenshot_as_png()
    change()
    page.run("explorer.frame(0)")
    return before, page.driver.get_screenshot_as_png()


def in_the_open(page, graph):
    """Neurons with no other near them on the screen, so that it is plain which one a mouse is over."""
    places = places_of(page, graph)
    apart = np.linalg.norm(places[:, None] - places, axis=2) + 1e9 * np.eye(len(places))
    return [int(neuron) for neuron in np.flatnonzero(apart.min(1) > 40)]


def test_the_page_loads_without_a_network(page, path, graph):
    assert page.requests() == [path.as_uri()]
    assert page.run("return performance.getEntriesByType('resource').length") == 0
    assert page.run("return [document.title, document.querySelector('h1').textContent]") == ["A <network>"] * 2
    numbers = page.run("return document.getElementById('numbers').textContent")
    assert numbers == f"29 neurons, {graph.synapses} of {graph.synapses} synapses shown"
    assert page.run("return document.getElementById('message').hidden")


def test_every_control_has_a_name_and_takes_the_focus(page):
    nameless = """return [...document.querySelectorAll("input, select, button, canvas")]
      .filter((each) => !each.labels?.length && !each.textContent.trim() && !each.ariaLabel).map((each) => each.id)"""
    assert page.run(nameless) == []
    assert page.run("const c = document.getElementById('space'); c.focus(); return document.activeElement === c")


def test_pointing_at_a_neuron_shows_its_facts(page, graph):
    weights = dict(zip(zip(*graph.edge_index.tolist(), strict=True), graph.weights().tolist(), strict=True))
    chosen = in_the_open(page, graph)
    assert len(chosen) >= 8 and {int(graph.layer[neuron]) for neuron in chosen} == {0, 1, 2}
    for neuron in chosen:
        page.point(place_of(page, neuron))
        page.wait(f"return +document.getElementById('hovered').dataset.neuron === {neuron}")
        number, text = card_of(page, "hovered")
        assert number == neuron and text.startswith(f"Neuron {neuron}\n\nLayer {int(graph.layer[neuron])}")
        into = sorted(((abs(w), a) for (a, b), w in weights.items() if b == neuron), reverse=True)
        out = sorted(((abs(w), b) for (a, b), w in weights.items() if a == neuron), reverse=True)
        partners = [int(text) for text in texts_of(page, "#hovered td:first-child")]
        assert partners == [other for _, other in into[:4]] + [other for _, other in out[:4]]
        sizes = [abs(float(text.replace("\N{MINUS SIGN}", "-"))) for text in texts_of(page, "#hovered td.weight")]
        assert sizes == pytest.approx([size for size, _ in into[:4] + out[:4]], rel=6e-3)
        assert f"{len(into)} in, {len(out)} out" in text
        assert ("polarity" in text) == (not graph.is_output[neuron])
    page.point((5, 5))
    page.wait("return document.getElementById('hovered').hidden")


def test_receptive_fields_under_the_pointer(page, graph):
    neuron = next(neuron for neuron in in_the_open(page, graph) if graph.layer[neuron] == 1)
    page.point(place_of(page, neuron))
    page.wait(f"return +document.getElementById('hovered').dataset.neuron === {neuron}")
    page.wait("return document.querySelector('#hovered figcaption').textContent.includes('±')")
    pixels = np.array(page.run(FIELD, "#hovered")).reshape(4, 4, 4).astype(int)
    field = receptive_fields(graph, torch.tensor([neuron])).view(4, 4)
    reds = np.sign(pixels[..., 0] - pixels[..., 2] - (0xFB - 0xF7))  # more red than the ground, or less
    strong = field.abs() > 0.05 * field.abs().max()
    assert (reds == torch.sign(field).numpy())[strong.numpy()].all()
    assert strong.sum() >= 2


def test_clicking_a_neuron_shows_its_synapses_only(page, graph):
    neuron = next(neuron for neuron in in_the_open(page, graph) if graph.layer[neuron] == 1)
    own = int((graph.edge_index == neuron).any(0).sum())
    page.click(place_of(page, neuron))
    assert card_of(page, "pinned")[0] == neuron
    assert (state(page)["selected"], state(page)["drawn"]) == (neuron, own)
    partners = set(graph.edge_index[:, (graph.edge_index == neuron).any(0)].flatten().tolist())
    assert set(np.flatnonzero(paints_of(page, graph)[:, 3] == 255).tolist()) == partners
    page.key("Escape")
    assert (state(page)["selected"], state(page)["drawn"]) == (None, graph.synapses)
    page.click(place_of(page, neuron))
    assert state(page)["drawn"] == own
    page.click((5, 695))
    assert state(page)["drawn"] == graph.synapses
    assert page.run("return document.getElementById('pinned').hidden")


def test_dragging_turns_the_network_and_selects_nothing(page, graph):
    neuron = in_the_open(page, graph)[0]
    before = place_of(page, neuron)
    page.drag(before, (80, 30))
    assert np.linalg.norm(np.subtract(place_of(page, neuron), before)) > 5
    assert state(page)["selected"] is None
    near = place_of(page, neuron)
    page.mouse("mouseWheel", (350, 350), deltaX=0, deltaY=-300)
    page.wait("return Math.abs(explorer.project(arguments[0])[0] - arguments[1]) > 1", neuron, near[0])
    page.run("document.getElementById('reset').click()")
    assert place_of(page, neuron) == pytest.approx(before)


def test_the_slider_changes_how_many_synapses_are_drawn(page, graph):
    before, after = drawn_by(page, lambda: set_to(page, "share", 20))
    assert state(page)["drawn"] == round(0.2 * graph.synapses)
    assert before != after
    assert page.run("return document.getElementById('share-out').textContent") == "20 %"
    set_to(page, "share", 0)
    assert state(page)["drawn"] == 0


def test_the_slider_moves_by_the_mouse(page, graph):
    page.click(middle_of(page, "#share"))
    page.wait("return explorer.state().drawn < arguments[0]", graph.synapses)
    assert state(page)["drawn"] == pytest.approx(graph.synapses / 2, abs=3)


def test_boxes_hide_layers(page, graph):
    place = place_of(page, 28)
    page.click(middle_of(page, '#groups input[data-group="2"]'))
    assert state(page)["drawn"] == 9 * 5  # of 9 hidden neurons, 5 each, without the outputs
    assert page.run("return explorer.paint(28)[3]") == 0
    page.click(place)
    assert state(page)["selected"] not in graph.outputs.tolist()
    assert page.run("return document.getElementById('numbers').textContent").startswith("25 of 29 neurons, 45 of")


@pytest.mark.parametrize("color", ["polarity", "strength", "module", "layer"])
def test_colors_change(page, color, graph):
    assert state(page)["color"] == "activation"
    before = paints_of(page, graph)
    set_to(page, "color", color)
    after = paints_of(page, graph)
    assert (after[:, :3] != before[:, :3]).any()
    if color == "polarity":
        reds = after[:25, 0] - after[:25, 2]
        assert np.corrcoef(reds, graph.polarity[:25].detach().clamp(-1, 1))[0, 1] > 0.8
    if color == "layer":
        assert len(np.unique(after, axis=0)) == 3
    if color == "module":
        assert len(np.unique(after, axis=0)) == 9  # eight colours, and one for the rest
    assert page.run("return document.getElementById('legend').textContent.length") > 3


def test_samples_change_the_activations(page):
    before, after = drawn_by(page, lambda: set_to(page, "sample", 2))
    assert before != after and state(page)["sample"] == 2
    assert page.run("return document.getElementById('sample-out').textContent") == "3 of 3"


def test_epochs_move_neurons(page, recording, graph):
    set_to(page, "epoch", 3)  # unpacks the recording, and goes as far away as the widest epoch needs
    page.wait("return explorer.state().epoch === 3")
    now = places_of(page, graph)
    set_to(page, "epoch", 0)
    page.wait("return explorer.state().epoch === 0")
    assert np.linalg.norm(now - places_of(page, graph), axis=1).max() > 20
    assert (places_of(page, graph) > 0).all() and (places_of(page, graph) < [728, 700]).all()
    assert page.run("return document.getElementById('epoch-out').textContent") == "0"
    set_to(page, "color", "polarity")
    paints = paints_of(page, graph)[:25]
    assert np.corrcoef(paints[:, 0] - paints[:, 2], recording.polarities[0, :25].clamp(-1, 1))[0, 1] > 0.8
    set_to(page, "epoch", 3)
    page.wait("return explorer.state().epoch === 3")
    assert np.abs(places_of(page, graph) - now).max() < 0.1


def test_a_neuron_is_found_by_its_number(page):
    set_to(page, "find", "12")
    assert card_of(page, "pinned")[0] == 12
    page.run("document.getElementById('all').click()")
    assert state(page)["selected"] is None


KINDS = {
    "one axis": lambda: sg.SpatialGraph.layered([3, 2, 2], dim=1),
    "two axes": lambda: sg.SpatialGraph.layered([3, 2, 2], dim=2),
    "five axes": lambda: sg.SpatialGraph.layered([3, 2, 2], dim=5),
    "without layers": lambda: sg.SpatialGraph(torch.randn(6, 3), torch.tensor([[0, 1, 2], [3, 4, 5]])),
    "one place": lambda: sg.SpatialGraph(torch.zeros(2, 2), torch.tensor([[0], [1]])),
    "free weights": lambda: sg.SpatialGraph.layered([3, 2, 2], weight_mode="free"),
    "without synapses": lambda: sg.SpatialGraph(
        torch.randn(3, 2), torch.zeros(2, 0, dtype=torch.int64), layer=torch.tensor([0, 1, 1])
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_every_kind_are_drawn(kind, browser, tmp_path):
    graph = KINDS[kind]()
    browser.open(sg.explore(graph, tmp_path / "a.html"))
    assert state(browser)["drawn"] == graph.synapses
    for color in browser.run("return [...document.getElementById('color').options].map((each) => each.value)"):
        set_to(browser, "color", color)
    places = places_of(browser, graph)
    assert (places > 0).all() and (places < [728, 700]).all()
    browser.click(place_of(browser, 0))
    assert state(browser)["selected"] is not None
    assert browser.errors() == []
