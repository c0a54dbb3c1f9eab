"""Groups of spiking neurons: those of each stage of a network."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import nn

from spatialgraph.neurons.leaky import Leaky
from spatialgraph.neurons.neuron import Neuron
from spatialgraph.neurons.snntorch import SnnTorchNeuron

__all__ = ["NeuronFactory", "NeuronGroups"]

NeuronFactory = Callable[[int], nn.Module]
"""Makes the neurons of a group from their number, such as ``lambda n: snntorch.Synaptic(alpha=0.9, beta=0.8)``."""


class NeuronGroups(nn.ModuleList):
    """The neurons of each stage; a stage without any has an ``nn.Identity`` in their place.

    Args:
        own: makes neurons that serve any number, where there is no factory.
        factory: makes neurons from their number; None for our own.
        counts: number of neurons in each stage.

    Raises:
        TypeError: if the factory is not a function, or makes what are no neurons.

    Example:
        >>> from spatialgraph.neurons import Leaky
        >>> NeuronGroups(Leaky, None, [4, 0])
        NeuronGroups(
          (0): Leaky(beta=0.95, threshold=1.0, reset_mechanism='subtract', spike_grad='fast_sigmoid')
          (1): Identity()
        )
    """

    def __init__(self, own: Callable[[], Neuron], factory: NeuronFactory | None, counts: Sequence[int]) -> None:
        if factory is not None and (isinstance(factory, nn.Module) or not callable(factory)):
            raise TypeError(f"neuron must be a function of the number of neurons, got {type(factory).__name__}")
        self._own = own if factory is None else None  # a factory may be a lambda, which no copy could be made of
        self._counts = tuple(counts)
        super().__init__([_group(own, factory, count) for count in counts])

    def of(self, stage: int, count: int) -> Neuron:
        """Return the neurons of a stage; edges may have changed, and with them the number of its neurons.

        Raises:
            ValueError: if a factory made neurons for another number.
        """
        made = self._counts[stage] if stage < len(self._counts) else 0
        if self._own is None:
            if made != count:
                raise ValueError(
                    f"neuron must have made {count} neurons for stage {stage}, got {made}: edges have changed since "
                    "the model was made; make a new one of its graph"
                )
        else:
            self._reach(stage)
            if not isinstance(self[stage], Neuron):
                self[stage] = self._own()
        return cast(Neuron, self[stage])

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 - as in nn.ModuleList
        """Return a group, or a plain list of some."""
        return nn.ModuleList(list(self)[index]) if isinstance(index, slice) else super().__getitem__(index)

    def saved_settings(self) -> dict[str, Any]:
        """Return the settings of each group, None for one without neurons, and those of groups that edges may add.

        Raises:
            ValueError: if neurons are not our own, or have a surrogate gradient without a name.
        """
        groups = [None if isinstance(group, nn.Identity) else _settings(group) for group in self]
        return {"groups": groups, "new": None if self._own is None else _settings(self._own())}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Adopt what :meth:`saved_settings` returned."""
        new = saved["new"]
        self._own = None if new is None else functools.partial(Leaky.from_saved, new)
        for number, settings in enumerate(saved["groups"]):
            self._reach(number)
            if settings is not None:
                self[number] = Leaky.from_saved(settings)

    def _reach(self, stage: int) -> None:
        """Add empty groups up to that of a stage."""
        while stage >= len(self):
            self.append(nn.Identity())


def _group(own: Callable[[], Neuron], factory: NeuronFactory | None, count: int) -> nn.Module:
    if count == 0:
        return nn.Identity()
    if factory is None:
        return own()
    neurons = factory(count)
    return neurons if isinstance(neurons, Neuron) else SnnTorchNeuron(neurons)


def _settings(neurons: nn.Module) -> dict[str, Any]:
    if type(neurons) is not Leaky:  # a subclass may compute anything
        raise ValueError(f"neuron must be a Leaky of this library to be saved, got {type(neurons).__name__}")
    return neurons.saved_settings()
