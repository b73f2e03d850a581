"""Operations, numbers and calls against what shapes tell."""

from __future__ import annotations

import pytest
import torch

from landscape.compute.operation_count import OperationCount


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_products_are_counted_by_their_shapes_and_the_rest_by_what_it_writes(device: str) -> None:
    left, right = torch.zeros(3, 5, device=device), torch.zeros(5, 7, device=device)
    image = torch.zeros(2, 4, 6, 6, device=device)
    kernel = torch.zeros(8, 4, 3, 3, device=device)
    with OperationCount() as count:
        product = left @ right
        torch.conv2d(image, kernel)
        (product + 1).tanh()
        product.view(-1)
        product.t()
    assert count.operations == 2 * 3 * 5 * 7 + 2 * 2 * 8 * 4 * 4 * 4 * 3 * 3
    assert count.numbers == 2 * 3 * 7
    assert count.calls == 6
