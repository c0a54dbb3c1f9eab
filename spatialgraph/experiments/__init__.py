"""Resumable trainings of several models on MNIST, on one machine or several, with tables and figures."""

from spatialgraph.experiments.candidate import CLASSES, Candidate
from spatialgraph.experiments.data import LazyMnist, load_mnist
from spatialgraph.experiments.experiment import Experiment
from spatialgraph.experiments.list_options import add_list_options
from spatialgraph.experiments.options import is_papers, make_law, make_wiring, parse, spatial_name, spatial_options
from spatialgraph.experiments.pictures import save_figure
from spatialgraph.experiments.program import Figures, Program
from spatialgraph.experiments.pruned import accuracies_after_pruning, pruned_in_training
from spatialgraph.experiments.records import OtherSettings, finish, finished, prepare
from spatialgraph.experiments.reports import command_line, summary, write_report
from spatialgraph.experiments.runs import Run, folder_name, runs_of
from spatialgraph.experiments.scripts import as_script, run_program
from spatialgraph.experiments.timing import step_milliseconds

__all__ = [
    "CLASSES",
    "Candidate",
    "Experiment",
    "Figures",
    "LazyMnist",
    "OtherSettings",
    "Program",
    "Run",
    "accuracies_after_pruning",
    "add_list_options",
    "as_script",
    "command_line",
    "finish",
    "finished",
    "folder_name",
    "is_papers",
    "load_mnist",
    "make_law",
    "make_wiring",
    "parse",
    "prepare",
    "pruned_in_training",
    "run_program",
    "runs_of",
    "save_figure",
    "spatial_name",
    "spatial_options",
    "step_milliseconds",
    "summary",
    "write_report",
]
