"""The two nets of the first look are the same each time, and as different as its story says."""

from __future__ import annotations

import torch
from torch import nn

from landscape.zoo import digits
from landscape.zoo.demo import train_pair


def test_the_nets_are_the_same_each_time_and_fit_the_digits() -> None:
    state = torch.get_rng_state()
    first, again = train_pair(), train_pair()
    assert torch.equal(torch.get_rng_state(), state)
    inputs, labels = (torch.cat(parts) for parts in zip(*digits(split="train"), strict=True))
    for name in ("sgd", "sam"):
        pairs = zip(first[name].parameters(), again[name].parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        with torch.no_grad():
            assert nn.functional.cross_entropy(first[name](inputs), labels) < 0.06
