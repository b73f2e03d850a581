"""Blocks that begin at a seed leave the global generators as they were, and draws are seen by their source."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from landscape.compute.random_state import begin_at_seed, global_states, keep_states


def draws() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(()))


def test_a_block_begins_at_its_seed_and_leaves_nothing_behind() -> None:
    before = global_states()
    with begin_at_seed(7):
        first = draws()
    with begin_at_seed(7):
        assert draws() == first
    with begin_at_seed(8):
        assert draws() != first
    assert global_states() == before


def test_a_block_without_a_seed_goes_on_and_leaves_nothing_behind() -> None:
    before = global_states()
    with keep_states():
        first = draws()
        assert draws() != first
    assert global_states() == before
    assert draws() == first


def test_the_states_come_back_after_an_error() -> None:
    def fails() -> None:
        with begin_at_seed(7):
            draws()
            raise ValueError("broken")

    before = global_states()
    with pytest.raises(ValueError, match="broken"):
        fails()
    assert global_states() == before


@pytest.mark.parametrize("name", ["Python's random", "numpy.random", "torch"])
def test_a_draw_changes_the_state_of_its_source_alone(name: str) -> None:
    sources = {"Python's random": random.random, "numpy.random": np.random.rand, "torch": lambda: torch.rand(())}
    before = global_states()
    sources[name]()
    after = global_states()
    assert [key for key in before if before[key] != after[key]] == [name]
