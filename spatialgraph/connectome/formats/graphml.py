"""GraphML and GEXF: XML files of graphs, for networkx, igraph, Cytoscape, yEd and Gephi."""

import io
import json
from typing import TYPE_CHECKING

import numpy as np

from spatialgraph.connectome.formats.networkx import digraph
from spatialgraph.connectome.formats.tables import Tables

if TYPE_CHECKING:
    import networkx

__all__ = ["read_gexf", "read_graphml", "write_gexf", "write_graphml"]

EXCITATORY, INHIBITORY, SILENT = (214, 39, 40), (31, 119, 180), (150, 150, 150)
_LARGEST = 20.0


def write_graphml(tables: Tables) -> bytes:
    """Return a GraphML document: all columns as attributes of nodes and edges, the settings as those of the graph."""
    import networkx

    buffer = io.BytesIO()
    networkx.write_graphml(digraph(tables), buffer)
    return buffer.getvalue()


def read_graphml(data: bytes) -> "networkx.DiGraph":
    """Read a GraphML document."""
    import networkx

    return networkx.read_graphml(io.BytesIO(data))


def write_gexf(tables: Tables) -> bytes:
    """Return a GEXF document that opens in Gephi with the positions, sizes and colours of the neurons.

    GEXF has no attributes of the graph: the first node has the settings, as JSON. Excitatory neurons are red,
    inhibitory ones blue; the area of a neuron follows the absolute weights of its synapses.
    """
    import networkx

    graph = digraph(tables)
    looks = zip(_sizes(tables), tables.neurons["polarity"], *_coordinates(tables), strict=True)
    for node, (size, polarity, *place) in zip(graph.nodes.values(), looks, strict=True):
        red, green, blue = EXCITATORY if polarity > 0 else INHIBITORY if polarity < 0 else SILENT
        node["viz"] = {
            "size": float(size),
            "color": {"r": red, "g": green, "b": blue, "a": 1.0},
            "position": dict(zip("xyz", map(float, place), strict=True)),
        }
    graph.nodes[0]["settings"] = json.dumps(tables.settings)
    buffer = io.BytesIO()
    networkx.write_gexf(graph, buffer)
    return buffer.getvalue()


def read_gexf(data: bytes) -> "networkx.DiGraph":
    """Read a GEXF document."""
    import networkx

    return networkx.read_gexf(io.BytesIO(data))


def _coordinates(tables: Tables) -> list[np.ndarray]:
    """Return three coordinates, 0 where the network has fewer."""
    return [tables.neurons.get(axis, np.zeros(len(tables.neurons["x"]))) for axis in "xyz"]


def _sizes(tables: Tables) -> np.ndarray:
    """Return a diameter for each neuron, whose square follows the absolute weights of its synapses."""
    weight, count = np.abs(tables.synapses["weight"]), len(tables.neurons["x"])
    strength = sum(np.bincount(tables.synapses[end], weight, minlength=count) for end in ("source", "target"))
    return 1.0 + (_LARGEST - 1.0) * np.sqrt(strength / max(np.max(strength, initial=0.0), np.finfo(float).tiny))
