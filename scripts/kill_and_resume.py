"""Kill a training at random times and fill its disk; it must always resume, and end with the same bits.

    python scripts/kill_and_resume.py                                           # 100 kills, 20 full disks
    python scripts/kill_and_resume.py --kills 6 --fills 2                       # a quick look
    python scripts/kill_and_resume.py --json docs/results/kill_and_resume.json

A small network trains in a separate process, in a folder on another file system than that of temporary files. SIGKILL
ends it at a random time, and it is resumed and killed again until it finishes; its result is compared with that of an
uninterrupted training, and the next training starts. After each kill, checkpoints are read without the library's own
reader. Renames and syncs are slowed by 2 ms, as on a slow disk, and half of the kills are timed to hit the writing of a
checkpoint, which takes a small share of the time. Then a small disk (a ``tmpfs`` if one can be mounted, else a limit on
the size of files) fills up while a training writes to it. Needs Linux.
"""

import argparse
import collections
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning
import torch

import spatialgraph as sg
from spatialgraph import atomic, training

RECIPE = training.Recipe(epochs=12, learning_rate=0.05, batch_size=50)
SEED = 3
FILES = ("last.ckpt", "previous.ckpt")

Finding = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """Exit status and output of a training in a separate process."""

    killed: bool
    said: list[list[Any]]

    def of(self, kind: str) -> list[Any]:
        """Return the outputs of a kind."""
        return [value for name, value in self.said if name == kind]


class Reporter(lightning.Callback):
    """Print the first epoch of a training, and each epoch that starts."""

    def __init__(self, say: Callable[[str, Any], None]) -> None:
        self.say = say

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print the number of finished epochs."""
        self.say("resumed", trainer.current_epoch)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print the epoch that starts."""
        self.say("epoch", trainer.current_epoch)


def data() -> training.Images:
    """Draw what is learned."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(200, 6, generator=generator)
    return points, points[:, :3].argmax(1)


def slow(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that is slowed by 2 ms."""

    def slower(*args: Any) -> Any:  # noqa: ANN401
        result = call(*args)
        time.sleep(0.002)
        return result

    return slower


def new_model() -> torch.nn.Module:
    """Build the network, with the same initial values each time."""
    torch.manual_seed(0)
    return sg.DenseMLP([6, 8, 3])


def train(folder: Path, say: Callable[[str, Any], None]) -> None:
    """Train or resume on a slow disk, and print a digest of the model."""
    os.fsync, os.replace = slow(os.fsync), slow(os.replace)
    model = new_model()
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        training.fit(model, data(), RECIPE, folder, seed=SEED, resume=True, progress=False, callbacks=[Reporter(say)])
    for note in notes:
        if "the training continues from" in str(note.message):
            say("note", str(note.message))
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.contiguous().numpy().tobytes())
    say("done", digest.hexdigest())


