"""Models that are built without their weights: these are read one by one, and are those of the whole model."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import huggingface_models
import pytest
import sharded_models
import torch
from conftest import quiet_transformers
from torch import nn
from transformers.models.olmo2 import modeling_olmo2

import landscape
from landscape.compute import memory
from landscape.compute.ranks import Ranks
from landscape.conditions import Conditions
from landscape.errors import CheckpointError, UsageError
from landscape.loading import parts
from landscape.network.absent_weights import AbsentWeight
from landscape.objective.sharded.objective import ShardedObjective

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 5)
        self.inner = nn.Module()
        self.inner.register_buffer("shift", torch.zeros(6))
        self.second.weight.requires_grad_(False)
        self.register_buffer("table", torch.arange(6.0) / 6, persistent=False)
        self.register_buffer("scale", torch.ones(6))

    def forward(self, x):
        return self.second(torch.tanh(self.first(x) * self.scale + self.table + self.inner.shift))

def build():
    return Net()

def tied():
    net = Net()
    net.second = nn.Linear(6, 5)
    net.third = nn.Linear(6, 5)
    net.third.weight = net.second.weight
    return net

class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 5)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))

class OneTwice(Head):
    def __init__(self):
        super().__init__()
        weight = nn.Parameter(torch.randn(5, 5))
        self.first.weight = weight
        self.second.weight = weight

class Frequencies(Head):
    def __init__(self):
        torch.manual_seed(7)
        super().__init__()
        self.register_buffer("frequencies", torch.randn(5), persistent=False)

    def forward(self, x):
        return super().forward(x * self.frequencies)

class ListOfDraws(Head):
    def __init__(self):
        torch.manual_seed(7)
        super().__init__()
        self.draws = [torch.randn(5), 3]

class Earlier(Head):
    def __init__(self):
        torch.manual_seed(7)
        frequencies = torch.randn(5)
        super().__init__()
        self.frequencies = frequencies

    def forward(self, x):
        return super().forward(x * self.frequencies)

class Kept(Head):
    def __init__(self):
        super().__init__()
        self.also = [self.first.weight]

    def forward(self, x):
        return super().forward(x) @ self.also[0]

class Scaled(Head):
    def __init__(self):
        super().__init__()
        self.scale = self.first.weight.detach().mean()

class Masked(Head):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (self.first.weight > 0).float())

    def forward(self, x):
        return super().forward(x) @ self.mask

class MaskedUnsaved(Head):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (self.first.weight > 0).float(), persistent=False)

class Looking(Head):
    def __init__(self):
        super().__init__()
        self.scale = float(self.first.weight.detach().mean())

class Hooked(Head):
    def __init__(self):
        super().__init__()
        self._register_load_state_dict_pre_hook(lambda state, *rest: state["first.bias"].mul_(3))

class HookedAfter(Head):
    def __init__(self):
        super().__init__()
        self.register_load_state_dict_post_hook(lambda module, keys: None)

class OwnLoading(Head):
    def _load_from_state_dict(self, state, *rest):
        super()._load_from_state_dict(state, *rest)

class Extra(Head):
    def get_extra_state(self):
        return torch.tensor(2.5)

    def set_extra_state(self, value):
        self.extra = value

def normed():
    net = Head()
    net.first = nn.utils.parametrizations.weight_norm(net.first)
    return net

def spectral():
    net = Head()
    net.first = nn.utils.parametrizations.spectral_norm(net.first)
    return net

def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(20, 5, generator=generator), torch.arange(20) % 5
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def both(path: Path, **named: Any) -> tuple[landscape.Objective, landscape.Objective]:
    """The objective in parts, and whole."""
    parts, whole = (landscape.load(path, dtype="float64", shard=shard, **named) for shard in ("on", "off"))
    assert isinstance(parts, ShardedObjective)
    assert not isinstance(whole, ShardedObjective)
    return parts, whole


def test_a_file_of_weights_is_read_one_by_one(folder: Path) -> None:
    namespace = runpy.run_path(str(folder / "net.py"))
    torch.manual_seed(1)
    net = namespace["build"]()
    net.scale.fill_(0.7)
    net.inner.shift.fill_(0.4)
    torch.save(net.state_dict(), folder / "net.pt")
    named = {"model": f"{folder}/net.py:build", "data": f"{folder}/net.py:data", "loss": "cross_entropy"}
    parts, whole = both(folder / "net.pt", **named)
    assert float(parts.value()) == pytest.approx(float(whole.value()), rel=1e-14)
    assert parts.reference.gradient_norm == pytest.approx(whole.reference.gradient_norm, rel=1e-13)
    assert parts.weights_sha256 == whole.weights_sha256
    assert parts.space.size == whole.space.size
    assert all(isinstance(parameter, AbsentWeight) for parameter in parts.model.parameters())


def norm_in_float64(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """The norm of OLMo 2, which itself rounds to float32: with that, eigenvalues agree to 2e-8 on some processors."""
    return norm.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)


@pytest.mark.parametrize("name", ["gpt2", "llama", "olmo2", "bert"])
def test_directories_of_hugging_face_in_several_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = huggingface_models.saved(name, tmp_path)
    with quiet_transformers():
        model.save_pretrained(path, max_shard_size="4KB")
    (path / "model.safetensors").unlink(missing_ok=True)
    assert len(list(path.glob("model-*.safetensors"))) > 2
    parts, whole = both(path, data=huggingface_models.file_of(huggingface_models.batch(name), tmp_path))
    assert float(parts.value()) == pytest.approx(float(whole.value()), rel=1e-13)
    monkeypatch.setattr(modeling_olmo2.Olmo2RMSNorm, "forward", norm_in_float64)
    found, expected = (landscape.run(landscape.Eig(k=1, tol=1e-6), objective) for objective in (parts, whole))
    assert found.eigenvalues == pytest.approx(expected.eigenvalues, rel=1e-8)


def test_families_that_are_saved_under_other_names_are_refused_in_words(tmp_path: Path) -> None:
    path, _ = huggingface_models.saved("vit", tmp_path)
    data = huggingface_models.file_of(huggingface_models.batch("vit"), tmp_path)
    with pytest.raises(CheckpointError, match="under other names than their modules have"):
        landscape.load(path, data=data, shard="on")


def test_two_tensors_for_one_are_refused(folder: Path) -> None:
    namespace = runpy.run_path(str(folder / "net.py"))
    state = namespace["tied"]().state_dict()
    state["third.weight"] = state["third.weight"] + 1
    torch.save(state, folder / "net.pt")
    named = {"model": f"{folder}/net.py:tied", "data": f"{folder}/net.py:data", "loss": "cross_entropy"}
    with pytest.raises(CheckpointError, match="as one tensor, and the checkpoint two different ones"):
        landscape.load(folder / "net.pt", shard="on", **named)


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    torch.save({"first.weight": torch.ones(2, 2)}, folder / "net.pt")
    named = {"model": f"{folder}/net.py:build", "data": f"{folder}/net.py:data", "loss": "cross_entropy"}
    with pytest.raises(CheckpointError, match="does not fit"):
        landscape.load(folder / "net.pt", shard="on", **named)


@pytest.mark.parametrize("named", [{"partial": True}, {"trust": True}])
def test_conditions_that_take_whole_weights_are_refused(named: dict[str, Any], folder: Path) -> None:
    torch.save(sharded_models.mlp().state_dict(), folder / "net.pt")
    about = {"model": f"{folder}/net.py:build", "data": f"{folder}/net.py:data", "loss": "cross_entropy"}
    with pytest.raises(UsageError, match="--shard"):
        landscape.load(folder / "net.pt", shard="on", **about, **named)


def test_nan_in_weights_is_named(folder: Path) -> None:
    namespace = runpy.run_path(str(folder / "net.py"))
    state = namespace["build"]().state_dict()
    state["first.bias"][2] = float("nan")
    torch.save(state, folder / "net.pt")
    named = {"model": f"{folder}/net.py:build", "data": f"{folder}/net.py:data", "loss": "cross_entropy"}
    with pytest.raises(landscape.errors.NumericalError, match="first.bias"):
        landscape.load(folder / "net.pt", shard="on", **named)


def test_auto_takes_parts_where_a_gradient_has_no_room(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"a": torch.ones(1000)}, folder / "net.pt")
    wants = [Conditions(shard=shard) for shard in ("auto", "on", "host", "off")]  # type: ignore[arg-type]
    places = [parts.place_of_parts(folder / "net.pt", one) for one in wants]
    assert places == [None, "device", "host", None]
    monkeypatch.setattr(parts.ranks, "current", lambda: Ranks(0, 2))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 4 * 4 * 1000)
    assert parts.place_of_parts(folder / "net.pt", wants[0]) == "device"
    monkeypatch.setattr(memory, "free_bytes", lambda device: 8 * 4 * 1000)
    assert parts.place_of_parts(folder / "net.pt", wants[0]) is None


def test_auto_takes_the_host_where_the_devices_have_no_room_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"a": torch.ones(1000)}, folder / "net.pt")
    monkeypatch.setattr(parts, "as_device", torch.device)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 3 * 4 * 1000)
    gpu, cpu = (Conditions(device=device) for device in ("cuda", "cpu"))
    assert [parts.place_of_parts(folder / "net.pt", one) for one in (gpu, cpu)] == ["host", None]
    assert parts.place_of_parts(folder / "net.pt", Conditions(device="cuda", trust=True)) is None
    monkeypatch.setattr(parts.ranks, "current", lambda: Ranks(0, 2))
    assert [parts.place_of_parts(folder / "net.pt", one) for one in (gpu, cpu)] == ["device", "device"]
    monkeypatch.setattr(memory, "free_bytes", lambda device: 4 * 1000)
    assert [parts.place_of_parts(folder / "net.pt", one) for one in (gpu, cpu)] == ["host", "device"]


def test_modules_made_inside_of_the_block_alone_lose_their_weights() -> None:
    with parts.parameters_on_meta():
        inside = nn.BatchNorm1d(3)
    outside = nn.BatchNorm1d(3)
    assert inside.weight.is_meta
    assert not inside.running_var.is_meta  # type: ignore[union-attr]
    assert not outside.weight.is_meta


def saved(folder: Path, build: str) -> dict[str, Any]:
    """The options for the model of this name, whose weights are written."""
    torch.manual_seed(1)
    model = runpy.run_path(str(folder / "net.py"))[build]().eval()
    torch.save(model.state_dict(), folder / "net.pt")
    return {"model": f"{folder}/net.py:{build}", "data": f"{folder}/net.py:data", "loss": "cross_entropy"}


@pytest.mark.parametrize("build", ["OneTwice", "Earlier", "Masked", "normed", "spectral"])
def test_what_is_built_without_weights_is_the_whole_model(build: str, folder: Path) -> None:
    parts, whole = both(folder / "net.pt", **saved(folder, build))
    assert parts.space.size == whole.space.size
    assert float(parts.value()) == pytest.approx(float(whole.value()), rel=1e-13)
    assert parts.reference.gradient_norm == pytest.approx(whole.reference.gradient_norm, rel=1e-12)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("Frequencies", "cannot build frequencies: random numbers that come after the initial weights"),
        ("ListOfDraws", "cannot build draws: random numbers"),
        ("Kept", "a weight is read where the module that owns it does not run"),
        ("Scaled", "cannot build scale, which is computed from initial weights"),
        ("MaskedUnsaved", "cannot build mask, which is computed from initial weights"),
        ("Looking", "builds a model without the values of its parameters, and this one looks at them"),
        ("Hooked", "Hooked has a hook on load_state_dict"),
        ("HookedAfter", "HookedAfter has a hook on load_state_dict"),
        ("OwnLoading", "OwnLoading has its own _load_from_state_dict"),
        ("Extra", "Extra has extra state"),
    ],
)
def test_what_would_be_another_model_is_refused(build: str, words: str, folder: Path) -> None:
    options = saved(folder, build)
    with pytest.raises(landscape.errors.LandscapeError, match=words):
        landscape.load(folder / "net.pt", shard="on", **options)
