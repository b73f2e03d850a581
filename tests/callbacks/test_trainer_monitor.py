"""The callback of transformers' Trainer: a training that it measures is the training that it does not measure."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, quiet_transformers
from training import seed_everything, state_of

import landscape
from landscape.errors import UsageError

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from landscape.callbacks import TrainerMonitor  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # those of transformers and accelerate
EIG = landscape.Eig(k=2, max_products=60)


def tokens() -> list[dict[str, torch.Tensor]]:
    """16 sequences of 6 tokens, each its own label."""
    ids = torch.randint(0, 12, (16, 6), generator=torch.Generator().manual_seed(2))
    return [{"input_ids": row, "labels": row} for row in ids]


def batch() -> dict[str, torch.Tensor]:
    return {name: torch.stack([each[name] for each in tokens()]) for name in ("input_ids", "labels")}


def tiny_model() -> Any:
    """A language model with dropout."""
    torch.manual_seed(1)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 6, "vocab_size": 12}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def fit(folder: Path, callback: Any = None, **options: Any) -> tuple[dict[str, Any], Any]:
    """A training of 6 steps; returns all of its state, and the model."""
    model = tiny_model()
    seed_everything()
    about = {"max_steps": 6, "per_device_train_batch_size": 4, "learning_rate": 0.01, "seed": 4, **options}
    settings = transformers.TrainingArguments(
        output_dir=str(folder), report_to=[], use_cpu=True, disable_tqdm=True, save_strategy="no", **about
    )
    callbacks = [] if callback is None else [callback]
    with quiet_transformers():
        trainer = transformers.Trainer(model=model, args=settings, train_dataset=tokens(), callbacks=callbacks)
        trainer.train()
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    return {**state_of(model, optimizer), "steps": trainer.state.global_step}, model


def test_a_measured_training_is_the_unmeasured_one_bit_for_bit(tmp_path: Path) -> None:
    callback = TrainerMonitor(EIG, batch(), "hf", every=2, budget=None)
    measured, model = fit(tmp_path, callback)
    assert measured == fit(tmp_path)[0]
    assert callback.history.steps.tolist() == [2, 4, 6]
    assert callback.overhead > 0
    expected = landscape.Objective(model, batch(), "hf")
    assert callback.history["loss"][-1] == pytest.approx(expected.reference.loss, rel=1e-6)
    np.testing.assert_allclose(
        callback.history["eig.eigenvalues"][-1], landscape.run(EIG, expected).eigenvalues, rtol=1e-4
    )


def test_a_training_in_half_precision_is_not_changed_either(tmp_path: Path) -> None:
    callback = TrainerMonitor(EIG, batch(), "hf", every=2, budget=None)
    measured, _ = fit(tmp_path, callback, bf16=True)
    assert measured == fit(tmp_path, bf16=True)[0]
    assert np.isfinite(callback.history["eig.eigenvalues"]).all()


def test_a_callback_that_fails_does_not_end_the_training(tmp_path: Path) -> None:
    callback = TrainerMonitor(EIG, {"words": torch.zeros(3)}, "hf", every=2, budget=None)
    with pytest.warns(UserWarning, match="training goes on"):
        measured, _ = fit(tmp_path, callback)
    assert measured == fit(tmp_path)[0]


def test_steps_are_those_of_the_optimizer_where_gradients_are_accumulated(tmp_path: Path) -> None:
    seen: list[int] = []
    callback = TrainerMonitor(EIG, batch(), "hf", every=1, budget=None, logger=lambda values, step: seen.append(step))
    fit(tmp_path, callback, gradient_accumulation_steps=2, max_steps=2)
    assert seen == [1, 2]


def test_without_transformers_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"(?s)needs transformers.*loss-landscape-geometry\[trainer\]"):
        runpy.run_path(str(ROOT / "landscape/callbacks/trainer_monitor.py"))
