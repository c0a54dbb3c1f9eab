r"""Neuromorphic exchange: spiking networks in the Neuromorphic Intermediate Representation (NIR) and back.

NIR describes neurons by differential equations, this library by steps. The time step is that of snnTorch,
:math:`\Delta t = 10^{-4}` s, and so are the time constants, :math:`\tau = \Delta t / (1 - \beta)`. Resistances are 1,
and weights and biases :math:`\tau / \Delta t` times those of the network: with these, the Euler step of
:math:`\tau \dot v = -v + R I` is the step of the neurons, :math:`v_t = \beta v_{t-1} + I_t`.

See `Pedersen et al. (2024) <https://doi.org/10.1038/s41467-024-52259-9>`_.
"""

from typing import TYPE_CHECKING

from spatialgraph.deploy.nir_neurons import import_nir, warn_of_losses
from spatialgraph.deploy.nir_reader import compare, read
from spatialgraph.deploy.nir_writer import write
from spatialgraph.models.snn import SpatialSNN

if TYPE_CHECKING:
    import nir

__all__ = ["from_nir", "to_nir"]


def to_nir(model: SpatialSNN) -> "nir.NIRGraph":
    r"""Export a spiking network, its weights as matrices and its positions as metadata.

    The graph has a node ``input``, the neurons of each stage in ``hidden1``, ``hidden2``, ..., those that are read in
    ``outputs``, and ``output``. A ``nir.Affine`` stands between each two groups of neurons that synapses join, and
    currents that meet in a group add up; the bias is in the first of them.

    Neurons are ``nir.LIF`` with :math:`\tau = \Delta t / (1 - \beta)` and :math:`R = 1`. Weights and biases are
    :math:`\tau / \Delta t` times those of the network, so that potentials stay what they are. Where the neurons of a
    group differ in :math:`\beta`, weights stay what they are and :math:`R = \tau / \Delta t`. Neurons of
    ``snntorch.Synaptic`` are ``nir.CubaLIF`` with :math:`\tau_{syn} = \Delta t / (1 - \alpha)`,
    :math:`w_{in} = \tau_{syn} / \Delta t`, :math:`R = \tau_{mem} / \Delta t` and the weights of the network.

    Importers differ. That of norse wants the time step, ``norse.torch.from_nir(graph, dt=1e-4)``, and takes
    :math:`R = 1` of ``nir.LIF`` whatever the graph says; where a group hears several others, it hands over the currents
    of all but one of them a step late. That of snnTorch makes the thresholds of ``nir.LIF`` as much larger as the
    weights, and so the potentials. Neither knows ``nir.LI``, the outputs of ``read_out="potential"``; they read
    networks with ``read_out="count"``.

    Each group's metadata has the columns of :func:`~spatialgraph.to_networkx`, positions and polarities among them, and
    the neurons' numbers; that of the graph has the settings and the edges. NIR has no word for the coding of the inputs
    and the number of steps: feed the group ``input`` what ``model.simulate(x).inputs`` shows.

    A neuron of NIR that fires is set to ``v_reset``, here 0. Spikes are the same with
    ``reset_mechanism="zero"`` only, and of
    ``Synaptic`` with ``reset_delay=False`` as well. The potential is set at once, not one step later.

    Args:
        model: the network; ``normalize`` must be off, and its graph must have no velocity.

    Returns:
        The graph, which ``nir.write`` takes. Its arrays are copies of the network's dtype.

    Warns:
        UserWarning: if neurons reset otherwise, so that other programs will run another network; or if a surrogate
            gradient has no name, so that :func:`from_nir` will use the default.

    Raises:
        TypeError: if ``model`` is not a :class:`SpatialSNN <spatialgraph.SpatialSNN>`, or has neurons unknown to NIR.
        ValueError: if the network normalises or delays, or if a potential does not leak.
        ImportError: if the package ``nir`` is missing.

    Example:
        >>> model = SpatialSNN([3, 4, 2], normalize=False, reset_mechanism="zero", read_out="count")
        >>> to_nir(model).edges[:3]
        [('input', 'input_to_hidden1'), ('input_to_hidden1', 'hidden1'), ('hidden1', 'hidden1_to_outputs')]
    """
    if not isinstance(model, SpatialSNN):
        raise TypeError(f"model must be a SpatialSNN, got {type(model).__name__}")
    if model.normalize:
        raise ValueError(
            "normalize must be False for NIR, which cannot normalise currents, got True; train with normalize=False"
        )
    if model.has_delays:
        raise ValueError(
            "velocity must be None for NIR, whose delays belong to neurons and not to synapses, "
            f"got {model.graph.velocity}"
        )
    result = write(model)
    warn_of_losses(list(result.metadata["spatialgraph"]["neurons"].values()), stacklevel=2)
    return result


def from_nir(graph: "nir.NIRGraph") -> SpatialSNN:
    """Build a spiking network again that :func:`to_nir` exported, also from a file that ``nir.read`` read.

    All is read from the metadata, without loss. The matrices and time constants of the nodes must still be those that
    follow. Not kept are the wiring that selected the edges, and the surrogate gradients of snnTorch's neurons.

    Args:
        graph: the graph.

    Raises:
        TypeError: if ``graph`` is not a ``nir.NIRGraph``.
        ValueError: if positions are missing, as in graphs of other programs, or if nodes were changed since.
        ImportError: if the package ``nir`` is missing.

    Example:
        >>> import torch
        >>> model = SpatialSNN([3, 4, 2], normalize=False, reset_mechanism="zero")
        >>> bool((from_nir(to_nir(model))(torch.ones(3)) == model(torch.ones(3))).all())
        True
    """
    if not isinstance(graph, import_nir().NIRGraph):
        raise TypeError(f"graph must be a nir.NIRGraph, got {type(graph).__name__}")
    model = read(graph)
    compare(graph, write(model))
    return model
