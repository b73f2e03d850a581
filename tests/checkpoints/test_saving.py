"""A checkpoint that describes itself is measured without a flag."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import landscape
from landscape.checkpoints import read
from landscape.errors import TaskError, UsageError
from landscape.zoo import digits, mlp

SIZES = {"sizes": [64, 4, 10]}


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return mlp(**SIZES)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
class TestBothFormats:
    def test_a_registered_data_set(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        spec = {"model": "mlp", "model_args": SIZES, "data_args": {"split": "test"}, "about": {"step": 5}}
        landscape.save(path, model(), data="digits", loss="cross_entropy", spec=spec)
        objective = landscape.load(path)
        assert objective.batches.samples == 497
        expected = landscape.Objective(model(), digits("test"), "cross_entropy")
        assert float(objective.value()) == float(expected.value())
        stored = read(path).spec
        assert stored is not None
        assert stored.about == {"step": 5}

    def test_an_embedded_batch_and_extras(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        batch = digits()[0]
        mask = torch.tensor([True, False])
        landscape.save(path, model(), data=batch, spec={"model": "mlp", "model_args": SIZES}, extras={"mask": mask})
        objective = landscape.load(path)
        assert objective.batches.samples == 256
        assert objective.loss.name == "cross_entropy"
        assert any("the batch inside the checkpoint" in note for note in objective.notes)
        assert torch.equal(read(path).extras["mask"], mask)

    def test_without_a_model_the_reader_is_told_what_to_type(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"a{suffix}"
        landscape.save(path, model(), data=digits()[0])
        with pytest.raises(TaskError, match=rf"does not say which model.*\n.*\n.*landscape eig {path} --model"):
            landscape.load(path)
        assert landscape.load(path, model="mlp", model_arg=("sizes=[64,4,10]",)).space.size == 310


def test_tied_weights_survive_safetensors(tmp_path: Path) -> None:
    tied = torch.nn.ModuleDict({"a": torch.nn.Linear(2, 2)})
    tied["b"] = tied["a"]
    landscape.save(tmp_path / "a.safetensors", tied)
    assert set(read(tmp_path / "a.safetensors").tensors) == {"a.weight", "a.bias", "b.weight", "b.bias"}


@pytest.mark.parametrize(
    "spec", [{"model": "nosuch"}, {"modle": "mlp"}, {"data": "digits"}], ids=["name", "entry", "twice"]
)
def test_a_description_that_nobody_could_read_is_not_written(tmp_path: Path, spec: dict[str, str]) -> None:
    if "data" in spec:
        landscape.save(tmp_path / "a.pt", model(), data="digits", spec=spec)
        return
    with pytest.raises(UsageError, match=r"nosuch|modle"):
        landscape.save(tmp_path / "a.pt", model(), spec=spec)
    assert not (tmp_path / "a.pt").exists()


@pytest.mark.parametrize("kind", ["model", "data", "loss"])
def test_a_name_inside_a_file_is_never_imported(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nbuild = None")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    entries = {"schema": 1, "model": "mlp", "data": "digits", "loss": "cross_entropy"}
    for name in ("evil:build", "./evil.py:build"):
        spec = json.dumps({**entries, kind: name})
        torch.save({"state_dict": model().state_dict(), "landscape": spec}, tmp_path / "a.pt")
        with pytest.raises(TaskError, match="there is no"):
            landscape.load(tmp_path / "a.pt", model_arg=("sizes=[64,4,10]",))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "data", [{"x": torch.ones(2, 64), "y": torch.tensor([0, 1])}, (torch.ones(2, 64), torch.tensor([0, 1]))]
)
def test_a_batch_is_embedded_however_it_is_given(tmp_path: Path, data: object) -> None:
    landscape.save(tmp_path / "a.pt", model(), data=data, spec={"model": "mlp", "model_args": SIZES})  # type: ignore[arg-type]
    assert landscape.load(tmp_path / "a.pt").batches.samples == 2


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"data": [(torch.ones(2, 64), torch.tensor([0, 1]))] * 2}, "data is a list, which cannot be embedded"),
        ({"data": {"a": torch.ones(2), "labels": torch.ones(2)}}, "data is a dict, which cannot be embedded"),
        ({"loss": "xx"}, "no registered loss 'xx'"),
        ({"loss": torch.nn.CrossEntropyLoss()}, "no registered loss CrossEntropyLoss"),
    ],
    ids=["list", "arguments", "loss", "object"],
)
def test_what_nobody_could_use_is_not_written(tmp_path: Path, named: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        landscape.save(tmp_path / "a.pt", model(), **named)  # type: ignore[arg-type]
    assert not (tmp_path / "a.pt").exists()


def test_a_data_set_named_in_the_spec_is_kept(tmp_path: Path) -> None:
    landscape.save(tmp_path / "a.pt", model(), spec={"model": "mlp", "model_args": SIZES, "data": "digits"})
    assert landscape.load(tmp_path / "a.pt").batches.samples == 1300
