"""Edited checkpoints as files: their tensors, their undo files, and what is not overwritten."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SAMPLES, quiet_transformers
from memorized import fit_net, self_describing
from safetensors.torch import load_file
from torch import Tensor

import landscape
from landscape import Edit, session
from landscape.analyses.memorization.edited_checkpoint import check_target, target
from landscape.checkpoints import read
from landscape.checkpoints.edits.undo import read_manifest, undo_edit
from landscape.errors import UsageError

Data = tuple[Tensor, Tensor]


class TestWhatIsWritten:
    def test_only_edited_tensors_change_and_undo_restores_the_file(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        output = tmp_path / "n.landscape.h5"
        result = session.run(Edit(rho=(0.9,)), landscape.load(tmp_path / "n.pt"), output=output)
        written = tmp_path / "n.edited.safetensors"
        before, after = read(tmp_path / "n.pt").tensors, read(written).tensors
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"0.weight", "2.weight"}
        for name in changed:
            assert torch.equal(after[name], torch.from_numpy(result.weights[name]).float())
        again = landscape.load(written)
        assert float(again.value()) == pytest.approx(
            float(dict(zip(result.population, result.loss_after, strict=True))["memorized"]) * 0.1
            + 0.9 * float(dict(zip(result.population, result.loss_after, strict=True))["clean"]),
            rel=1e-4,
        )
        about = read_manifest(written)["about"]
        assert about["method"] == "kfac"
        assert about["rho"] == 0.9
        json.dumps(about)
        content = (tmp_path / "n.pt").read_bytes()
        (tmp_path / "n.pt").unlink()
        assert undo_edit(written) == tmp_path / "n.pt"
        assert (tmp_path / "n.pt").read_bytes() == content

    def test_what_stands_there_is_kept_and_said_before_anything_is_measured(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        (tmp_path / "n.edited.safetensors").write_text("mine")
        steps: list[Any] = []
        with pytest.raises(UsageError, match="not what an earlier edit wrote"):
            session.run(
                Edit(rho=(0.9,)),
                landscape.load(tmp_path / "n.pt"),
                output=tmp_path / "n.landscape.h5",
                report=steps.append,
            )
        assert not steps
        assert (tmp_path / "n.edited.safetensors").read_text() == "mine"

    def test_an_edit_that_removes_nothing_leaves_an_earlier_one(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        output = tmp_path / "n.landscape.h5"
        session.run(Edit(rho=(0.9,)), landscape.load(tmp_path / "n.pt"), output=output)
        content = (tmp_path / "n.edited.safetensors").read_bytes()
        session.run(Edit(rho=(0.5,), max_loss_increase=0.0), landscape.load(tmp_path / "n.pt"), output=output)
        assert (tmp_path / "n.edited.safetensors").read_bytes() == content

    def test_an_earlier_edit_is_replaced(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        output = tmp_path / "n.landscape.h5"
        for rho in (0.9, 0.95):
            said: list[str] = []
            session.execute(Edit(rho=(rho,)), landscape.load(tmp_path / "n.pt"), output=output, say=said.append)
        assert any("replaced the earlier edit in" in line for line in said)
        assert read_manifest(tmp_path / "n.edited.safetensors")["about"]["rho"] == 0.95

    def test_a_gate_writes_no_checkpoint(self, tmp_path: Path) -> None:
        shutil.copy(SAMPLES / "digits-noisy.pt", tmp_path / "n.pt")
        objective = landscape.load(tmp_path / "n.pt")
        session.execute(Edit(rho=(0.9,)), objective, output=tmp_path / "n.landscape.h5", deliver=False)
        assert not list(tmp_path.glob("*edited*"))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_hugging_face_model_end_to_end(family: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"vocab_size": 23, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    with quiet_transformers():
        if family == "gpt2":
            config = transformers.GPT2Config(n_positions=16, n_embd=16, n_layer=2, n_head=2, **sizes)
        else:
            shape = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
            config = transformers.LlamaConfig(max_position_embeddings=16, **shape, **sizes)
        model = transformers.AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
        model.save_pretrained(tmp_path / "m")
    ids = torch.randint(3, 23, (24, 12), generator=torch.Generator().manual_seed(0))
    torch.save({"input_ids": ids[:16]}, tmp_path / "data.pt")
    torch.save({"input_ids": ids[16:]}, tmp_path / "clean.pt")
    objective = landscape.load(tmp_path / "m", data=str(tmp_path / "data.pt"))
    output = tmp_path / "m.landscape.h5"
    named = (f"memorized={tmp_path / 'data.pt'}", f"clean={tmp_path / 'clean.pt'}")
    spectrum = session.run(
        landscape.Memorization(population=named, layers=("*mlp*",), bands=(0.1, 0.5), resamples=20, controls=1),
        objective,
        output=output,
    )
    assert spectrum.recitation is not None
    assert len(spectrum.layer) == (4 if family == "gpt2" else 6)
    every = session.run(Edit(population=named, rho=(1.0,)), objective, output=tmp_path / "all.landscape.h5")
    assert len(every.layer) == (8 if family == "gpt2" else 14)  # its head is tied, and no other is taken for it
    assert np.isfinite(spectrum.input_curvature).all()
    result = session.run(Edit(population=named, layers=("*mlp*",), rho=(0.7,)), objective, output=output)
    edited_folder = tmp_path / "m.edited"
    before, after = (load_file(folder / "model.safetensors") for folder in (tmp_path / "m", edited_folder))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert len(changed) == len(spectrum.layer)
    assert all("mlp" in name for name in changed)
    assert all(tensor.dtype == torch.bfloat16 for tensor in after.values())
    with quiet_transformers():
        again = transformers.AutoModelForCausalLM.from_pretrained(edited_folder, dtype=torch.float32).eval()
        with torch.no_grad():
            loss = again(input_ids=ids[16:], labels=ids[16:]).loss
    names = list(result.population)
    assert float(loss) == pytest.approx(result.loss_after[names.index("clean")], rel=2e-3)  # bf16 rounds the weights
    content = (tmp_path / "m" / "model.safetensors").read_bytes()
    undo_edit(edited_folder, tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == content


def test_every_copy_of_a_tied_weight_is_written(tmp_path: Path) -> None:
    """The file has a tied weight under both names; the model is called without either name's own copy."""
    (tmp_path / "tied.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Tied(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.a, self.b, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)\n"
        "        self.b.weight = self.a.weight\n"
        "    def forward(self, x):\n        return self.out(self.b(self.a(x).tanh()).tanh())\n"
        "def data():\n    g = torch.Generator().manual_seed(0)\n"
        "    return [(torch.randn(30, 6, generator=g), torch.randint(0, 3, (30,), generator=g))]\n"
    )
    import importlib.util

    spec = importlib.util.spec_from_file_location("tied", tmp_path / "tied.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    torch.manual_seed(0)
    torch.save({name: tensor.clone() for name, tensor in module.Tied().state_dict().items()}, tmp_path / "t.pt")
    named = {"model": f"{tmp_path / 'tied.py'}:Tied", "data": f"{tmp_path / 'tied.py'}:data", "loss": "cross_entropy"}
    result = session.run(
        Edit(rho=(0.5,)), landscape.load(tmp_path / "t.pt", **named), output=tmp_path / "t.landscape.h5"
    )
    written = tmp_path / "t.edited.safetensors"
    tensors = read(written).tensors
    assert torch.equal(tensors["a.weight"], tensors["b.weight"])
    assert not torch.equal(tensors["a.weight"], read(tmp_path / "t.pt").tensors["a.weight"])
    assert float(landscape.load(written, **named).value()) == pytest.approx(float(result.loss_after[0]), rel=1e-5)


@pytest.mark.parametrize(("name", "edited"), [("n.pt", "r.edited.safetensors"), ("folder", "r.edited")])
def test_the_target_is_beside_the_results_and_a_directory_for_a_directory(
    name: str, edited: str, classification: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.mkdir() if name == "folder" else path.touch()
    objective = self_describing(classification, tmp_path)
    objective.source = replace(objective.source, path=path)
    assert target(objective, tmp_path / "r.landscape.h5") == tmp_path / edited


def test_an_objective_from_no_checkpoint_cannot_be_written(
    classification: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="comes from no checkpoint"):
        check_target(fit_net(classification), tmp_path / "r.landscape.h5")
