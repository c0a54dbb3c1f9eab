"""What the examples on MNIST share: the command line, seeds, resume, folders, tables and figures."""

import argparse
import dataclasses
import shlex
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import resumable
import torch
from lightning import Callback
from torch import nn

import spatialgraph as sg
from spatialgraph import plotting, training

CLASSES = 10

WIRINGS: dict[str, Callable[..., sg.wiring.Wiring]] = {
    "all": sg.wiring.AllToAll,
    "knn": lambda k: sg.wiring.KNN(k=int(k)),
    "radius": lambda r: sg.wiring.Radius(r=float(r)),
    "random": lambda density: sg.wiring.Random(density=float(density)),
    "small-world": lambda k, far: sg.wiring.SmallWorld(k=int(k), long_range=int(far)),
}


Figures = dict[str, list[dict[str, Any]]]
"""Further figures of each model, a dictionary for each seed."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A model to train: its name, how to build it, the paper's figure, and what is done with it once it is trained.

    ``learning_rate`` takes the place of the protocol's, where the command line gives none; ``callbacks`` returns those
    of the training of a model; ``finish`` is called when the model is trained; ``examine`` returns further figures of
    it from the images and labels it is judged by, and draws into its folder.
    """

    name: str
    build: Callable[[], nn.Module]
    paper: str = ""
    learning_rate: float | None = None
    callbacks: Callable[[nn.Module], Sequence[Callback]] = lambda model: ()
    finish: Callable[[], None] = lambda: None
    examine: Callable[[nn.Module, training.Images, Path], dict[str, Any]] = lambda model, judged, folder: {}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """An example: its name, presets and recipes, how to build its models, and what else belongs to it.

    ``add_options`` adds options to the command line; those named in ``settings`` decide how a training comes out.
    ``columns`` names those of the models' further figures that make a second table, and its headings. ``report`` draws
    and prints what follows from all models and seeds, and returns what of it belongs into the results; it is told what
    the data are, as only MNIST may stand beside the paper's figures.
    """

    name: str
    description: str
    presets: dict[str, dict[str, Any]]
    recipes: dict[str, training.Recipe]
    candidates: Callable[[argparse.Namespace, int], list[Candidate]]
    settings: tuple[str, ...] = ()
    add_options: Callable[[argparse.ArgumentParser], None] = lambda parser: None
    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    report: Callable[[list[training.Result], Figures, Path, str], dict[str, Any]] = lambda *ignored: {}


