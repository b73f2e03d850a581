"""Hostile files: none is opened, no code of theirs runs, and refusing them costs neither time nor memory.

Every file carries a marker that would appear if its code ran; `test_the_markers_work` shows that they would.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import os
import pickle
import shutil
import socket
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from conftest import SAMPLES
from hostile_files import (
    BEYOND,
    MARKER,
    SECONDS,
    STATE,
    Called,
    Cost,
    described,
    members_of,
    saved,
    size_of,
    view,
    zipped,
)
from safetensors.torch import save_file

import landscape
from landscape.checkpoints import Spec, read
from landscape.checkpoints.inspection import inspect
from landscape.errors import LandscapeError
from landscape.storage.read import read_results
from landscape.tasks import batch_files
from landscape_cli.main import status

Attack = Callable[[Path], Path]
ATTACKS: dict[str, Attack] = {}


def attack(make: Attack) -> Attack:
    ATTACKS[make.__name__] = make
    return make


class Runs:
    """Leaves the marker behind if it is ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {MARKER}",))


class Builds:
    """The same by way of BUILD: `exec` as the state of an object."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (builtins.exec, (f"import pathlib; pathlib.Path({MARKER!r}).touch()",))


# -- pickles that run code -----------------------------------------------------------------------------------------


@attack
def reduce_in_a_zip(folder: Path) -> Path:
    return saved(folder, {"state_dict": STATE, "extra": Runs()})


@attack
def reduce_in_the_old_format(folder: Path) -> Path:
    torch.save({"state_dict": STATE, "extra": Runs()}, folder / "a.pt", _use_new_zipfile_serialization=False)
    return folder / "a.pt"


@attack
def reduce_as_the_whole_file(folder: Path) -> Path:
    (folder / "a.pt").write_bytes(pickle.dumps(Runs()))
    return folder / "a.pt"


@attack
def reduce_among_the_weights(folder: Path) -> Path:
    return saved(folder, {**STATE, "bias": Runs()})


@attack
def exec_among_the_weights(folder: Path) -> Path:
    return saved(folder, {"state_dict": {**STATE, "bias": Builds()}})


@attack
def a_name_hidden_in_a_harmless_dictionary(folder: Path) -> Path:
    return saved(folder, {"state_dict": STATE, "hyper_parameters": {"optimizer": {"lr": [0.1, Runs()]}}})


@attack
def lightning_with_an_instantiator(folder: Path) -> Path:
    parameters = {
        "_instantiator": Called(eval, f"__import__('os').system('touch {MARKER}')"),
        "_class_path": "os.system",
    }
    torch.save({"state_dict": STATE, "hyper_parameters": parameters, "epoch": 1}, folder / "a.ckpt")
    return folder / "a.ckpt"


@attack
def a_name_built_from_strings(folder: Path) -> Path:
    pickled = b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x09touch ran\x85R."
    return zipped(folder / "a.pt", {"data.pkl": pickled})


@attack
def the_old_opcodes_for_instances(folder: Path) -> Path:
    pickled = b"(S'touch ran'\nios\nsystem\n."
    return zipped(folder / "a.pt", {"data.pkl": pickled})


@attack
def an_extension_code(folder: Path) -> Path:
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x02\x82\x01)R."})


@attack
def tensors_from_bytes_inside(folder: Path) -> Path:
    """A pickle inside the pickle, opened by torch's own function without a word."""
    inside = io.BytesIO()
    torch.save(Runs(), inside)
    return saved(folder, {"weight": Called(torch.storage._load_from_bytes, inside.getvalue())})


@attack
def getattr_chains(folder: Path) -> Path:
    return saved(folder, {"weight": Called(builtins.getattr, torch.Tensor, "__class__")})


@attack
def a_pickled_module(folder: Path) -> Path:
    return saved(folder, torch.nn.Linear(2, 3))


@attack
def a_module_file_that_is_imported(folder: Path) -> Path:
    """Unpickling would import the file that lies beside the checkpoint."""
    (folder / "evil.py").write_text(f"open({MARKER!r}, 'w')\nclass Net: pass")
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x02cevil\nNet\n)R."})


