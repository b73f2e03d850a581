"""Files as training frameworks write them: inspected, and measured by the very command that `inspect` prints.

The frameworks are not installed: their classes are made under their names, pickled, and gone before the file is opened.
"""

from __future__ import annotations

import argparse
import datetime
import enum
import pathlib
import runpy
import shlex
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

import landscape
from landscape.checkpoints import read
from landscape.checkpoints.inspection import inspect
from landscape.storage.read import read_results
from landscape_cli.main import status

MODEL = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
"""
DATA = """
import torch

def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(9, 4, generator=generator), torch.arange(9) % 3)]
"""
POSIX_PATH = f"{pathlib.PosixPath.__module__}.PosixPath"  # another module since Python 3.13


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3))


def made(name: str, base: type = object, **values: Any) -> Any:
    """An object of a class that says it is from that module, and is importable only while it is pickled."""
    module, _, kind = name.rpartition(".")
    found = sys.modules.get(module)
    if found is None:
        parts = module.split(".")
        for count in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:count]), types.ModuleType(".".join(parts[:count])))
        found = sys.modules[module]
    if not hasattr(found, kind):
        setattr(found, kind, type(kind, (base,), {"__module__": module, "__qualname__": kind}))
    value = getattr(found, kind)(**values) if issubclass(base, dict) else getattr(found, kind)()
    if not issubclass(base, dict):
        value.__dict__.update(values)
    return value


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL)
    Path("data.py").write_text(DATA)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in FRAMEWORKS:
            del sys.modules[name]


FRAMEWORKS = {"mmengine", "easydict", "yacs", "ultralytics", "sklearn", "omegaconf", "fairseq", "mytrain", "ignite"}


def trained() -> tuple[nn.Module, dict[str, Any]]:
    model = net()
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(6, 4)).sum().backward()
    adam.step()
    return net(), adam.state_dict()


def mmengine(state: dict[str, Any], optimizer: dict[str, Any]) -> dict[str, Any]:
    """As mmengine's Runner.save_checkpoint writes it."""
    buffer = made(
        "mmengine.logging.history_buffer.HistoryBuffer",
        _log_history=np.arange(50.0),
        _count_history=np.ones(50),
        _max_length=1000000,
        _statistics_methods={"mean": made("mmengine.logging.history_buffer.Methods")},
    )
    config = made("mmengine.config.config.ConfigDict", dict, type="EpochBasedTrainLoop", max_epochs=12)
    hub = {"log_scalars": {"train/loss": buffer}, "runtime_info": {"epoch": 3, "cfg": config}, "resumed_keys": {}}
    meta = {"seed": 1, "experiment_name": "a", "time": "now", "mmengine_version": "0.10", "dataset_meta": config}
    schedulers = [{"last_step": 3, "_global_step": 4, "factor": np.float64(0.1)}]
    message = {"message_hub": hub, "param_schedulers": schedulers}
    return {"meta": meta, "state_dict": state, **message, "optimizer": optimizer}


def lightning(state: dict[str, Any], optimizer: dict[str, Any]) -> dict[str, Any]:
    """As Lightning's Trainer writes it, with a module among the hyper-parameters and an EMA callback's state."""
    prefixed = {f"model.{name}": tensor for name, tensor in state.items()}
    hyper = {"net": net(), "activation": nn.ReLU, "optimizer": torch.optim.Adam, "cfg": made("mytrain.Config", lr=0.1)}
    ema = {
        "ema_state": {name: tensor + 1 for name, tensor in prefixed.items()},
        "decay": made("mytrain.Decay", rate=0.9),
    }
    return {
        "epoch": 3,
        "pytorch-lightning_version": "2.2.0",
        "state_dict": prefixed,
        "loops": {"fit_loop": {"state_dict": {}, "progress": made("mytrain.Progress", total=3)}},
        "callbacks": {"EMA": ema, "ModelCheckpoint": {"best_model_path": pathlib.PosixPath("a")}},
        "optimizer_states": [optimizer],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper,
    }


class Phase(enum.Enum):
    train = 1


def script(state: dict[str, Any], optimizer: dict[str, Any]) -> dict[str, Any]:
    """As a script of one's own writes it: whatever there is."""
    return {
        "model": state,
        "opt": optimizer,
        "args": argparse.Namespace(lr=0.1, path=pathlib.PureWindowsPath("c:/a")),
        "cfg": made("yacs.config.CfgNode", dict, LR=0.1),
        "easy": made("easydict.EasyDict", dict, lr=0.1),
        "node": made("omegaconf.dictconfig.DictConfig", _content={"lr": made("omegaconf.nodes.AnyNode", _val=0.1)}),
        "scaler": made("sklearn.preprocessing._data.StandardScaler", mean_=np.ones(4), n_samples_seen_=np.int64(9)),
        "phase": Phase.train,
        "started": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC),
        "best": np.float64(0.5),
        "losses": np.ones(20),
        "history": [{"loss": 0.1, "metric": made("ignite.metrics.Accuracy", value=torch.ones(1))}],
        "collate": print,
        "criterion": nn.CrossEntropyLoss(weight=torch.ones(3)),
        "rng": torch.get_rng_state(),
    }


