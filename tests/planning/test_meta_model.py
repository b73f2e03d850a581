"""Models without weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from configurations import write_config

from landscape.conditions import Conditions
from landscape.errors import CheckpointError, TaskError, UsageError
from landscape.planning.meta_model import build_on_meta


@pytest.mark.parametrize("named", ["DIR", "DIR/config.json", "hf:DIR"])
def test_a_configuration_is_built_without_weights(named: str, tmp_path: Path) -> None:
    folder = write_config(tmp_path / "net")
    text = named.replace("DIR", str(folder))
    model = build_on_meta(Path(text), Conditions(model=text if named.startswith("hf:") else None))
    assert all(parameter.is_meta for parameter in model.parameters())
    each = 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64
    assert sum(parameter.numel() for parameter in model.parameters()) == 2 * 101 * 64 + 2 * each + 64


def test_a_factory_is_called_on_the_meta_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(
        "import torch\n"
        "def build(width=8): return torch.nn.Linear(width, 3)\n"
        "def loaded(): return torch.nn.Linear(2, 2, device='cpu')\n"
        "def number(): return 3\n"
    )
    wide = Conditions(model="net.py:build", model_arg=("width=500000000000",))  # 6 TB
    assert build_on_meta(Path("none.pt"), wide).weight.shape == (3, 500000000000)  # type: ignore[union-attr]
    with pytest.raises(TaskError, match="cannot be built on torch's meta device"):
        build_on_meta(Path("none.pt"), Conditions(model="net.py:loaded"))
    with pytest.raises(TaskError, match="gave a int, not a torch.nn.Module"):
        build_on_meta(Path("none.pt"), Conditions(model="net.py:number"))


def test_a_path_without_a_configuration_is_answered(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none has no config\.json") as caught:
        build_on_meta(tmp_path / "none", Conditions())
    assert "--model" in caught.value.fix


def test_a_configuration_that_runs_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="asks for auto_map"):
        build_on_meta(write_config(tmp_path / "net", auto_map={"a": "b"}), Conditions())
