"""The training of one model with one seed."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from spatialgraph import training
from spatialgraph.experiments import pictures, records
from spatialgraph.experiments.runs import Run
from spatialgraph.graph.network import graph_or_none
from spatialgraph.graph.tables import settings
from spatialgraph.training.task import cross_entropy

__all__ = ["train", "using_threads"]


def train(run: Run, data: training.Mnist, folder: Path, device: str = "cpu", resume: bool = True) -> None:
    """Train one model with one seed, from where its folder shows it to be; nothing if it is finished.

    A training that is continued keeps the number of threads that it began with, and ends at the same bits.

    Args:
        run: the run.
        data: the digits.
        folder: its folder.
        device: where to train.
        resume: whether to continue what the folder holds, which must be empty otherwise.

    Raises:
        OtherSettings: if the folder holds a training with other settings or of another network.
    """
    if training.is_main_process():
        records.prepare(folder, run.all_settings(data), resume=True)
    with using_threads(records.threads_of(folder)):
        torch.manual_seed(run.seed)
        model = run.candidate.build()
        if training.is_main_process():
            records.check_network(folder, _described(model))
        if records.finished(folder) is None:
            _train(run, model, data, folder, device, resume)


def _described(model: nn.Module) -> dict[str, Any]:
    """Return what tells networks apart."""
    graph = graph_or_none(model)
    own = {} if graph is None else settings(graph)
    modules = re.sub(r" at 0x[0-9a-f]+", "", str(model))  # functions have another address in each process
    return {"parameters": sum(p.numel() for p in model.parameters()), "modules": modules} | own


@contextlib.contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Let PyTorch use a number of threads, None for as many as before; then as many as before.

    Example:
        >>> with using_threads(1):
        ...     torch.get_num_threads()
        1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(run: Run, model: nn.Module, data: training.Mnist, folder: Path, device: str, resume: bool) -> None:
    candidate = run.candidate
    learned, judged = _parts(data, run.validate)
    rows = training.fit(
        model,
        learned,
        run.recipe,
        folder,
        seed=run.seed,
        validation=judged if run.validate else None,
        patience=run.patience,
        penalty=run.penalty if run.penalty and graph_or_none(model) is not None else None,
        augment=run.augment,
        loss=cross_entropy if run.loss is None else run.loss(),
        callbacks=candidate.callbacks(model),
        device=device,
        precision=run.precision,
        resume=resume,
        progress=False,
    )
    if not training.is_main_process():
        return
    candidate.finish()
    model.eval()
    figures = _figures(run, model, judged, folder) | {"seconds": rows[-1]["seconds"]}
    pictures.draw_history(rows, candidate.name, folder / "accuracy.png")
    records.finish(folder, model, figures)


def _parts(data: training.Mnist, validate: bool) -> tuple[training.Images, training.Images]:
    """Return data for training and evaluation; the latter are test images only if no images are held out."""
    if not validate:
        return (data.train_images, data.train_labels), (data.test_images, data.test_labels)
    images, labels, held_out, their_labels = training.validation_split(data)
    return (images, labels), (held_out, their_labels)


def _figures(run: Run, model: nn.Module, judged: training.Images, folder: Path) -> dict[str, Any]:
    torch.manual_seed(run.seed)  # evaluation may draw random numbers; a resumed run draws the same
    figures = {
        "seed": run.seed,
        "accuracy": training.accuracy(model, judged),
        "parameters": sum(p.numel() for p in model.parameters()),
        "synapses": _synapses(model),
        "threads": torch.get_num_threads(),
        "examined": run.candidate.examine(model, judged, folder),
    }
    if (graph := graph_or_none(model)) is not None:
        figures["gaps"] = graph.positions.gaps.tolist()
        pictures.draw_layers(graph, folder / "layers.png")
    return figures


def _synapses(model: nn.Module) -> int:
    """Return the number of synapses; for dense networks, that of nonzero numbers in their weight matrices."""
    if (graph := graph_or_none(model)) is not None:
        return graph.synapses
    return sum(int(weights.count_nonzero()) for weights in _weights(model) if weights.dim() > 1)


def _weights(model: nn.Module) -> Iterator[Tensor]:
    """Yield all parameters; of parametrized ones what is computed from them."""
    for module in model.modules():
        if isinstance(module, ParametrizationList):
            continue
        yield from module.parameters(recurse=False)
        if is_parametrized(module):
            yield from (getattr(module, name) for name in cast("nn.ModuleDict", module.parametrizations))
