"""The part of the table of wrong calls that concerns spiking networks."""

import torch
from wrong_calls import INF, NAN, dag, layered, mlp, snn

import spatialgraph as sg
from spatialgraph.neurons import Leaky

SPIKING = [
    ("velocity 0", lambda: layered(velocity=0.0), ValueError, "velocity must be above 0, got 0.0"),
    ("negative velocity", lambda: snn(velocity=-2), ValueError, "velocity must be above 0, got -2"),
    ("infinite velocity", lambda: snn(velocity=INF), ValueError, "velocity must be finite, got inf"),
    ("velocity as text", lambda: snn(velocity="fast"), TypeError, "velocity must be a number, got 'fast' (str)"),
    (
        "weights",
        lambda: layered(weight_mode="learned"),
        ValueError,
        "weight_mode must be one of 'law', 'free', 'both', got 'le",
    ),
    (
        "delays",
        lambda: snn(delay_mode="random"),
        ValueError,
        "delay_mode must be one of 'length', 'free', got 'random'",
    ),
    (
        "free delays",
        lambda: layered(delay_mode="free"),
        ValueError,
        "velocity must be given for delay_mode='free', whose first",
    ),
    (
        "free delays without a velocity",
        lambda: setattr(layered(delay_mode="free", velocity=1.0), "velocity", None),
        ValueError,
        "velocity must be given for delay_mode='free', whose first",
    ),
    ("no steps", lambda: snn(num_steps=0), ValueError, "num_steps must be at least 1, got 0"),
    ("negative steps", lambda: snn(num_steps=-3), ValueError, "num_steps must be at least 1, got -3"),
    ("fractional steps", lambda: snn(num_steps=2.5), TypeError, "num_steps must be an int, got 2.5 (float)"),
    (
        "dense steps",
        lambda: sg.DenseSNN([4, 2], num_steps=True),
        TypeError,
        "num_steps must be an int, got True (bool)",
    ),
    (
        "coding",
        lambda: snn(coding="burst"),
        ValueError,
        "coding must be one of 'current', 'rate', 'latency', got 'burs",
    ),
    ("read_out", lambda: snn(read_out="last"), ValueError, "read_out must be one of 'potential', 'count', got 'last'"),
    (
        "reset_mechanism",
        lambda: snn(reset_mechanism="hard"),
        ValueError,
        "reset_mechanism must be one of 'subtract', 'zero', 'none', got 'hard'",
    ),
    ("beta", lambda: snn(beta=1.5), ValueError, "beta must be between 0 and 1, got 1.5"),
    ("beta of outputs", lambda: sg.DenseSNN([4, 2], beta=-0.5), ValueError, "beta must be between 0 and 1, got -0.5"),
    (
        "beta as a tensor",
        lambda: snn(beta=torch.tensor(0.5)),
        TypeError,
        "beta must be a number, got tensor(0.5000) (Tensor)",
    ),
    ("threshold", lambda: snn(threshold=0), ValueError, "threshold must be above 0, got 0"),
    ("nobody fires", lambda: sg.DenseSNN([4, 2], threshold=-1.0), ValueError, "threshold must be above 0, got -1.0"),
    ("drive", lambda: snn(drive=0.0), ValueError, "drive must be above 0, got 0.0"),
    ("max_delay 0", lambda: snn(velocity=1.0, max_delay=0), ValueError, "max_delay must be at least 1, got 0"),
    ("max_delay", lambda: snn(velocity=1.0, max_delay=2.5), TypeError, "max_delay must be an int, got 2.5 (float)"),
    (
        "longer than the line",
        lambda: sg.SpatialSNN(dag([[0], [1]], velocity=0.125), max_delay=3),
        ValueError,
        "delays must not be longer than the line (max_delay=3 steps), got 8; raise max_delay or the graph's velocity",
    ),
    (
        "single",
        lambda: snn([4, 1, 2], normalize=True),
        ValueError,
        "normalize must be False where a stage has a single",
    ),
    ("neuron", lambda: snn(neuron=0.9), TypeError, "neuron must be a function of the number of neurons, got float"),
    (
        "neuron made already",
        lambda: snn(neuron=Leaky()),
        TypeError,
        "neuron must be a function of the number of neurons, got Leaky",
    ),
    (
        "velocity, no time",
        lambda: mlp(velocity=2.0),
        ValueError,
        "velocity must be None in a network without time, got",
    ),
    (
        "graph with a velocity",
        lambda: sg.SpatialMLP(layered(velocity=2.0)),
        ValueError,
        "velocity must be None in a network without time, got 2.0",
    ),
    (
        "velocity beside a graph",
        lambda: snn(layered(), velocity=1.0),
        TypeError,
        "velocity must be set where the graph",
    ),
    (
        "weights beside a graph",
        lambda: snn(layered(), weight_mode="free"),
        TypeError,
        "weight_mode must be set where the graph",
    ),
    ("unknown option", lambda: snn(leak=0.1), TypeError, "leak"),
    ("unknown dense option", lambda: sg.DenseSNN([4, 2], velocity=1.0), TypeError, "velocity"),
    ("features", lambda: snn()(torch.zeros(5, 3)), ValueError, "x must have shape (..., 4), got (5, 3)"),
    ("dense features", lambda: sg.DenseSNN([4, 2])(torch.zeros(3)), ValueError, "x must have shape (..., 4), got (3,)"),
    (
        "dtype",
        lambda: snn()(torch.zeros(1, 4).double()),
        TypeError,
        "x must have the dtype of the parameters (torch.fl",
    ),
    (
        "input NaN",
        lambda: snn()(torch.tensor([[0.0, 0.0, NAN, 0.0]])),
        ValueError,
        "x must be finite, got nan at (0, 2)",
    ),
    ("input", lambda: snn().simulate(torch.full((4,), -INF)), ValueError, "x must be finite, got -inf at (0,)"),
    (
        "series NaN",
        lambda: snn(coding=None, num_steps=1)(torch.full((1, 4), NAN)),
        ValueError,
        "x must be finite, got nan at (0, 0)",
    ),
    (
        "rate",
        lambda: snn(coding="rate")(torch.tensor([0.0, 0.5, 1.0, 1.5])),
        ValueError,
        "x must lie between 0 and 1 for coding='rate', got values from 0 to 1.5",
    ),
    (
        "latency",
        lambda: snn(coding="latency")(torch.tensor([0.0, 0.5, 1.0, -0.5])),
        ValueError,
        "x must lie between 0 and 1 for coding='latency', got values from -0.5 to 1",
    ),
    (
        "steps of a series",
        lambda: snn(coding=None, num_steps=7)(torch.zeros(6, 5, 4)),
        ValueError,
        "x must have shape (7, ..., inputs) for coding=None, got (6, 5, 4)",
    ),
    (
        "no series",
        lambda: snn(coding=None, num_steps=4)(torch.zeros(4)),
        ValueError,
        "x must have shape (4, ..., inputs) for coding=None, got (4,)",
    ),
    (
        "state of another batch",
        lambda: snn().simulate(torch.zeros(2, 4), snn().simulate(torch.zeros(5, 4)).state),
        ValueError,
        "state must have shape (2, 3), got (5, 3)",
    ),
]
