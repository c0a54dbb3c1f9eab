"""The training of one model with one seed."""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spatialgraph import training
from spatialgraph.experiments import pictures, records
from spatialgraph.experiments.experiment import Candidate, Experiment
from spatialgraph.experiments.plans import recipe_of, settings_of
from spatialgraph.graph.spatial_graph import SpatialGraph

__all__ = ["train_seed"]


def train_seed(
    experiment: Experiment,
    candidate: Candidate,
    seed: int,
    data: training.Mnist,
    args: argparse.Namespace,
    folder: Path,
) -> dict[str, Any]:
    """Train one model with one seed, or read the metrics of a finished training.

    Args:
        experiment: the experiment.
        candidate: the model.
        seed: the seed.
        data: the digits.
        args: the options.
        folder: folder of this training.

    Returns:
        The metrics; empty in processes other than the first.
    """
    if training.is_main_process():
        records.prepare(folder, settings_of(experiment, args, candidate, data), args.resume)
    if args.resume and (figures := records.finished(folder)) is not None:
        print(f"{candidate.name}, seed {seed}: finished before", flush=True)
        return figures
    print(f"{candidate.name}, seed {seed}", flush=True)
    torch.manual_seed(seed)
    model = candidate.build()
    learned, judged = _parts(data, args.validate)
    rows = training.fit(
        model,
        learned,
        recipe_of(experiment, args, candidate),
        folder,
        seed=seed,
        validation=judged if args.validate else None,
        patience=args.patience,
        penalty=args.penalty if args.penalty and _graph(model) is not None else None,
        callbacks=candidate.callbacks(model),
        device=args.device,
        resume=args.resume,
        progress=sys.stderr.isatty(),
    )
    if not training.is_main_process():
        return {}
    candidate.finish()
    model.eval()
    figures = _figures(candidate, model, judged, seed, folder) | {"seconds": rows[-1]["seconds"]}
    pictures.draw_history(rows, candidate.name, folder / "accuracy.png")
    records.finish(folder, model, figures)
    return figures


def _parts(data: training.Mnist, validate: bool) -> tuple[training.Images, training.Images]:
    """Return data for training and evaluation; the latter are test images only if no images are held out."""
    if not validate:
        return (data.train_images, data.train_labels), (data.test_images, data.test_labels)
    images, labels, held_out, their_labels = training.validation_split(data)
    return (images, labels), (held_out, their_labels)


def _figures(
    candidate: Candidate, model: nn.Module, judged: training.Images, seed: int, folder: Path
) -> dict[str, Any]:
    torch.manual_seed(seed)  # evaluation may draw random numbers; a resumed run draws the same
    figures = {
        "seed": seed,
        "accuracy": training.accuracy(model, judged),
        "parameters": sum(p.numel() for p in model.parameters()),
        "synapses": _synapses(model),
        "examined": candidate.examine(model, judged, folder),
    }
    if (graph := _graph(model)) is not None:
        figures["gaps"] = graph.positions.gaps.tolist()
        pictures.draw_layers(graph, folder / "layers.png")
    return figures


def _graph(model: nn.Module) -> SpatialGraph | None:
    """Return the graph of a spatial network; None of any other model."""
    graph = getattr(model, "graph", None)
    return graph if isinstance(graph, SpatialGraph) else None


def _synapses(model: nn.Module) -> int:
    """Return the number of synapses; for dense networks, that of nonzero numbers in their weight matrices."""
    if (graph := _graph(model)) is not None:
        return graph.synapses
    return sum(int(weights.count_nonzero()) for weights in model.parameters() if weights.dim() > 1)
