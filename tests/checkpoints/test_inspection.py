"""What is said of a checkpoint without building a model or reading its weights."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import landscape
from landscape.checkpoints.inspection import inspect
from landscape.zoo import digits, mlp

LINEAR = torch.nn.Linear(3, 2)


def test_everything_about_a_training_script_s_file(tmp_path: Path) -> None:
    state = {f"_orig_mod.model.{name}": tensor.half() for name, tensor in LINEAR.state_dict().items()}
    optimizer = torch.optim.Adam(LINEAR.parameters())
    LINEAR(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {
        "state_dict": state,
        "model_ema": LINEAR.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 7,
        "arch": "resnet18",
        "args": argparse.Namespace(lr=0.1),
        "losses": [0.5, 0.4],
        "config": {"a": {"b": 1}},
        "hyper_parameters": {"width": 64, "name": "wide"},
    }
    torch.save(content, tmp_path / "a.pt")
    found = inspect(tmp_path / "a.pt")
    assert (found.format, found.place, found.numbers) == ("torch", "state_dict", 8)
    assert found.tensors == {"_orig_mod.model.weight": ((2, 3), "float16"), "_orig_mod.model.bias": ((2,), "float16")}
    assert found.dtypes == {"float16": 2}
    assert found.averaged == ("model_ema",)
    assert found.wrappers == ("_orig_mod",)
    assert found.optimizer
    assert found.passed_over == ("argparse.Namespace",)
    assert found.entries == {
        "optimizer": "a table of 2 entries",
        "epoch": "7",
        "arch": "'resnet18'",
        "args": "argparse.Namespace",
        "losses": "2 values",
        "config": "a table of 1 entries",
        "hyper_parameters": "width=64, name='wide'",
    }
    assert found.missing() == ("model", "data")
    assert found.nbytes == (tmp_path / "a.pt").stat().st_size


def test_the_averaged_weights_can_be_looked_at(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "ema": {"b": torch.ones(3)}}, tmp_path / "a.pt")
    assert inspect(tmp_path / "a.pt", "ema").tensors == {"b": ((3,), "float32")}


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_that_describes_itself_lacks_nothing(tmp_path: Path, suffix: str) -> None:
    sizes = {"sizes": [64, 4, 10]}
    path = tmp_path / f"a{suffix}"
    landscape.save(path, mlp(**sizes), data=digits()[0], spec={"model": "mlp", "model_args": sizes})
    found = inspect(path)
    assert found.spec is not None
    assert found.spec.model_args == sizes
    assert found.batch
    assert found.missing() == ()
    assert set(found.tensors) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_names_of_one_tensor_are_told(tmp_path: Path) -> None:
    tensor = torch.ones(3, 2)
    torch.save({"embed": tensor, "head": tensor, "other": torch.ones(3, 2)}, tmp_path / "a.pt")
    assert inspect(tmp_path / "a.pt").tied == (("embed", "head"),)


def test_a_prefix_that_every_name_has_is_told(tmp_path: Path) -> None:
    save_file({"model.a": torch.ones(1), "model.module.b": torch.ones(1)}, tmp_path / "a.safetensors")
    assert inspect(tmp_path / "a.safetensors").wrappers == ("module", "model.")


def test_what_an_entry_says_cannot_command_a_terminal(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(1)}, "no\x1b[2Jte": "x\x1b[31m" + "y" * 500}, tmp_path / "a.pt")
    ((name, words),) = inspect(tmp_path / "a.pt").entries.items()
    assert "\x1b" not in name + words
    assert len(words) < 100


def test_tables_that_hold_themselves_or_a_million_entries_are_told_at_once(tmp_path: Path) -> None:
    itself: dict[str, object] = {"a": 1}
    itself["itself"] = itself
    wide: object = 1
    for _ in range(8):
        wide = dict.fromkeys("abcdefghijklmnopqrst", wide)
    torch.save({"state_dict": LINEAR.state_dict(), "itself": itself, "wide": wide}, tmp_path / "a.pt")
    found = inspect(tmp_path / "a.pt")
    assert found.entries == {"itself": "a table of 2 entries", "wide": "a table of 20 entries"}
