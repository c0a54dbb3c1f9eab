r"""Export of spiking networks to the Neuromorphic Intermediate Representation (NIR), and import.

NIR describes neurons by differential equations, this library by discrete steps. The time step is that of snnTorch,
:math:`\Delta t = 10^{-4}` s, as are the time constants, :math:`\tau = \Delta t / (1 - \beta)`. Resistances are 1, and
weights and biases are multiplied by :math:`\tau / \Delta t`, so that the Euler step of :math:`\tau \dot v = -v + R I`
equals the step of the neurons, :math:`v_t = \beta v_{t-1} + I_t`.

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
    r"""Export a spiking network to NIR, with weights as matrices and positions as metadata.

    The graph has a node ``input``, the neurons of each stage in ``hidden1``, ``hidden2``, ..., the output neurons in
    ``outputs``, and a node ``output``. Two groups of neurons with synapses between them are connected by a
    ``nir.Affine``; the currents into a group are summed, and the first ``nir.Affine`` contains the bias.

    Neurons are ``nir.LIF`` with :math:`\tau = \Delta t / (1 - \beta)` and :math:`R = 1`. Weights and biases are
    multiplied by :math:`\tau / \Delta t`, so that potentials do not change. If the neurons of a group differ in
    :math:`\beta`, weights are unchanged and :math:`R = \tau / \Delta t`. Neurons of ``snntorch.Synaptic`` are
    ``nir.CubaLIF`` with :math:`\tau_{syn} = \Delta t / (1 - \alpha)`, :math:`w_{in} = \tau_{syn} / \Delta t`, :math:`R
    = \tau_{mem} / \Delta t` and the weights of the network.

    Importers differ. norse requires the time step, ``norse.torch.from_nir(graph, dt=1e-4)``, and ignores :math:`R` of
    ``nir.LIF``; if a group receives from several others, it delays the currents of all but one of them by a step.
    snnTorch multiplies the thresholds of ``nir.LIF``, and therefore the potentials, by the same factor as the weights.
    Neither supports ``nir.LI``, the outputs for ``read_out="potential"``; use ``read_out="count"`` for them.

    The metadata of each group contain the columns of :func:`~spatialgraph.to_networkx`, such as positions and
    polarities, and the neurons' indices; those of the graph contain the settings and the edges. NIR does not describe
    the input coding and the number of steps: pass ``model.simulate(x).inputs`` to the node ``input``.

    NIR sets the potential of a neuron that fires to ``v_reset``, here 0, immediately and not one step later. Spikes are
    therefore the same only with ``reset_mechanism="zero"``, and for ``Synaptic`` also ``reset_delay=False``.

    Args:
        model: the network; ``normalize`` must be off, and its graph must have no velocity and no recurrent synapses.

    Returns:
        The graph, for ``nir.write``. Its arrays are copies in the network's dtype.

    Warns:
        UserWarning: if neurons have another reset, so that other programs will compute other spikes; or if a surrogate
            gradient has no name, so that :func:`from_nir` will use the default.

    Raises:
        TypeError: if ``model`` is not a :class:`SpatialSNN <spatialgraph.SpatialSNN>`, or has neurons that NIR does not
            support.
        ValueError: if the network has normalisation, delays or recurrent synapses, or if ``beta`` of a neuron is 1.
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
    if model.recurrent_stages:
        raise ValueError(
            "graph must have no recurrent synapses for NIR, which does not say when their spikes arrive, got some in "
            f"{len(model.recurrent_stages)} layers"
        )
    result = write(model)
    warn_of_losses(list(result.metadata["spatialgraph"]["neurons"].values()), stacklevel=2)
    return result


def from_nir(graph: "nir.NIRGraph") -> SpatialSNN:
    """Import a spiking network that :func:`to_nir` exported, also from a file by ``nir.read``.

    The network is read from the metadata without loss, and the matrices and time constants of the nodes must agree with
    it. The wiring that selected the edges and the surrogate gradients of snnTorch's neurons are not restored.

    Args:
        graph: the graph.

    Raises:
        TypeError: if ``graph`` is not a ``nir.NIRGraph``.
        ValueError: if positions are missing, as in graphs of other programs, or if nodes were changed after the export.
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
