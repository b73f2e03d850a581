"""Low-rank adapters give the numbers of the merged weights; theta is the adapter unless the user names others."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from adapters import ALPHA, RANK, Merged, write_adapter
from conftest import quiet_transformers
from huggingface_families import FAMILIES, build
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import landscape
from landscape.checkpoints.adapter_config import LoraSettings
from landscape.checkpoints.lora import attach, attach_by_name
from landscape.errors import CheckpointError, LandscapeError, UsageError
from landscape.operators import operator

transformers = pytest.importorskip("transformers")
NOTE = "whose weights are fixed unless --params names them"


def load(adapter: Path, **named: Any) -> landscape.Objective:
    return landscape.load(adapter, data=str(adapter.parent / "batch.safetensors"), **{"dtype": "float64", **named})


def change(adapter: Path, edit: Any) -> None:
    """Rewrites the tensors of an adapter."""
    file = adapter / "adapter_model.safetensors"
    tensors = edit(load_file(file))
    file.unlink()
    save_file(tensors, file)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({}, ALPHA / RANK),
        ({"use_rslora": True}, ALPHA / math.sqrt(RANK)),
        ({"alpha_pattern": {"c_attn": 3, "q_proj": 3, "attention.self.query": 3}}, 3 / RANK),
        ({"rank_pattern": {"c_attn": 7}, "init_lora_weights": "gaussian", "lora_dropout": 0.3}, ALPHA / RANK),
    ],
    ids=["plain", "rank-stabilized", "pattern", "without-effect"],
)
@pytest.mark.parametrize("name", ["gpt2", "llama", "bert"])
def test_value_gradient_and_product_are_those_of_the_merged_weights(
    name: str, settings: dict[str, Any], scale: float, tmp_path: Path
) -> None:
    adapter = write_adapter(name, tmp_path, **settings)
    objective = load(adapter)
    merged = Merged(name, load_file(adapter / "adapter_model.safetensors"), scale)
    assert set(objective.space.names) == set(merged.named)
    vector = torch.randn(objective.space.size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    loss, gradient, product = merged.derivatives(list(objective.space.names), vector)
    value, own = objective.value_and_gradient()
    assert float(value) == pytest.approx(loss, rel=1e-6)
    torch.testing.assert_close(own, gradient, rtol=1e-5, atol=1e-7)
    measured = operator("hessian", objective).matmat(vector[:, None])[:, 0]
    torch.testing.assert_close(measured, product, rtol=1e-4, atol=1e-6)
    assert any(NOTE in note for note in objective.notes)


class TestWhichParameters:
    def test_params_names_others_and_all_of_them(self, tmp_path: Path) -> None:
        adapter = write_adapter("llama", tmp_path)
        own, every = load(adapter), load(adapter, params=("*",))
        whole = sum(parameter.numel() for parameter in build(FAMILIES["llama"]).parameters())
        assert every.space.size == own.space.size + whole
        assert load(adapter, params=("lm_head.*",)).space.names == ("lm_head.weight",)
        assert float(every.value()) == float(own.value())

    def test_heads_and_biases_that_were_trained_too_are_the_adapter_s(self, tmp_path: Path) -> None:
        adapter = write_adapter("bert", tmp_path)
        layer = "base_model.model.bert.encoder.layer.0.attention.self.query.base_layer"
        head = {"base_model.model.classifier.weight": torch.full((3, 12), 0.5), f"{layer}.bias": torch.ones(12)}
        change(adapter, lambda tensors: {**tensors, **head})
        objective = load(adapter)
        assert {"classifier.weight", f"{layer.removeprefix('base_model.model.')}.bias"} <= set(objective.space.names)
        parameters = dict(objective.model.named_parameters())
        for name, tensor in head.items():
            assert torch.equal(parameters[name.removeprefix("base_model.model.")], tensor)

    def test_a_head_that_was_tied_is_one_of_its_own_afterwards(self, tmp_path: Path) -> None:
        adapter = write_adapter("gpt2", tmp_path)
        change(adapter, lambda tensors: {**tensors, "base_model.model.lm_head.weight": torch.full((40, 12), 0.1)})
        parameters = dict(load(adapter).model.named_parameters())
        assert not torch.equal(parameters["lm_head.weight"], parameters["transformer.wte.weight"])

    def test_the_table_of_an_adapted_embedding_is_not_the_adapter_s(self, tmp_path: Path) -> None:
        adapter = write_adapter("opt", tmp_path)
        table = "model.decoder.embed_tokens"
        base = build(FAMILIES["opt"]).get_parameter(f"{table}.weight").detach().clone()
        change(adapter, lambda tensors: {**tensors, f"base_model.model.{table}.base_layer.weight": base})
        objective = load(adapter)
        assert set(objective.space.names) == {f"{table}.lora_embedding_A", f"{table}.lora_embedding_B"}
        tensors = load_file(adapter / "adapter_model.safetensors")
        first, second = (tensors[f"base_model.model.{table}.lora_embedding_{letter}"].double() for letter in "AB")
        model = build(FAMILIES["opt"]).double()
        embed = model.get_submodule(table)
        embed.register_forward_hook(lambda module, args, out: out + ALPHA / RANK * first.T[args[0]] @ second.T)
        with quiet_transformers(), torch.no_grad():
            own = float(model(**FAMILIES["opt"].batch()).loss)
        assert float(objective.value()) == pytest.approx(own, rel=1e-6)


class TestOtherModelsBelow:
    def test_base_names_the_directory_of_a_model_that_moved(self, tmp_path: Path) -> None:
        adapter = write_adapter("llama", tmp_path)
        expected = float(load(adapter).value())
        shutil.move(tmp_path / "base", tmp_path / "elsewhere")
        with pytest.raises(CheckpointError, match=r"which is not on this machine\n.*--base DIR.*nothing is fetched"):
            load(adapter)
        assert float(load(adapter, base=str(tmp_path / "elsewhere")).value()) == expected

    def test_a_user_s_own_model_gets_the_adapter_too(self, tmp_path: Path) -> None:
        adapter = write_adapter("llama", tmp_path)
        (tmp_path / "own.py").write_text(
            "from huggingface_families import FAMILIES, build as tiny\n\n\ndef build():\n"
            "    return tiny(FAMILIES['llama'])\n"
        )
        own = load(adapter, model=f"{tmp_path}/own.py:build")
        assert float(own.value()) == float(load(adapter).value())
        assert own.space.names == load(adapter).space.names

    def test_a_model_without_weights_is_refused(self, tmp_path: Path) -> None:
        adapter = write_adapter("llama", tmp_path)
        with pytest.raises(UsageError, match=rf"has no weights.*\n.*--base {tmp_path}/base"):
            load(adapter, model=f"hf:{tmp_path}/base")

    def test_a_base_beside_a_whole_model_is_refused(self, tmp_path: Path) -> None:
        adapter = write_adapter("llama", tmp_path)
        with pytest.raises(UsageError, match=r"is for adapters, .* Hugging Face directory\n.*leave --base out"):
            load(tmp_path / "base", base=str(adapter))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: {n.replace("q_proj", "nowhere"): x for n, x in t.items()}, r"has no .*nowhere\n.*--base DIR"),
        (
            lambda t: {n: x[:, :5].contiguous() if "lora_A" in n else x for n, x in t.items()},
            r"is \(12, 12\), its",
        ),
        (lambda t: {n: x for n, x in t.items() if "lora_B" not in n}, r"incomplete: it has no .*lora_B"),
        (lambda t: {"base_model.model.lm_head.weight": torch.ones(40, 12)}, r"holds no low-rank matrices"),
        (lambda t: {**t, "base_model.model.score.weight": torch.ones(3, 12)}, r"no place for score.weight\n.*--base"),
        (
            lambda t: {n.replace("self_attn.q_proj", "input_layernorm"): x for n, x in t.items()},
            r"a LlamaRMSNorm, which is no plain linear layer\n.*PeftModel",
        ),
    ],
    ids=["names", "sizes", "half", "none", "head", "norm"],
)
def test_an_adapter_of_another_model_is_refused(edit: Any, message: str, tmp_path: Path) -> None:
    adapter = write_adapter("llama", tmp_path)
    change(adapter, edit)
    with pytest.raises(LandscapeError, match=message):
        load(adapter)


def test_layers_whose_weights_are_read_by_another_module_are_refused() -> None:
    """The attention of torch never calls its output layer: an addition there would be left out without a word."""
    model = nn.Module()
    model.attention = nn.MultiheadAttention(4, 2)
    tensors = {
        "attention.out_proj.lora_A.weight": torch.ones(2, 4),
        "attention.out_proj.lora_B.weight": torch.ones(4, 2),
    }
    with pytest.raises(CheckpointError, match="adapts attention.out_proj, .* which is no plain linear layer"):
        attach(model, LoraSettings(1.0, False, {}, 0.0, ""), tensors, "adapter")


class Peft(nn.Module):
    """A module with an adapter as PEFT names its tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.peft_config: dict[str, Any] = {}
        self.lora_A = nn.ModuleDict({"default": nn.Linear(3, 2, bias=False)})
        self.head = nn.Module()
        self.head.modules_to_save = nn.ModuleDict({"default": nn.Linear(3, 2)})
        self.magnitude = nn.ParameterDict({"default": nn.Parameter(torch.zeros(4))})
        self.prompt_encoder = nn.ModuleDict({"default": nn.Module()})
        self.prompt_encoder["default"].embedding = nn.Embedding(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return x


def test_the_names_of_peft_s_own_modules_are_found() -> None:
    model = Peft()
    file = {"lora_A.weight": torch.ones(2, 3), "head.bias": torch.ones(2), "magnitude": torch.ones(4)}
    file["prompt_embeddings"] = torch.ones(2, 3)
    names = attach_by_name(model, file, "adapter")
    assert names[:3] == ("lora_A.default.weight", "head.modules_to_save.default.bias", "magnitude.default")
    assert names[3:] == ("prompt_encoder.default.embedding.weight",)
    assert all(bool((model.get_parameter(name) == 1).all()) for name in names)
    with pytest.raises(CheckpointError, match="no place for other"):
        attach_by_name(model, {"other": torch.ones(1)}, "adapter")


@pytest.mark.filterwarnings("ignore")  # peft's
def test_peft_itself_gives_the_same(tmp_path: Path) -> None:
    """Where it is installed, on a directory that it wrote; its own model is measured by --model too."""
    peft = pytest.importorskip("peft")
    model = build(FAMILIES["llama"])
    with quiet_transformers():
        model.save_pretrained(tmp_path / "base")
        model.config._name_or_path = model.name_or_path = str(tmp_path / "base")
        settings = peft.LoraConfig(r=2, lora_alpha=7, target_modules="all-linear", rank_pattern={"q_proj": 3})
        adapted = peft.get_peft_model(model, settings)
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                nn.init.normal_(parameter, std=0.2)
        adapted.save_pretrained(tmp_path / "adapter")
    save_file(FAMILIES["llama"].batch(), tmp_path / "batch.safetensors")
    (tmp_path / "own.py").write_text(
        "import peft\nfrom huggingface_families import FAMILIES, build as tiny\n\n\ndef build():\n"
        f"    return peft.PeftModel.from_pretrained(tiny(FAMILIES['llama']), {str(tmp_path / 'adapter')!r})\n"
    )
    here, theirs = load(tmp_path / "adapter"), load(tmp_path / "adapter", model=f"{tmp_path}/own.py:build")
    with quiet_transformers(), torch.no_grad():
        own = float(adapted.eval()(**FAMILIES["llama"].batch()).loss)
    assert float(here.value()) == pytest.approx(own, rel=1e-6)
    assert float(here.value()) == pytest.approx(float(theirs.value()), rel=1e-9)
    assert here.space.size == theirs.space.size
    values = [landscape.run(landscape.Eig(k=2), objective).eigenvalues for objective in (here, theirs)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_without_peft_its_absence_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert load(write_adapter("llama", tmp_path)).space.size == 2 * RANK * (12 + 12)
