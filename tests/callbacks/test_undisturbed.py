"""Blocks that leave a training's random numbers and contexts as they are."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
import torch

from landscape.callbacks.undisturbed import leave_training_undisturbed
from landscape.compute.random_state import global_states

SURROUNDINGS: dict[str, AbstractContextManager[object]] = {
    "nothing": nullcontext(),
    "autocast": torch.autocast("cpu", dtype=torch.bfloat16),
    "no-grad": torch.no_grad(),
    "inference-mode": torch.inference_mode(),
}


def draw() -> None:
    random.random()
    np.random.rand()
    torch.rand(3)


@pytest.mark.parametrize("surroundings", SURROUNDINGS.values(), ids=SURROUNDINGS)
def test_within_the_block_derivatives_are_those_of_full_precision(surroundings: AbstractContextManager[object]) -> None:
    x = torch.full((4, 4), 1.001)
    with surroundings:
        contexts = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        with leave_training_undisturbed("cpu"):
            weights = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad((weights @ x).sum(), weights)
        after = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient, torch.full((4, 4), 4 * 1.001), rtol=1e-6, atol=0.0)
    assert after == contexts


def test_random_numbers_go_on_as_if_the_block_had_drawn_none() -> None:
    draw()
    before = global_states()
    with leave_training_undisturbed("cpu"):
        draw()
        assert global_states() != before
    assert global_states() == before


def stop() -> None:
    draw()
    raise KeyboardInterrupt


def test_random_numbers_go_on_after_an_error_too() -> None:
    before = global_states()
    with pytest.raises(KeyboardInterrupt), leave_training_undisturbed("cpu"):
        stop()
    assert global_states() == before
