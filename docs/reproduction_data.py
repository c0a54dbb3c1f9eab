"""What was measured in the runs of examples/paper.py, from docs/results/reproduction_fast.json and _paper.json."""

import dataclasses
import json
import re
import statistics
from pathlib import Path

RESULTS = Path(__file__).resolve().parent / "results"
PROTOCOLS = ("paper", "fast")
EPOCHS = {"paper": (300, 200), "fast": (20,)}


def file_of(protocol):
    return RESULTS / f"reproduction_{protocol}.json"


@dataclasses.dataclass(frozen=True)
class Measured:
    """The runs of one protocol."""

    protocol: str
    runs: list

    @classmethod
    def of(cls, protocol):
        path = file_of(protocol)
        return cls(protocol, json.loads(path.read_text())["runs"] if path.exists() else [])

    def __getitem__(self, network):
        """The runs of a network, by seed."""
        return sorted((run for run in self.runs if run["network"] == network), key=lambda run: run["seed"])

    def accuracies(self, network, amount=None):
        """Accuracies in percent, also after the removal of a percentage of the synapses."""
        if amount is None:
            return [100 * run["accuracy"] for run in self[network]]
        return [100 * run["examined"]["after_training"][str(amount)] for run in self[network]]

    def mean(self, network, amount=None):
        """The mean accuracy in percent; None without runs."""
        values = self.accuracies(network, amount)
        return statistics.fmean(values) if values else None


def mean_and_deviation(values):
    """Mean and sample standard deviation as text; empty without values."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def merge(folder):
    """Add the runs below a folder of examples/paper.py to the files, in place of runs of the same network and seed."""
    for protocol in PROTOCOLS:
        source, target = Path(folder) / protocol / "runs.json", file_of(protocol)
        if not source.exists():
            continue
        new = json.loads(source.read_text())
        if new["data"] != "MNIST":
            raise SystemExit(f"{source} must be of MNIST, got {new['data']}")
        for run in new["runs"]:
            if run["recipe"]["epochs"] not in EPOCHS[protocol]:
                raise SystemExit(f"{source} must hold whole runs, got {run['recipe']['epochs']} epochs")
        old = json.loads(target.read_text()) if target.exists() else {"sources": [], "runs": []}
        runs = {(run["network"], run["seed"]): run for run in [*old["runs"], *new["runs"]]}
        command = re.sub(r" --(out|data-dir) \S+", "", new["command"])  # where it was run is of no interest
        origin = {"command": command, "environment": new["environment"]}
        sources = [each for each in old["sources"] if each != origin] + [origin]
        lines = ",\n  ".join(json.dumps(runs[key]) for key in sorted(runs))
        head = json.dumps({"protocol": protocol, "data": new["data"], "sources": sources}, indent=1)
        target.write_text(f'{head.rstrip("}").rstrip()},\n "runs": [\n  {lines}\n ]\n}}\n')
