"""A PEFT directory written by hand, beside the directory of the model below it, and what its numbers must be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from conftest import quiet_transformers
from huggingface_families import FAMILIES, build
from safetensors.torch import save_file
from torch import Tensor
from torch.func import functional_call

RANK, ALPHA = 2, 5
TARGETS = {  # the layers that are adapted
    "gpt2": "attn.c_attn",  # GPT-2's own kind of linear layer, whose weight is (inputs, outputs)
    "llama": "self_attn.q_proj",
    "bert": "attention.self.query",
    "opt": "decoder.embed_tokens",
}


def write_adapter(name: str, folder: Path, **changes: Any) -> Path:
    """The directory of an adapter of a tiny model, whose own is `folder/base`; returns the adapter's.

    `changes` are settings of its config.
    """
    model = build(FAMILIES[name])
    with quiet_transformers():
        model.save_pretrained(folder / "base")
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for module, layer in model.named_modules():
        if not module.endswith(TARGETS[name]):
            continue
        table = isinstance(layer, torch.nn.Embedding)
        wide, narrow = layer.weight.shape if isinstance(layer, torch.nn.Linear) else layer.weight.shape[::-1]
        first, second = ("lora_embedding_A", "lora_embedding_B") if table else ("lora_A.weight", "lora_B.weight")
        tensors[f"base_model.model.{module}.{first}"] = torch.randn(RANK, narrow, generator=generator) / 3
        tensors[f"base_model.model.{module}.{second}"] = torch.randn(wide, RANK, generator=generator) / 3
    (folder / "adapter").mkdir()
    save_file(tensors, folder / "adapter" / "adapter_model.safetensors")
    batch = {key: value.contiguous() for key, value in FAMILIES[name].batch().items()}
    save_file(batch, folder / "batch.safetensors")
    settings = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "base_model_name_or_path": str(folder / "base")}
    write_settings(folder / "adapter", {**settings, "target_modules": [TARGETS[name]], **changes})
    return folder / "adapter"


def write_settings(adapter: Path, settings: Mapping[str, Any]) -> None:
    """Writes the adapter's config."""
    (adapter / "adapter_config.json").write_text(json.dumps(settings))


class Merged:
    """The loss with W + scale B A in the place of each adapted weight, as a function of all A and B by name."""

    def __init__(self, name: str, tensors: Mapping[str, Tensor], scale: float) -> None:
        self.model = build(FAMILIES[name]).double()
        self.scale, self.batch = scale, FAMILIES[name].batch()
        self.named = {key.removeprefix("base_model.model."): value.double() for key, value in tensors.items()}
        self.weights = {key: value.detach() for key, value in self.model.named_parameters()}

    def loss(self, named: Mapping[str, Tensor]) -> Tensor:
        """The model's own loss, with every weight in float64."""
        merged = dict(self.weights)
        for name, first in named.items():
            if ".lora_A." in name:
                module, second = name.removesuffix(".lora_A.weight"), named[name.replace("lora_A", "lora_B")]
                weight = self.weights[f"{module}.weight"]
                change = self.scale * second @ first
                plain = isinstance(self.model.get_submodule(module), torch.nn.Linear)
                merged[f"{module}.weight"] = weight + (change if plain else change.T)
        with quiet_transformers():
            loss: Tensor = functional_call(self.model, merged, kwargs=self.batch).loss
        return loss

    def derivatives(self, names: list[str], vector: Tensor) -> tuple[float, Tensor, Tensor]:
        """The loss, its gradient in A and B in the order of the names, and the Hessian's product with the vector."""
        leaves = {name: self.named[name].clone().requires_grad_() for name in names}
        loss = self.loss(leaves)
        gradient = torch.autograd.grad(loss, list(leaves.values()), create_graph=True)
        flat = torch.cat([part.flatten() for part in gradient])
        product = torch.autograd.grad(flat @ vector, list(leaves.values()))
        return float(loss.detach()), flat.detach(), torch.cat([part.flatten() for part in product])