TRAINERS: dict[str, tuple[Callable[..., dict[str, Any]], str, set[str]]] = {
    "mmengine": (
        mmengine,
        "state_dict",
        {"mmengine.logging.history_buffer.HistoryBuffer", "mmengine.config.config.ConfigDict"},
    ),
    "lightning": (
        lightning,
        "state_dict",
        {"mytrain.Config", "torch.nn.modules.container.Sequential", POSIX_PATH},
    ),
    "script": (
        script,
        "model",
        {"yacs.config.CfgNode", "argparse.Namespace", "sklearn.preprocessing._data.StandardScaler"},
    ),
}


def measured(command: str) -> Any:
    """The eigenvalues of the command, typed as it is printed, with fewer eigenvalues."""
    words = shlex.split(command)
    assert words[:2] == ["landscape", "eig"]
    assert status([*words[1:], "-k", "1", "--no-plot", "-o", "out.h5"]) == 0
    return read_results(Path("out.h5"))["eig"].values["eigenvalues"]


def expected() -> Any:
    objective = landscape.Objective(net(), load_data(), "cross_entropy")
    return landscape.run(landscape.Eig(k=1), objective)


def load_data() -> Any:
    return runpy.run_path("data.py")["batches"]()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(("make", "place", "kinds"), TRAINERS.values(), ids=list(TRAINERS))
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_trainer_s_file_is_inspected_and_measured_by_the_printed_command(
    make: Any, place: str, kinds: set[str], zipped: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    model, optimizer = trained()
    torch.save(make(model.state_dict(), optimizer), "a.pt", _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.partition(".")[0] in FRAMEWORKS]:
        del sys.modules[name]
    before = set(sys.modules)
    inspection = inspect(Path("a.pt"))
    assert inspection.place == place
    assert inspection.optimizer
    assert kinds <= set(inspection.passed_over)
    checkpoint = read("a.pt")
    assert not {name for name in set(sys.modules) - before if name.partition(".")[0] in FRAMEWORKS}
    assert any("passed over" in note for note in checkpoint.notes)
    assert status(["inspect", "a.pt"]) == 0
    command = capsys.readouterr().out.partition("next:  ")[2].strip()
    result = measured(command)
    assert result == pytest.approx(expected().eigenvalues, rel=1e-5)


def test_a_detector_s_file_holds_its_model_as_an_object_and_says_so() -> None:
    """As YOLO's: `model` is the module itself, in half precision, and `ema` too or None."""
    content = {
        "epoch": -1,
        "model": made("ultralytics.nn.tasks.DetectionModel", _modules={"0": net()}, yaml={"nc": 80}),
        "ema": None,
        "train_args": {"epochs": 100, "model": "yolov8n.yaml"},
        "date": "2023-01-06",
    }
    torch.save(content, "a.pt")
    with pytest.raises(
        landscape.LandscapeError,
        match=r"inside a Python object: model is an ultralytics.nn.tasks.DetectionModel\n.*data only.*\n.*"
        r"torch.save\(model.state_dict\(\), path\), or, if you trust the file:  landscape eig a.pt --trust",
    ):
        read("a.pt")


WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {}


def writer(make: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
    WRITERS[make.__name__] = make
    return make


@writer
def npz(state: dict[str, Any]) -> str:
    np.savez("a.npz", **{name: tensor.numpy() for name, tensor in state.items()})
    return "a.npz"


@writer
def npy(state: dict[str, Any]) -> str:
    np.save("a.npy", {name: tensor.numpy() for name, tensor in state.items()}, allow_pickle=True)  # type: ignore[arg-type]
    return "a.npy"


@writer
def arrays_in_pt(state: dict[str, Any]) -> str:
    torch.save({"weights": {name: tensor.numpy() for name, tensor in state.items()}}, "b.pt")
    return "b.pt"


@writer
def distributed(state: dict[str, Any]) -> str:
    dcp.save({"app": {"model": state}, "step": 3}, checkpoint_id="dcp", no_dist=True)
    return "dcp"


@pytest.mark.parametrize("write", WRITERS.values(), ids=list(WRITERS))
@pytest.mark.filterwarnings("ignore")
def test_other_formats_are_measured_by_the_printed_command(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(net().state_dict())
    assert status(["inspect", path]) == 0
    command = capsys.readouterr().out.partition("next:  ")[2].strip()
    assert measured(command) == pytest.approx(expected().eigenvalues, rel=1e-5)