def run(action: Callable[[Callable[[str, Any], None]], None], kill: Callable[[int], None] = lambda child: None) -> Run:
    """Run an action in a fork of this process, which has imported all packages but computed nothing."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        report(action, lambda kind, value: _say(write, kind, value))
        os._exit(0)
    os.close(write)
    kill(child)
    with open(read, "rb") as file:
        lines = file.read().decode().splitlines()
    _, status = os.waitpid(child, 0)
    return Run(os.WIFSIGNALED(status), [json.loads(line) for line in lines])


def _say(descriptor: int, kind: str, value: Any) -> None:  # noqa: ANN401
    os.write(descriptor, (json.dumps([kind, value]) + "\n").encode())


def report(action: Callable[[Callable[[str, Any], None]], None], say: Callable[[str, Any], None]) -> None:
    """Run an action and print its error, if any."""
    try:
        action(say)
    except OSError as error:
        say("error", f"{type(error).__name__}: {error}")
    except BaseException:
        say("crash", traceback.format_exc())


def epoch_of(path: Path) -> int | None:
    """Return the number of finished epochs of a checkpoint; None if it is damaged or missing."""
    try:
        return int(torch.load(path, weights_only=True)["epoch"]) + 1
    except Exception:  # damage of any kind
        return None


def after(delay: float) -> Callable[[int], None]:
    """Return a function that kills a process after a number of seconds."""

    def kill(child: int) -> None:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)

    return kill


def while_writing(folder: Path, skip: int, delay: float) -> Callable[[int], None]:
    """Return a function that kills a process a number of seconds after it starts to write a later checkpoint."""

    def kill(child: int) -> None:
        seen: set[str] = set()
        began = time.monotonic()
        while len(seen) <= skip and time.monotonic() - began < 60:
            with contextlib.suppress(FileNotFoundError):
                seen |= {name for name in os.listdir(folder) if name.startswith("last.ckpt.")}
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                return  # it ended
        end = time.perf_counter() + delay
        while time.perf_counter() < end:
            pass
        os.kill(child, signal.SIGKILL)

    return kill


def where_hit(killed: Run, folder: Path) -> str:
    """Return the phase of training in which a kill occurred, judged by the remaining files."""
    names = os.listdir(folder) if folder.exists() else []
    if any(name.startswith("last.ckpt.") for name in names):
        return (
            "writing a checkpoint"
            if "last.ckpt" in names or epoch_of(folder / "previous.ckpt") is None
            else ("between the moves of two checkpoints")
        )
    if any(name.endswith(".part") for name in names):
        return "writing the history"
    return "in an epoch" if killed.of("epoch") else "before the first epoch"


def kill_and_resume(folder: Path, kills: int, expected: str, seconds: float, draw: random.Random) -> Finding:
    """Kill trainings a number of times, and check each resumed one."""
    hit: collections.Counter[str] = collections.Counter()
    resumed: collections.Counter[str] = collections.Counter()
    findings: list[str] = []
    finished = 0
    shutil.rmtree(folder, ignore_errors=True)
    while sum(hit.values()) < kills:
        left = tuple(epoch_of(folder / name) for name in FILES)
        if draw.random() < 0.5:
            kill = after(draw.uniform(0, seconds))
        else:
            kill = while_writing(folder, draw.randrange(4), draw.uniform(0, 0.012))
        part = run(functools.partial(train, folder), kill)
        findings += check(part, left, expected, resumed)
        if part.killed:
            hit[where_hit(part, folder)] += 1
        finished += bool(part.of("done"))
        if part.of("done") or part.of("crash") or part.of("error"):  # what failed once would fail again
            shutil.rmtree(folder, ignore_errors=True)
    left = tuple(epoch_of(folder / name) for name in FILES)
    last = run(functools.partial(train, folder))
    findings += check(last, left, expected, resumed)
    if not last.of("done"):
        findings.append("the last training did not come to its end")
    return {
        "kills": sum(hit.values()),
        "hit": dict(hit),
        "resumed_from": dict(resumed),
        "trainings_finished": finished + 1,
        "findings": findings,
    }


def check(part: Run, left: tuple[int | None, ...], expected: str, resumed: collections.Counter[str]) -> list[str]:
    """Return the errors of a training that resumed from these checkpoints."""
    findings = [f"failed: {text}" for text in part.of("crash") + part.of("error")]
    findings += [f"ended at {bits}, not {expected}" for bits in part.of("done") if bits != expected]
    for epoch in part.of("resumed"):
        origin = "last" if left[0] is not None else "previous" if left[1] is not None else "nothing"
        wanted = {"last": left[0], "previous": left[1], "nothing": 0}[origin]
        resumed[origin] += 1
        if epoch != wanted:
            findings.append(f"began with epoch {epoch}, with checkpoints of epochs {left}")
    return findings


@contextlib.contextmanager
def small_disk(kilobytes: int) -> Iterator[Path | None]:
    """Mount a small disk in memory; None if that is not allowed."""
    place = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)
        place.rmdir()


def fill(disk: Path, left: int) -> None:
    """Fill a disk up to a number of free bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "ballast").write_bytes(bytes(max(0, free - left)))


