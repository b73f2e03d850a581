"""Formats that run code: refused without --trust, and with it the numbers of the model in memory."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from landscape import Eig
from landscape.checkpoints import read
from landscape.errors import CheckpointError, LandscapeError

NET = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh())
        self.head = torch.nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))

def build() -> torch.nn.Module:
    torch.manual_seed(0)
    return Net()

def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(n, 4, generator=generator), torch.arange(n) % 3) for n in (8, 8, 3)]
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The user's own module, importable from the working directory."""
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "net", raising=False)
    return pytest.importorskip("net")


def exported(model: nn.Module) -> Path:
    sizes = ({0: torch.export.Dim("samples")},)
    torch.export.save(torch.export.export(model, (torch.ones(5, 4),), dynamic_shapes=sizes), "a.pt2")
    return Path("a.pt2")


def pickled(content: Any) -> Path:
    torch.save(content, "a.pt")
    return Path("a.pt")


def distributed(model: nn.Module) -> Path:
    import torch.distributed.checkpoint as dcp

    dcp.save({"model": model.state_dict()}, checkpoint_id="dcp")
    return Path("dcp")


def bare(model: nn.Module) -> Path:
    Path("a.pkl").write_bytes(pickle.dumps(model.state_dict()))
    return Path("a.pkl")


def scripted(model: nn.Module) -> Path:
    torch.jit.save(torch.jit.script(model), "script.pt")
    return Path("script.pt")


WITH_MODEL: dict[str, Callable[[nn.Module], Path]] = {
    "exported": exported,
    "module": pickled,
    "module-in-a-dictionary": lambda model: pickled({"epoch": 1, "model": model}),
}
WITHOUT: dict[str, Callable[[nn.Module], Path]] = {
    "torchscript": scripted,
    "distributed": distributed,
    "bare-pickle": bare,
}
quiet = pytest.mark.filterwarnings("ignore")  # of deprecations and of single processes, when these files are written


RUNNING = {**WITH_MODEL, **WITHOUT}
del RUNNING["distributed"]  # which is read as data


@quiet
@pytest.mark.parametrize("make", RUNNING.values(), ids=list(RUNNING))
def test_without_the_flag_it_is_refused_with_the_flag_to_type(make: Callable[..., Path], net: Any) -> None:
    path = make(net.build())
    with pytest.raises(CheckpointError, match=rf"runs code.*\n(.*\n)?.*landscape eig {path} --trust|Python objects"):
        read(path)


@quiet
@pytest.mark.parametrize("make", WITH_MODEL.values(), ids=list(WITH_MODEL))
def test_with_it_the_file_s_own_model_is_measured(make: Callable[..., Path], net: Any) -> None:
    there = landscape.load(make(net.build()), trust=True, data="net.py:batches", dtype="float64")
    here = landscape.Objective(net.build(), net.batches(), dtype="float64")
    assert "opened with --trust: code from it may have run" in there.notes
    assert there.source.resolved_from["model"].endswith(", from the checkpoint itself")
    values = [landscape.run(Eig(k=3, tol=1e-8), objective).eigenvalues for objective in (there, here)]
    np.testing.assert_allclose(*values, rtol=1e-6)


@quiet
@pytest.mark.parametrize("make", [*WITH_MODEL.values(), *WITHOUT.values()], ids=[*WITH_MODEL, *WITHOUT])
def test_with_it_its_weights_go_into_a_model_of_one_s_own(make: Callable[..., Path], net: Any) -> None:
    path = make(net.build())
    there = landscape.load(path, trust=True, model="net.py:build", data="net.py:batches")
    here = landscape.Objective(net.build(), net.batches())
    assert torch.equal(there.theta, here.theta)


def test_trusting_a_file_that_needs_none_reads_it_as_data(net: Any) -> None:
    path = pickled(net.build().state_dict())
    assert "opened with --trust: code from it may have run" not in read(path, trust=True).notes


@quiet
def test_averaged_modules_are_chosen_too(net: Any) -> None:
    raw, averaged = net.build(), net.build()
    nn.init.ones_(averaged.head.bias)
    path = pickled({"model": raw, "ema": averaged})
    objective = landscape.load(path, trust=True, weights="ema", data="net.py:batches")
    assert float(objective.value()) == float(landscape.Objective(averaged, net.batches()).value())


@quiet
def test_a_program_for_one_size_says_how_to_export_it_for_any(net: Any) -> None:
    torch.export.save(torch.export.export(net.build(), (torch.ones(5, 4),)), "a.pt2")
    with pytest.raises(LandscapeError, match=r"Guard failed(.*\n)*.*export the program for any number of samples"):
        landscape.load("a.pt2", trust=True, data="net.py:batches")


@quiet
def test_a_class_that_cannot_be_imported_is_said(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pickled(net.build())
    Path("net.py").unlink()
    monkeypatch.delitem(sys.modules, "net")
    # folders of files that earlier tests named stay in the path, and may hold another net.py
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if not (Path(folder) / "net.py").exists()])
    with pytest.raises(
        CheckpointError, match=r"cannot be opened, though trusted.*'net'\n.*not importable.*\n.*can be imp"
    ):
        landscape.load(path, trust=True, data="digits")


@quiet
def test_the_class_is_found_in_the_working_directory(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pickled(net.build())
    monkeypatch.delitem(sys.modules, "net")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(Path.cwd())])
    assert landscape.load(path, trust=True, data="net.py:batches").space.size == 43
