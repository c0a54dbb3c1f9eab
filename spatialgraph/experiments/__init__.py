"""Resumable trainings of several models on MNIST, with command line, folders, tables and figures, for the examples."""

from spatialgraph.experiments.experiment import CLASSES, Candidate, Experiment, Figures
from spatialgraph.experiments.options import is_papers, make_law, make_wiring, parse, spatial_name, spatial_options
from spatialgraph.experiments.pictures import save_figure
from spatialgraph.experiments.records import finish, finished, prepare
from spatialgraph.experiments.reports import command_line, summary, write_report
from spatialgraph.experiments.runs import as_script, load_mnist, run
from spatialgraph.experiments.timing import step_milliseconds

__all__ = [
    "CLASSES",
    "Candidate",
    "Experiment",
    "Figures",
    "as_script",
    "command_line",
    "finish",
    "finished",
    "is_papers",
    "load_mnist",
    "make_law",
    "make_wiring",
    "parse",
    "prepare",
    "run",
    "save_figure",
    "spatial_name",
    "spatial_options",
    "step_milliseconds",
    "summary",
    "write_report",
]