# -- programs ------------------------------------------------------------------------------------------------------


@attack
def an_exported_program_with_pickled_inputs(folder: Path) -> Path:
    model = torch.nn.Linear(2, 3)
    torch.export.save(torch.export.export(model, (torch.ones(4, 2),)), folder / "a.pt2")
    inside = members_of(folder / "a.pt2")
    inputs = next(name for name in inside if "sample_inputs" in name)
    return zipped(folder / "b.pt2", inside | {inputs: pickle.dumps(Runs())})


@attack
def torchscript(folder: Path) -> Path:
    code = b"def forward(self, x):\n  return x"
    inside = {"data.pkl": pickle.dumps(Runs(), 2), "constants.pkl": b"\x80\x02).", "code/a.py": code, "version": b"3"}
    return zipped(folder / "a.pt", inside)


@attack
def a_distributed_checkpoint_s_metadata(folder: Path) -> Path:
    (folder / "dcp").mkdir()
    (folder / "dcp" / ".metadata").write_bytes(pickle.dumps(Runs()))
    (folder / "dcp" / "__0_0.distcp").write_bytes(pickle.dumps(Runs()))
    return folder / "dcp"


# -- archives ------------------------------------------------------------------------------------------------------


@attack
def two_descriptions_of_one_name(folder: Path) -> Path:
    path = zipped(folder / "a.pt", members_of(saved(folder)))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("archive/data.pkl", pickle.dumps(Runs(), 2))
    return path


@attack
def compressed_members(folder: Path) -> Path:
    inside = members_of(saved(folder)) | {"data/0": bytes(1 << 29)}
    return zipped(folder / "a.pt", inside, compression=zipfile.ZIP_DEFLATED)


@attack
def a_member_that_claims_more_than_the_file(folder: Path) -> Path:
    path = zipped(folder / "a.pt", members_of(saved(folder)))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 20 : place + 28] = struct.pack("<II", 1 << 30, 1 << 30)
    path.write_bytes(content)
    return path


@attack
def members_over_one_another(folder: Path) -> Path:
    path = zipped(folder / "a.pt", members_of(saved(folder)))
    content = bytearray(path.read_bytes())
    first = content.index(b"PK\x01\x02")
    second = content.index(b"PK\x01\x02", first + 4)
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    path.write_bytes(content)
    return path


@attack
def a_wrong_checksum(folder: Path) -> Path:
    path = saved(folder, {"weight": torch.full((64,), 1.0)})
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<f", 1.0) * 8)
    content[place + 2] ^= 0x40
    path.write_bytes(content)
    return path


@attack
def a_directory_of_a_million_entries(folder: Path) -> Path:
    """Sixteen megabytes of directory entries, which a zip library turns into hundreds."""
    entry = b"PK\x01\x02" + bytes(42)
    directory = entry * 400_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(directory), 4, 0)
    (folder / "a.pt").write_bytes(b"PK\x03\x04" + directory + end)
    return folder / "a.pt"


# -- tensors that are not what they say ----------------------------------------------------------------------------


@attack
def a_giant_with_stride_zero(folder: Path) -> Path:
    return described(folder, view((10**6, 10**6), (0, 0)))


@attack
def a_view_beyond_its_storage(folder: Path) -> Path:
    return described(folder, view((6,), (1,), offset=1000))


@attack
def a_negative_stride(folder: Path) -> Path:
    return described(folder, view((2, 3), (-3, 1), offset=3))


@attack
def a_storage_larger_than_its_member(folder: Path) -> Path:
    return described(folder, view((10**9,), (1,), count=10**9))


@attack
def sizes_with_a_million_digits(folder: Path) -> Path:
    huge = b"\x8b" + struct.pack("<i", 1 << 20) + b"\x7f" * (1 << 20)
    return described(folder, view((2, 3), (3, 1)).replace(b"K\x02K\x03", huge * 2, 1))


