"""Live bytes by part, on the CPU and on the meta device."""

from __future__ import annotations

import pytest
import torch

from landscape.planning.live_bytes import LiveBytes, Shapes

SHAPES = Shapes(frozenset({(3, 5)}), size=100, outputs=7, length=4)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_alive_at_once_is_counted_by_part(device: str) -> None:
    theta = torch.zeros(100, device=device)
    with LiveBytes(SHAPES.part, [theta]) as live:
        vector = theta + 1
        weight = torch.zeros(3, 5, device=device)
        del vector
        outputs = torch.zeros(2, 7, device=device)
        scores = torch.zeros(2, 4, 4, device=device)
        views = weight.view(-1), scores[0], theta[:50]
        hidden = torch.zeros(11, device=device)
        del outputs, scores, views
        last = hidden + 1
    assert live.vectors_peak == 4 * (100 + 15)
    assert live.inside == {"outputs": 4 * 14, "attention": 4 * 32, "activations": 4 * 11}
    assert live.peak == 4 * (100 + 15)
    assert last.numel() == 11


@pytest.mark.parametrize(
    ("shape", "part"),
    [
        ((3, 5), "vectors"),
        ((5, 3), "vectors"),
        ((100,), "vectors"),
        ((100, 1), "vectors"),
        ((2, 7), "outputs"),
        ((7,), "activations"),
        ((2, 4, 4), "attention"),
        ((4, 4), "activations"),
        ((2, 4, 6), "activations"),
    ],
)
def test_a_part_is_known_by_its_shape(shape: tuple[int, ...], part: str) -> None:
    assert SHAPES.part(torch.zeros(shape)) == part