def parse(experiment: Experiment, argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; the options of a preset and a protocol fill what was not given."""
    parser = argparse.ArgumentParser(
        description=experiment.description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    fast, paper = experiment.recipes["fast"], experiment.recipes["paper"]
    protocols = f"fast: {fast.epochs} epochs; paper: the paper's {paper.epochs}"
    add("--preset", choices=experiment.presets, default="paper3d", help="a network; the options below change it")
    add("--hidden", type=int, nargs="+", metavar="N", help="neurons in each hidden layer")
    add("--dim", type=int, help="dimensions of space")
    add("--spacing", choices=["fixed", "learned", "free"], help="how layers are spaced along the last axis")
    add("--polarity", choices=["binary", "graded"], help="default: graded, and binary with --protocol paper")
    add("--wiring", default="all", metavar="W", help="all, knn:K, radius:R, random:DENSITY or small-world:K,FAR")
    add("--baseline", type=int, nargs="+", default=[], metavar="N", help="also dense networks with N hidden neurons")
    add("--protocol", choices=experiment.recipes, default="fast", help=protocols)
    add("--epochs", type=int, help="number of epochs, in place of the protocol's")
    add("--batch-size", type=int, metavar="N", help="images in a step, in place of the protocol's")
    add("--learning-rate", type=float, metavar="X", help="(peak) learning rate, in place of the protocol's")
    add("--seed", type=int, help="train with this seed")
    add("--seeds", type=int, metavar="COUNT", help="train with the seeds 0 to COUNT-1")
    add("--validate", action="store_true", help="hold out 5,000 training images and do not read the test images")
    add("--patience", type=int, help="with --validate: stop after so many epochs without a better accuracy")
    add("--penalty", type=float, default=0.0, help="factor of the penalty on layers that collapse into each other")
    add("--device", default="cpu", help="cpu, cuda or auto")
    add("--data-dir", help="folder that holds MNIST, or shall")
    add("--resume", action="store_true", help="continue an interrupted run; finished seeds are not repeated")
    add("--out", type=Path, help="folder for the results, in place of one below runs/")
    experiment.add_options(parser)
    args = parser.parse_args(argv)
    if args.seed is not None and args.seeds is not None:
        parser.error("--seed and --seeds exclude each other")
    if args.patience is not None and not args.validate:
        parser.error("--patience needs --validate")
    for name, value in experiment.presets[args.preset].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    if args.polarity is None:
        args.polarity = "binary" if args.protocol == "paper" else "graded"
    return args


def run(experiment: Experiment, argv: Sequence[str] | None) -> list[training.Result]:
    """Train what the command line asks for and report."""
    args = parse(experiment, argv)
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        data = training.load_mnist(args.data_dir)
    for note in notes:
        resumable.note(str(note.message))
    folder = folder_of(experiment, args)
    seeds = list(range(args.seeds)) if args.seeds else [args.seed or 0]
    results: list[training.Result] = []
    figures: Figures = {}
    listed = experiment.candidates(args, data.train_images.shape[1])
    recipes = {candidate.name: recipe_of(experiment, args, candidate) for candidate in listed}
    for candidate in listed:
        name = candidate.name.replace(", ", "_").replace(" ", "_").replace(":", "-")
        trained = []
        for seed in seeds:
            to = folder / name / f"seed-{seed}"
            trained.append(train_seed(experiment, candidate, seed, data, recipes[candidate.name], args, to))
        if not training.is_main_process():
            continue
        results.append(result_of(candidate, trained, data))
        figures[candidate.name] = [run.get("examined", {}) for run in trained]
    if not training.is_main_process():
        return results
    command = shlex.join(["python", f"examples/{experiment.name}.py", *(sys.argv[1:] if argv is None else argv)])
    about = {"command": command, "data": data.source} | recipes_of_record(recipes)
    if any(any(rows) for rows in figures.values()):
        about["figures"] = figures
    about |= experiment.report(results, figures, folder, data.source)
    training.write_results(folder, results, about | {"environment": training.environment()})
    print(f"\n{training.table(results, 'validation' if args.validate else 'test')}\n")
    if experiment.columns:
        print(f"{means_table(experiment.columns, figures)}\n")
    print(f"Written to {folder}")
    return results


def means_table(columns: dict[str, str], figures: Figures) -> str:
    """Return the means over the seeds of further figures as a Markdown table."""
    rows = [
        [model, *(f"{statistics.fmean(run[name] for run in trained):,.0f}" for name in columns)]
        for model, trained in figures.items()
    ]
    return training.markdown(["model", *columns.values()], rows)


def recipes_of_record(recipes: dict[str, training.Recipe]) -> dict[str, Any]:
    """Return the recipe for the record, or that of each model where they differ."""
    first, *others = (dataclasses.asdict(recipe) for recipe in recipes.values())
    if all(other == first for other in others):
        return {"recipe": first}
    return {"recipes": {name: dataclasses.asdict(recipe) for name, recipe in recipes.items()}}


def recipe_of(experiment: Experiment, args: argparse.Namespace, candidate: Candidate) -> training.Recipe:
    """Return the protocol's recipe, with what the command line, or else the model, changes of it."""
    rate = candidate.learning_rate if args.learning_rate is None else args.learning_rate
    given = {"epochs": args.epochs, "batch_size": args.batch_size, "learning_rate": rate}
    given = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(experiment.recipes[args.protocol], **given)


def result_of(candidate: Candidate, trained: list[dict[str, Any]], data: training.Mnist) -> training.Result:
    """Sum the runs of a model up in a row of the table."""
    return training.Result(
        candidate.name,
        trained[0]["parameters"],
        trained[0]["synapses"],
        tuple(run["seed"] for run in trained),
        tuple(run["accuracy"] for run in trained),
        candidate.paper if data.source == "MNIST" else "",
        sum(run["seconds"] for run in trained) / len(trained),
    )


def train_seed(
    experiment: Experiment,
    candidate: Candidate,
    seed: int,
    data: training.Mnist,
    recipe: training.Recipe,
    args: argparse.Namespace,
    to: Path,
) -> dict[str, Any]:
    """Train one model with one seed, or read the figures of a finished run."""
    if training.is_main_process():
        resumable.prepare(to, settings_of(experiment, args, recipe, data), args.resume)
    if args.resume and (figures := resumable.finished(to)) is not None:
        print(f"{candidate.name}, seed {seed}: finished before", flush=True)
        return figures
    print(f"{candidate.name}, seed {seed}", flush=True)
    torch.manual_seed(seed)
    model = candidate.build()
    train, held_out = (data.train_images, data.train_labels), None
    if args.validate:
        parts = training.validation_split(data)
        train, held_out = parts[:2], parts[2:]
    rows = training.fit(
        model,
        train,
        recipe,
        to,
        seed=seed,
        validation=held_out,
        patience=args.patience,
        penalty=penalty_of(model, args.penalty),
        callbacks=candidate.callbacks(model),
        device=args.device,
        resume=args.resume,
        progress=sys.stderr.isatty(),
    )
    if not training.is_main_process():
        return {}
    judged = held_out if held_out is not None else (data.test_images, data.test_labels)
    candidate.finish()
    torch.manual_seed(seed)  # a model may draw: a run that was interrupted after its last epoch draws the same
    figures = {
        "seed": seed,
        "accuracy": training.accuracy(model, judged),
        "parameters": sum(p.numel() for p in model.parameters()),
        "synapses": synapses(model),
        "seconds": rows[-1]["seconds"],
        "examined": candidate.examine(model, judged, to),
    }
    if isinstance(graph := getattr(model, "graph", None), sg.SpatialGraph):
        figures["gaps"] = graph.positions.gaps.tolist()
        draw_layers(graph, to / "layers.png")
    draw_history(rows, candidate.name, to / "accuracy.png")
    resumable.finish(to, model, figures)
    return figures


def penalty_of(model: nn.Module, factor: float) -> Callable[[], torch.Tensor] | None:
    """Return the penalty on layers that collapse, for spatial networks."""
    graph = getattr(model, "graph", None)
    if not factor or not isinstance(graph, sg.SpatialGraph):
        return None
    return lambda: factor * graph.collapse_penalty()


def make_wiring(text: str) -> sg.wiring.Wiring:
    """Turn ``knn:32`` into a wiring."""
    name, _, numbers = text.partition(":")
    try:
        return WIRINGS[name](*(number for number in numbers.split(",") if number))
    except (KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"--wiring must be all, knn:K, radius:R, random:DENSITY or small-world:K,FAR, got {text!r} ({error})"
        ) from None


def spatial_name(args: argparse.Namespace, sizes: list[int]) -> str:
    """Return the name of a spatial network in tables."""
    name = f"spatial {'-'.join(map(str, sizes))}, d={args.dim}, {args.spacing}, {args.polarity}"
    return name if args.wiring == "all" else f"{name}, {args.wiring}"


def is_papers(args: argparse.Namespace) -> bool:
    """Tell whether the network is the paper's, so that its figures may stand beside ours."""
    return bool(args.hidden == [2048] and args.dim == 3 and args.wiring == "all")


def synapses(model: nn.Module) -> int:
    """Return the number of synapses; those that a dense network was pruned of are zeros."""
    if isinstance(graph := getattr(model, "graph", None), sg.SpatialGraph):
        return graph.synapses
    return sum(int(layer.weight.count_nonzero()) for layer in model.modules() if isinstance(layer, nn.Linear))


def settings_of(
    experiment: Experiment, args: argparse.Namespace, recipe: training.Recipe, data: training.Mnist
) -> dict[str, Any]:
    """Return everything besides model and seed that decides how a training comes out."""
    names = ("validate", "patience", "penalty", *experiment.settings)
    return dataclasses.asdict(recipe) | {name: getattr(args, name) for name in names} | {"data": data.source}


def draw_layers(graph: sg.SpatialGraph, path: Path) -> None:
    """Draw the positions of each layer."""
    from matplotlib.figure import Figure

    count = int(graph.layer.max()) + 1
    figure = Figure(figsize=(5.2 * count, 4.6), layout="constrained")
    for number in range(count):
        plotting.layer(graph, number, ax=figure.add_subplot(1, count, number + 1))
    resumable.save_figure(figure, path)


def draw_history(rows: list[dict[str, float]], title: str, path: Path) -> None:
    """Draw the accuracy over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    plotting.history(rows, ax=figure.add_subplot()).set_title(title)
    resumable.save_figure(figure, path)


def folder_of(experiment: Experiment, args: argparse.Namespace) -> Path:
    """Return where the results go: one folder for each setting."""
    if args.out is not None:
        return Path(args.out)
    shape = "-".join(map(str, args.hidden))
    parts = [experiment.name, shape, f"d{args.dim}", args.spacing, args.polarity, args.protocol]
    parts += [] if args.wiring == "all" else [args.wiring.replace(":", "-").replace(",", "-")]
    parts += [] if args.epochs is None else [f"{args.epochs}epochs"]
    parts += [] if args.batch_size is None else [f"batch{args.batch_size}"]
    parts += [] if args.learning_rate is None else [f"lr{args.learning_rate:g}"]
    parts += ["validate"] if args.validate else []
    parts += [f"penalty{args.penalty:g}"] if args.penalty else []
    parts += [f"{name.replace('_', '-')}-{getattr(args, name)}" for name in experiment.settings]
    return Path("runs") / "_".join(parts)
