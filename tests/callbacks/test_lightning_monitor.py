"""The callback of Lightning: a training that it measures is the training that it does not measure."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from training import dropout_net, samples, seed_everything, state_of

import landscape
from landscape.errors import UsageError

lightning = pytest.importorskip("lightning.pytorch")

from landscape.callbacks import LightningMonitor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's, on workers and steps between logs
EIG = landscape.Eig(k=2)


class Module(lightning.LightningModule):  # type: ignore[misc]
    """A LightningModule whose training draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.net = dropout_net()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(x)
        return out

    def training_step(self, batch: Any, _: int) -> Tensor:
        x, y = batch
        loss: Tensor = nn.functional.cross_entropy(self(x + 0.1 * torch.randn_like(x)), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.01)


def fit(folder: Path, *callbacks: Any, **options: Any) -> dict[str, Any]:
    """A training of 12 batches; returns all of its state."""
    module = Module()
    seed_everything()
    loader = DataLoader(TensorDataset(*samples()), batch_size=8, shuffle=True)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        default_root_dir=str(folder),
        callbacks=list(callbacks),
        **{"logger": False, **quiet, **options},
    )
    trainer.fit(module, loader)
    return {**state_of(module, trainer.optimizers[0]), "steps": trainer.global_step}


def monitor(**options: Any) -> LightningMonitor:
    return LightningMonitor(EIG, samples(), "cross_entropy", **{"every": 3, "budget": None, **options})


@pytest.mark.parametrize("options", [{}, {"precision": "bf16-mixed"}], ids=["float32", "bf16-mixed"])
def test_a_measured_training_is_the_unmeasured_one_bit_for_bit(tmp_path: Path, options: dict[str, Any]) -> None:
    callback = monitor()
    assert fit(tmp_path, callback, **options) == fit(tmp_path, **options)
    assert callback.history.steps.tolist() == [3, 6, 9, 12]
    assert [moment.trouble for moment in callback.history.moments] == [""] * 4
    assert callback.overhead > 0


def test_the_last_numbers_are_those_of_the_trained_model(tmp_path: Path) -> None:
    class Keep(lightning.Callback):  # type: ignore[misc]
        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            self.net = pl_module.net

    callback, keep = monitor(), Keep()
    fit(tmp_path, callback, keep)
    expected = landscape.run(EIG, landscape.Objective(keep.net, samples(), "cross_entropy"))
    np.testing.assert_allclose(callback.history["eig.eigenvalues"][-1], expected.eigenvalues, rtol=1e-5)


def test_steps_are_those_of_the_optimizer_where_gradients_are_accumulated(tmp_path: Path) -> None:
    seen: list[int] = []
    callback = monitor(every=2, logger=lambda values, step: seen.append(step))
    assert fit(tmp_path, callback, accumulate_grad_batches=3)["steps"] == 4
    assert seen == [0, 2, 4]


def test_the_loggers_of_the_trainer_get_the_numbers(tmp_path: Path) -> None:
    logger = lightning.loggers.CSVLogger(str(tmp_path), name="run")
    callback = monitor()
    fit(tmp_path, callback, logger=logger)
    (table,) = tmp_path.rglob("metrics.csv")
    heads, *lines = [line.split(",") for line in table.read_text().splitlines()]
    place, step = heads.index("landscape/eig.eigenvalues.0"), heads.index("step")
    logged = {int(line[step]): float(line[place]) for line in lines if line[place]}
    assert logged == dict(zip([3, 6, 9, 12], callback.history["eig.eigenvalues"][:, 0].tolist(), strict=True))


def test_a_logger_of_ones_own_takes_the_place_of_the_trainers(tmp_path: Path) -> None:
    seen: list[int] = []
    fit(tmp_path, monitor(logger=lambda values, step: seen.append(step)), logger=True)
    assert seen == [3, 6, 9, 12]


def test_a_callback_that_fails_does_not_end_the_training(tmp_path: Path) -> None:
    callback = LightningMonitor(landscape.Eig(k=10_000), samples(), "cross_entropy", every=3, budget=None)
    with pytest.warns(UserWarning, match="training goes on"):
        state = fit(tmp_path, callback)
    assert state == fit(tmp_path)


def load_anew(monkeypatch: pytest.MonkeyPatch, **packages: Any) -> Any:
    """The callback's class, as it is with these packages (None: not installed)."""
    for name, package in {"lightning": None, "lightning.pytorch": None, "pytorch_lightning": None, **packages}.items():
        monkeypatch.setitem(sys.modules, name, package)
    return runpy.run_path(str(ROOT / "landscape/callbacks/lightning_monitor.py"))["LightningMonitor"]


def test_the_earlier_package_of_lightning_does_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = SimpleNamespace(Callback=type("Callback", (), {}))
    assert issubclass(load_anew(monkeypatch, pytorch_lightning=earlier), earlier.Callback)


def test_the_package_that_a_program_has_loaded_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (SimpleNamespace(Callback=type("Callback", (), {})) for _ in range(2))
    newer: Any = {"lightning": SimpleNamespace(pytorch=one), "lightning.pytorch": one}
    assert issubclass(load_anew(monkeypatch, pytorch_lightning=other, **newer), one.Callback)


def test_without_lightning_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"(?s)needs Lightning.*loss-landscape-geometry\[lightning\]"):
        load_anew(monkeypatch)
