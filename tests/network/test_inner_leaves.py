"""Graphs that lead past the tensors at which a block begins."""

from __future__ import annotations

import torch

from landscape.network.inner_leaves import as_leaves, leaks, operations_so_far, uses_others


def test_a_block_of_its_own_tensors_uses_no_others() -> None:
    x, w = torch.randn(3), torch.randn(3, requires_grad=True)
    own = as_leaves([x, w], [True, True])
    assert [leaf.requires_grad for leaf in own] == [True, True]
    output = (own[0] * own[1]).sum()
    assert not uses_others([output], own)
    assert not uses_others([torch.ones(2)], own)
    assert leaks([output])


def test_other_leaves_are_seen_however_far_away() -> None:
    w, outer = torch.randn(3, requires_grad=True), torch.randn(3, requires_grad=True)
    own, others = as_leaves([w], [True]), as_leaves([w], [True])
    far = torch.tanh(torch.exp(outer).sum())
    assert uses_others([own[0].sum() * far], own, [outer])
    assert uses_others([own[0].sum() * far], own)
    assert not uses_others([own[0].sum() * far], own, [])
    assert uses_others([own[0].sum() * far], own, [], operations_so_far() - 1)
    began = operations_so_far()
    assert not uses_others([own[0].sum() * 2], own, [], began)
    assert uses_others([own[0].sum() + others[0].sum()], own, [])
    assert not uses_others([own[0].sum() * far.detach()], own, [outer])
    assert uses_others([outer], own, [outer])


def test_a_model_leaks_what_a_block_begins_with() -> None:
    w = torch.randn(3, requires_grad=True)
    inside = as_leaves([w], [True])[0].sum()
    assert not leaks([w.sum()])
    assert leaks([w.sum() + inside])
    assert not leaks([w.sum() + inside.detach()])
