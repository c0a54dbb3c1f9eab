"""Gradual pruning and actions during training: what happens at which step."""

import lightning
import pytest
import torch
from torch import nn
from trainings import RECIPE, images, interrupting_after

import spatialgraph as sg
from spatialgraph.training import EverySteps, GradualPruning, Recipe, fit

STEPS = 20


def new_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3))


class Recorder:
    """A pruner that does nothing but write down what happens to it."""

    def __init__(self, amount):
        self.__dict__["log"] = []
        self.__dict__["amount"] = amount

    def __setattr__(self, name, value):
        self.__dict__[name] = value
        self.log.append(value)

    def remove(self):
        self.log.append("removed")


def by_the_formula(final, start, end, steps=STEPS):
    """Amounts of all steps, and after the last one."""
    amounts = []
    for step in range(steps + 1):
        t = step / steps
        if t <= start:
            amounts.append(0.0)
        elif t >= end:
            amounts.append(final)
        else:
            amounts.append(final - final * ((end - t) / (end - start)) ** 3)
    return amounts


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.75), (0.2, 0.5), (0.0, 1.0)])
def test_every_step_sees_its_amount(tmp_path, start, end):
    pruner = Recorder(0.8)
    fit(new_model(), images(), RECIPE, tmp_path, callbacks=[GradualPruning(pruner, start, end)], progress=False)
    assert pruner.log.pop() == "removed"
    assert pruner.log == pytest.approx(by_the_formula(0.8, start, end))
    assert pruner.amount == 0.8


def test_the_model_is_pruned_step_by_step_and_for_good(tmp_path):
    model = new_model()
    pruner = sg.PruneLinearWhileTraining(0.5).attach(model)
    left_out = []

    def count():
        left_out.append(int((~model[0].weight_mask).sum()))
        return torch.zeros(())

    fit(model, images(), RECIPE, tmp_path, penalty=count, callbacks=[GradualPruning(pruner)], progress=False)
    assert left_out == [round(amount * 72) for amount in by_the_formula(0.5, 0.0, 0.75)[:-1]]
    assert [int((model[place].weight == 0).sum()) for place in (0, 2)] == [36, 18]
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]


@pytest.mark.usefixtures("ctrl_c")
def test_a_resumed_training_goes_on_exactly(tmp_path):
    def start(seed, **options):
        model = new_model(seed)
        pruner = sg.PruneLinearWhileTraining(0.7).attach(model)
        pruning = GradualPruning(pruner, end=0.9)
        return (
            model,
            pruner,
            lambda folder: fit(
                model, images(), RECIPE, tmp_path / folder, callbacks=[pruning], progress=False, **options
            ),
        )

    whole, _, run = start(0)
    run("whole")
    halves, pruner, run = start(0, penalty=interrupting_after(2))
    with pytest.raises(KeyboardInterrupt):
        run("halves")
    assert hasattr(halves[0], "weight_orig")  # an interrupted training is not over
    assert pruner.amount == pytest.approx(0.7 * (1 - (1 - 12 / 20 / 0.9) ** 3))
    again, _, run = start(9, resume=True)
    run("halves")
    for (name, expected), (_, found) in zip(whole.state_dict().items(), again.state_dict().items(), strict=True):
        assert torch.equal(expected, found), name


def test_resuming_a_finished_training_ends_pruned(tmp_path):
    models = [new_model(seed) for seed in (0, 9)]
    for model in models:
        pruning = GradualPruning(sg.PruneLinearWhileTraining(0.5).attach(model))
        fit(model, images(), RECIPE, tmp_path, resume=True, callbacks=[pruning], progress=False)
    assert all(torch.equal(a, b) for a, b in zip(*(model.parameters() for model in models), strict=True))
    assert int((models[1][0].weight == 0).sum()) == 36


def test_stopping_early_keeps_the_amount(tmp_path):
    pruner = Recorder(0.8)
    noise = torch.randn(60, 6), torch.randint(0, 3, (60,))
    recipe = Recipe(epochs=50, batch_size=20)
    options = {"validation": noise, "patience": 1, "progress": False}
    rows = fit(new_model(), images(), recipe, tmp_path, callbacks=[GradualPruning(pruner)], **options)
    assert len(rows) < 37
    assert pruner.amount == pytest.approx(by_the_formula(0.8, 0.0, 0.75, steps=250)[5 * len(rows)])
    assert pruner.log[-1] == "removed"


@pytest.mark.filterwarnings("ignore:EverySteps does nothing")
@pytest.mark.parametrize(
    ("steps", "until", "expected"),
    [
        (5, 1.0, [5, 10, 15]),
        (3, 0.5, [3, 6, 9]),
        (5, 0.5, [5]),
        (7, 1.0, [7, 14]),
        (1, 0.0, []),
        (50, 1.0, []),
    ],
)
def test_actions_at_their_steps(tmp_path, steps, until, expected):
    model, calls, seen = new_model(), [], []

    def count():
        seen.append(None)
        return torch.zeros(())

    every = EverySteps(steps, lambda: calls.append(len(seen)), until)
    fit(model, images(), RECIPE, tmp_path, penalty=count, callbacks=[every], progress=False)
    assert calls == expected