@attack
def a_sparse_tensor_with_wrong_indices(folder: Path) -> Path:
    indices, values = torch.tensor([[10**12, -7]]), torch.ones(2)
    sparse = torch.sparse_coo_tensor(indices, values, (4,), check_invariants=False)
    return saved(folder, {"weight": sparse})


# -- pickles that take memory or time ------------------------------------------------------------------------------


@attack
def a_tensor_type_called_with_a_size(folder: Path) -> Path:
    return saved(folder, {"weight": Called(torch.Tensor, 3_000_000_000)})


@attack
def a_storage_type_called_with_a_size(folder: Path) -> Path:
    pickled = b"\x80\x02}X\x01\x00\x00\x00wctorch\nFloatStorage\nJ\x00\x00\x00\x70\x85Rs."
    return zipped(folder / "a.pt", {"data.pkl": pickled})


@attack
def a_memo_with_a_huge_index(folder: Path) -> Path:
    """Python's own unpickler makes room for 2^31 entries."""
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x02]r\xff\xff\xff\x7f."})


@attack
def a_word_that_claims_a_terabyte(folder: Path) -> Path:
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."})


@attack
def doubled_tuples_as_a_key(folder: Path) -> Path:
    """t = (t, t) sixty times: hashing it would take 2^60 steps."""
    doubling = b")" + b"2\x86" * 60
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x02}" + doubling + b"K\x01s."})


@attack
def nested_a_million_deep(folder: Path) -> Path:
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."})


@attack
def ten_million_lists(folder: Path) -> Path:
    return zipped(folder / "a.pt", {"data.pkl": b"\x80\x02(" + b"]" * 10**7 + b"t."})


# -- safetensors, directories, and what lies beside ----------------------------------------------------------------


@attack
def a_header_of_exabytes(folder: Path) -> Path:
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b'{"weight":{}}')
    return folder / "a.safetensors"


@attack
def a_header_that_claims_more_than_the_file(folder: Path) -> Path:
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    return folder / "a.safetensors"


@attack
def a_header_with_overlapping_tensors(folder: Path) -> Path:
    one = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}
    header = json.dumps({"a": one, "b": one}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    return folder / "a.safetensors"


@attack
def a_header_nested_without_end(folder: Path) -> Path:
    header = b'{"a":' * 10**6
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder / "a.safetensors"


def directory(folder: Path, config: dict[str, Any]) -> Path:
    """A Hugging Face directory with a config of one's own."""
    (folder / "model").mkdir()
    save_file(STATE, folder / "model" / "model.safetensors")
    (folder / "model" / "config.json").write_text(json.dumps(config))
    (folder / "model" / "modeling.py").write_text(f"open({MARKER!r}, 'w')\nclass Net: pass")
    return folder / "model"


@attack
def a_config_with_code(folder: Path) -> Path:
    auto = {"AutoConfig": "modeling.Net", "AutoModelForCausalLM": "modeling.Net"}
    return directory(folder, {"architectures": ["NetForCausalLM"], "model_type": "net", "auto_map": auto})


@attack
def a_config_with_code_further_down(folder: Path) -> Path:
    inner = {"text_config": {"auto_map": {"AutoModel": "modeling.Net"}}}
    return directory(folder, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **inner})


@attack
def a_config_with_a_kernel_from_the_hub(folder: Path) -> Path:
    kernel = {"_attn_implementation": "someone/evil-kernel"}
    return directory(folder, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **kernel})


@attack
def a_config_with_weights_elsewhere(folder: Path) -> Path:
    elsewhere = {"transformers_weights": "../outside.safetensors"}
    return directory(folder, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **elsewhere})


@attack
def a_link_out_of_the_directory(folder: Path) -> Path:
    save_file(STATE, folder / "secret.safetensors")
    path = directory(folder, {"architectures": ["LlamaForCausalLM"], "model_type": "llama"})
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to(folder / "secret.safetensors")
    return path


@attack
def an_index_that_leads_out_of_the_directory(folder: Path) -> Path:
    save_file(STATE, folder / "secret.safetensors")
    path = directory(folder, {"architectures": ["LlamaForCausalLM"], "model_type": "llama"})
    (path / "model.safetensors").unlink()
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../secret.safetensors"}}))
    return path


