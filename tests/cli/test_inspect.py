"""`landscape inspect`: what a file holds and the next command, without torch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import SAMPLES
from test_lightness import loaded

import landscape
from landscape.zoo import digits, mlp
from landscape_cli.main import status

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": torch.nn.Linear(3, 2).state_dict(), "model_ema": {"a": torch.ones(1)}}, "plain.pt")


def test_the_next_command_has_a_place_for_what_is_missing(capsys: Captured) -> None:
    assert status(["inspect", "plain.pt"]) == 0
    out = capsys.readouterr().out
    assert "next:  landscape eig plain.pt --model model.py:build --data data.py:batches\n" in out
    assert "2 tensors (2 float32), 8 numbers in state_dict" in out
    assert "model_ema (--weights ema)" in out
    assert "not named: --model, or model = ... in landscape.toml" in out


def test_the_next_command_of_a_checkpoint_that_describes_itself_runs(capsys: Captured) -> None:
    landscape.save("a b.pt", mlp([64, 10]), data=digits()[0], spec={"model": "mlp", "model_args": {"sizes": [64, 10]}})
    assert status(["inspect", "a b.pt"]) == 0
    out = capsys.readouterr().out
    assert "next:  landscape eig 'a b.pt'\n" in out
    assert "mlp(sizes=[64, 10]), as the checkpoint says" in out
    assert status(["eig", "a b.pt", "-k", "1", "--no-plot"]) == 0


def test_what_the_settings_tell_is_not_asked_for(capsys: Captured) -> None:
    Path("landscape.toml").write_text('model = "model.py:build"\ndata = "data.py:batches"')
    assert status(["inspect", "plain.pt", "--weights", "ema"]) == 0
    out = capsys.readouterr().out
    assert "next:  landscape eig plain.pt --weights ema\n" in out
    assert "model.py:build, from" in out


def test_a_file_whose_name_begins_as_an_option_is_named_as_a_file(capsys: Captured) -> None:
    torch.save(mlp([4, 2]).state_dict(), "-x.pt")
    assert status(["inspect", "./-x.pt"]) == 0
    assert "landscape eig ./-x.pt " in capsys.readouterr().out


def test_json_is_one_document(capsys: Captured) -> None:
    assert status(["inspect", "plain.pt", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["tensors"]["weight"] == {"shape": [2, 3], "dtype": "float32"}
    assert document["missing"] == ["model", "data"]
    assert document["averaged"] == ["model_ema"]
    assert document["next"].startswith("landscape eig plain.pt")


def test_many_tensors_are_cut_unless_all_are_wanted(capsys: Captured) -> None:
    torch.save({f"layer{n}": torch.ones(1) for n in range(50)}, "many.pt")
    assert status(["inspect", "many.pt"]) == 0
    short = capsys.readouterr().out
    assert "layer39" in short
    assert "layer40" not in short
    assert "and 10 more (--all)" in short
    assert status(["inspect", "many.pt", "--all"]) == 0
    assert "layer49" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x02}."], ids=["empty", "text", "pickle"])
def test_what_is_no_checkpoint_leaves_with_code_2(content: bytes, capsys: Captured) -> None:
    Path("x.pt").write_bytes(content)
    assert status(["inspect", "x.pt"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: x.pt is")
    assert "fix:" in err


def test_it_loads_no_torch() -> None:
    code = f"from landscape_cli.main import status; status(['inspect', {str(SAMPLES / 'charlm.pt')!r}])"
    assert not {"torch", "matplotlib", "h5py", "scipy"} & loaded(code)
