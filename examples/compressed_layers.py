"""Dense perceptrons whose weight matrices follow from fewer numbers: hashed weights and tensor trains."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

import spatialgraph as sg
from spatialgraph.wiring.hashing import hash_pairs


class HashedWeights(nn.Module):
    """Weight matrix whose entries share numbers, and have signs, by a hash (Chen et al., 2015).

    The paper is https://arxiv.org/abs/1504.04788.

    Args:
        shape: targets and sources.
        count: how many numbers are shared.
        seed: seed of the hash.
    """

    numbers: Tensor
    signs: Tensor

    def __init__(self, shape: tuple[int, int], count: int, seed: int) -> None:
        super().__init__()
        self.count = count
        targets, sources = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None, :]
        self.register_buffer("numbers", hash_pairs(2 * seed, sources, targets) % count)
        self.register_buffer("signs", 1.0 - 2.0 * (hash_pairs(2 * seed + 1, sources, targets) % 2))

    def forward(self, shared: Tensor) -> Tensor:
        """Return the matrix."""
        return shared[self.numbers] * self.signs

    def right_inverse(self, weights: Tensor) -> Tensor:
        """Return as many numbers as are shared, of the distribution of a matrix."""
        return weights.flatten()[torch.randint(weights.numel(), (self.count,))].clone()


class TensorTrainWeights(nn.Module):
    """Weight matrix that is a product of small tensors, a tensor train (Novikov et al., 2015).

    The paper is https://arxiv.org/abs/1509.06569.

    Args:
        targets: factors of the number of targets.
        sources: factors of the number of sources, as many.
        rank: the size that neighbouring tensors share.
    """

    def __init__(self, targets: Sequence[int], sources: Sequence[int], rank: int) -> None:
        super().__init__()
        self.targets, self.sources = tuple(targets), tuple(sources)
        self.ranks = (1, *[rank] * (len(targets) - 1), 1)

    def forward(self, *cores: Tensor) -> Tensor:
        """Return the matrix."""
        product = cores[0].new_ones(1, 1, 1)  # targets, sources, rank
        for core in cores:
            product = torch.einsum("tsr,rabq->tasbq", product, core).flatten(2, 3).flatten(0, 1)
        return product.squeeze(-1)

    def right_inverse(self, weights: Tensor) -> tuple[Tensor, ...]:
        """Return tensors whose product has entries of the variance of a matrix."""
        paths = math.prod(self.ranks)
        scale = (weights.var() / paths) ** (0.5 / len(self.targets))
        factors = zip(self.ranks, self.targets, self.sources, self.ranks[1:], strict=False)
        return tuple(torch.randn(shape) * scale for shape in factors)


class AnyOrder(nn.Module):
    """Brings inputs into a random order that stays the same.

    Args:
        count: number of inputs.
        seed: seed of the order.
    """

    order: Tensor

    def __init__(self, count: int, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(count, generator=torch.Generator().manual_seed(seed)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs of shape ``(batch, count)`` in the other order."""
        return inputs[:, self.order]


def hashed(sizes: Sequence[int], parameters: int, seed: int = 0) -> nn.Module:
    """Return a perceptron with hashed weights and so many parameters, which all layers share alike.

    Example:
        >>> model = hashed([784, 300, 10], parameters=5000)
        >>> sum(each.numel() for each in model.parameters())
        5000
    """
    model = sg.DenseMLP(sizes)
    layers = model.linears()
    left = parameters - sum(layer.bias.numel() for layer in layers)
    weights = sum(layer.weight.numel() for layer in layers)
    ends = [0]
    for layer in layers:
        ends.append(ends[-1] + layer.weight.numel())
    counts = [left * end // weights - left * start // weights for start, end in zip(ends, ends[1:], strict=False)]
    for number, (layer, count) in enumerate(zip(layers, counts, strict=True)):
        shape = (layer.out_features, layer.in_features)
        parametrize.register_parametrization(layer, "weight", HashedWeights(shape, count, seed + number), unsafe=True)
    return model


def tensor_train(factors: Sequence[Sequence[int]], rank: int, classes: int = 10) -> nn.Module:
    """Return a perceptron whose layers are tensor trains, but for the last one, which is dense.

    Factors of the inputs of an image are parts of its rows and columns, so that such a network knows where pixels are;
    behind :class:`AnyOrder` it does not.

    Args:
        factors: factors of the number of inputs, and of each hidden layer.
        rank: rank of all trains.
        classes: number of outputs.

    Example:
        >>> model = tensor_train([(4, 7, 7, 4), (4, 4, 4, 4)], rank=5)
        >>> sum(each.numel() for each in model.parameters())
        4386
    """
    model = sg.DenseMLP([*map(math.prod, factors), classes])
    for layer, sources, targets in zip(model.linears(), factors, factors[1:], strict=False):
        parametrize.register_parametrization(layer, "weight", TensorTrainWeights(targets, sources, rank), unsafe=True)
    return model
