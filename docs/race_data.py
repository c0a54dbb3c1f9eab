"""What was measured in the runs of examples/race.py and examples/microcontroller.py, from docs/results/."""

import json
import re
import statistics
from pathlib import Path

from reproduction_data import mean_and_deviation

RESULTS = Path(__file__).resolve().parent / "results"
RACE, FASHION, DEVICES, SETTINGS = (
    RESULTS / f"{name}.json" for name in ("race", "race_fashion", "microcontroller", "race_settings")
)


class Networks:
    """The networks of a file of examples/race.py."""

    def __init__(self, path):
        self.about = json.loads(path.read_text())
        self._runs = {}
        for run in self.about["runs"]:
            self._runs.setdefault(run["network"], []).append(run)

    def names(self, group):
        """The networks of a group, in the order in which they were listed."""
        return [name for name, runs in self._runs.items() if runs[0]["group"] == group]

    def __getitem__(self, name):
        """The runs of a network, one for each seed."""
        return self._runs[name]

    def parameters(self, name):
        """Number of parameters of a network."""
        return self[name][0]["parameters"]

    def accuracies(self, name, bits=32):
        """Accuracies in percent, also after rounding to 8 bits."""
        if bits == 8:
            return [100 * run["examined"]["accuracy_with_8_bits"] for run in self[name]]
        return [100 * run["accuracy"] for run in self[name]]

    def mean(self, name, bits=32):
        """Mean accuracy in percent."""
        return statistics.fmean(self.accuracies(name, bits))

    def accuracy(self, name, bits=32):
        """Mean accuracy and its standard deviation as text."""
        return mean_and_deviation(self.accuracies(name, bits))

    def minutes(self, name):
        """Median minutes of a training as text."""
        return f"{statistics.median(run['seconds'] for run in self[name]) / 60:.1f}"

    def epochs(self, group):
        """Number of epochs of most networks of a group."""
        return statistics.mode(self[name][0]["recipe"]["epochs"] for name in self.names(group))

    def seeds(self):
        """Number of seeds of each network."""
        (count,) = {len(runs) for runs in self._runs.values()}
        return count


def take(source, target, data):
    """Copy a file of results of a data set, without the folders of the machine where it was made."""
    about = json.loads(Path(source).read_text())
    if about["data"] != data or about.get("judged_on", "test") != "test":
        raise ValueError(f"{source} must be of test images of {data}, got {about['data']}, {about.get('judged_on')}")
    command = re.sub(r" --(out|race) \S+", "", about["command"])
    about["command"] = re.sub(r"--data-dir \S+", "--data-dir FOLDER --out runs/fashion", command)
    target.write_text(json.dumps(about, indent=1) + "\n")