@pytest.mark.filterwarnings("ignore")  # of Lightning on its own code and on few workers
def test_batches_that_only_accumulate_are_no_steps():
    class Task(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def training_step(self, batch, batch_idx):
            return self.layer(batch).sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

        def train_dataloader(self):
            return torch.utils.data.DataLoader(torch.ones(12, 2), batch_size=1)

    trainer = lightning.Trainer(
        max_epochs=2,
        accumulate_grad_batches=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EverySteps(2, lambda: calls.append(trainer.global_step)), GradualPruning(pruner := Recorder(0.4))],
    )
    calls = []
    trainer.fit(Task())
    assert calls == [2, 4, 6]  # of 8
    amounts = by_the_formula(0.4, 0.0, 0.75, steps=8)
    repeated = [amount for amount in amounts[:-1] for _ in range(3)]
    assert pruner.log[:-1] == pytest.approx([*repeated, amounts[-1]])


def test_rewiring_during_training(tmp_path):
    torch.manual_seed(0)
    model = sg.SpatialMLP(sg.SpatialGraph.layered([6, 12, 3], dim=2, wiring=sg.wiring.KNN(k=3)))
    lengths = []

    def rewire():
        before = model.graph.lengths().sum().item()
        model.graph.rewire_()
        lengths.append((before, model.graph.lengths().sum().item()))

    fit(model, images(), RECIPE, tmp_path, callbacks=[EverySteps(4, rewire)], progress=False)
    assert len(lengths) == 4
    assert all(after <= before for before, after in lengths) and any(after < before for before, after in lengths)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: GradualPruning(new_model()), TypeError, "pruner must have amount and remove, got Sequential"),
        (lambda: GradualPruning(Recorder(0.5), 0.5, 0.5), ValueError, "0 <= start < end <= 1, got 0.5 and 0.5"),
        (lambda: GradualPruning(Recorder(0.5), end=1.5), ValueError, "0 <= start < end <= 1, got 0.0 and 1.5"),
        (lambda: GradualPruning(Recorder(0.5), "0"), TypeError, r"start must be a number, got '0' \(str\)"),
        (lambda: EverySteps(2.0, print), TypeError, r"every must be an int, got 2.0 \(float\)"),
        (lambda: EverySteps(0, print), ValueError, "every must be at least 1, got 0"),
        (lambda: EverySteps(2, None), TypeError, "action must be a function without arguments, got NoneType"),
        (lambda: EverySteps(2, print, until=2), ValueError, "until must be between 0 and 1, got 2"),
    ],
)
def test_wrong_calls(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_an_action_must_leave_the_parameters_the_same_objects(tmp_path):
    model = new_model()

    def action():
        model[0].weight = nn.Parameter(model[0].weight.detach().clone())

    with pytest.raises(ValueError, match=r"parameters the same objects, got a new one, model\.0\.weight"):
        fit(model, images(), RECIPE, tmp_path, callbacks=[EverySteps(3, action)], progress=False)


def test_free_weights_train_on_where_their_number_changes(tmp_path):
    torch.manual_seed(0)
    model = sg.SpatialMLP([6, 12, 3], weight_mode="free")
    weight, seen = model.graph.free_synapses.weight, []

    def prune():
        sg.prune_(model.graph, 0.3, by="weight")
        seen.append(weight.detach().clone())

    fit(model, images(), RECIPE, tmp_path, callbacks=[EverySteps(8, prune)], progress=False)
    assert model.graph.free_synapses.weight is weight and [len(values) for values in seen] == [75, 52]
    assert (weight != seen[-1]).float().mean() > 0.9  # some may lead nowhere


def test_a_training_without_end_has_no_shares():
    trainer = lightning.Trainer(
        max_epochs=-1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False
    )
    with pytest.raises(ValueError, match="the training must have a known number of steps, got -?inf; give"):
        GradualPruning(Recorder(0.5)).on_train_batch_start(trainer, None, None, 0)


def test_a_spatial_network_is_pruned_gradually(tmp_path):
    torch.manual_seed(0)
    model = sg.SpatialMLP([6, 12, 3])
    pruner = sg.PruneWhileTraining(0.8).attach(model.graph)
    shares = []
    watch = EverySteps(1, lambda: shares.append(model.graph.masked_share))
    fit(model, images(), RECIPE, tmp_path, callbacks=[GradualPruning(pruner), watch], progress=False)
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == pytest.approx(0.8)
    assert [projection.synapses for projection in model.graph.projections] == [72 - 58, 36 - 29]
    assert model.graph.masked_share == 0.0


@pytest.mark.parametrize(("steps", "until", "calls"), [(5, 0.26, 1), (5, 0.25, 0), (20, 1.0, 0), (19, 1.0, 1)])
def test_a_training_too_short_for_a_call_says_so(tmp_path, steps, until, calls, recwarn):
    seen = []
    fit(
        new_model(),
        images(),
        RECIPE,
        tmp_path,
        callbacks=[EverySteps(steps, lambda: seen.append(0), until)],
        progress=False,
    )
    assert bool(seen) == bool(calls)
    said = [str(note.message) for note in recwarn.list if "EverySteps does nothing" in str(note.message)]
    assert len(said) == (not calls)
    assert all(f"it has 20 steps, and changes come every {steps} steps" in text for text in said)
