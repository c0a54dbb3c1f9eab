"""Training steps that are captured once as a CUDA graph and replayed."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spatialgraph.graph.spatial_graph import SpatialGraph
from spatialgraph.tracing import without_autocast
from spatialgraph.training.task import Classifier

__all__ = ["DEVICES", "CapturedClassifier", "CapturedStep", "CudaGraph"]

DEVICES = {"cuda"}
"""Kinds of devices whose steps can be captured."""

Step = Callable[..., tuple[Tensor, ...]]
"""From the tensors of a batch to results without gradients; sets the gradients of parameters anew."""


class CudaGraph:
    """The operations of a step on a CUDA device, which are recorded once and replayed together.

    Recording and replaying follow `PyTorch's notes <https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs>`_.
    Random numbers are those of PyTorch's generator for the device, which each replay moves on as the step would.
    """

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()

    @staticmethod
    def warm_up(step: Step, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Run a step on a stream of its own, as needed before it is recorded; return its results."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results = step(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return results

    def capture(self, step: Step, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Record a step without running it; return the tensors that will hold its results.

        Raises:
            RuntimeError: if an operation of the step cannot be recorded.
        """
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self._graph):
                return step(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise RuntimeError(
                "cuda_graph must be False for steps that wait for the GPU or copy from the CPU, as with a tolerance or "
                "the penalty on communicability, got True; start a new process, for this one may not draw random "
                f"numbers on the GPU any more ({' '.join(str(error).split())[:300]})"
            ) from error
        finally:
            torch.cuda.set_stream(stream)  # a capture that fails leaves its own behind

    def replay(self) -> None:
        """Run what was recorded, on the memory that it was recorded with."""
        self._graph.replay()


class CapturedStep:
    """A step that is captured after a few runs and replayed from then on.

    A replay repeats the recorded operations on the same memory. Where parameters or buffers have moved, modes or
    ``requires_grad`` flags changed, or a network has other synapses, the step is run and captured again. Batches of
    another size than the first, such as the last of an epoch, are run as they are.

    Args:
        step: from the tensors of a batch to results without gradients. It sets the gradients of the parameters anew.
        module: whose parameters and buffers the step uses.
        warm_up: how often the step is run before it is captured.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> step = CapturedStep(lambda x: (model(x).detach(),), model, warm_up=1)
        >>> step.is_captured
        False
    """

    def __init__(self, step: Step, module: nn.Module, warm_up: int = 3) -> None:
        self._step, self._module, self._warm_up = step, module, warm_up
        self._runs, self._sizes = 0, list[Any]()
        self._recorded: _Recorded | None = None

    @property
    def is_captured(self) -> bool:
        """Whether the next batch is replayed, if nothing has changed."""
        return self._recorded is not None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run or replay the step."""
        sizes = [(values.shape, values.dtype) for values in inputs]
        self._sizes = self._sizes or sizes
        if sizes != self._sizes:
            return self._step(*inputs)
        if self._recorded is not None and not self._recorded.holds(self._module):
            self.forget()
        if self._recorded is None and self._runs < self._warm_up:
            self._runs += 1
            return CudaGraph.warm_up(self._step, inputs)
        if self._recorded is None:
            self._recorded = _Recorded(self._step, self._module, inputs)
        return self._recorded.replay(inputs)

    def forget(self) -> None:
        """Drop what was captured, and its memory."""
        self._runs, self._recorded = 0, None


class _Recorded:
    """A recorded step with the memory that it reads and writes."""

    def __init__(self, step: Step, module: nn.Module, inputs: Sequence[Tensor]) -> None:
        self._parameters = list(module.parameters())
        self._inputs = [values.clone() for values in inputs]
        self._fixed, self._networks = _fixed(module), _networks(module)
        for parameter in self._parameters:
            parameter.grad = None  # so that the graph owns the memory of the gradients
        self._graph = CudaGraph()
        self._results = self._graph.capture(step, self._inputs)
        self._grads = [parameter.grad for parameter in self._parameters]

    def holds(self, module: nn.Module) -> bool:
        """Tell whether all is as it was recorded."""
        networks = _networks(module)
        return (
            len(networks) == len(self._networks)
            and all(one is other for one, other in zip(networks, self._networks, strict=True))
            and _fixed(module) == self._fixed
        )

    def replay(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        for own, values in zip(self._inputs, inputs, strict=True):
            own.copy_(values)
        self._graph.replay()
        for parameter, grad in zip(self._parameters, self._grads, strict=True):
            parameter.grad = grad  # a step that was run between two replays has set others
        return tuple(result.clone() for result in self._results)


def _fixed(module: nn.Module) -> list[Any]:
    """Return what a recorded step cannot follow: where tensors are, modes, and numbers that are no tensors."""
    tensors = [*module.parameters(), *module.buffers()]
    places = [(values.data_ptr(), values.shape, values.requires_grad) for values in tensors]
    parts = list(module.modules())
    numbers = [(part.gain, part.masked_share) for part in parts if isinstance(part, SpatialGraph)]
    return [places, [part.training for part in parts], numbers]


def _networks(module: nn.Module) -> list[object]:
    """Return what the passes of spatial networks need on the device; other synapses make it anew."""
    return [part.connectivity.located for part in module.modules() if isinstance(part, SpatialGraph)]


class CapturedClassifier(Classifier):
    """A :class:`Classifier` whose forward and backward passes are captured and replayed.

    Lightning goes on to call the optimiser, with rates and momenta that the schedule changes at each step, and which a
    captured step could not follow.

    Example:
        >>> from spatialgraph.training.recipes import Recipe
        >>> CapturedClassifier(nn.Linear(3, 2), Recipe(), steps=10).passes.is_captured
        False
    """

    def __init__(self, model: nn.Module, *args: Any, **options: Any) -> None:  # noqa: ANN401 - those of Classifier
        super().__init__(model, *args, **options)
        self.passes = CapturedStep(self._passes, model)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Compute the gradients of a batch and return its loss."""
        loss, figures = self.passes(*batch)
        self._tally("train").add(figures, len(batch[1]))
        return loss

    def changed(self) -> None:
        """Capture the passes again, for they may depend on numbers that are no tensors."""
        self.passes.forget()

    def release(self) -> None:
        """Free the memory that the training holds on its device, besides the model."""
        super().release()
        self.passes.forget()

    def backward(self, loss: Tensor, *args: Any, **options: Any) -> None:  # noqa: ANN401 - as in Lightning
        """Keep the gradients: the step has computed them."""

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradients."""

    def _passes(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        for parameter in self.model.parameters():
            parameter.grad = None
        loss, figures = self.objective(images, labels)
        with without_autocast(images.device.type):
            torch.autograd.backward(loss)
        return loss.detach(), figures
