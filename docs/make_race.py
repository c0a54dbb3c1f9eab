"""Write docs/race.md and its figure from the results of examples/race.py and examples/microcontroller.py.

python docs/make_race.py                       # from docs/results/
python docs/make_race.py --race runs/race --fashion runs/fashion --microcontroller runs/microcontroller
"""

import argparse
import json
import statistics
from pathlib import Path

import race_figure
from race_data import DEVICES, FASHION, RACE, SETTINGS, Networks, take
from race_published import DEVICES as PUBLISHED_DEVICES
from race_published import PUBLISHED
from race_text import CAPTION, TEXT

from spatialgraph.training import markdown

DOCS = Path(__file__).resolve().parent
PAGE, FIGURE = DOCS / "race.md", DOCS / "images" / "race.png"


def group(networks, name):
    """Return the table of a group."""
    rows = [
        [each, f"{networks.parameters(each):,}", networks.accuracy(each), networks.minutes(each)]
        for each in networks.names(name)
        if "bits" not in each
    ]
    return markdown(["network", "parameters", "accuracy (%)", "minutes"], rows)


def few_bits(networks):
    """Return the table of what few bits cost."""
    rows = []
    for name in networks.names("image"):
        if not name.startswith("spatial") or "bits" in name:
            continue
        low = f"{name}, 4 bits"
        row = [name, networks.accuracy(name), networks.accuracy(name, 8)]
        row.append(f"{networks.mean(name) - networks.mean(name, 8):.2f}")
        if low in networks.names("image"):
            row += [networks.accuracy(low), f"{networks.mean(name) - networks.mean(low):.2f}"]
        rows.append([*row, "-", "-"][:6])
    return markdown(["network", "32 bits (%)", "8 bits (%)", "points lost", "4 bits (%)", "points lost"], rows)


def held_out(network, words):
    """Return what was tried on held-out images for a kind of network, with some words in its name, as percentages."""
    found = {}
    for run in json.loads(SETTINGS.read_text())["runs"]:
        name = run["network"]
        if name.startswith(f"{network}, ") and words in name:
            short = name.removeprefix(f"{network}, ").removeprefix(f"{words}, ")
            found[short] = f"{100 * run['validation_accuracy']:.2f}"
    return found


def tried(words):
    """Return the table of spatial networks that were tried on held-out images and have some words in their names."""
    rows = [list(row) for row in held_out("spatial", words).items()]
    return markdown(["tried", "held-out accuracy (%)"], rows)


def published():
    """Return the table of published networks."""
    rows = [[each.name, f"{each.parameters:,}", f"{each.accuracy}", each.conditions, each.source] for each in PUBLISHED]
    return markdown(["network", "parameters", "accuracy (%)", "conditions", "source"], rows)


def equal(rows):
    """Return how many images have the same classes and outputs in C and in Python."""
    images, classes, outputs = (sum(row[key] for row in rows) for key in ("images", "equal_classes", "equal_outputs"))
    return (
        f"Of {images:,} images in all, {classes:,} have the class of the same\n"
        f"whole-number arithmetic in Python, and {outputs:,} equal outputs."
    )


def devices(rows):
    """Return the table of networks on processors."""
    lines = []
    for name in dict.fromkeys(row["network"] for row in rows):
        runs = [row for row in rows if row["network"] == name]
        lines += [_on(processor, name, runs) for processor in runs[0]["processors"]]
    lines += [
        [each.name, f"{each.kilobytes}", "-", "-", f"{each.accuracy:.2f}", f"{each.million_cycles} (cycles)"]
        for each in PUBLISHED_DEVICES
    ]
    columns = ["network", "constants (kB)", "code (kB)", "RAM (kB)", "accuracy in C (%)", "million instructions"]
    return markdown(columns, lines)


def _on(processor, name, runs):
    found = [run["processors"][processor] for run in runs]
    constants = [run["manifest"]["constant_bytes"] for run in runs]
    code = [each["flash_bytes"] - size for each, size in zip(found, constants, strict=True)]
    memory = [each["variable_bytes"] + each["stack_bytes"] for each in found]
    kilobytes = [f"{statistics.fmean(sizes) / 1000:.2f}" for sizes in (constants, code, memory)]
    accuracy = statistics.fmean(100 * run["accuracy_in_c"] for run in runs)
    instructions = statistics.fmean(each["instructions"] for each in found)
    return [f"{name}, {processor}", *kilobytes, f"{accuracy:.2f}", f"{instructions / 1e6:.1f}"]


def page():
    """Return the page."""
    networks, fashion, deployed = Networks(RACE), Networks(FASHION), json.loads(DEVICES.read_text())
    groups = {name.replace(" ", "_"): name for name in ("image", "distilled", "any order", "spiking")}
    return TEXT.format(
        caption=CAPTION,
        seeds=networks.seeds(),
        **{name: group(networks, each) for name, each in groups.items()},
        **{f"{name}_epochs": networks.epochs(each) for name, each in groups.items()},
        fashion=group(fashion, "fashion"),
        few_bits=few_bits(networks),
        equal=equal(deployed["networks"]),
        devices=devices(deployed["networks"]),
        **{f"tried_{name}": tried(words) for name, words in (("any_order", "any order"), ("distortion", "distortion"))},
        best_train=max(held_out("tensor train", "any order").values()),
        published=published(),
        commands="\n".join(about["command"] for about in (networks.about, fashion.about, deployed)),
    )


def main():
    """Take new results if there are any, draw the figure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("race", "fashion", "microcontroller"):
        parser.add_argument(f"--{name}", type=Path, help="folder of runs, whose results replace those in docs/results")
    args = parser.parse_args()
    for folder, name, target, data in (
        (args.race, "race", RACE, "MNIST"),
        (args.fashion, "race", FASHION, "Fashion-MNIST"),
        (args.microcontroller, "microcontroller", DEVICES, "MNIST"),
    ):
        if folder is not None:
            take(folder / f"{name}.json", target, data)
    race_figure.draw(Networks(RACE)).savefig(FIGURE, dpi=110)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
