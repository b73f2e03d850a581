"""Forward passes that change the model, draw numbers or remember: refused, or measured from one state, and said."""

from __future__ import annotations

import random
from typing import Any

import contract_breakers as breakers
import numpy as np
import pytest
import torch
from contract_breakers import BATCHES, Net
from torch import Tensor, nn

import landscape
from landscape.errors import TaskError


def plain_value() -> float:
    return float(landscape.Objective(Net(), BATCHES, "cross_entropy").value())


def moves_in_place(net: Any, z: Tensor) -> Tensor:
    net.scale.mul_(1.00005)
    return z


def moves_by_assignment(net: Any, z: Tensor) -> Tensor:
    net.scale = net.scale * 1.00005
    return z


@pytest.mark.parametrize("disturb", [moves_in_place, moves_by_assignment])
def test_buffers_that_move_are_given_to_each_pass_anew(disturb: Any) -> None:
    model = Net(disturb)
    objective = landscape.Objective(model, BATCHES, "cross_entropy", dtype="float64")
    values = {float(objective.value()) for _ in range(5)}
    assert len(values) == 1
    assert values.pop() == pytest.approx(plain_value(), rel=2e-4)
    assert any("change the buffer scale" in note for note in objective.notes)
    assert float(model.scale) == 1
    assert landscape.run(landscape.Sharpness(rho=(0.1,), draws=4), objective).trouble() is None


@pytest.mark.parametrize("disturb", [breakers.clamps_its_weights, breakers.normalizes_its_weights])
def test_a_pass_that_changes_its_weights_is_refused_by_name(disturb: Any) -> None:
    with pytest.raises(TaskError, match=r"changes the parameter b.weight\n.*\n.*leave the weights alone"):
        landscape.Objective(Net(disturb), BATCHES, "cross_entropy")


def test_an_embedding_that_renormalizes_its_rows_is_refused_by_name() -> None:
    model = nn.Sequential(nn.EmbeddingBag(7, 3, max_norm=0.5), nn.Linear(3, 3))
    words = torch.randint(0, 7, (20, 4), generator=torch.Generator().manual_seed(0))
    with pytest.raises(TaskError, match="changes the parameter 0.weight"):
        landscape.Objective(model, (words, torch.arange(20) % 3), "cross_entropy")


@pytest.mark.parametrize(
    ("disturb", "source"),
    [
        (breakers.drops_rarely, "Python's random"),
        (breakers.adds_noise_of_numpy, "numpy.random"),
        (breakers.adds_noise_of_torch, "torch"),
    ],
)
def test_a_model_that_is_random_in_eval_mode_is_refused_with_the_source(disturb: Any, source: str) -> None:
    random.seed(0)
    np.random.seed(0)
    with pytest.raises(TaskError, match="random in eval mode|two different outputs") as caught:
        landscape.Objective(Net(disturb), BATCHES, "cross_entropy")
    assert source in str(caught.value) or "two different" in caught.value.what


def test_numbers_that_are_drawn_and_not_used_are_noted_and_change_nothing() -> None:
    """Layer drop that draws in eval mode too, as older Hugging Face models do."""

    def draws(net: Any, z: Tensor) -> Tensor:
        drop = random.uniform(0, 1) < 0.5
        return 0 * z if net.training and drop else z

    random.seed(3)
    state = random.getstate()
    objective = landscape.Objective(Net(draws), BATCHES, "cross_entropy")
    assert float(objective.value()) == plain_value()
    assert objective.function.draws_numbers
    assert any("draws random numbers in eval mode from Python's random" in note for note in objective.notes)
    state_after_one_draw = random.getstate()
    objective.value()
    assert random.getstate() == state_after_one_draw != state


def test_an_output_that_depends_on_what_the_model_kept_is_refused_by_name() -> None:
    with pytest.raises(TaskError, match=r"depends on what it kept from earlier passes: .*kept"):
        landscape.Objective(Net(breakers.keeps_the_first_mean), BATCHES, "cross_entropy")


def test_what_a_model_keeps_for_others_to_look_at_is_no_trouble() -> None:
    def keeps(net: Any, z: Tensor) -> Tensor:
        net.kept = z.detach().clone()
        return z

    objective = landscape.Objective(Net(keeps), BATCHES, "cross_entropy")
    finding = next(one for one in objective.checks if one.check == "purity")
    assert finding.verdict == "holds"
    assert "does not depend on what it keeps" in finding.found
    assert objective.notes == ()


def test_a_model_that_writes_into_its_weights_at_its_first_pass_alone_fails_in_words_or_not_at_all() -> None:
    """As RWKV, which divides the weights of deep layers when it first runs in eval mode."""

    def divides_once(divisor: float) -> Any:
        def divide(net: Any, z: Tensor) -> Tensor:
            if not net.kept:
                net.kept = True
                with torch.no_grad():
                    net.b.weight.div_(divisor)
            return z

        return divide

    class Once(Net):
        def __init__(self, disturb: Any) -> None:
            super().__init__(disturb)
            self.kept = False

    assert float(landscape.Objective(Once(divides_once(1.0)), BATCHES, "cross_entropy").value()) == plain_value()
    with pytest.raises(TaskError, match=r"changes the parameter b.weight\n"):
        landscape.Objective(Once(divides_once(2.0)), BATCHES, "cross_entropy")
