"""Progress of the runs of an experiment, read from their folders, whichever processes train them."""

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from spatialgraph import training
from spatialgraph.experiments import records

__all__ = ["Progress"]

_PAUSE = 0.5  # seconds


class Progress:
    """Show how far an experiment is: a bar for all runs, and one for each that is being trained, with the time left.

    What is finished is printed, also where there are no bars.

    Args:
        runs: name, folder and number of epochs of each run.
        bars: whether to show bars; None shows them on a terminal.

    Example:
        >>> with Progress([("linear, seed 0", Path("nowhere"), 5)], bars=False):
        ...     pass
    """

    def __init__(self, runs: Sequence[tuple[str, Path, int]], bars: bool | None = None) -> None:
        self._runs = [_Watched(*run) for run in runs]
        self._bars = sys.stderr.isatty() if bars is None else bars
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "Progress":
        """Say what was finished before, and begin to look."""
        if not training.is_main_process():
            return self
        from tqdm import tqdm

        before = [run for run in self._runs if run.look() is not None]
        if before:
            print(f"{len(before)} of {len(self._runs)} runs: finished before", flush=True)
        self._left = [run for run in self._runs if run not in before]
        start = len(before) + sum(run.share for run in self._left)
        form = "{desc}: {percentage:3.0f}% |{bar}| {n:.1f}/{total} [{elapsed}<{remaining}]"
        self._all = tqdm(
            total=len(self._runs), initial=start, desc="runs", bar_format=form, smoothing=0, disable=not self._bars
        )
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look once more, and close the bars."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join()
        self._show()
        for run in self._left:
            run.close()
        self._all.close()

    def _follow(self) -> None:
        while not self._stop.wait(_PAUSE):
            self._show()

    def _show(self) -> None:
        for run in self._left[:]:
            figures = run.look()
            if figures is None:
                run.show(self._bars)
                continue
            self._left.remove(run)
            run.close()
            self._all.write(f"{run.name}: {100 * figures['accuracy']:.2f} % after {figures['seconds']:.0f} s")
        self._all.n = len(self._runs) - len(self._left) + sum(run.share for run in self._left)
        self._all.refresh()


class _Watched:
    """One run, and its bar while it is trained."""

    def __init__(self, name: str, folder: Path, epochs: int) -> None:
        self.name, self.folder, self.epochs = name, folder, epochs
        self.done = 0
        self._before: int | None = None
        self._bar: Any = None

    @property
    def share(self) -> float:
        """Return the finished share of its epochs."""
        return min(1.0, self.done / self.epochs)

    def look(self) -> dict[str, Any] | None:
        """Return the metrics of the run if it is finished, and note how many epochs it has trained."""
        rows, figures = _read(self.folder / "history.json"), _read(self.folder / records.METRICS)
        self.done = len(rows) if isinstance(rows, list) else 0
        return figures if isinstance(figures, dict) and {"accuracy", "seconds"} <= set(figures) else None

    def show(self, bars: bool) -> None:
        """Draw the bar, from the first epoch that ends while it is watched."""
        from tqdm import tqdm

        if self._before is None:
            self._before = self.done
        if bars and self._bar is None and self.done != self._before:
            self._bar = tqdm(total=self.epochs, initial=self._before, desc=f"  {self.name}", unit="epoch", leave=False)
        if self._bar is not None:
            self._bar.n = self.done
            self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _read(path: Path) -> Any:  # noqa: ANN401 - of JSON
    """Return what a file holds; None where it does not exist yet, or is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
