"""Write docs/reproduction.md and its figures from the runs of examples/paper.py.

python docs/make_reproduction.py                    # from docs/results/reproduction_fast.json and _paper.json
python docs/make_reproduction.py --runs runs/paper  # add the runs of this folder to these files first
"""

import argparse
import json
import statistics
import textwrap
from pathlib import Path

from reproduction_choices import choices
from reproduction_data import PROTOCOLS, RESULTS, Measured, mean_and_deviation, merge
from reproduction_figures import AMOUNTS, FIGURES, PRUNED, is_there
from reproduction_statements import DIMENSIONS, MATCHED, STATEMENTS

DOCS = Path(__file__).resolve().parent
IMAGES = DOCS / "images" / "reproduction"
PAGE = DOCS / "reproduction.md"
NAMES = {"paper": "the paper's protocol", "fast": "the fast protocol"}
TABLES = {
    "Table 1: perceptrons in three dimensions": ("fixed", "learned", "dense 14", "dense 2048"),
    "Table 2: spiking networks": ("spiking fixed", "spiking learned", "spiking dense 14", "spiking dense 2048"),
    "Table 3: free spacing": ("free", "dense 17"),
}
CAPTIONS = {
    "fig2": "accuracy on the training images by epoch",
    "fig3": "accuracy over the share of synapses removed",
    "fig4": "neurons of each layer along z, free spacing",
    "fig5": "accuracy over the number of dimensions",
    "fig6": "positions of the neurons, larger where they are more active for the mean image of digit 0; excitatory "
    "neurons are red, inhibitory ones blue, and numbers mark the outputs",
}


def table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(runs):
    """Accuracy of some runs, and how many seeds."""
    if not runs:
        return "not run"
    seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds"
    return f"{mean_and_deviation([100 * run['accuracy'] for run in runs])} ({seeds})"


def minutes(runs):
    return f"{statistics.fmean(run['seconds'] for run in runs) / 60:.1f}" if runs else ""


def comparison(names, paper, fast):
    rows = []
    for name in names:
        known = [*paper[name], *fast[name]]
        given = known[0]["paper"] if known else ""
        parameters = f"{known[0]['parameters']:,}" if known else ""
        rows.append([name, parameters, given or "not given", cell(paper[name]), cell(fast[name])])
        rows[-1] += [minutes(paper[name]), minutes(fast[name])]
    header = ["network", "parameters", "paper (%)", "paper's protocol (%)", "fast protocol (%)"]
    return table([*header, "minutes, paper's", "minutes, fast"], rows)


def pruning(measured, after):
    rows = []
    for amount in (0, *AMOUNTS):
        names = PRUNED if after or not amount else [f"{name}, {amount} % in training" for name in PRUNED]
        values = [mean_and_deviation(measured.accuracies(name, amount if after and amount else None)) for name in names]
        if any(values):
            rows.append([f"{amount} %", *(value or "not run" for value in values)])
    return table(["removed", "spatial, learned spacing", "dense 14", "dense 2048"], rows)


def dimensions(paper, fast):
    rows = []
    for dim, name in DIMENSIONS.items():
        dense = f"dense {MATCHED[dim]}"
        known = fast[name] or paper[name]
        count = f"{known[0]['parameters']:,}" if known else ""
        rows.append(
            [str(dim), count, cell(paper[name]), cell(fast[name]), dense, cell(paper[dense]), cell(fast[dense])]
        )
    header = [
        "d",
        "parameters",
        "paper's protocol (%)",
        "fast (%)",
        "dense network",
        "paper's protocol (%)",
        "fast (%)",
    ]
    return table(header, rows)


def statements(paper, fast):
    """What the paper states, judged by its own protocol where that was run, else by the fast one."""
    rows = []
    for statement in STATEMENTS:
        found = [statement.check(measured) for measured in (paper, fast)]
        judged = next((each for each in found if each is not None), None)
        verdict = "not run" if judged is None else "held" if judged[0] else "did not hold"
        reason = statement.reason if judged is not None and not judged[0] else ""
        words = ["not run" if each is None else f"{'yes' if each[0] else 'no'}: {each[1]}" for each in found]
        rows.append([statement.text, verdict, *words, reason])
    return table(["statement", "verdict", "by the paper's protocol", "by the fast protocol", "reason"], rows)