class Filler(lightning.Callback):
    """Fill the disk at the beginning of an epoch."""

    def __init__(self, epoch: int, action: Callable[[], None]) -> None:
        self.epoch, self.action = epoch, action

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Fill it."""
        if trainer.current_epoch == self.epoch:
            self.action()


def train_until_full(folder: Path, epoch: int, action: Callable[[], None], say: Callable[[str, Any], None]) -> None:
    """Train on a disk that fills up in an epoch."""
    training.fit(
        new_model(), data(), RECIPE, folder, seed=SEED, resume=True, progress=False, callbacks=[Filler(epoch, action)]
    )


def fill_and_resume(disk: Path | None, elsewhere: Path, fills: int, expected: str, draw: random.Random) -> Finding:
    """Fill the disk of trainings a number of times, and resume once there is space."""
    findings: list[str] = []
    errors: collections.Counter[str] = collections.Counter()
    for _ in range(fills):
        folder = (elsewhere if disk is None else disk) / "run"
        shutil.rmtree(folder, ignore_errors=True)
        epoch, left = draw.randrange(1, RECIPE.epochs), draw.randrange(0, 12_000)

        def full(left: int = left) -> None:
            if disk is None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (left, left))
            else:
                fill(disk, left)

        stopped = run(functools.partial(train_until_full, folder, epoch, full))
        findings += [f"crashed: {text}" for text in stopped.of("crash")]
        for text in stopped.of("error"):
            errors[text.partition(": '")[0]] += 1
            if str(folder) not in text or ".part" in text:
                findings.append(f"an error that does not name the file: {text}")
        if not stopped.of("error"):
            errors["none: there was room for all"] += 1
        elif epoch_of(folder / "last.ckpt") is None or list(folder.glob("*.part")):
            findings.append(f"left {sorted(os.listdir(folder))}")
        with contextlib.suppress(FileNotFoundError):
            ((elsewhere if disk is None else disk) / "ballast").unlink()
        epochs_left = tuple(epoch_of(folder / name) for name in FILES)
        again = run(functools.partial(train, folder))
        findings += check(again, epochs_left, expected, collections.Counter())
        if not again.of("done"):
            findings.append("did not come to its end once there was space")
    kind = "files of limited size" if disk is None else "a small tmpfs"
    return {"disk": kind, "fills": fills, "stopped_by": dict(errors), "findings": findings}


def other_file_system(given: Path | None) -> Path:
    """Return a folder on another file system than that of temporary files."""
    here = os.stat(tempfile.gettempdir()).st_dev
    for place in [given] if given else [Path("/dev/shm"), Path.cwd(), Path.home()]:
        if place.is_dir() and os.access(place, os.W_OK) and os.stat(place).st_dev != here:
            return Path(tempfile.mkdtemp(prefix="kill-and-resume-", dir=place))
    raise SystemExit(f"--folder must be on another file system than {tempfile.gettempdir()}")


def main(argv: list[str] | None = None) -> int:
    """Run all, print the outcome, and return the number of findings."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--kills", type=int, default=100, help="how many trainings to kill (100)")
    add("--fills", type=int, default=20, help="how many disks to fill (20)")
    add("--seed", type=int, default=0, help="seed of the random moments (0)")
    add("--folder", type=Path, help="a folder on another file system than that of temporary files (/dev/shm)")
    add("--json", type=Path, help="write the results to this file")
    args = parser.parse_args(argv)
    draw = random.Random(args.seed)
    base = other_file_system(args.folder)
    try:
        began = time.monotonic()
        whole = run(functools.partial(train, base / "whole"))
        seconds = time.monotonic() - began
        if not whole.of("done"):
            raise SystemExit(f"the uninterrupted training failed: {whole.said}")
        (expected,) = whole.of("done")
        kills = kill_and_resume(base / "run", args.kills, expected, seconds, draw)
        size = max(path.stat().st_size for path in (base / "whole").iterdir())
        with small_disk(6 * size // 1024 + 64) as disk:
            fills = fill_and_resume(disk, base / "full", args.fills, expected, draw)
    finally:
        shutil.rmtree(base)
    command = shlex.join(["python", "scripts/kill_and_resume.py", *(sys.argv[1:] if argv is None else argv)])
    about = {
        "command": command,
        "seed": args.seed,
        "epochs": RECIPE.epochs,
        "seconds_uninterrupted": round(seconds, 2),
        "kill": kills,
        "full_disk": fills,
        "environment": training.environment(),
    }
    text = json.dumps(about, indent=1)
    print(text)
    if args.json is not None:
        atomic.write_text(args.json, text)
    return len(kills["findings"]) + len(fills["findings"])


if __name__ == "__main__":
    sys.exit(min(main(), 1))
