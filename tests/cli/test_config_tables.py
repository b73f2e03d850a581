"""Tables of settings: which options they may hold, and files that are found from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from landscape.errors import UsageError
from landscape_cli import config


def read(folder: Path, text: str) -> dict[str, Any]:
    """The values of a settings file with this text."""
    (folder / "landscape.toml").write_text(text)
    return dict(config.find(str(folder / "landscape.toml")).values)


def test_dashes_and_single_words_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "landscape.toml"
    path.write_text('params = "a.*"\nmicro-batch = 4\n[eig]\nmax-basis = 30\n[model-arg]\nwidth = 3')
    assert config.find(str(path)).defaults("eig") == {
        "params": ["a.*"],
        "micro_batch": 4,
        "max_basis": 30,
        "model_arg": ["width=3"],
    }


def test_files_of_data_and_models_in_directories_are_found_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "landscape.toml").write_text('data = "batch.npz"\nmodel = "hf:model"\ntrusted-modules = "mine"')
    found = config.find(str(tmp_path / "landscape.toml")).values
    assert found["data"] == str(tmp_path / "batch.npz")
    assert found["model"] == f"hf:{tmp_path / 'model'}"
    assert found["trusted_modules"] == ["mine"]


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ('loss = "losses.py:focal"', "loss", "{0}/losses.py:focal"),
        ('loss = "mse"', "loss", "mse"),
        ('preconditioner = "adam.safetensors"', "preconditioner", "{0}/adam.safetensors"),
        ('checkpoint = ["a.pt", "/b.pt"]', "checkpoint", ["{0}/a.pt", "/b.pt"]),
        ('population = ["clean=clean.npz"]', "population", ["clean={0}/clean.npz"]),
        ('[population]\nclean = "clean.npz"\nnoisy = "digits"', "population", ["clean={0}/clean.npz", "noisy=digits"]),
        ('[data-arg]\nsplit = "test"\nsize = 3', "data_arg", ["split='test'", "size=3"]),
        ('[surface]\ntowards = "b.pt"', "surface", {"towards": ["{0}/b.pt"]}),
        ('[surface]\nmetric = "m.py:top5"\nrange = "1"', "surface", {"metric": "{0}/m.py:top5", "range": "1"}),
        ('[direction]\ntowards = "b.pt"', "direction", {"towards": "{0}/b.pt"}),
        ('[check]\nbaseline = "b.json"\n[check.eig]\nk = 1', "check", {"baseline": "{0}/b.json", "eig": {"k": 1}}),
        ('[surface]\nnormalise = "layer"', "surface", {"normalize": "layer"}),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value else "",
)
def test_files_are_found_from_anywhere_and_words_stay(tmp_path: Path, text: str, key: str, expected: Any) -> None:
    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(part) for part in value]
        if isinstance(value, dict):
            return {name: placed(part) for name, part in value.items()}
        return value.format(tmp_path) if isinstance(value, str) else value

    assert read(tmp_path, text)[key] == placed(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[model]\nwidth = 3", r"there is no command model"),
        ("trust = true", r"trust is not taken from settings\n.*type --trust"),
        ("[eig]\ntrust = true", "trust is not taken from settings"),
        ('[eig]\noutput = "a.h5"', r"\[eig\] has no setting output"),
        ("preconditioner = 3", r"the setting preconditioner is 3\n.*the name of one file"),
        ('[check]\nmetrics = "eig.loss"', r"\[check\] metrics is not a table"),
        ("[check.eigg]\nk = 1", r"\[check\] has no table eigg \(did you mean eig\?\)"),
        ("[check.eig]\nlimit = 1", r"\[check.eig\] has no setting limit"),
        ("[check]\nupdate = true", "update is not taken from settings"),
        ('[surface]\nnormalise = "layer"\nnormalize = "layer"', "normalize is given twice, once as normalise"),
        ('normalise = "layer"', r"the setting normalise belongs to a command\n.*\[surface\]"),
    ],
    ids=lambda value: value if "=" in value else "",
)
def test_what_a_table_may_not_hold_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text)