def pictures(name, measured, draw):
    """Draw a figure for each protocol that has what it needs, and return the lines that show them."""
    lines = []
    for protocol in PROTOCOLS:
        if is_there(name, measured[protocol]):
            path = IMAGES / f"{name}_{protocol}.png"
            if draw:
                IMAGES.mkdir(parents=True, exist_ok=True)
                FIGURES[name](measured[protocol]).savefig(path, dpi=110)
            text = f"Figure {name[3:]} by {NAMES[protocol]}: {CAPTIONS[name]}."
            lines.append(f"![Figure {name[3:]}, {NAMES[protocol]}](images/reproduction/{path.name})")
            lines.append(textwrap.fill(text, 120))
    return "\n\n".join(lines)


def overlap(measured):
    lines = []
    for protocol in PROTOCOLS:
        runs = measured[protocol]["free"]
        if runs:
            shares = [statistics.fmean(run["examined"]["overlap"][gap] for run in runs) for gap in range(2)]
            lines.append(
                f"By {NAMES[protocol]} {100 * shares[0]:.1f} % of the pairs of an input and a hidden neuron, and "
                f"{100 * shares[1]:.1f} % of those of a hidden neuron and an output, are in reverse order along z."
            )
    return " ".join(lines)


def smallest_gap(measured):
    """The smallest learned distance of two layers."""
    runs = [run for protocol in PROTOCOLS for run in measured[protocol].runs if run["network"].endswith("learned")]
    return min((gap for run in runs for gap in run["gaps"]), key=abs, default=float("nan"))


def sources():
    lines = []
    for protocol in PROTOCOLS:
        path = RESULTS / f"reproduction_{protocol}.json"
        if path.exists():
            found = json.loads(path.read_text())
            threads = ", ".join(map(str, sorted({run["threads"] for run in found["runs"]})))
            lines.append(f"- {NAMES[protocol]}: {len(found['runs'])} runs, threads of each: {threads}; by")
            for command in dict.fromkeys(each["command"] for each in found["sources"]):
                lines += textwrap.wrap(f"`{command}`", 118, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(lines)


def page(draw=True):
    """Return the page, and draw its figures."""
    measured = {protocol: Measured.of(protocol) for protocol in PROTOCOLS}
    paper, fast = measured["paper"], measured["fast"]
    shown = {name: pictures(name, measured, draw) for name in FIGURES}
    parts = [
        "# The paper, reproduced",
        "Every table and figure of [Erb et al. (2025)](https://arxiv.org/abs/2506.13410), with the numbers measured by "
        "this library beside those of the paper. `python examples/paper.py` trains all networks, "
        "`python docs/make_reproduction.py` makes this page from `docs/results/reproduction_paper.json` and "
        "`reproduction_fast.json`, which hold all measured numbers. Accuracies are those on the 10,000 test images of "
        "MNIST, read once after training, as mean and standard deviation over the seeds.",
        sources(),
        "The paper's protocol is Adam with a constant rate of 0.005 for 300 epochs (spiking networks: 200), batches of "
        "600, no normalisation. The fast protocol has 20 epochs, a one-cycle schedule and normalised hidden layers.",
        "## What the paper states",
        "Statements are judged by the paper's protocol where it was run, else by the fast one.",
        statements(paper, fast),
    ]
    for title, names in TABLES.items():
        parts += [f"## {title}", comparison(names, paper, fast)]
    parts += ["## Figure 2: training", shown["fig2"]]
    parts += ["## Figure 3: pruning", "The smallest weights of each layer are removed."]
    for protocol in PROTOCOLS:
        for after, when in ((True, "After training"), (False, "In training")):
            if measured[protocol]["learned"]:
                parts += [f"{when}, {NAMES[protocol]}, accuracy in percent:", pruning(measured[protocol], after)]
    parts += [shown["fig3"], "## Figure 4: the layers along z", overlap(measured), shown["fig4"]]
    parts += ["## Figure 5: dimensions", dimensions(paper, fast), shown["fig5"]]
    parts += [
        "## Figure 6: layer maps",
        shown["fig6"],
        "## What the paper leaves open",
        table(*choices(smallest_gap(measured))),
    ]
    return "\n\n".join(wrapped(part) for part in parts if part) + "\n"


def wrapped(part):
    """Return a paragraph in lines of at most 120 characters; tables, headings, lists and figures as they are."""
    return part if part[0] in "#|-!" else textwrap.fill(part, 120, break_long_words=False, break_on_hyphens=False)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="folder of examples/paper.py")
    args = parser.parse_args(argv)
    if args.runs is not None:
        merge(args.runs)
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
