"""Processes that train the runs of an experiment, each run in one of them at a time."""

import contextlib
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from spatialgraph import training
from spatialgraph.experiments import records
from spatialgraph.experiments.runs import Run
from spatialgraph.experiments.trainings import train, using_threads

__all__ = ["in_processes", "prepare", "work"]

# Seconds between two looks at runs that other processes train, and at the process that started this one.
_PAUSE = 1.0


def work(
    runs: Sequence[Run], data: training.Mnist, folder: str | Path, *, device: str = "cpu", threads: int | None = None
) -> list[str]:
    """Train the runs that no other process trains, until all are finished.

    Args:
        runs: the runs.
        data: the images.
        folder: folder of the experiment.
        device: where to train.
        threads: number of threads; None for PyTorch's present one.

    Returns:
        A sentence for each run whose loss was not finite.

    Raises:
        OtherSettings: if a run to continue had other settings.
        OSError: if a file or folder cannot be used.
    """
    left, failures = list(runs), []
    with using_threads(threads):
        while left:
            taken = []
            for run in left:
                try:
                    with _turn(run, folder):
                        train(run, data, run.folder(folder), device)
                except BlockingIOError:
                    taken.append(run)
                except FloatingPointError as error:
                    failures.append(f"{run.name}: {error}")
            left = taken
            if left:
                time.sleep(_PAUSE)
    return failures


def prepare(runs: Sequence[Run], data: training.Mnist, folder: str | Path, threads: int) -> None:
    """Prepare the folders of the runs that no other process trains, so that what is wrong shows before any training.

    Args:
        runs: the runs.
        data: the images.
        folder: folder of the experiment.
        threads: number of threads that new runs begin with.

    Raises:
        OtherSettings: if a run to continue had other settings.
        OSError: if a folder cannot be used.
    """
    with using_threads(threads):
        for run in runs:
            with contextlib.suppress(BlockingIOError), _turn(run, folder):
                records.prepare(run.folder(folder), run.all_settings(data), resume=True)


def in_processes(work: Callable[..., list[str]], folder: str | Path, jobs: int, threads: int, device: str) -> list[str]:
    """Let several processes work on an experiment, and return the sentences of all of them.

    Args:
        work: :meth:`Experiment.work <spatialgraph.experiments.Experiment.work>`.
        folder: folder of the experiment.
        jobs: number of processes.
        threads: threads of each.
        device: where to train.

    Raises:
        ImportError: if joblib is not installed.
    """
    try:
        import joblib
    except ImportError:
        raise ImportError(
            'several jobs at a time need joblib; install it with: pip install "spatialgraph[train]"'
        ) from None
    call = joblib.delayed(_alone)(work, folder, threads, device, os.getpid())
    found: list[list[str]] = joblib.Parallel(n_jobs=jobs, backend="loky")([call] * jobs)
    return list(dict.fromkeys(sentence for sentences in found for sentence in sentences))


def _alone(work: Callable[..., list[str]], folder: str | Path, threads: int, device: str, parent: int) -> list[str]:
    """Work in a process of its own, which ends with the one that started it."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        return work(folder, threads=threads, device=device)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, also if that was killed."""
    while os.getppid() == parent:
        time.sleep(_PAUSE)
    os._exit(1)


def _turn(run: Run, folder: str | Path) -> contextlib.AbstractContextManager[None]:
    """Lock a run against other processes; those of ``torchrun`` train it together."""
    if not training.is_main_process():
        return contextlib.nullcontext()
    return training.claim(records.lock_of(run.folder(folder)))
