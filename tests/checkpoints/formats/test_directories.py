"""Directories of safetensors: sharded, in a hub's cache, incomplete, or something else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from landscape.checkpoints import read
from landscape.checkpoints.formats.directories import SHARDED
from landscape.errors import CheckpointError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "b.weight": torch.ones(4)}


def sharded(folder: Path) -> Path:
    folder.mkdir()
    names = {name: f"model-{number}-of-2.safetensors" for number, name in enumerate(STATE, 1)}
    for name, file in names.items():
        save_file({name: STATE[name]}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    return folder


def test_shards_make_one_checkpoint(tmp_path: Path) -> None:
    path = sharded(tmp_path / "model")
    checkpoint = read(path)
    assert checkpoint.format == SHARDED.name
    assert checkpoint.tensors.keys() == STATE.keys()
    assert all(torch.equal(checkpoint.tensors[name], tensor) for name, tensor in STATE.items())
    files = sorted(path.glob("*.safetensors"))
    lines = "".join(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    assert checkpoint.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert checkpoint.module is None


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    path = sharded(tmp_path / "model")
    (path / "model-2-of-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"incomplete: there is no model-2-of-2.safetensors\n.*download"):
        read(path)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    path = sharded(tmp_path / "model")
    save_file(STATE, path / "model-2-of-2.safetensors")
    with pytest.raises(CheckpointError, match="tensors twice: a.weight"):
        read(path)


def test_a_hub_s_cache_of_links_into_its_blobs_is_read(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "rev"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_file(STATE, blobs / "abc")
    (snapshot / "model.safetensors").symlink_to(Path("../../blobs/abc"))
    assert read(snapshot).tensors.keys() == STATE.keys()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["adapter_config.json", "adapter_model.bin"],
            r"adapter without adapter_model.safetensors\n.*safe_serialization",
        ),
        (["model_index.json"], r"a pipeline of several models"),
        (["pytorch_model.bin", "config.json"], r"directory without model.safetensors\n.*pytorch_model.bin"),
        (["step1.pt", "step2.pt"], r"name a checkpoint inside it: .*step1.pt, .*step2.pt"),
        (["optimizer.bin", "z.bin", "training_args.bin"], r"inside it: .*z.bin, .*optimizer.bin, .*training_args.bin"),
        (["latest", "step7/mp_rank_00_model_states.pt"], r"inside it: .*step7/mp_rank_00_model_states.pt$"),
        (["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], r"several files.*\n.*save_pretrained"),
        ([], "name a checkpoint file"),
    ],
    ids=["adapter", "pipeline", "bin", "several", "optimizer-last", "folders", "shards-of-torch", "empty"],
)
def test_other_directories_say_what_to_type(files: list[str], message: str, tmp_path: Path) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path)


def test_a_damaged_index_is_said(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"weight_map": {}}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": "../x"}}'):
        (tmp_path / "model.safetensors.index.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"is no JSON|names files that cannot be"):
            read(tmp_path)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from landscape.checkpoints import reading

    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    whole = reading.fetch_tensors

    def slow(*arguments: object) -> object:
        fetched = whole(*arguments)  # type: ignore[arg-type]
        save_file({**STATE, "c": torch.ones(3)}, path)  # a training run saves over it
        return fetched

    monkeypatch.setattr(reading, "fetch_tensors", slow)
    with pytest.raises(CheckpointError, match=r"changed while it was read\n.*copy it"):
        read(path)
