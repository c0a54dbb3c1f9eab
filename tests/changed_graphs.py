"""Graphs without layers, and graphs that are moved, renumbered or have lost an edge."""

import networkx as nx
import torch
from references import random_dag, randomise

from spatialgraph import SpatialGraph


def dag_graph(neurons=10, density=0.4, seed=3, **options):
    edges = random_dag(neurons, density, seed)
    return randomise(SpatialGraph(2.0 * torch.randn(neurons, 3).double(), edges, **options)).float()


def moved(pos):
    """Yield positions with the same lengths between them."""
    dim = pos.shape[1]
    rotation = torch.linalg.qr(torch.randn(dim, dim).double()).Q
    yield from (pos + torch.randn(dim).double() * 10, pos @ rotation, -pos, (pos - 3.0) @ rotation + 1.0)


def renumbered(old):
    """The same graph with its neurons and edges in another order, and the former number of each neuron."""
    former = torch.randperm(old.neurons)
    edges = torch.argsort(former)[old.edge_index][:, torch.randperm(old.synapses)]
    new = SpatialGraph(old.pos[former], edges, velocity=old.velocity, gain=old.gain)
    with torch.no_grad():
        new.raw_polarity.copy_(old.polarity[former][~new.is_output])
        new.raw_bias.copy_(old.bias[former][~new.is_input])
    return new, former


def in_the_order_of(new, old, former, y):
    """Reorder the outputs of a graph as those of the renumbered one."""
    place = {neuron: k for k, neuron in enumerate(old.outputs.tolist())}
    return y[:, [place[neuron] for neuron in former[new.outputs].tolist()]]


def each_without_one_edge(full):
    """Yield the edges of a graph of layers, and the graph without it."""
    for gone in range(full.synapses):
        kept = torch.arange(full.synapses) != gone
        options = {"layer": full.layer, "spacing": "learned", "velocity": full.velocity, "gain": full.gain}
        graph = SpatialGraph(full.pos, full.edge_index[:, kept], **options)
        graph.raw_polarity.data.copy_(full.raw_polarity)
        yield full.edge_index[:, gone].tolist(), graph


def paths(graph):
    """For each output, whether there is a path to it from each input."""
    network = nx.DiGraph(graph.edge_index.t().tolist())
    network.add_nodes_from(range(graph.neurons))
    return [
        [nx.has_path(network, source, output) for source in graph.inputs.tolist()] for output in graph.outputs.tolist()
    ]
