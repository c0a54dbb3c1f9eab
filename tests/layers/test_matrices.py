"""Sparse matrices as edges: in which order, and without waiting for an accelerator."""

import pytest
import torch
from conftest import DEVICE

import spatialgraph as sg
from spatialgraph.functional.compressed_edges import CompressedEdges
from spatialgraph.layers import matrices, nodes
from spatialgraph.layers.matrices import compressed_edges, listed_edges


def matrix(layout):
    made = (torch.rand(30, 20) * (torch.rand(30, 20) < 0.2)).to_sparse(layout=layout)
    return made.coalesce() if layout == torch.sparse_coo else made


LAYOUTS = [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_edges_are_those_of_the_matrix(layout):
    adj_t = matrix(layout)
    (targets, sources), values = listed_edges(adj_t)
    edges, order = compressed_edges(adj_t)
    assert (order is None) == (layout != torch.sparse_csc)
    assert torch.equal(edges.mask(), adj_t.to_dense() > 0)
    kept = slice(None) if order is None else order
    assert torch.equal(edges.sources.long(), sources[kept]) and torch.equal(edges.targets, targets[kept])
    assert torch.equal(adj_t.to_dense()[targets, sources], values)


def test_rows_that_are_not_sorted_are():
    rows = torch.tensor([0, 2, 3]), torch.tensor([2, 0, 1]), torch.tensor([5.0, 7.0, 9.0])
    edges, order = compressed_edges(torch.sparse_csr_tensor(*rows, (2, 3), check_invariants=False))
    assert edges.sources.tolist() == [0, 2, 1] and order.tolist() == [1, 0, 2]


def test_edges_that_were_changed_are_not_used_stale():
    layer, x, pos = sg.SpatialSimpleConv(), torch.rand(4, 3), torch.rand(4, 2)
    adj_t = torch.sparse_csr_tensor([0, 1, 1, 2, 3], [1, 0, 2], torch.ones(3), (4, 4), check_invariants=False)
    layer(x, pos, adj_t)
    adj_t.col_indices().data.copy_(torch.tensor([3, 1, 0]))  # by a route that no version counter notices
    expected = layer(x, pos, torch.tensor([[3, 1, 0], [0, 2, 3]]))
    torch.testing.assert_close(layer(x, pos, adj_t), expected)


def test_edges_that_were_checked_are_those_of_the_constructor():
    mask = torch.rand(30, 20) < 0.1
    mask[3], mask[:, 5] = False, False
    right = CompressedEdges.from_mask(mask)
    found = CompressedEdges.from_checked(torch.stack([right.sources.long(), right.targets]), 20, 30)
    assert vars(found).keys() == vars(right).keys()
    for name, value in vars(right).items():
        assert (
            torch.equal(value, getattr(found, name)) if isinstance(value, torch.Tensor) else value == vars(found)[name]
        )


class Compressed:
    """A matrix in compressed rows on the simulated device, whose tensors have no such layout."""

    layout, is_cpu = torch.sparse_csr, False

    def __init__(self, adj_t):
        self._shape, parts = adj_t.shape, (adj_t.crow_indices(), adj_t.col_indices(), adj_t.values())
        self.crow_indices, self.col_indices, self.values = (part.to(DEVICE).detach for part in parts)

    def size(self, axis):
        return self._shape[axis]


@pytest.mark.skipif(DEVICE.type != "sim", reason="needs the simulated device")
def test_a_matrix_on_an_accelerator_is_not_waited_for(monkeypatch):
    import simulated_device

    monkeypatch.setattr(matrices, "_is_csr", lambda adj_t: adj_t.layout == torch.sparse_csr)
    monkeypatch.setattr(nodes, "is_sparse", lambda _: True)
    adj_t, layer, x, found = matrix(torch.sparse_csr), sg.SpatialSimpleConv(), torch.rand(20, 3), []
    for own, device in ((adj_t, "cpu"), (Compressed(adj_t), DEVICE)):
        ends = [values.clone().to(device).requires_grad_() for values in (x, adj_t.values())]
        pos = torch.rand(2, 2).to(device)
        with simulated_device.recorded() as record:
            edges, _, _ = nodes.edges_of(own, None, (20, 30), pos)
            y = layer.message_and_aggregate(own, (ends[0], None), ends[1])
            y.square().sum().backward()
        assert not record.waits, record.report()
        found.append([edges.cpu(), y.detach().cpu(), *(end.grad.cpu() for end in ends)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
