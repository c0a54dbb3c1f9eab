"""Rewiring during training: edges follow the neurons, what changed is counted, and a resumed training is the same."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from trainings import RECIPE, images, interrupting_after

import spatialgraph as sg
from spatialgraph.graph.changes import shared_synapses
from spatialgraph.graph.selection import select
from spatialgraph.training import EverySteps, Recipe, Rewire, fit
from spatialgraph.wiring import KNN, AllToAll, Radius, Random, SmallWorld

WIRINGS = [KNN(k=3), Radius(r=1.5), SmallWorld(k=2, long_range=1), [KNN(k=3), AllToAll()], KNN(k=4, reach="all")]


def new_model(wiring, seed=0, **options):
    torch.manual_seed(seed)
    return sg.SpatialMLP([6, 12, 3], dim=2, wiring=wiring, gain=1.0, **options)


class Steps(nn.Module):
    """Feeds images to a recurrent network as two steps of three features."""

    def __init__(self, wiring, recurrent, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = sg.SpatialRNN([3, 12, 3], dim=2, wiring=wiring, recurrent=recurrent, gain=1.0)

    def forward(self, x):
        return self.rnn(x.view(len(x), 2, 3).transpose(0, 1))[0]


def train(model, folder, every=4, **options):
    rewire = options.pop("rewire", None) or Rewire(every)
    rows = fit(model, images(), RECIPE, folder, callbacks=[rewire], progress=False, **options)
    return rewire, rows


def edges_of(graph):
    return set(map(tuple, graph.edge_index.t().tolist()))


@pytest.mark.parametrize("wiring", WIRINGS, ids=repr)
def test_edges_are_those_that_the_wiring_selects_from_the_moved_positions(tmp_path, wiring):
    model = new_model(wiring)
    graph, seen = model.graph, []
    parameters = list(model.parameters())

    class Watched(Rewire):
        def act(self, step):
            before = edges_of(graph)
            super().act(step)
            seen.append((before, edges_of(graph), graph.pos.detach().clone()))

    rewire, _ = train(model, tmp_path, rewire=Watched(4))
    assert [change["step"] for change in rewire.changes] == [4, 8, 12, 16]
    assert all(mine is theirs for mine, theirs in zip(model.parameters(), parameters, strict=True))
    for change, (before, after, pos) in zip(rewire.changes, seen, strict=True):
        again = sg.SpatialGraph(pos, wiring, layer=graph.layer, generator=torch.Generator().manual_seed(0))
        assert edges_of(again) == after
        assert (change["added"], change["removed"]) == (len(after - before), len(before - after))
        assert change["synapses"] == len(after)
    assert sum(change["added"] for change in rewire.changes) > 0


@pytest.mark.parametrize(
    ("wiring", "recurrent"), [(KNN(k=2), KNN(k=3)), (AllToAll(), Radius(r=1.0)), (AllToAll(), SmallWorld(2, 1))]
)
def test_recurrent_synapses_are_selected_again(tmp_path, wiring, recurrent):
    model = Steps(wiring, recurrent)
    graph = model.rnn.graph
    before = edges_of(graph)
    rewire, _ = train(model, tmp_path, every=19)
    (change,) = rewire.changes
    after = edges_of(graph)
    assert (change["added"], change["removed"]) == (len(after - before), len(before - after))
    within = {(i, j) for i, j in after - before if graph.layer[i] == graph.layer[j]}
    assert within


def test_the_history_has_what_each_epoch_changed(tmp_path):
    rewire, rows = train(new_model(Radius(r=1.5)), tmp_path, every=4)
    steps = [range(5 * epoch + 1, 5 * epoch + 6) for epoch in range(4)]
    for name in ("added", "removed"):
        sums = [sum(change[name] for change in rewire.changes if change["step"] in epoch) for epoch in steps]
        assert [row[f"synapses_{name}"] for row in rows] == sums
    assert "synapses_added" in (tmp_path / "history.csv").read_text().splitlines()[0]


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("options", [{}, {"weight_mode": "both"}], ids=str)
@pytest.mark.parametrize("wiring", WIRINGS[:3], ids=repr)
def test_a_resumed_training_ends_at_the_same_bits(tmp_path, wiring, options):
    whole = new_model(wiring, **options)
    first, rows = train(whole, tmp_path / "whole", every=3)
    with pytest.raises(KeyboardInterrupt):
        train(new_model(wiring, **options), tmp_path / "halves", every=3, penalty=interrupting_after(2))
    again = new_model(wiring, **options)
    with torch.no_grad():
        again.graph.raw_bias.fill_(7.0)
    second, resumed = train(again, tmp_path / "halves", every=3, resume=True)
    for (name, expected), (_, found) in zip(whole.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, found), name
    assert second.changes == first.changes
    assert [row | {"seconds": 0} for row in resumed] == [row | {"seconds": 0} for row in rows]


def test_the_state_of_free_weights_goes_with_their_synapses(tmp_path):
    model = new_model(KNN(k=3), weight_mode="both")
    graph, states = model.graph, []
    weight = graph.free_synapses.weight

    class Watched(Rewire):
        def on_train_batch_end(self, trainer, *others):
            before = edges_of_state(trainer)
            super().on_train_batch_end(trainer, *others)
            states.append((before, edges_of_state(trainer)))

    def edges_of_state(trainer):
        state = trainer.optimizers[0].state[weight]
        ends = map(tuple, graph.edge_index.t().tolist())
        return dict(zip(ends, state["exp_avg_sq"].tolist(), strict=True)), float(state["step"])

    rewire, _ = train(model, tmp_path, rewire=Watched(6))
    assert any(change["added"] for change in rewire.changes)
    for (before, step), (after, same_step) in states:
        assert step == same_step
        assert after == {edge: before.get(edge, 0.0) for edge in after}


def test_new_free_weights_are_others_at_each_selection(tmp_path, monkeypatch):
    drawn = []
    rand = torch.rand

    def recorded(*size, **options):
        values = rand(*size, **options)
        if options.get("generator") is not None:
            drawn.append(values.flatten()[:5].tolist())
        return values

    model = new_model(KNN(k=3), weight_mode="free")
    monkeypatch.setattr(torch, "rand", recorded)
    rewire, _ = train(model, tmp_path, every=5)
    assert len(drawn) == len(rewire.changes) == 3 == len(set(map(tuple, drawn)))


def test_changes_are_those_of_the_last_training(tmp_path):
    rewire = Rewire(4)
    for folder in ("first", "second"):
        train(new_model(KNN(k=3)), tmp_path / folder, rewire=rewire)
        assert [change["step"] for change in rewire.changes] == [4, 8, 12, 16]


def test_the_far_synapses_of_a_small_world_stay(tmp_path):
    model = new_model(SmallWorld(k=2, long_range=2, exponent=0.0), spacing="fixed")
    model.graph.positions.coords.requires_grad_(False)
    rewire, _ = train(model, tmp_path, every=4)
    assert [change["added"] for change in rewire.changes[1:]] == [0, 0, 0]  # the first draws with its own numbers


@pytest.mark.parametrize("seed", range(10))
def test_shared_synapses_by_brute_force(seed):
    torch.manual_seed(seed)
    choices = [AllToAll(), KNN(k=3), Radius(r=1.0), Radius(r=9.0), AllToAll(reach="all"), KNN(k=4, reach="all")]
    within = [None, AllToAll(), KNN(k=2), Radius(r=9.0)]

    def draw(options, count):
        return [options[int(torch.randint(len(options), ()))] for _ in range(count)]

    graph = sg.SpatialGraph.layered([4, 5, 4, 3], dim=2, recurrent=AllToAll())

    def selected():
        """A topology, also one without a path to an output, and its edges."""
        graph.place_(torch.randn(16, 1), torch.arange(16))
        topology = select(graph.pos, draw(choices, 3), draw(within, 2), graph.connectivity.topology, None)
        return topology, edges_of(sg.SpatialGraph(graph.pos.detach(), topology, layer=graph.layer, gain=1.0))

    (first, edges), (second, others) = selected(), selected()
    assert shared_synapses(first, second) == len(edges & others)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: new_model(Random(density=0.5)),
            r"wirings must depend on positions, got Random\(density=0.5\), which draws all",
        ),
        (lambda: new_model([KNN(k=2), Random(density=0.5)]), "which draws all edges anew"),
        (lambda: Steps(KNN(k=2), Random(density=0.5)), "which draws all edges anew"),
        (lambda: new_model(AllToAll()), r"module must have a network .* such as KNN, got AllToAll\(\)$"),
        (lambda: nn.Linear(6, 3), "such as KNN, got listed edges"),
    ],
)
def test_networks_whose_edges_do_not_follow_positions(tmp_path, model, message):
    with pytest.raises(ValueError, match=message):
        train(model(), tmp_path)


def test_wirings_that_have_no_hash(tmp_path):
    @dataclasses.dataclass(frozen=True, repr=False)
    class Nearest(KNN):
        names: list[str] = dataclasses.field(default_factory=list)

    rewire, _ = train(new_model([Nearest(3, names=["a"]), KNN(k=3)]), tmp_path)
    assert rewire.changes


def test_networks_of_listed_edges_stay(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.listed, self.selected = new_model(KNN(k=3)), new_model(KNN(k=3))
            self.listed.graph.connect_(self.listed.graph.edge_index)

        def forward(self, x):
            return self.listed(x) + self.selected(x)

    model = Two()
    before = edges_of(model.listed.graph)
    train(model, tmp_path)
    assert edges_of(model.listed.graph) == before != edges_of(model.selected.graph)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Rewire(2.0), TypeError, r"every must be an int, got 2.0 \(float\)"),
        (lambda: Rewire(0), ValueError, "every must be at least 1, got 0"),
        (lambda: Rewire(2, until="1"), TypeError, r"until must be a number, got '1' \(str\)"),
        (lambda: Rewire(2, until=float("nan")), ValueError, "until must be finite, got nan"),
        (lambda: Rewire(2, until=2), ValueError, "until must be between 0 and 1, got 2"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_numbers_of_numpy():
    rewire = Rewire(np.int64(3), until=np.float32(0.5))
    assert (rewire.every, rewire.until) == (3, 0.5) and type(rewire.every) is int and type(rewire.until) is float
    assert Recipe(np.int64(3), np.float32(0.5)) == Recipe(3, 0.5)


def test_a_training_too_short_to_rewire_says_so(tmp_path):
    with pytest.warns(UserWarning, match="Rewire does nothing in this training: it has 20 steps"):
        train(new_model(KNN(k=3)), tmp_path, every=20)


def test_it_does_as_a_call_of_rewire(tmp_path):
    ours, theirs = new_model(KNN(k=3)), new_model(KNN(k=3))
    train(ours, tmp_path / "ours")
    every = EverySteps(4, theirs.graph.rewire_)
    fit(theirs, images(), RECIPE, tmp_path / "theirs", callbacks=[every], progress=False)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
