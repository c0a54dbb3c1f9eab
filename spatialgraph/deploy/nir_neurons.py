"""Conversion of neurons to nodes of the Neuromorphic Intermediate Representation and to metadata."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spatialgraph.neurons.leaky import Leaky, LeakyIntegrator
from spatialgraph.neurons.snntorch import SnnTorchNeuron
from spatialgraph.neurons.surrogates import surrogate_name

__all__ = ["TIME_STEP", "describe", "import_nir", "make_neurons", "neuron_node", "warn_of_losses"]

TIME_STEP = 1e-4
"""Length of a time step in seconds, as in snnTorch's export."""

_CONSTANTS = ("alpha", "beta", "threshold")


def describe(neurons: nn.Module) -> dict[str, Any]:
    """Return neurons as numbers, names and arrays.

    Args:
        neurons: the neurons.

    Raises:
        TypeError: if NIR does not support this kind of neuron.
        ValueError: if a setting cannot be expressed in NIR.

    Example:
        >>> describe(LeakyIntegrator(beta=0.9))
        {'kind': 'LeakyIntegrator', 'beta': 0.9}
    """
    if type(neurons) is LeakyIntegrator:
        return {"kind": "LeakyIntegrator", "beta": neurons.beta}
    if type(neurons) is Leaky:
        described = {
            "kind": "Leaky",
            "beta": neurons.beta,
            "threshold": neurons.threshold,
            "reset_mechanism": neurons.reset_mechanism,
        }
        name = surrogate_name(neurons.spike_grad)
        return described if name is None else described | {"spike_grad": name}
    if isinstance(neurons, SnnTorchNeuron):
        for kind, found in _snntorch_kinds().items():
            if type(neurons.module) is found:
                return {"kind": kind} | _describe_snntorch(neurons.module)
        neurons = neurons.module
    raise TypeError(
        f"neuron must make Leaky, snntorch.Leaky or snntorch.Synaptic neurons for NIR, got {type(neurons).__name__}"
    )


def make_neurons(described: Mapping[str, Any], dtype: torch.dtype) -> nn.Module:
    """Create neurons from the result of :func:`describe`.

    Args:
        described: the result of :func:`describe`.
        dtype: the dtype of snnTorch's constants.

    Example:
        >>> make_neurons(describe(Leaky(beta=0.9, reset_mechanism="zero")), torch.float32)
        Leaky(beta=0.9, threshold=1.0, reset_mechanism='zero', spike_grad='fast_sigmoid')
    """
    options = {name: value for name, value in described.items() if name != "kind"}
    if described["kind"] in ("Leaky", "LeakyIntegrator"):
        return Leaky(**options) if described["kind"] == "Leaky" else LeakyIntegrator(**options)
    options |= {name: torch.as_tensor(options[name], dtype=dtype) for name in _CONSTANTS if name in options}
    return SnnTorchNeuron(_snntorch_kinds()[described["kind"]](**options))


def neuron_node(parts: Sequence[tuple[Tensor, Mapping[str, Any]]], dtype: np.dtype[Any]) -> tuple[Any, np.ndarray]:
    r"""Return the NIR node of a group of neurons, with one parameter entry per neuron.

    Args:
        parts: for each module, the indices and the description of its neurons.
        dtype: the dtype of the parameters.

    Returns:
        A ``nir.LIF``, ``nir.CubaLIF`` or ``nir.LI`` of the neurons in the order of their indices, and the factors for
        their currents, shape ``(n,)``: :math:`\tau / \Delta t` if the node's resistance is 1, else 1.

    Raises:
        ValueError: if ``beta`` of a neuron is 1, or the modules are of several kinds.

    Example:
        >>> node, factor = neuron_node([(torch.arange(2), describe(LeakyIntegrator(0.5)))], np.dtype("float32"))
        >>> node.r, factor.round(5)
        (array([1., 1.], dtype=float32), array([2., 2.]))
    """
    kinds = sorted({described["kind"] for _, described in parts})
    if len(kinds) > 1:
        raise ValueError(f"neuron must make outputs of one kind for NIR, got {' and '.join(kinds)}")
    order = np.argsort(np.concatenate([array(numbers) for numbers, _ in parts]))
    constants = {}
    for name in _CONSTANTS:
        if name in parts[0][1]:
            values = [np.broadcast_to(np.float64(described[name]), len(numbers)) for numbers, described in parts]
            constants[name] = np.concatenate(values)[order]
    node, fields = _equation(constants)
    fields = {name: values.astype(dtype) for name, values in fields.items()}
    factor = np.ones(len(order))
    # The importer of norse assumes a resistance of 1 for LIF, and that of snnTorch one constant for all neurons; both
    # read the resistance of CubaLIF, which snnTorch requires to be tau / dt.
    if "tau" in fields and fields["tau"].min() == fields["tau"].max():
        factor = fields["tau"].astype(np.float64) / TIME_STEP
        fields["r"] = np.ones_like(fields["r"])
    return node(**fields), factor


