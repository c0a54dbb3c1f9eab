"""An experiment: a list of runs that any number of processes work on together."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from spatialgraph import checks, training
from spatialgraph.experiments import records, reports, workers
from spatialgraph.experiments.data import LazyMnist
from spatialgraph.experiments.progress import Progress
from spatialgraph.experiments.runs import Run, check_folders

__all__ = ["Experiment"]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A list of runs, each of which has a folder of its own.

    A run that is finished is not repeated, and one that was interrupted continues from its last epoch. Several
    processes, also on several machines with a common file system, may work on one folder: a run is locked as long as a
    process trains it. The same seed gives the same bits on machines of one kind, with the same number of threads.

    Args:
        runs: the runs, in the order in which they are to be trained.
        data: returns the images and labels; called by each process.

    Raises:
        ValueError: if two runs have the same folder.

    Example:
        >>> import functools, spatialgraph as sg
        >>> from spatialgraph.experiments import Candidate, runs_of
        >>> models = [
        ...     Candidate(f"d={dim}", functools.partial(sg.SpatialMLP, [784, 100, 10], dim)) for dim in (2, 3, 5)
        ... ]
        >>> experiment = Experiment(runs_of(models, training.Recipe(epochs=5), seeds=range(3)))
        >>> len(experiment.runs)
        9
        >>> results = experiment.run("runs/dimensions", jobs=2)  # doctest: +SKIP
        >>> print(training.table(results))  # doctest: +SKIP
    """

    runs: Sequence[Run]
    data: Callable[[], training.Mnist] = dataclasses.field(default_factory=LazyMnist)

    def __post_init__(self) -> None:
        """Check the runs."""
        object.__setattr__(self, "runs", tuple(self.runs))
        check_folders(self.runs)

    def run(
        self,
        folder: str | Path,
        *,
        jobs: int = 1,
        threads: int | None = None,
        device: str = "cpu",
        resume: bool = True,
        progress: bool | None = None,
    ) -> list[training.Result]:
        """Train until all runs are finished, and return the results.

        Args:
            folder: where the folders of the runs are.
            jobs: number of runs at a time, each in a process of its own if there are several.
            threads: threads of each new run; None for PyTorch's number, shared among the processes. A run that is
                continued keeps its number.
            device: where to train: ``"cpu"``, ``"cuda"``, ... or ``"auto"``.
            resume: whether to continue what is in the folder. Otherwise the folders of the runs are emptied first.
            progress: whether to show progress bars; None shows them on a terminal.

        Returns:
            A row for each model, with the seeds in the order of the runs; none in all processes of ``torchrun`` but the
            first.

        Raises:
            TypeError: if ``jobs`` or ``threads`` is not an int.
            ValueError: if ``jobs`` or ``threads`` is below 1, or there are several jobs under ``torchrun``.
            OtherSettings: if a run to continue had other settings or another network.
            FloatingPointError: at the end, if the loss of a run was not finite; the other runs are finished then.
            BlockingIOError: if ``resume`` is false and another process trains one of the runs.
            ChildProcessError: if a process of several jobs was killed.
            OSError: if a file or folder cannot be used, or the disk is full; what was written before can be continued.
        """
        jobs = max(1, min(checks.integer("jobs", jobs, minimum=1), len(self.runs)))
        share = max(1, torch.get_num_threads() // jobs)
        threads = share if threads is None else checks.integer("threads", threads, minimum=1)
        if training.is_distributed() and jobs > 1:
            raise ValueError(f"jobs must be 1 under torchrun, whose processes share each batch, got {jobs}")
        data = self.data()
        if training.is_main_process():
            if not resume:
                records.clear(run.folder(folder) for run in self.runs)
            workers.prepare(self.runs, data, folder, threads)
        watched = [(run.name, run.folder(folder), run.recipe.epochs) for run in self.runs]
        with Progress(watched, progress):
            if training.is_distributed():
                workers.together(self.runs, data, folder, device, resume)
            elif jobs == 1:
                workers.work(self.runs, data, folder, device, threads, is_alone=True)
            else:
                workers.in_processes(self.work, self.data, folder, jobs, threads, device)
        if not training.is_main_process():
            return []
        self._check_finished(folder)
        return self.results(folder)

    def work(self, folder: str | Path, *, threads: int | None = None, device: str = "cpu") -> None:
        """Train the runs that no other process trains, and return when all are finished.

        This is what a job on another machine calls. It draws no progress bars.

        Args:
            folder: as in :meth:`run`, on a file system that all machines share, with locks.
            threads: threads of this process; None for PyTorch's number.
            device: as in :meth:`run`.

        Raises:
            FloatingPointError: at the end, if the loss of a run was not finite.
            OtherSettings: if a run to continue had other settings or another network.
            OSError: if a file or folder cannot be used, the disk is full, or the file system has no locks.
        """
        threads = torch.get_num_threads() if threads is None else checks.integer("threads", threads, minimum=1)
        workers.work(self.runs, self.data(), folder, device, threads, is_alone=False)

    def metrics(self, folder: str | Path) -> list[dict[str, Any] | None]:
        """Return the metrics of each run, and None for those that are not finished or have other settings.

        Args:
            folder: as in :meth:`run`.
        """
        return [records.finished(run.folder(folder)) if run.is_in(folder) else None for run in self.runs]

    def results(self, folder: str | Path) -> list[training.Result]:
        """Return a row for each model, of those of its runs that are finished; no row where there are none.

        Args:
            folder: as in :meth:`run`.
        """
        papers = {run.candidate.name: run.candidate.paper for run in self.runs}
        trained: dict[str, list[dict[str, Any]]] = {}
        for run, figures in zip(self.runs, self.metrics(folder), strict=True):
            if figures is not None:
                trained.setdefault(run.candidate.name, []).append(figures)
        return [reports.summary(name, figures, papers[name]) for name, figures in trained.items()]

    def _check_finished(self, folder: str | Path) -> None:
        """Refuse to report on fewer runs than were trained."""
        missing = [run.name for run, found in zip(self.runs, self.metrics(folder), strict=True) if found is None]
        if missing:
            raise FileNotFoundError(f"another process has removed or replaced runs in {folder}: {', '.join(missing)}")
