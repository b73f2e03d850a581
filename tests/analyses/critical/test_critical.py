"""Options of `critical`, and which updates they name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from landscape import Critical
from landscape.errors import UsageError


@pytest.mark.parametrize("update", ["newton", "towards:", "", "gradients"])
def test_other_updates_are_refused(update: str) -> None:
    with pytest.raises(UsageError, match=r"--update is .*\n.*gradient, adam, or towards:OTHER.pt"):
        Critical(update=update)


def test_a_checkpoint_is_named_by_path_or_state_dict() -> None:
    assert Critical(update="towards:b.pt").end == "b.pt"
    assert Critical(update=Path("b.pt")).end == "b.pt"  # type: ignore[arg-type]
    state = {"w": torch.zeros(2)}
    assert Critical(update=state).end is state  # type: ignore[arg-type]
    assert Critical(update="adam").end is None


def test_a_step_to_a_checkpoint_has_no_learning_rate() -> None:
    with pytest.raises(UsageError, match="no learning rate"):
        Critical(update="towards:b.pt", lr=0.1)


def test_the_name_of_another_checkpoint_s_file_is_no_part_of_the_measurement() -> None:
    assert Critical(update="towards:a.pt").identity() == Critical(update="towards:b.pt").identity()