def warn_of_losses(neurons: Sequence[Mapping[str, Any]], stacklevel: int) -> None:
    """Warn about settings of neurons that NIR or the metadata cannot express.

    Args:
        neurons: descriptions.
        stacklevel: as in ``warnings.warn``, counted from the caller.

    Example:
        >>> warn_of_losses([describe(Leaky(reset_mechanism="zero"))], stacklevel=1)
    """
    for described in neurons:
        is_synaptic = "alpha" in described
        is_late = is_synaptic and described["reset_delay"]
        reset = described.get("reset_mechanism", "zero")
        if reset != "zero" or is_late:
            warnings.warn(
                f"reset_mechanism must be 'zero'{' with reset_delay=False' if is_synaptic else ''} for other programs "
                f"to run the same network, got {reset!r}{' with reset_delay=True' if is_late else ''}; "
                "they will set neurons that fired to v_reset",
                stacklevel=stacklevel + 1,
            )
            break
    if any(described["kind"] == "Leaky" and "spike_grad" not in described for described in neurons):
        message = "spike_grad must be a name to be exported, got a function; from_nir will use 'fast_sigmoid'"
        warnings.warn(message, stacklevel=stacklevel + 1)


def array(values: Tensor) -> np.ndarray:
    """Copy a tensor to an array; bfloat16, which NumPy does not support, becomes float32."""
    own = values.detach().cpu()
    copy: np.ndarray = (own.float() if own.dtype == torch.bfloat16 else own).numpy().copy()
    return copy


def import_nir() -> Any:  # noqa: ANN401 - a module
    """Return the package ``nir``."""
    try:
        import nir
    except ImportError as error:
        raise ImportError('to_nir and from_nir need nir; install it with: pip install "spatialgraph[snn]"') from error
    return nir


def _equation(constants: Mapping[str, np.ndarray]) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the node of NIR whose Euler step has these constants, and its parameters."""
    nir = import_nir()
    tau = _time_constant("beta", constants["beta"])
    fields = {"r": tau / TIME_STEP, "v_leak": np.zeros_like(tau)}
    if "threshold" not in constants:
        return nir.LI, fields | {"tau": tau}
    fields |= {"v_threshold": constants["threshold"], "v_reset": np.zeros_like(tau)}
    if "alpha" not in constants:
        return nir.LIF, fields | {"tau": tau}
    tau_syn = _time_constant("alpha", constants["alpha"])
    return nir.CubaLIF, fields | {"tau_mem": tau, "tau_syn": tau_syn, "w_in": tau_syn / TIME_STEP}


def _time_constant(name: str, share: np.ndarray) -> np.ndarray:
    bad = share[~((share >= 0) & (share < 1))]
    if bad.size:
        raise ValueError(
            f"{name} must be at least 0 and below 1 for NIR, whose time constants are finite, got {bad[0]:g}"
        )
    time_constant: np.ndarray = TIME_STEP / (1 - share)
    return time_constant


def _describe_snntorch(module: Any) -> dict[str, Any]:  # noqa: ANN401 - snnTorch has no types
    for name, usual in (("inhibition", False), ("state_quant", False), ("graded_spikes_factor", 1.0)):
        value = getattr(module, name)
        if bool(value != usual):
            raise ValueError(f"{name} must be {usual} for NIR, got {value}")
    described = {"reset_mechanism": module.reset_mechanism, "reset_delay": module.reset_delay}
    for name in _CONSTANTS:
        if hasattr(module, name):
            value = getattr(module, name)
            described[name] = value.item() if value.dim() == 0 else array(value)
            described[f"learn_{name}"] = isinstance(value, nn.Parameter)
    return described


def _snntorch_kinds() -> dict[str, Any]:
    try:
        import snntorch
    except ImportError as error:
        raise ImportError(
            'neurons of snnTorch need snnTorch; install it with: pip install "spatialgraph[snn]"'
        ) from error
    return {"snntorch.Leaky": snntorch.Leaky, "snntorch.Synaptic": snntorch.Synaptic}
