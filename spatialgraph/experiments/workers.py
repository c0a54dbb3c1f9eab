"""Processes that train the runs of an experiment, each run in one of them at a time."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from spatialgraph import training
from spatialgraph.experiments import records
from spatialgraph.experiments.runs import Run
from spatialgraph.experiments.trainings import train, using_threads

__all__ = ["in_processes", "prepare", "together", "work"]

# Seconds between two looks at runs that other processes train, and at the process that started this one.
_PAUSE = 1.0


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
            with contextlib.suppress(BlockingIOError), _lock(run, folder):
                records.prepare(run.folder(folder), run.all_settings(data), resume=True)


def work(
    runs: Sequence[Run], data: training.Mnist, folder: str | Path, device: str, threads: int, is_alone: bool
) -> None:
    """Train the runs that no other process trains, until all are finished.

    Args:
        runs: the runs.
        data: the images.
        folder: folder of the experiment.
        device: where to train.
        threads: number of threads.
        is_alone: whether this is the only process, which needs no locks.

    Raises:
        FloatingPointError: at the end, if the loss of a run was not finite.
        OtherSettings: if a run to continue had other settings.
        OSError: if a file or folder cannot be used, or locks are needed and the file system has none.
    """
    left, failures = list(runs), []
    with using_threads(threads):
        while left:
            taken = []
            for run in left:
                with contextlib.ExitStack() as lock:
                    try:
                        is_locked = lock.enter_context(_lock(run, folder))
                    except BlockingIOError:
                        taken.append(run)
                        continue
                    if not (is_locked or is_alone):
                        raise OSError(f"folder must be on a file system with locks for several processes, got {folder}")
                    try:
                        train(run, data, run.folder(folder), device)
                    except FloatingPointError as error:
                        failures.append(f"{run.name}: {error}")
            left = taken
            if left:
                time.sleep(_PAUSE)
    if failures:
        raise FloatingPointError(f"{len(failures)} of {len(runs)} runs failed: {'; '.join(failures)}")


def together(runs: Sequence[Run], data: training.Mnist, folder: str | Path, device: str, resume: bool) -> None:
    """Train the runs one after the other in all processes that ``torchrun`` started, which share each batch.

    Which runs are finished is looked up before the first training, so that all processes train the same ones.

    Args:
        runs: the runs.
        data: the images.
        folder: folder of the experiment.
        device: where to train.
        resume: whether to continue what is in the folder.

    Raises:
        BlockingIOError: if another process trains one of the runs.
        FloatingPointError: if a loss was not finite.
    """
    left = [run for run in runs if not resume or records.finished(run.folder(folder)) is None]
    for run in left:
        lock = _lock(run, folder) if training.is_main_process() else contextlib.nullcontext()
        with lock:
            train(run, data, run.folder(folder), device, resume)


def in_processes(
    work: Callable[..., None], load: Callable[[], object], folder: str | Path, jobs: int, threads: int, device: str
) -> None:
    """Let several processes work on an experiment.

    Args:
        work: :meth:`Experiment.work <spatialgraph.experiments.Experiment.work>`.
        load: loads its data, about which this process has printed what there is to say.
        folder: folder of the experiment.
        jobs: number of processes.
        threads: threads of each.
        device: where to train.

    Raises:
        ImportError: if joblib is not installed.
        ChildProcessError: if one of the processes was killed.
    """
    try:
        import joblib
        from joblib.externals.loky.process_executor import TerminatedWorkerError
    except ImportError:
        raise ImportError(
            'several jobs at a time need joblib; install it with: pip install "spatialgraph[train]"'
        ) from None
    call = joblib.delayed(_alone)(work, load, folder, threads, device, os.getpid())
    try:
        joblib.Parallel(n_jobs=jobs, backend="loky")([call] * jobs)
    except TerminatedWorkerError:
        raise ChildProcessError("a process that trained was killed, perhaps for lack of memory") from None


def _alone(
    work: Callable[..., None],
    load: Callable[[], object],
    folder: str | Path,
    threads: int,
    device: str,
    parent: int,
) -> None:
    """Work in a process of its own, which ends with the one that started it."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        load()
    work(folder, threads=threads, device=device)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, also if that was killed."""
    while os.getppid() == parent:
        time.sleep(_PAUSE)
    os._exit(1)


def _lock(run: Run, folder: str | Path) -> contextlib.AbstractContextManager[bool]:
    """Lock a run against other processes; yields whether it is locked."""
    return training.claim(records.lock_of(run.folder(folder)))
