"""`landscape eig` end to end on every format, against the same model measured in memory."""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import landscape
from landscape import Eig
from landscape.plugins.imports import import_object
from landscape_cli.main import status

CODE = """
import torch
def build(width=6):
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh()), torch.nn.Linear(width, 3)
    )
def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 4, generator=generator), torch.arange(n) % 3) for n in (8, 8, 5)]
"""
OWN = ["--model", "formats_project.py:build", "--data", "formats_project.py:batches"]
DATA = OWN[2:]


def trained() -> nn.Module:
    """Not the weights that the factory makes: those would be right without being read."""
    model: nn.Module = import_object("formats_project.py:build")()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3).add_(0.05)
    return model


def plain(model: nn.Module) -> list[str]:
    torch.save(model.state_dict(), "ckpt.pt")
    return ["ckpt.pt", *OWN]


def old_format(model: nn.Module) -> list[str]:
    torch.save(model.state_dict(), "ckpt.pt", _use_new_zipfile_serialization=False)
    return ["ckpt.pt", *OWN]


def safetensors(model: nn.Module) -> list[str]:
    save_file(model.state_dict(), "ckpt.safetensors")
    return ["ckpt.safetensors", *OWN]


def shards(model: nn.Module) -> list[str]:
    Path("ckpt").mkdir()
    names = {}
    for number, (name, tensor) in enumerate(model.state_dict().items()):
        names[name] = f"model-{number}.safetensors"
        save_file({name: tensor}, Path("ckpt") / names[name])
    (Path("ckpt") / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    return ["ckpt", *OWN]


def lightning(model: nn.Module) -> list[str]:
    content = {
        "epoch": 3,
        "global_step": 400,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {
            "ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5), "dirpath": Path("x")}
        },
        "optimizer_states": [torch.optim.Adam(model.parameters()).state_dict()],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.1, "args": argparse.Namespace(depth=2)},
    }
    torch.save(content, "last.ckpt")
    return ["last.ckpt", *OWN]


def compiled(model: nn.Module) -> list[str]:
    whole: Any = torch.compile(copy.deepcopy(model))
    torch.save(whole.state_dict(), "ckpt.pt")
    return ["ckpt.pt", *OWN]


def compiled_in_the_middle(model: nn.Module) -> list[str]:
    outer: Any = copy.deepcopy(model)
    outer[0] = torch.compile(outer[0])
    assert "0._orig_mod.0.weight" in outer.state_dict()
    torch.save({"model_state_dict": outer.state_dict()}, "ckpt.pt")
    return ["ckpt.pt", *OWN]


def averaged(model: nn.Module) -> list[str]:
    other = import_object("formats_project.py:build")()
    ema = torch.optim.swa_utils.AveragedModel(model)
    torch.save({"model": other.state_dict(), "model_ema": ema.state_dict()}, "ckpt.pt")
    return ["ckpt.pt", "--weights", "ema", *OWN]


def exported(model: nn.Module) -> list[str]:
    sizes = ({0: torch.export.Dim("samples")},)
    torch.export.save(torch.export.export(model, (torch.ones(5, 4),), dynamic_shapes=sizes), "ckpt.pt2")
    return ["ckpt.pt2", "--trust", *DATA]


FORMATS: list[Callable[[nn.Module], list[str]]] = [
    plain,
    old_format,
    safetensors,
    shards,
    lightning,
    compiled,
    compiled_in_the_middle,
    averaged,
    exported,
]


@pytest.mark.filterwarnings("ignore")  # of torch.export and torch.compile, when they write
@pytest.mark.parametrize("write", FORMATS, ids=[write.__name__ for write in FORMATS])
def test_every_format_gives_what_the_model_in_memory_gives(
    write: Callable[[nn.Module], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("formats_project.py").write_text(CODE)
    model = trained()
    arguments = ["eig", *write(model), "-k", "3", "--tol", "1e-7", "--dtype", "float64", "--json", "--no-plot"]
    assert status(arguments) == 0
    found = json.loads(capsys.readouterr().out)["result"]
    objective = landscape.Objective(
        model, import_object("formats_project.py:batches")(), "cross_entropy", dtype="float64"
    )
    expected = landscape.run(Eig(k=3, tol=1e-7), objective)
    assert found["eigenvalues"] == pytest.approx(expected.eigenvalues.tolist(), rel=1e-6)
    assert found["loss"] == pytest.approx(expected.loss, rel=1e-9)


def test_the_working_directory_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("formats_project.py").write_text(CODE)
    shards(trained())
    monkeypatch.chdir(tmp_path / "ckpt")
    own = [word.replace("formats_project", "../formats_project") for word in OWN]
    assert status(["eig", ".", *own, "-k", "1", "--no-plot"]) == 0
    out, err = capsys.readouterr()
    assert "ckpt: loss" in out
    assert "ckpt: model:" in err
    assert (tmp_path / "ckpt.landscape.h5").exists()