@attack
def a_pipe_in_place_of_a_file(folder: Path) -> Path:
    os.mkfifo(folder / "a.pt")
    return folder / "a.pt"


# -- what a reviewer found -----------------------------------------------------------------------------------------


def pickled(folder: Path, pickle: bytes, **members: bytes) -> Path:
    return zipped(folder / "a.pt", {"data.pkl": pickle, **members})


@attack
def a_tensor_over_a_tensor(folder: Path) -> Path:
    inner = view((2, 3), (3, 1))
    outer = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + inner + b"K\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"
    )
    return described(folder, outer)


@attack
def a_key_of_five_thousand_digits(folder: Path) -> Path:
    return saved(folder, {10**5000: "x"})


@attack
def keys_of_one_hash(folder: Path) -> Path:
    numbers = (place * (2**61 - 1) for place in range(1, 100_000))  # as a dictionary they would take this test as long
    items = b"".join(b"\x8a\x0a" + number.to_bytes(10, "little") + b"Ns" for number in numbers)
    return pickled(folder, b"\x80\x02}" + items + b".")


@attack
def one_large_number_as_twenty_thousand_keys(folder: Path) -> Path:
    number = b"\x8b" + struct.pack("<i", 1 << 22) + b"\x7f" * (1 << 22) + b"q\x00"
    return pickled(folder, b"\x80\x02" + number + b"0}" + b"h\x00Ns" * 20_000 + b".")


@attack
def millions_of_opcodes_without_effect(folder: Path) -> Path:
    return pickled(folder, b"\x80\x02" * 10**7 + b"}.")


@attack
def a_size_made_of_text(folder: Path) -> Path:
    text = b"X" + struct.pack("<I", 30 << 20) + "\u4e2d".encode() * (10 << 20)
    return pickled(folder, b"\x80\x02ctorch\nSize\n" + text + b"\x85R.")


@attack
def text_that_grows_when_it_is_decoded(folder: Path) -> Path:
    text = b"a" * (60 << 20) + "\U0001f600".encode()
    return pickled(folder, b"\x80\x02X" + struct.pack("<I", len(text)) + text + b".")


@attack
def the_old_format_with_keys_that_are_none(folder: Path) -> Path:
    torch.save(STATE, folder / "a.pt", _use_new_zipfile_serialization=False)
    content = (folder / "a.pt").read_bytes()
    begin = content.rindex(b"\x80\x02]")
    end = content.index(b".", begin) + 1
    (folder / "a.pt").write_bytes(content[:begin] + b"\x80\x02]]a." + content[end:])
    return folder / "a.pt"


@attack
def two_archives_in_one(folder: Path) -> Path:
    inside = members_of(saved(folder))
    with zipfile.ZipFile(folder / "a.pt", "w") as file:
        for root in "ab":
            for name, content in inside.items():
                file.writestr(f"{root}/{name}", content)
    return folder / "a.pt"


@attack
def a_header_of_empty_tensors(folder: Path) -> Path:
    one = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"t{place}": one for place in range(200_000)}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder / "a.safetensors"


@attack
def an_index_of_brackets(folder: Path) -> Path:
    (folder / "model.safetensors.index.json").write_text("[" + "[]," * 5_000_000 + "[]]")
    return folder


@attack
def a_description_of_itself_of_brackets(folder: Path) -> Path:
    return saved(folder, {"state_dict": STATE, "landscape": "[" + "[]," * 300_000 + "[]]"})


@attack
def a_description_of_itself_without_end(folder: Path) -> Path:
    return saved(folder, {"state_dict": STATE, "landscape": "[" * 200_000})


