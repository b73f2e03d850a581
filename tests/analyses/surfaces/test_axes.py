"""The plane that the settings describe, and the other checkpoints that decide a result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tanh_net
from torch import Tensor

from landscape import Objective, Surface
from landscape.analyses.surfaces.axes import make_frame, other_digests, read_others
from landscape.errors import UsageError
from landscape.evaluation.directions import treatments

Data = tuple[Tensor, Tensor]


@pytest.fixture
def objective(classification: Data) -> Objective:
    return Objective(tanh_net(), [classification], "cross_entropy")


def test_random_planes_differ_by_number_and_by_seed(objective: Objective) -> None:
    scaled = treatments(objective, "filter", ("none",))

    def first(seed: int, number: int) -> Tensor:
        direction: Tensor = make_frame(Surface(seed=seed), objective, scaled, number=number).plane.directions[0]
        return direction

    assert torch.equal(first(0, 0), first(0, 0))
    assert not torch.equal(first(0, 0), first(0, 1))
    assert not torch.equal(first(0, 0), first(1, 0))


def test_eigenvectors_are_the_directions(objective: Objective) -> None:
    vectors = np.eye(objective.space.size, 2, dtype=np.float32)
    plain = treatments(objective, "none", ("none",))
    frame = make_frame(Surface(axes="eigen"), objective, plain, vectors)
    assert np.array_equal(torch.stack(frame.plane.directions).numpy(), vectors.T)


def test_axes_that_need_checkpoints_ask_for_them(objective: Objective) -> None:
    with pytest.raises(UsageError, match="none is named"):
        make_frame(Surface(axes="checkpoints"), objective, ())
    with pytest.raises(UsageError, match="needs the checkpoints of a run"):
        make_frame(Surface(axes="trajectory"), objective, ())
    with pytest.raises(UsageError, match="none is named"):
        read_others(Surface().settings, objective)


def test_the_content_of_other_checkpoints_decides_and_their_paths_do_not(objective: Objective, tmp_path: Path) -> None:
    state = tanh_net().state_dict()
    for name, factor in {"b": 1.5, "same": 1.5, "c": 2.0}.items():
        torch.save({key: factor * tensor for key, tensor in state.items()}, tmp_path / f"{name}.pt")
    b, same, c = (other_digests(Surface(towards=tmp_path / f"{n}.pt").settings, objective) for n in ("b", "same", "c"))  # type: ignore[arg-type]
    assert b == same != c
    assert len(other_digests(Surface(trajectory=str(tmp_path)).settings, objective)) == 3
    assert other_digests(Surface().settings, objective) == []
