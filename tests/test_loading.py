"""A checkpoint becomes an objective: its weights, its own description, and what is refused on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from torch.nn import functional

import landscape
from landscape.conditions import Conditions
from landscape.errors import CheckpointError, TaskError, UsageError
from landscape.evaluation.populations import populations
from landscape.zoo import digits, mlp


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "a.pt"
    spec = {"model": "mlp", "model_args": {"sizes": [64, 4, 10]}}
    landscape.save(path, mlp([64, 4, 10]), data="digits", loss="cross_entropy", spec=spec)
    return path


def test_the_objective_is_the_loss_of_the_saved_weights_on_the_described_data(saved: Path) -> None:
    torch.manual_seed(0)
    model, batches = mlp([64, 4, 10]), digits()
    x, y = torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])
    expected = float(functional.cross_entropy(model(x), y).detach())
    objective = landscape.load(saved)
    assert float(objective.value()) == pytest.approx(expected, rel=1e-6)
    assert objective.count == 1300


def test_conditions_may_be_an_object_or_arguments(saved: Path) -> None:
    one = landscape.load(saved, Conditions(limit=50, params=("0.*",)))
    other = landscape.load(saved, limit=50, params=("0.*",))
    assert one.identity() == other.identity()
    assert one.space.names == ("0.weight", "0.bias")


def test_what_was_found_where_is_in_the_notes_and_the_source(saved: Path) -> None:
    objective = landscape.load(saved, data="digits", origins={"data": "--data"})
    assert objective.notes[:3] == (
        "model: mlp, from the checkpoint's own description",
        "loss: cross_entropy, from the checkpoint's own description",
        "data: digits, from --data",
    )
    assert objective.source.path == saved
    assert objective.source.resolved_from["data"] == "digits, from --data"


def test_wrappers_prefixes_are_stripped_and_that_is_noted(saved: Path, tmp_path: Path) -> None:
    weights = {f"module.{name}": tensor for name, tensor in mlp([64, 4, 10]).state_dict().items()}
    torch.save(weights, tmp_path / "wrapped.pt")
    objective = landscape.load(
        tmp_path / "wrapped.pt", model="mlp", model_arg=("sizes=(64, 4, 10)",), data="digits", loss="cross_entropy"
    )
    assert any("module" in note for note in objective.notes)
    assert objective.space.size == 64 * 4 + 4 + 4 * 10 + 10


@pytest.mark.parametrize("kind", ["model", "data", "loss"])
def test_objects_are_sent_to_objective(saved: Path, kind: str) -> None:
    with pytest.raises(UsageError, match=rf"load\(\) takes the {kind} by name\n.*landscape.Objective"):
        landscape.load(saved, **{kind: object()})


def test_a_small_file_that_describes_a_huge_model_is_refused_before_it_is_built(tmp_path: Path) -> None:
    spec = {"model": "mlp", "model_args": {"sizes": [64, 1 << 20, 1 << 20, 10]}}
    landscape.save(tmp_path / "bomb.pt", mlp([64, 4, 10]), data="digits", loss="cross_entropy", spec=spec)
    with pytest.raises(CheckpointError, match=r"it holds 310 numbers for 1,099,\d{3},"):
        landscape.load(tmp_path / "bomb.pt")


def test_weights_of_another_model_are_refused_by_name(saved: Path) -> None:
    with pytest.raises(CheckpointError, match="mlp"):
        landscape.load(saved, model="mlp", model_arg=("sizes=(64, 5, 10)",))


def test_a_file_that_names_no_model_asks_for_it(tmp_path: Path) -> None:
    torch.save(mlp([3, 2]).state_dict(), tmp_path / "bare.pt")
    with pytest.raises(TaskError, match=r"does not say which model"):
        landscape.load(tmp_path / "bare.pt")


def test_the_preconditioner_is_read_from_the_named_file(saved: Path, tmp_path: Path) -> None:
    diagonal = {name: torch.full_like(tensor, 2.0) for name, tensor in mlp([64, 4, 10]).state_dict().items()}
    torch.save(diagonal, tmp_path / "adam.pt")
    objective = landscape.load(saved, preconditioner=str(tmp_path / "adam.pt"))
    assert torch.equal(objective.preconditioner, torch.full_like(objective.theta, 2.0))


def test_a_sample_describes_itself() -> None:
    objective = landscape.load(SAMPLES / "digits-mlp.pt", limit=100)
    assert (objective.space.size, objective.count) == (2950, 100)


class TestFrozenData:
    """`--freeze-data`: what some passes give is measured, wherever data are named."""

    DATA = """
import torch
from torch.utils.data import DataLoader, TensorDataset
def shuffled():
    x = torch.randn(60, 64, generator=torch.Generator().manual_seed(0))
    return DataLoader(TensorDataset(x, torch.arange(60) % 10), batch_size=20, shuffle=True)
def once():
    yield from [(x + 0.1 * torch.randn_like(x), y) for x, y in shuffled()]
def endless():
    while True:
        yield torch.randn(20, 64), torch.arange(20) % 10
"""

    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        path = tmp_path / "data.py"
        path.write_text(self.DATA)
        return path

    @pytest.mark.parametrize("name", ["shuffled", "once"])
    def test_the_refusal_s_remedy_works(self, saved: Path, data: Path, name: str) -> None:
        with pytest.raises(TaskError, match="--freeze-data 1"):
            landscape.load(saved, data=f"{data}:{name}")
        one, again = (landscape.load(saved, data=f"{data}:{name}", freeze_data=2) for _ in range(2))
        assert one.count == 120
        assert one.identity() == again.identity()
        assert "data frozen: 2 passes with seed 0 gave 6 batches, 0.0 MB, kept in memory" in one.notes
        assert landscape.load(saved, data=f"{data}:{name}", freeze_data=1).identity() != one.identity()

    def test_a_limit_ends_an_endless_stream(self, saved: Path, data: Path) -> None:
        assert landscape.load(saved, data=f"{data}:endless", freeze_data=1, limit=50).count == 50

    def test_what_memory_does_not_hold_is_kept_where_the_results_are(
        self, saved: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("landscape.data.freezing.room", lambda *_: 1000)
        folder = tmp_path / "results"
        folder.mkdir()
        on_disk = landscape.load(saved, data=f"{data}:once", freeze_data=2, folder=folder)
        assert any(f"kept in a file in {folder} until the end" in note for note in on_disk.notes)
        assert list(folder.iterdir()) == []
        monkeypatch.undo()
        assert landscape.load(saved, data=f"{data}:once", freeze_data=2).identity() == on_disk.identity()

    def test_populations_are_frozen_as_well(self, saved: Path, data: Path) -> None:
        objective = landscape.load(saved, data=f"{data}:once", freeze_data=1)
        assert populations(objective, [f"clean={data}:shuffled"])["clean"].count == 60