@attack
def a_second_config(folder: Path) -> Path:
    (folder / "model").mkdir()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "configuration_files": ["config.4.0.0.json"],
    }
    path = folder / "model"
    save_file(STATE, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    (path / "config.4.0.0.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    return path


@attack
def a_family_that_opens_files(folder: Path) -> Path:
    (folder / "w.pth").write_bytes(pickle.dumps(Runs()))
    config = {"architectures": ["TimmWrapperForImageClassification"], "model_type": "timm_wrapper"}
    return directory(
        folder, {**config, "architecture": "resnet10t", "model_args": {"checkpoint_path": str(folder / "w.pth")}}
    )


# -- results, and settings beside a checkpoint ---------------------------------------------------------------------


def results(folder: Path) -> tuple[Path, h5py.File]:
    file = h5py.File(folder / "a.landscape.h5", "w")
    file.attrs["landscape_schema"] = 1
    return folder / "a.landscape.h5", file


def external_links(folder: Path) -> Path:
    with h5py.File(folder / "secret.h5", "w") as other:
        other["eig/eigenvalues"] = np.arange(3.0)
    path, file = results(folder)
    file["eig"] = h5py.ExternalLink("secret.h5", "/eig")
    file.close()
    return path


def declared_petabytes(folder: Path) -> Path:
    path, file = results(folder)
    file.create_group("eig").create_dataset("eigenvalues", (1 << 47,), "f8", chunks=(1 << 20,), compression="gzip")
    file.close()
    return path


def values_in_another_file(folder: Path) -> Path:
    (folder / "secret").write_bytes(bytes(24))
    path, file = results(folder)
    file.create_group("eig").create_dataset("eigenvalues", (3,), "f8", external=[(str(folder / "secret"), 0, 24)])
    file.close()
    return path


# -- what is shown of them -----------------------------------------------------------------------------------------


@pytest.fixture(params=ATTACKS.values(), ids=list(ATTACKS))
def hostile(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return request.param(tmp_path)  # type: ignore[no-any-return]


def opened(path: Path) -> None:
    """Everything that is done with a checkpoint before the user's own model and data come in."""
    module = read(path).module
    if module:
        module.name()
        module.build()


def test_it_is_refused_and_nothing_runs(hostile: Path, tmp_path: Path) -> None:
    imported = set(sys.modules)
    with Cost() as cost, pytest.raises(LandscapeError) as refusal:
        opened(hostile)
    assert refusal.value.fix, f"no remedy: {refusal.value}"
    assert len(str(refusal.value)) < 1000
    assert not (tmp_path / MARKER).exists()
    assert not {"evil", "modeling"} & (set(sys.modules) - imported)
    assert cost.seconds < SECONDS
    assert cost.bytes < 2 * size_of(hostile) + BEYOND


def test_inspecting_it_is_as_safe(hostile: Path, tmp_path: Path) -> None:
    with Cost() as cost, contextlib.suppress(LandscapeError):
        inspect(hostile)  # what it only describes may still be said of a file whose bytes are wrong
    assert not (tmp_path / MARKER).exists()
    assert cost.seconds < SECONDS
    assert cost.bytes < 2 * size_of(hostile) + BEYOND


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 25


RUN = [reduce_in_a_zip, reduce_in_the_old_format, reduce_among_the_weights, exec_among_the_weights]
RUN += [a_name_hidden_in_a_harmless_dictionary, lightning_with_an_instantiator, reduce_as_the_whole_file]


@pytest.mark.parametrize("make", RUN, ids=[make.__name__ for make in RUN])
def test_the_markers_work(make: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened as they ask to be, they do run."""
    monkeypatch.chdir(tmp_path)
    path = make(tmp_path)
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    if path.read_bytes()[:2] != b"PK":
        with contextlib.suppress(Exception):
            pickle.loads(path.read_bytes())
    assert (tmp_path / MARKER).exists()


def test_torch_s_own_safe_reading_would_have_given_the_memory(tmp_path: Path) -> None:
    """Why pickles are not left to `torch.load(weights_only=True)`: it makes a gigabyte of zeros from a kilobyte."""
    path = saved(tmp_path, {**STATE, "extra": Called(bytearray, 1 << 28)})
    with Cost() as torchs:
        assert len(torch.load(path, weights_only=True)["extra"]) == 1 << 28
    with Cost() as ours:
        assert torch.equal(read(path).tensors["weight"], STATE["weight"])
    assert torchs.bytes > 1 << 27
    assert ours.bytes < 1 << 22


@pytest.mark.parametrize("make", [external_links, declared_petabytes, values_in_another_file], ids=lambda m: m.__name__)
def test_a_hostile_results_file_is_refused(make: Attack, tmp_path: Path) -> None:
    path = make(tmp_path)
    with Cost() as cost, pytest.raises(LandscapeError):
        read_results(path)
    assert cost.bytes < BEYOND
    assert cost.seconds < SECONDS


def test_settings_beside_a_checkpoint_are_not_read_but_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    download, home = tmp_path / "download", tmp_path / "home"
    download.mkdir()
    home.mkdir()
    shutil.copy(SAMPLES / "digits-mlp.pt", download / "a.pt")
    (download / "evil.py").write_text(f"open({str(home / MARKER)!r}, 'w')")
    (download / "landscape.toml").write_text('model = "evil.py:build"')
    monkeypatch.chdir(home)
    assert status(["eig", str(download / "a.pt"), "-k", "1", "--no-plot"]) == 0
    error = capsys.readouterr().err
    assert f"landscape.toml is not read, since a download could carry one; --config {download}/landscape.toml" in error
    assert not (home / MARKER).exists()


@pytest.mark.parametrize("key", ["trust = true", "[eig]\ntrust = true"], ids=["top", "table"])
def test_trust_is_not_taken_from_settings(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "landscape.toml").write_text(key)
    assert status(["eig", "a.pt"]) == 2
    assert "trust is not taken from settings" in capsys.readouterr().err


def test_trust_is_not_taken_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LANDSCAPE_TRUST", "1")
    assert status(["eig", str(reduce_as_the_whole_file(tmp_path))]) == 2
    assert "a bare pickle" in capsys.readouterr().err
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("entry", ["model", "data", "loss"])
def test_a_name_inside_a_file_is_never_imported(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that lies in the working directory, unless its module is trusted by name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "innocent", raising=False)
    (tmp_path / "innocent.py").write_text(
        f"import pathlib\nimport torch\npathlib.Path({MARKER!r}).touch()\ndef model(): return torch.nn.Linear(2, 3)\n"
        "def data(): return [(torch.ones(4, 2), torch.zeros(4).long())]\n"
        "def loss(output, target): return (output ** 2).mean()"
    )
    named = {"model": "mlp", "model_args": {"sizes": [2, 3]}, "loss": "cross_entropy", entry: f"innocent:{entry}"}
    named |= {"model_args": {}} if entry == "model" else {}
    names = {"weight": "0.weight", "bias": "0.bias"} if entry != "model" else {"weight": "weight", "bias": "bias"}
    state = {names["weight"]: torch.ones(3, 2), names["bias"]: torch.ones(3)}
    batch = {"inputs": torch.ones(4, 2), "targets": torch.zeros(4).long()}
    described = Spec(**named).to_json()
    torch.save({"state_dict": state, "landscape": described, "landscape_data": batch}, "a.pt")
    with pytest.raises(LandscapeError, match=r'never imported\n.*trusted-modules = \["innocent"\]'):
        landscape.load("a.pt")
    assert not (tmp_path / MARKER).exists()
    assert landscape.load("a.pt", trusted_modules=("innocent",)).space.size == 9
    assert (tmp_path / MARKER).exists()


@pytest.mark.parametrize(
    "described",
    [
        {"model": "mlp", "model_args": {"sizes": [30_000, 30_000]}},
        {"model": "mlp", "model_args": {"sizes": [1] * 100_000}},
        {"model": "resnet", "model_args": {"blocks": 10**6}},
        {"model": "char-transformer", "model_args": {"layers": 10**6}},
        {"model": "char-transformer", "model_args": {"vocabulary": 10**7}},
        {"model": "mlp", "model_args": {"sizes": [2, 3]}, "data": "grammar", "data_args": {"count": 10**9}},
    ],
    ids=["width", "depth", "blocks", "layers", "vocabulary", "data"],
)
def test_a_description_that_asks_for_a_giant_is_refused(described: dict[str, Any], tmp_path: Path) -> None:
    state = {"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}
    spec = Spec(**{"data": "digits", **described}).to_json()
    torch.save({"state_dict": state, "landscape": spec}, tmp_path / "a.pt")
    with Cost() as cost, pytest.raises(LandscapeError, match="does not fit the model|are more than"):
        landscape.load(tmp_path / "a.pt")
    assert cost.bytes < BEYOND
    assert cost.seconds < SECONDS


@pytest.mark.parametrize(
    "sizes",
    [{"hidden_size": 32_000}, {"num_hidden_layers": 10**7}, {"vocab_size": 10**9}],
    ids=lambda sizes: next(iter(sizes)),
)
def test_a_config_that_asks_for_a_giant_is_refused(sizes: dict[str, int], tmp_path: Path) -> None:
    small = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 20,
    }
    path = directory(tmp_path, {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **small, **sizes})
    with Cost() as cost, pytest.raises(LandscapeError, match="does not hold the weights|and there are 1 tensors"):
        landscape.load(path, data="digits")
    assert cost.bytes < 3 * BEYOND  # of which transformers' own import has its share
    assert cost.seconds < 3 * SECONDS


def test_nothing_touches_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a config that names a model of the hub nor one whose weights are missing."""
    tried: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *where: tried.append(where))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *where, **_: tried.append(where))
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "_name_or_path": "meta-llama/Llama-3.1-8B"}
    path = directory(tmp_path, {**config, "hidden_size": 32, "intermediate_size": 4, "num_hidden_layers": 1})
    with pytest.raises(LandscapeError, match="does not hold the weights"):
        landscape.load(path, data="digits")
    assert tried == []


def test_a_path_is_no_trusted_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pkg.d").mkdir()
    (tmp_path / "outside.py").write_text(f"import pathlib\npathlib.Path({MARKER!r}).touch()\ndef build(): pass")
    spec = Spec(model="pkg.d/../outside.py:build", data="digits").to_json()
    torch.save({"state_dict": STATE, "landscape": spec}, "a.pt")
    with pytest.raises(LandscapeError, match="there is no model called"):
        landscape.load("a.pt", trusted_modules=("pkg",))
    assert not (tmp_path / MARKER).exists()


ESCAPE = "\x1b[31m"


@pytest.mark.parametrize("command", ["inspect", "eig"])
@pytest.mark.parametrize(
    "content",
    [
        {f"{ESCAPE}place": {"w": torch.ones(1)}},
        {"a": {"w": torch.ones(1)}, f"b{ESCAPE}": {"w": torch.ones(1)}},
        {"state_dict": STATE, "landscape": '{"schema": "\\u001b[31m"}'},
        {
            "state_dict": STATE,
            "landscape": '{"schema": 1, "model": "mlp", "model_args": {"\\u001b[31m": 1}, "data": "digits"}',
        },
        {"state_dict": STATE, f"{ESCAPE}entry": f"{ESCAPE}words"},
    ],
    ids=["place", "places", "schema", "argument", "entry"],
)
def test_nothing_in_a_file_commands_the_terminal(
    command: str,
    content: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, "a.pt")
    status([command, "a.pt"])
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err


def test_parts_shared_in_a_batch_are_read_once(tmp_path: Path) -> None:
    """Twenty megabytes cut into views, and lists that double forty times."""
    whole = torch.randn(1 << 20, 4)
    torch.save([(whole[i : i + 4000], whole[i : i + 4000]) for i in range(0, 1 << 20, 4000)], tmp_path / "views.pt")
    with Cost() as cost:
        batch_files.read_batch_file(tmp_path / "views.pt")
    assert cost.bytes < 2 * (tmp_path / "views.pt").stat().st_size + BEYOND
    doubled: list[Any] = [torch.ones(2)]
    for _ in range(40):
        doubled = [doubled, doubled]
    torch.save(doubled, tmp_path / "doubled.pt")
    with Cost() as cost:
        batch_files.read_batch_file(tmp_path / "doubled.pt")
    assert cost.seconds < SECONDS
