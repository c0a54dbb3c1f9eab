"""An experiment of a few seconds, as a program: trains the runs of a folder, and prints what each one measured.

python small_experiment.py FOLDER DATA JOBS
"""

import functools
import hashlib
import json
import os
import sys

import spatialgraph as sg
from spatialgraph import experiments, training

EPOCHS = 12


def small_experiment(data, epochs=EPOCHS, log=os.devnull):
    """Two networks with two seeds, on the images of a folder; each start of a training adds a line to a log."""

    def started(model):
        with open(log, "a") as file:
            file.write(f"{type(model).__name__}\n")
        return ()

    models = [
        experiments.Candidate("spatial", functools.partial(sg.SpatialMLP, [784, 16, 10], 2), callbacks=started),
        experiments.Candidate("dense", lambda: sg.DenseMLP([784, 8, 10]), callbacks=started),
    ]
    recipe = training.Recipe(epochs=epochs, learning_rate=0.05, batch_size=25)
    return experiments.Experiment(experiments.runs_of(models, recipe, seeds=(0, 1)), experiments.LazyMnist(data))


def measured(experiment, folder):
    """What each run measured, without times, and a digest of its model."""
    found = []
    for run, figures in zip(experiment.runs, experiment.metrics(folder), strict=True):
        place = run.folder(folder)
        rows = json.loads((place / "history.json").read_text())
        figures = dict(figures, model=hashlib.sha256((place / "model.pt").read_bytes()).hexdigest())
        found.append([run.name, _without_times(figures), [_without_times(row) for row in rows]])
    return json.loads(json.dumps(found))


def _without_times(figures):
    return {name: value for name, value in figures.items() if name != "seconds"}


if __name__ == "__main__":
    _, folder, data, jobs, *epochs = sys.argv
    experiment = small_experiment(data, *map(int, epochs), log=f"{folder}.log")
    experiments.as_script(lambda: experiment.run(folder, jobs=int(jobs), threads=1), option="")
    print(json.dumps(measured(experiment, folder)))
